"""A request: options of the command line that select and change the cases of a suite file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mlbench.environment import find_device
from mlbench.planning.plan import Plan, make_plan
from mlbench.planning.suite import load_suite
from mlbench.registry import Registry

__all__ = ["PlanRequest"]


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """size: None for the first of the suite. overrides: "key=value" texts that take precedence over the file.
    cases: glob patterns of case names, with commas between.
    seeds: () for the suite's seeds. limit: images of a split, None for all. device: see `find_device`.
    precision: None for the precision of each case. track: trackers besides the suite's."""

    size: str | None = None
    overrides: tuple[str, ...] = ()
    cases: str = "*"
    seeds: tuple[int, ...] = ()
    device: str = "auto"
    precision: str | None = None
    limit: int | None = None
    track: tuple[str, ...] = ()

    def plan(self, path: Path, registry: Registry) -> Plan:
        """The plan of a suite file. Raises SuiteError, DeviceError."""
        precision = (f"precision={self.precision}",) if self.precision else ()
        suite = load_suite(
            path, registry, overrides=(*self.overrides, *precision), size=self.size, track=self.track
        )
        return make_plan(
            suite, find_device(self.device), cases=self.cases, seeds=self.seeds, limit=self.limit
        )
