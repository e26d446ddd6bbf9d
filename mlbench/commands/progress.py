"""Progress of a run on stderr: a live bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from mlbench.planning.plan import Case
from mlbench.records.record import Record

__all__ = ["RunProgress"]


class _Rate(ProgressColumn):
    """Steps or images a second."""

    def render(self, task: object) -> Text:
        speed = getattr(task, "finished_speed", None) or getattr(task, "speed", None)
        return Text(f"{speed:,.0f}/s" if speed else "")


class RunProgress:
    """A `mlbench.runner.Listener` for people. Use as a context manager."""

    def __init__(self, console: Console, prefix: str = "") -> None:
        self._console = console
        self._prefix = prefix
        self._task: TaskID | None = None
        self._what = ""
        self._started = time.perf_counter()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            # A worker that is forked while the redirected stream is locked would wait for ever.
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> RunProgress:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def case(self, case: Case, position: int, total: int) -> None:
        """Name the case that starts."""
        self._prefix = f"[{position}/{total}] {case.name} seed {case.seed}"
        self._started = time.perf_counter()
        self._what = ""

    def stage(self, what: str, done: int, total: int) -> None:
        """Move the bar; a new `what` starts a new bar."""
        if what != self._what:
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._task = self._progress.add_task(f"{self._prefix}: {what}", total=total)
            self._what = what
        if self._task is not None:
            self._progress.update(self._task, completed=done)

    def finished(self, record: Record) -> None:
        """One line for the case that ended."""
        seconds = time.perf_counter() - self._started
        if record.status == "done":
            shown = (
                ("Recall@1", "recall_at_1"),
                ("F1", "f1"),
                ("accuracy (pair list)", "pair_list_accuracy"),
            )
            known = [
                (heading, record.metrics[name].value) for heading, name in shown if name in record.metrics
            ]
            result = "  ".join(f"{heading} {value:.3f}" for heading, value in known if value is not None)
        else:
            result = f"failed: {record.error}"
        text = f"{self._prefix}: {result}  ({seconds:.1f} s)"
        self._console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)
