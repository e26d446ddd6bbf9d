"""Runs that take a given measurement instead of starting a measuring process, which takes seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest

from mlbench import runner
from mlbench.measurement.result import Measurement
from mlbench.planning.plan import Case


def stub_measuring(patch: pytest.MonkeyPatch, found: Measurement | Callable[[], Measurement]) -> None:
    """found: of every case, or a function that returns it or raises."""

    def measure(cases: Sequence[Case], *_: object) -> Iterator[tuple[Case, Measurement]]:
        return ((case, found() if callable(found) else found) for case in cases)

    patch.setattr(runner.MeasuringProcess, "prepare", lambda self: None)
    patch.setattr(runner, "measure", measure)
