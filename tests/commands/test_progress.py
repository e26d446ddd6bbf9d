from __future__ import annotations

import io
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from rich.console import Console

from mlbench.commands.progress import RunProgress
from mlbench.planning.plan import Plan
from mlbench.records.record import Estimate, Record

DONE = Record(
    suite="toy",
    case="base",
    seed=0,
    fingerprint="0",
    status="done",
    metrics={"recall_at_1": Estimate(0.91), "f1": Estimate(0.5)},
)
FAILED = Record(
    suite="toy",
    case="base",
    seed=0,
    fingerprint="0",
    status="failed",
    error=f"[Errno 2] {'x' * 200} :smile:",
)


def heard(planned: Callable[..., Plan], *, terminal: bool) -> str:
    """What stderr gets to see of one case that ends well and one that does not."""
    stream = io.StringIO()
    console = Console(file=stream, width=80, force_terminal=terminal)
    (case,) = planned().cases
    with RunProgress(console) as progress:
        for position, record in enumerate((DONE, FAILED), 1):
            progress.case(case, position, 2)
            for done in (0, 5, 10):
                progress.stage("training", done, 10)
            progress.stage("evaluating", 0, 1)
            progress.finished(record)
    return stream.getvalue()


def test_a_file_gets_one_line_a_case(planned: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 10.0, 11.25, 20.0, 20.5])  # when it begins, and each case from its start to its end
    monkeypatch.setattr("mlbench.commands.progress.time", SimpleNamespace(perf_counter=lambda: next(clock)))
    assert heard(planned, terminal=False).splitlines() == [
        "[1/2] base seed 0: Recall@1 0.910  F1 0.500  (1.2 s)",
        f"[2/2] base seed 0: failed: [Errno 2] {'x' * 200} :smile:  (0.5 s)",
    ]


def test_a_terminal_gets_a_bar_that_names_case_and_stage(planned: Callable[..., Plan]) -> None:
    text = heard(planned, terminal=True)
    assert "[1/2] base seed 0: Recall@1 0.910" in text
    assert "[2/2] base seed 0: evaluating" in text
