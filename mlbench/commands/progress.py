"""Progress of a run on stderr: a live bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Mapping
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
from mlbench.records.report import headline_metrics, metric_text

__all__ = ["EVERY", "RunProgress"]

#: Seconds without output after which a file, or the log of a CI, gets a line with the current stage.
EVERY = 30.0


class _Rate(ProgressColumn):
    """Steps or images per second."""

    def render(self, task: object) -> Text:
        speed = getattr(task, "finished_speed", None) or getattr(task, "speed", None)
        return Text(f"{speed:,.0f}/s" if speed else "")


class RunProgress:
    """A `mlbench.runner.Listener` that prints. Use as a context manager."""

    def __init__(
        self, console: Console, prefix: str = "", clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._console = console
        self._prefix = prefix
        self._clock = clock
        self._live = console.is_terminal and not console.is_dumb_terminal
        self._task: TaskID | None = None
        self._what = ""
        self._count = ""
        self._left = ""
        self._last_epoch = ""
        self._started = self._printed = clock()
        self._ended = threading.Event()
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            # A worker forked while the redirected stream is locked would never return.
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not self._live,
        )

    def __enter__(self) -> RunProgress:
        self._progress.start()
        if not self._live:
            threading.Thread(target=self._print_regularly, name="progress", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._progress.stop()

    def case(self, case: Case, position: int, total: int, left: str = "") -> None:
        """Name the case that starts. left: how long the rest of the run will take, "" where not known."""
        self._prefix = f"[{position}/{total}] {case.name} seed {case.seed}"
        self._left = f" (about {left} left)" if left else ""
        self._started = self._clock()
        self._what = self._count = self._last_epoch = ""

    def stage(self, what: str, done: int, total: int) -> None:
        """Move the bar; a new `what` starts a new bar. That of an epoch shows the loss of the one before."""
        if what.startswith("training"):
            what += self._last_epoch
        self._count = f", {done:,} of {total:,}" if total > 1 else ""
        if not self._live:
            self._what = what
            return
        if what != self._what:
            if self._task is not None:
                self._progress.remove_task(self._task)
            label = f"{self._labelled(what)}{self._left}"
            self._task = self._progress.add_task(label, total=total, completed=done)
            self._what = what
        if self._task is not None:
            self._progress.update(self._task, completed=done)

    def epoch(self, case: Case, epoch: int, values: Mapping[str, float]) -> None:
        """Keep the loss for the bar of the next epoch."""
        self._last_epoch = f", loss {values['loss']:.3g}"

    def print_stage(self) -> None:
        """Print the current stage, if nothing was printed for `EVERY` seconds."""
        if self._due() > 0:
            return
        self._printed = self._clock()
        if self._what:
            took = f"{self._printed - self._started:.0f} s"
            line = f"{self._labelled(self._what)}{self._count}, {took}{self._left}\n"
            # Without Python's lock on stderr: a worker forked while another thread holds it would never
            # return.
            try:
                os.write(self._console.file.fileno(), line.encode(errors="replace"))
            except ValueError:  # a stream without a file
                self._console.file.write(line)

    def finished(self, record: Record) -> None:
        """Print the end of a case."""
        # A case of another process is told when it has ended.
        took = record.seconds.get("total", self._clock() - self._started)
        text = _metrics(record) if record.status == "done" else f"failed: {record.error}"
        steps = record.training.get("continued", ())
        after = f", continued after step {', '.join(map(str, steps))}" if steps else ""
        self._line(f"{self._labelled(text)}  ({took:.1f} s{after})")
        self._prefix = self._what = self._count = self._left = self._last_epoch = ""
        self._started = self._clock()

    def note(self, text: str) -> None:
        """Print a note above the bar."""
        self._line(f"note: {text}")

    def _line(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)
        self._printed = self._clock()

    def _labelled(self, text: str) -> str:
        return f"{self._prefix}: {text}" if self._prefix else text

    def _due(self) -> float:
        """Seconds until a line is due."""
        return max(0.0, self._printed + EVERY - self._clock())

    def _print_regularly(self) -> None:
        with contextlib.suppress(OSError):  # the reader is gone
            while not self._ended.wait(self._due()):
                self.print_stage()


def _metrics(record: Record) -> str:
    """The headline metrics."""
    headings = headline_metrics([record]).items()
    known = [(heading, record.metrics[name].value) for name, heading in headings]
    return "  ".join(f"{heading} {metric_text(value)}" for heading, value in known if value is not None)
