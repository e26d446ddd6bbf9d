"""Records of one case, made up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlbench.planning.plan import Case
from mlbench.records.record import Estimate, Record, Timing

HERE = {"cpu": "x", "cores": 2, "device": "cpu", "device_product": "x"}


def record(seed: int = 0, **facts: Any) -> Record:
    plain = {"suite": "s", "case": "gap", "fingerprint": "f", "status": "done", "environment": HERE}
    return Record(**{**plain, "seed": seed, **facts})


def planned_record(case: Case, **facts: Any) -> Record:
    """What a run of the case leaves, without its results."""
    plain = {
        "suite": case.suite,
        "case": case.name,
        "seed": case.seed,
        "fingerprint": case.fingerprint,
        "settings": case.spec.plain(),
        "components": case.spec.provenance(),
        "conditions": case.conditions,
        "status": "done",
        "finished": "2026-01-01T10:00:00",
    }
    return Record(**{**plain, **facts})


def scored(values: Sequence[float], name: str = "recall_at_1", **facts: Any) -> list[Record]:
    """Records of one metric with a seed a value."""
    return [
        record(seed, metrics={name: Estimate(value, **facts)}, data={"version": "1"})
        for seed, value in enumerate(values)
    ]


def timed(
    rounds: Sequence[float], reference: Sequence[float] = (), name: str = "images_per_second", **facts: Any
) -> list[Record]:
    better = not name.startswith("latency")
    timing = Timing(rounds[0], tuple(rounds), higher_is_better=better, reference=tuple(reference))
    return [record(speed={name: timing}, measured={"batch_size": 32, "threads": 1}, **facts)]


BEFORE = [0.90, 0.91, 0.89, 0.92]
NOISE = [0.001, -0.001, 0.002, -0.002]
