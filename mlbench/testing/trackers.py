"""Checks of trackers."""

from __future__ import annotations

import contextlib
import copy
import io
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal
from unittest import SkipTest

from mlbench.contracts.options import TrackerContext
from mlbench.contracts.tracking import FinishedRun, TrackedCase
from mlbench.errors import TrackerError
from mlbench.records.record import Estimate, Record, Timing
from mlbench.testing.check import Subject, expect
from mlbench.testing.random_state import untouched

__all__ = ["CHECKS"]

_EVENTS = ("case_started", "epoch", "case_finished", "run_finished")

#: A call of a tracker: the event and its arguments.
_Event = tuple[str, tuple[Any, ...]]


def _case(name: str) -> TrackedCase:
    settings = {
        "neck": {"name": "gap", "dim": 16},
        "recipe": {"name": "standard", "epochs": 2, "betas": [0.9, 0.99]},
        "metrics": {"retrieval": {"k": [1, 5]}},
        "precision": "fp32",
        "teacher": None,
    }
    return TrackedCase("made up", name, 3, name * 8, {"neck.name": name}, settings, 2, "cpu")


def _record(name: str, *, failed: bool = False) -> dict[str, Any]:
    """The plain form of a made-up record."""
    found = Record(
        suite="made up",
        case=name,
        seed=3,
        # As where weights were downloaded while the case ran.
        fingerprint=name[::-1] * 8 + "00",
        status="failed" if failed else "done",
        error="OutOfMemoryError: made up" if failed else "",
        axes={"neck.name": name},
        settings=dict(_case(name).settings),
        metrics={} if failed else {"f1": Estimate(0.5, 0.4, 0.6), "recall_at_1@8": Estimate(None, note="no")},
        size={} if failed else {"parameters": 7, "flops": None},
        speed={"images_per_second": Timing(100.0, (100.0,), "images/s"), "latency_p50": Timing(None)},
        notes=("a note",),
        seconds={"total": 1.5},
        finished="2026-01-01T10:00:00+00:00",
    )
    return found.plain()


def _started(name: str, position: int = 1) -> Iterator[_Event]:
    yield "case_started", (_case(name), position, 2)
    values = {"loss": 2.0, "loss_deviation": 0.1, "lr": 0.01, "seconds": 0.5, "images_per_second": 99.0}
    yield "epoch", (_case(name), 1, values)
    yield "epoch", (_case(name), 2, {**values, "loss cosface": 1.0, "calibration_f1": 0.5})


def _whole_run() -> list[_Event]:
    records = [_record("good"), _record("bad", failed=True)]
    claims = [{"id": "one", "verdict": "supported", "sentence": "It is so."}]
    finished = FinishedRun("finished", (*records, _record("earlier")), claims)
    return [
        *_started("good"),
        ("case_finished", (records[0],)),
        *_started("bad", 2),
        ("case_finished", (records[1],)),
        ("run_finished", (finished,)),
    ]


def _stopped_run(events: Sequence[_Event], status: Literal["interrupted", "failed"]) -> list[_Event]:
    """The events, and the end of the run after them."""
    records = tuple(arguments[0] for event, arguments in events if event == "case_finished")
    return [*events, ("run_finished", (FinishedRun(status, records),))]


def _build(subject: Subject, folder: Path) -> Any:
    try:
        found = subject.made_options().build(TrackerContext("made up", "Made up", folder / "made up"))
    except TrackerError as error:
        raise SkipTest(f"{subject} cannot be used here: {error}") from None
    expect(found is not None, "build returns None; return an object with methods for the events")
    return found


def _play(subject: Subject, events: Sequence[_Event], folder: Path) -> None:
    """Build the tracker and call it with the events."""
    tracker = _build(subject, folder)
    (folder / "made up").mkdir(exist_ok=True)
    for event, arguments in events:
        method = getattr(tracker, event, None)
        if method is None:
            continue
        given = copy.deepcopy(arguments)
        method(*given)
        expect(
            given == arguments,
            f"{event}() changes what it is given; copy it before, as other code may read it",
        )


@contextlib.contextmanager
def _elsewhere() -> Iterator[Path]:
    """A folder that is the current one inside the block."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, contextlib.chdir(name):
        yield Path(name)


def tracker_has_an_event(subject: Subject) -> None:
    with _elsewhere() as folder:
        tracker = _build(subject, folder)
        known = [event for event in _EVENTS if callable(getattr(tracker, event, None))]
        expect(
            known, f"build returns {tracker!r}, which has none of the methods {', '.join(_EVENTS)}; write one"
        )
        made = [path.name for path in folder.iterdir()]
        expect(not made, f"build creates {', '.join(made)}; make files at the first event, not before")


def tracker_takes_every_event(subject: Subject) -> None:
    with _elsewhere() as folder:
        _play(subject, _whole_run(), folder)


def tracker_takes_a_run_that_stops(subject: Subject) -> None:
    whole = _whole_run()
    with _elsewhere() as folder:
        for count in (0, 1, 2, 4):
            status: Literal["interrupted", "failed"] = "interrupted" if count else "failed"
            _play(subject, _stopped_run(whole[:count], status), folder)


def tracker_leaves_the_process_alone(subject: Subject) -> None:
    variables, place, printed = dict(os.environ), os.getcwd(), io.StringIO()
    with (
        _elsewhere() as folder,
        untouched("the tracker", "draw from a generator of its own"),
        contextlib.redirect_stdout(printed),
    ):
        _play(subject, _whole_run(), folder)
        here = Path.cwd()
        expect(
            here.samefile(folder),
            f"the tracker changes the current folder to {here}; keep it, and pass whole paths",
        )
    assert os.getcwd() == place
    changed = sorted(
        name
        for name in variables.keys() | os.environ.keys()
        if variables.get(name) != os.environ.get(name) and name != "PWD"
    )
    for name in changed:
        os.environ.pop(name, None)
        os.environ.update({name: variables[name]} if name in variables else {})
    expect(
        not changed,
        f"the tracker changes the environment variables {', '.join(changed)}; set them back after each call",
    )
    line = printed.getvalue().strip().splitlines()[:1]
    expect(
        not printed.getvalue(),
        f"the tracker prints {line[0] if line else ''!r} to stdout, which is for results; write to stderr",
    )


CHECKS: dict[str, tuple[Callable[[Subject], None], ...]] = {
    "tracker": (
        tracker_has_an_event,
        tracker_takes_every_event,
        tracker_takes_a_run_that_stops,
        tracker_leaves_the_process_alone,
    )
}
