"""Suites under pytest: `pytest suites/textimage.yaml` runs every case as a benchmark of pytest-benchmark.

A case without a finished record is trained first; then its speed is measured and stored in the record.
Only suites named on the command line are collected, so that a plain `pytest` never trains anything. Every
pytest of an environment with mlbench imports this module: no heavy imports at the top.
"""

from __future__ import annotations

import os
import re
import warnings
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlbench.measurement.process import MeasuringProcess
    from mlbench.planning.plan import Case, Plan
    from mlbench.records.record import Record

__all__ = ["CaseItem", "SuiteFile"]

#: What the session has: notes on plugins, and measuring processes by device.
_NOTES: pytest.StashKey[list[str]] = pytest.StashKey()
_PROCESSES: pytest.StashKey[dict[str, MeasuringProcess]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("mlbench")
    group.addoption("--mlbench-results", default="results", metavar="DIR", help="Folder of the records.")
    group.addoption("--mlbench-device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps.")
    group.addoption(
        "--mlbench-plugin",
        action="append",
        default=[],
        metavar="FILE",
        help="Load the components of a Python file too.",
    )
    group.addoption("--mlbench-size", metavar="NAME", help="Size of the suites; default the first of each.")


def pytest_configure(config: pytest.Config) -> None:
    """Raise UsageError for a run that would time several cases at once."""
    parallel = config.getoption("dist", "no") != "no"
    if parallel and any(_is_suite(Path(argument.partition("::")[0])) for argument in config.args):
        raise pytest.UsageError(
            "pytest -n would time cases while others run on the same cores; run suites without -n"
        )


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> SuiteFile | None:
    if parent.session.isinitpath(file_path) and _is_suite(file_path):
        return SuiteFile.from_parent(parent, path=file_path)
    return None


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    """The notes on plugins, each once."""
    found = config.stash.setdefault(_NOTES, [])
    return [f"note: {line}" for line in dict.fromkeys(found)]


class SuiteFile(pytest.File):
    """A suite; its items are its cases with each of their seeds."""

    def collect(self) -> Iterator[CaseItem]:
        from mlbench.environment import find_device
        from mlbench.planning.plan import make_plan
        from mlbench.planning.suite import load_suite
        from mlbench.plugin_files import PluginFile, add_plugin_files
        from mlbench.plugins import environment_choice, load_plugins
        from mlbench.records.harness import benchmark_name
        from mlbench.registry import Registry

        block, only = environment_choice()
        files = [
            PluginFile(Path(each), f"--mlbench-plugin {each}")
            for each in self.config.getoption("mlbench_plugin")
        ]
        plugins = add_plugin_files(load_plugins(block=block, only=only), files)
        notes = self.config.stash.setdefault(_NOTES, [])
        registry = Registry(plugins, note=notes.append)
        notes += [line for plugin in registry.plugins for line in plugin.notes()]
        size = self.config.getoption("mlbench_size")
        suite = load_suite(Path(os.path.relpath(self.path)), registry, size=size)
        plan = make_plan(suite, find_device(self.config.getoption("mlbench_device")))
        for case in plan.cases:
            yield CaseItem.of(self, benchmark_name(case.name, case.seed), plan, case)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *style: Any) -> Any:
        return _one_line(excinfo) or super().repr_failure(excinfo, *style)


class CaseItem(pytest.Function):
    """A case as a benchmark of pytest-benchmark.

    The case is run and measured first, its rounds in the process that measures every case. The fixture
    `benchmark` then replays the rounds with a clock that shows their times, so that a failed measurement
    leaves no benchmark.
    """

    @classmethod
    def of(cls, parent: SuiteFile, name: str, plan: Plan, case: Case) -> CaseItem:
        """The item of one case of a plan."""
        from mlbench.measurement.result import lost_note
        from mlbench.records.harness import batch_seconds, extra_info, identity
        from mlbench.records.store import Store
        from mlbench.runner import run

        store = Store(Path(parent.config.getoption("mlbench_results")), plan.suite.name)
        alone = replace(plan, cases=(case,))
        clock = _Clock()

        def run_case(benchmark: Any) -> None:
            benchmark.skipped = True  # until the rounds are replayed
            with warnings.catch_warnings():
                warnings.simplefilter("default")  # a component's warning does not fail its case
                # Measured again, even if the record has been measured before.
                (record,) = run(
                    alone,
                    store,
                    _Silent(),
                    again=benchmark.enabled,
                    measuring=benchmark.enabled,
                    benchmarks=False,
                    process=_process(parent.config, plan.device.name),
                )
            if record.status != "done" and case.name in plan.suite.optional:
                pytest.skip(record.error)
            if record.status != "done":
                pytest.fail(record.error, pytrace=False)
            if not benchmark.enabled:
                return
            if note := lost_note(record):
                pytest.fail(note, pytrace=False)
            clock.rounds = batch_seconds(record)
            if not clock.rounds:
                pytest.fail(record.speed["images_per_second"].note, pytrace=False)
            for attribute, value in identity(record).items():
                setattr(benchmark, attribute, value)
            benchmark.extra_info.update(extra_info(record))
            benchmark.pedantic(clock.tick, rounds=len(clock.rounds))

        item = cls.from_parent(parent, name=name, callobj=run_case)
        item.add_marker(pytest.mark.benchmark(timer=clock.seconds))
        return item

    def reportinfo(self) -> tuple[Path, int, str]:
        """The place of the item: its suite, not this module."""
        return self.path, 0, self.name

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *style: Any) -> Any:
        return _one_line(excinfo) or super().repr_failure(excinfo, *style)


def _process(config: pytest.Config, device: str) -> MeasuringProcess:
    """The process that measures on a device, one for all suites of the session."""
    from mlbench.measurement.process import MeasuringProcess

    known = config.stash.setdefault(_PROCESSES, {})
    if device not in known:
        stack = ExitStack()
        known[device] = stack.enter_context(MeasuringProcess(device))
        config.add_cleanup(stack.close)
    return known[device]


def _one_line(excinfo: pytest.ExceptionInfo[BaseException]) -> str:
    """The message of an error of mlbench, "" for any other."""
    from mlbench.errors import MlbenchError

    return str(excinfo.value) if isinstance(excinfo.value, MlbenchError) else ""


class _Clock:
    """A clock that advances by the next round's seconds with every tick."""

    def __init__(self) -> None:
        self.rounds: list[float] = []
        self._now = 0.0

    def seconds(self) -> float:
        return self._now

    def tick(self) -> None:
        self._now += self.rounds.pop(0)


class _Silent:
    def case(self, case: Case, position: int, total: int, left: str) -> None: ...

    def stage(self, what: str, done: int, total: int) -> None: ...

    def epoch(self, case: Case, epoch: int, values: Mapping[str, float]) -> None: ...

    def finished(self, record: Record) -> None: ...


def _is_suite(path: Path) -> bool:
    """Whether a file has a key that every suite has; the rest is checked when it is collected."""
    if path.suffix not in (".yaml", ".yml"):
        return False
    try:
        text = path.read_text(encoding="utf-8-sig")
        return re.search(r"^[\"']?(suite|base)[\"']?\s*:", text, re.MULTILINE) is not None
    except (OSError, UnicodeDecodeError):
        return False
