"""Fixtures: the registry with the toys, suites written as text, and the installed command line."""

from __future__ import annotations

import math
import os
import resource
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import toys
from click.testing import CliRunner, Result

from mlbench.cli import main
from mlbench.environment import Device
from mlbench.planning.plan import Plan, make_plan
from mlbench.planning.suite import load_suite
from mlbench.plugins import Plugin, load_plugins
from mlbench.registry import Registry

if TYPE_CHECKING:
    from made_page import Made
    from made_tuning import Searcher

    from mlbench.planning.request import PlanRequest

TESTS = Path(__file__).parent

TOY_SUITE = """\
suite: toy
base:
  image: {size: 16}
  dataset: toy
  backbone: toy
  neck: {name: gap, dim: 8}
  loss: {name: cosface, scale: 16, margin: 0.1}
  sampler: all
  batch_sampler: shuffle
  recipe: {name: standard, epochs: 2, batch_size: 8}
  metrics: [retrieval, verification]
  threshold: best_f1
"""


@pytest.fixture(autouse=True)
def _private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's cache or data."""
    monkeypatch.setenv("MLBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MLBENCH_DATA", raising=False)


@pytest.fixture(autouse=True)
def _no_slow_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    """No note on the duration of an import, which depends on what else the machine does."""
    monkeypatch.setattr("mlbench.plugins.SLOW", math.inf)
    monkeypatch.setattr("mlbench.registry.SLOW", math.inf)


@pytest.fixture(scope="session")
def registry() -> Registry:
    """The built-in components and the toys."""
    toy = Plugin("toys", "toys", "toys", "1.0", tuple(toys.mlbench_components()))
    return Registry((*load_plugins(), toy))


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a suite file: the toy suite with some text after it, or a whole text."""

    def write(more: str = "", *, whole: str = TOY_SUITE) -> Path:
        path = tmp_path / "toy.yaml"
        path.write_text(whole + more)
        return path

    return write


@pytest.fixture
def planned(write: Callable[..., Path], registry: Registry) -> Callable[..., Plan]:
    """A plan on the CPU for the toy suite and some text after it."""

    def planned(more: str = "", *, overrides: tuple[str, ...] = (), **choices: object) -> Plan:
        suite = load_suite(write(more), registry, overrides=overrides)
        return make_plan(suite, Device("cpu", "test"), **choices)

    return planned


@pytest.fixture
def searcher(write: Callable[..., Path], registry: Registry, tmp_path: Path) -> Callable[..., Searcher]:
    """A search of the toy suite with a section `tune`, in a folder."""
    from made_tuning import CPU, TUNE, Searcher  # imports Optuna, which takes time

    def make(more: str = TUNE, folder: str = "results", request: PlanRequest = CPU) -> Searcher:
        return Searcher(write(more), registry, tmp_path / folder, request)

    return make


@pytest.fixture
def installed_toys(tmp_path: Path) -> dict[str, str]:
    """Environment variables with which a new process finds the toys as an installed plugin."""
    return install_plugin(tmp_path / "site", "toys", TESTS)


def install_plugin(site: Path, module: str, *path: Path, version: str = "1.0") -> dict[str, str]:
    """What pip leaves of a package with an mlbench entry point, in a folder of its own."""
    info = site / f"{module}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[mlbench]\n{module} = {module}\n")
    search = os.pathsep.join(map(str, (site, *path)))
    return {**os.environ, "PYTHONPATH": search}


@pytest.fixture
def third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., dict[str, str]]]:
    """Install a plugin package of one module, given as text, into this process. What comes back are
    environment variables with which a new process finds it too."""
    modules = []

    def install(module: str, code: str, version: str = "1.0") -> dict[str, str]:
        site = tmp_path / "site"
        environment = install_plugin(site, module, version=version)
        (site / f"{module}.py").write_text(textwrap.dedent(code))
        monkeypatch.syspath_prepend(site)
        modules.append(module)
        return environment

    yield install
    for module in modules:
        sys.modules.pop(module, None)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command line in this process, in an empty folder, with the toys installed."""
    install_plugin(tmp_path / "site", "toys")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.syspath_prepend(TESTS)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.delenv("COLUMNS", raising=False)  # pytest-xdist may set it

    def run(*arguments: object, code: int = 0) -> Result:
        result = CliRunner().invoke(main, list(map(str, arguments)))
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A finished run of toys with its page, in a folder of its own, which tests leave as it is."""
    from made_page import run_toys

    return run_toys(tmp_path_factory.mktemp("toys"))


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium; see `browser.chromium`."""
    from browser import chromium

    with chromium() as found:
        yield found


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Inside the block, the operating system ends every write beyond `size` bytes of a file with an error, as
    it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (size, before[1])
    )  # Python ignores the signal that goes with it
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def mlbench(*arguments: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    command = [sys.executable, "-m", "mlbench", *map(str, arguments)]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)
