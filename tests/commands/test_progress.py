from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from mlbench.commands.progress import EVERY, RunProgress
from mlbench.planning.plan import Plan
from mlbench.records.record import Estimate, Record

DONE = Record(
    suite="toy",
    case="base",
    seed=0,
    fingerprint="0",
    status="done",
    metrics={
        "other": Estimate(0.3, heading="other"),
        "recall_at_1": Estimate(0.91, heading="Recall@1", headline=True),
        "f1": Estimate(0.5, heading="F1", headline=True),
    },
)
FAILED = Record(
    suite="toy",
    case="base",
    seed=0,
    fingerprint="0",
    status="failed",
    error=f"[Errno 2] {'x' * 200} :smile:",
)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def opened(*, terminal: bool = False, **options: object) -> tuple[RunProgress, Clock, io.StringIO]:
    stream, clock = io.StringIO(), Clock()
    console = Console(file=stream, width=80, force_terminal=terminal, **options)
    return RunProgress(console, clock=clock), clock, stream


def run(progress: RunProgress, clock: Clock, case, records: list[Record]) -> None:
    for position, record in enumerate(records, 1):
        progress.case(case, position, len(records))
        for done in (0, 5, 10):
            progress.stage("training", done, 10)
        clock.now += 10
        progress.finished(record)
    progress.stage("measuring speed", 0, 1)


def test_a_file_gets_the_metrics_of_each_case(planned: Callable[..., Plan]) -> None:
    progress, clock, stream = opened()
    with progress:
        run(progress, clock, planned().cases[0], [DONE, FAILED])
    assert stream.getvalue().splitlines() == [
        "[1/2] base seed 0: Recall@1 0.910  F1 0.500  (10.0 s)",
        f"[2/2] base seed 0: failed: [Errno 2] {'x' * 200} :smile:  (10.0 s)",
    ]


def test_a_note_is_a_line_of_its_own() -> None:
    progress, _, stream = opened()
    with progress:
        progress.note("size cpu: a [look]")
    assert stream.getvalue() == "note: size cpu: a [look]\n"


def test_a_terminal_gets_a_bar_that_names_case_and_stage(planned: Callable[..., Plan]) -> None:
    progress, clock, stream = opened(terminal=True)
    before = set(threading.enumerate())  # threads of earlier tests may still be ending
    with progress:
        run(progress, clock, planned().cases[0], [DONE, FAILED])
        started = set(threading.enumerate()) - before
        assert "progress" not in {thread.name for thread in started}
    text = stream.getvalue()
    assert "[1/2] base seed 0: Recall@1 0.910" in text
    assert "[2/2] base seed 0: training" in text
    assert "\nmeasuring speed" in text.replace("\r", "\n").replace("\x1b[2K", "")


def test_a_dumb_terminal_gets_plain_lines(
    planned: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    progress, clock, stream = opened(terminal=True)
    with progress:
        run(progress, clock, planned().cases[0], [DONE])
    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b" not in stream.getvalue()


def test_a_file_gets_a_line_on_what_is_being_done_whenever_there_was_none_for_long(
    planned: Callable[..., Plan],
) -> None:
    progress, clock, stream = opened()
    clock.now += EVERY
    progress.print_stage()  # nothing is known yet
    progress.stage("checking models", 0, 3)
    progress.case(planned().cases[0], 3, 10, "2 min")
    progress.stage("training, epoch 4 of 12, loss 12.3", 1400, 4000)
    clock.now += EVERY - 1
    progress.print_stage()
    assert stream.getvalue() == ""
    clock.now += 1
    progress.print_stage()
    progress.print_stage()
    assert stream.getvalue() == (
        "[3/10] base seed 0: training, epoch 4 of 12, loss 12.3, 1,400 of 4,000, 30 s (about 2 min left)\n"
    )
    clock.now += EVERY - 1
    progress.finished(DONE)
    progress.stage("measuring speed", 0, 1)
    clock.now += EVERY - 1
    progress.print_stage()
    clock.now += 1
    progress.print_stage()
    assert stream.getvalue().splitlines()[1:] == [
        "[3/10] base seed 0: Recall@1 0.910  F1 0.500  (59.0 s)",
        "measuring speed, 30 s",
    ]


def test_lines_come_from_a_thread_that_ends_with_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever takes long without saying so: a download, a compilation, the process that measures."""
    progress, clock, stream = opened()
    progress.stage("evaluating", 0, 1)
    waits = []

    class Ended:
        def wait(self, seconds: float) -> bool:
            waits.append(seconds)
            clock.now += seconds
            return len(waits) == 3

    monkeypatch.setattr(progress, "_ended", Ended())
    progress._print_regularly()
    assert waits == [EVERY] * 3
    assert stream.getvalue().splitlines() == ["evaluating, 30 s", "evaluating, 60 s"]

    progress, _, _ = opened()
    with progress:
        (thread,) = (each for each in threading.enumerate() if each.name == "progress")
        assert thread.daemon
    thread.join(10)
    assert not thread.is_alive()


def test_a_reader_that_is_gone_ends_no_run(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    clock = Clock()
    with open(writing, "w") as stream:
        progress = RunProgress(Console(file=stream), clock=clock)
        progress.stage("evaluating", 0, 1)
        clock.now += EVERY
        progress._print_regularly()


def test_the_bar_of_an_epoch_shows_the_loss_of_the_one_before(planned: Callable[..., Plan]) -> None:
    progress, clock, stream = opened()
    case = planned().cases[0]
    with progress:
        progress.case(case, 1, 1)
        progress.stage("training, epoch 1 of 2", 0, 4)
        progress.epoch(case, 1, {"loss": 12.3456, "lr": 0.1})
        progress.stage("training, epoch 2 of 2", 2, 4)
        clock.now += EVERY
        progress.print_stage()
        progress.stage("evaluating", 0, 1)
        clock.now += EVERY
        progress.print_stage()
    assert stream.getvalue().splitlines() == [
        "[1/1] base seed 0: training, epoch 2 of 2, loss 12.3, 2 of 4, 30 s",
        "[1/1] base seed 0: evaluating, 60 s",
    ]
