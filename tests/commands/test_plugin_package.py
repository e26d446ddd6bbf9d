"""`mlbench plugin new`: the package of every kind is installed, listed, validated, run and tested."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from conftest import TESTS

from mlbench import __version__
from mlbench.cli import main
from mlbench.commands.plugin_package import MAX_NAME, PluginPackage, write_package
from mlbench.contracts import CONTRACT, KINDS
from mlbench.environment import Device
from mlbench.errors import StoreError
from mlbench.planning.plan import make_plan
from mlbench.planning.suite import load_suite
from mlbench.plugins import load_plugins
from mlbench.registry import Registry

TEMPLATES = Path(str(files("mlbench.commands").joinpath("plugin_templates")))


def new(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["plugin", "new", *arguments])


def written(folder: Path, name: str, *kinds: str) -> PluginPackage:
    package = PluginPackage(name, kinds)
    write_package(package, folder / name)
    return package


@dataclass(frozen=True)
class Installed:
    """A package that is installed, editable, into a virtual environment of its own."""

    folder: Path
    python: Path

    def run(self, *arguments: str) -> str:
        """Standard output of a module, which must succeed."""
        command = [str(self.python), "-m", *arguments]
        # Threads that wait for each other would take more time than such small models.
        few = {"OMP_NUM_THREADS": "1", "MLBENCH_CACHE": str(self.folder.parent / "cache")}
        environment = {**os.environ, **few}
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{arguments}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    def check(self, kinds: Sequence[str]) -> None:
        """The whole way: listed with package and version, validated, run, tested."""
        name = self.folder.name
        found = [
            each for each in json.loads(self.run("mlbench", "plugins", "--json")) if each["package"] == name
        ]
        assert [(each["version"], each["error"], len(each["components"])) for each in found] == [
            ("0.1.0", "", len(kinds))
        ]
        listed = json.loads(self.run("mlbench", "list", "--json"))
        assert {each["kind"] for each in listed if each["package"] == name} == set(kinds)
        options = ("--no-measure", "--device", "cpu", "--json")
        records = json.loads(self.run("mlbench", "run", "suite.yaml", *options))
        assert {record["status"] for record in records} == {"done"}
        used = {
            section.split()[0]
            for record in records
            for section, origin in record["components"].items()
            if (origin["package"], origin["version"]) == (name, "0.1.0")
        }
        assert used == set(kinds) - {"claim", "section", "tracker"}
        assert list(self.folder.glob("results/*/epochs.csv")) or "tracker" not in kinds
        assert " failed" not in self.run("pytest", "-q", "-p", "no:cacheprovider")


def install(folder: Path, name: str, *kinds: str) -> Installed:
    """Write a package and install it, without a network, into a new environment that sees this one's
    packages."""
    written(folder, name, *kinds)
    place = folder / "environment"
    venv.EnvBuilder(symlinks=True).create(place)
    python = place / "bin" / "python"
    paths = {"base": str(place), "platbase": str(place)}
    own = Path(sysconfig.get_path("purelib", vars=paths))
    (own / "packages.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    command += [
        "--no-index",
        "--no-build-isolation",
        "--no-deps",
        "--disable-pip-version-check",
        "--editable",
    ]
    done = subprocess.run([*command, str(folder / name)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Installed(folder / name, python)


def test_a_package_with_every_kind_works_from_installation_to_results(tmp_path: Path) -> None:
    install(tmp_path, "acme-parts", *KINDS).check(list(KINDS))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_package_of_one_kind_works_from_installation_to_results(tmp_path: Path, kind: str) -> None:
    install(tmp_path, f"acme-{kind.replace('_', '-')}x", kind).check([kind])


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Registry]]:
    """The components of a package as it is written, without installing it."""
    modules = []

    def load(package: PluginPackage, folder: Path) -> Registry:
        monkeypatch.syspath_prepend(folder / "src")
        modules.append(package.module)
        (plugin,) = load_plugins(sources=[EntryPoint(package.module, package.module, "mlbench")])
        assert plugin.error == ""
        return Registry((*load_plugins(), plugin))

    yield load
    for module in [each for each in sys.modules if each.partition(".")[0] in modules]:
        del sys.modules[module]


@pytest.mark.parametrize("kind", KINDS)
def test_the_package_of_each_kind_can_be_planned(
    tmp_path: Path, kind: str, loaded: Callable[..., Registry]
) -> None:
    package = written(tmp_path, f"only-{kind}", kind)
    folder = tmp_path / f"only-{kind}"
    registry = loaded(package, folder)
    entry = registry.get(kind, package.module)
    assert len(entry.options) > 0
    assert all(option.description for option in entry.options)
    suite = load_suite(folder / "suite.yaml", registry)
    assert len(suite.specs) == 2
    assert len(make_plan(suite, Device("cpu", "test")).cases) == 2
    if kind == "claim":
        assert [claim.part.entry.component.name for claim in suite.claims] == [package.module]
    elif kind == "tracker":
        assert [each.entry for each in suite.trackers] == [entry]
    elif kind != "section":  # which no suite names
        used = [part.entry for spec in suite.specs for part in (*spec.parts.values(), *spec.metrics.values())]
        used += [each.part.entry for spec in suite.specs for each in spec.losses.values()]
        assert entry in used


def test_every_kind_has_templates() -> None:
    found = {path.name for path in TEMPLATES.iterdir()}
    assert found == {*KINDS, "package"}
    for kind in KINDS:
        names = {path.name for path in (TEMPLATES / kind).iterdir()}
        assert {"component.py.in", "test.py.in", "register.in", "case.yaml.in"} <= names


def test_templates_are_part_of_the_wheel() -> None:
    built = tomllib.loads((TESTS.parent / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    assert "mlbench" in built["wheel"]["packages"]
    assert not {"exclude", "only-include", "artifacts"} & built["wheel"].keys()
    command = ["git", "check-ignore", *map(str, TEMPLATES.rglob("*.in"))]
    ignored = subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True, check=False)
    assert ignored.stdout == ""


def test_what_is_written_passes_the_linter(tmp_path: Path) -> None:
    for kind in KINDS:
        written(tmp_path, f"{kind[:3]}-of-{kind[-3:]}", kind)
    written(tmp_path, "ab", *KINDS)
    for command in (["check"], ["format", "--check"]):
        linter = [sys.executable, "-m", "ruff", *command, "--no-cache", str(tmp_path)]
        done = subprocess.run(linter, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_files_and_their_names(tmp_path: Path) -> None:
    written(tmp_path, "Acme.margin-2", "loss", "batch_sampler")
    folder = tmp_path / "Acme.margin-2"
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == {
        *("pyproject.toml", "README.md", "suite.yaml", ".gitignore", ".github/workflows/ci.yml"),
        *("src/acme_margin_2/__init__.py", "src/acme_margin_2/loss.py", "src/acme_margin_2/batch_sampler.py"),
        "tests/test_acme_margin_2.py",  # pytest wants other names in other packages
        *("tests/test_acme_margin_2_loss.py", "tests/test_acme_margin_2_batch_sampler.py"),
    }
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["name"] == "Acme.margin-2"
    assert project["dependencies"] == [f"mlbench>={__version__}"]
    assert project["entry-points"]["mlbench"] == {"acme_margin_2": "acme_margin_2"}
    module = (folder / "src/acme_margin_2/__init__.py").read_text()
    assert f"\nMLBENCH_CONTRACT = {CONTRACT}\n" in module
    assert "class AcmeMargin2BatchSampler(" in (folder / "src/acme_margin_2/batch_sampler.py").read_text()
    workflow: dict[str, Any] = yaml.safe_load((folder / ".github/workflows/ci.yml").read_text())
    assert [step["run"] for step in workflow["jobs"]["tests"]["steps"] if "run" in step][-1].startswith(
        "mlbench"
    )


def test_a_kind_is_given_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = new("ab", "--kind", "metric", "--with", "loss", "--with", "metric")
    assert result.exit_code == 2
    assert "--with metric: a new package has one component of a kind" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_of_the_names_in_templates(tmp_path: Path) -> None:
    written(tmp_path, "ab", *KINDS)
    texts = {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert [path for path, text in texts.items() if "$" in text and path.name != "README.md"] == []
    assert all(text.endswith("\n") and not text.endswith("\n\n") for text in texts.values())


@pytest.mark.parametrize(
    ("name", "kind", "made"),
    [("my-loss", "loss", "MyLoss"), ("acme", "batch_sampler", "AcmeBatchSampler"), ("a.b", "neck", "ABNeck")],
)
def test_class_names(name: str, kind: str, made: str) -> None:
    assert PluginPackage(name, (kind,)).class_of(kind) == made


def test_the_command_says_what_comes_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = new("acme-margin", "--kind", "loss", "--with", "neck", "-o", "in/my place")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [
        "loss acme_margin: in/my place/src/acme_margin/loss.py",
        "neck acme_margin: in/my place/src/acme_margin/neck.py",
        "in/my place written; next:",
        "  pip install -e 'in/my place'",
        "  python -m pytest 'in/my place'",
        "  mlbench run 'in/my place/suite.yaml'",
    ]
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["my place"]
    assert (tmp_path / "in/my place").stat().st_mode & 0o777 == (tmp_path / "in").stat().st_mode & 0o777


def test_the_page_shows_what_the_command_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = (TESTS.parent / "docs" / "plugins.md").read_text()
    _, command, *shown = page.partition("```console")[2].partition("```")[0].splitlines()
    assert new(*command.removeprefix("$ mlbench plugin new ").split()).stdout.splitlines() == shown
    table = page.partition("| file |")[2].partition("\n\n")[0]
    for line in table.splitlines()[2:]:
        assert (tmp_path / "acme-margin" / line.split("`")[1]).is_file()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("2fast", "expected a letter"),
        ("a b", "expected a letter"),
        ("../up", "expected a letter"),
        ("ends-", "expected a letter"),
        ("a" * (MAX_NAME + 1), "at most 60"),
        ("Class", "a keyword of Python"),
        ("match", "a keyword of Python"),
        ("json", "module json, which exists already"),
        ("mlbench-losses", "module mlbench_losses, which exists already"),
        ("numpy", "which exists already"),
        ("arcface", "mlbench has a loss 'arcface' already"),
        ("Multi-Similarity", "mlbench has a loss 'multi_similarity' already"),
    ],
)
def test_names_that_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = new(name, "--kind", "loss")
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_name_of_a_component_of_another_kind_can_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert new("arcface", "--kind", "neck").exit_code == 0


def test_a_folder_that_exists_is_not_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "acme").mkdir()
    done = new("acme", "--kind", "loss")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "mlbench: acme: exists already; name another folder with --output\n"
    assert list((tmp_path / "acme").iterdir()) == []


def test_a_package_that_cannot_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, count = Path.write_text, 0

    def write_text(path: Path, *arguments: Any, **named: Any) -> int:
        nonlocal count
        count += 1
        if count == 4:
            raise OSError(28, "No space left on device")
        return plain(path, *arguments, **named)

    monkeypatch.setattr(Path, "write_text", write_text)
    with pytest.raises(StoreError, match="acme: cannot be written \\(No space left on device\\)"):
        written(tmp_path, "acme", "loss")
    assert list(tmp_path.iterdir()) == []
