"""The reference workload beside other work, and its lowest time on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import fmean
from typing import Any, TypeVar

import torch

from mlbench.environment import environment, find_device
from mlbench.measurement.reference import VERSION, Reference
from mlbench.measurement.reference_minimum import ReferenceMinimum
from mlbench.records.record import DISTURBED

__all__ = ["ReferenceClock"]

_Result = TypeVar("_Result")

#: Duration of the reference workload before and after some work, as a share of the work's.
SHARE = 0.1


class ReferenceClock:
    """Times the reference workload before and after other work. device: a torch name."""

    def __init__(self, device: str) -> None:
        self._reference = Reference(torch.device(device))
        self._minimum = ReferenceMinimum(_facts(device))
        self._best = float("inf")

    @property
    def minimum(self) -> float:
        """Lowest seconds of the reference workload on this machine so far."""
        return self._minimum.seconds

    def beside(self, work: Callable[[], _Result], expected: float) -> tuple[_Result, float]:
        """The result of the work, and the mean seconds of the reference workload before and after it.

        expected: seconds that the work takes. The workload is repeated for a tenth of it: a single run of a
        few milliseconds could miss what slows the machine."""
        before = self._seconds(SHARE * expected)
        result = work()
        seconds = (before + self._seconds(SHARE * expected)) / 2
        self._best = min(self._best, seconds)
        self._minimum.observe(seconds)
        return result, seconds

    def close(self) -> None:
        """Raise the stored minimum slightly if no time came near it: the machine may have become slower."""
        if DISTURBED * self._minimum.seconds < self._best < float("inf"):
            self._minimum.raise_slightly()

    def _seconds(self, duration: float) -> float:
        end = time.perf_counter() + duration
        times = [self._reference.seconds()]
        while time.perf_counter() < end:
            times.append(self._reference.seconds())
        return fmean(times)


def _facts(device: str) -> dict[str, Any]:
    """Facts that the seconds of the reference workload depend on."""
    here = environment(find_device(device), torch.get_num_threads())
    named = ("device", "device_product", "cpu", "cores", "threads", "platform")
    return {**{name: here[name] for name in named}, "torch": torch.__version__, "version": VERSION}
