"""How long cases took on this machine, kept in the cache, to say how long a run will take."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from mlbench.atomic_write import write_atomically
from mlbench.contracts import SPLITS
from mlbench.environment import Device, cache_dir, find_device, usable_cores
from mlbench.errors import StoreError
from mlbench.measurement.subject import stage_key, subjects_of
from mlbench.planning.plan import Case
from mlbench.records.record import Record, parse_json

__all__ = ["Durations", "duration_text"]

_MEASURING = "measuring"


class Durations:
    """Seconds of a training step, of an image's reading and evaluation, and of a measurement, by what they
    depend on. Those of the last run count."""

    def __init__(self, device: Device) -> None:
        facts = json.dumps([device.name, device.product, find_device("cpu").product, usable_cores()])
        self._path = cache_dir() / "durations" / f"{_hash(facts)}.json"
        self._known: dict[str, Any] = {}
        #: Key, steps and images of each case that was asked for: a run asks for the rest before each case.
        self._work: dict[str, tuple[str, int, int]] = {}
        with contextlib.suppress(OSError, ValueError):
            found = parse_json(self._path.read_bytes())
            self._known = found if isinstance(found, dict) else {}

    def learn(self, case: Case, record: Record) -> None:
        """Keep the seconds of a case, unless it failed."""
        if record.status != "done":
            return
        steps = record.training.get("steps") or 0
        rest = record.seconds.get("inputs", 0.0) + record.seconds.get("evaluate", 0.0)
        step = record.seconds.get("train", 0.0) / steps if steps else 0.0
        self._known[_key(case)] = [step, rest / _images(case)]
        self._store()

    def learn_measuring(self, cases: Sequence[Case], seconds: float) -> None:
        """Keep the seconds of measuring some cases."""
        self._known[_MEASURING] = seconds / _rounds(cases)
        self._store()

    def training(self, cases: Sequence[Case]) -> tuple[float, int]:
        """Seconds that training and evaluating the cases takes, and the number of cases of which nothing is
        known."""
        found = [self._of(case) for case in cases]
        return sum(each for each in found if each is not None), found.count(None)

    def measuring(self, cases: Sequence[Case]) -> float:
        """Seconds that measuring the cases takes; 0 if nothing is known."""
        one = self._known.get(_MEASURING)
        return one * _rounds(cases) if isinstance(one, float) else 0.0

    def _of(self, case: Case) -> float | None:
        if case.key not in self._work:
            self._work[case.key] = _key(case), case.forecast.steps, _images(case)
        key, steps, images = self._work[case.key]
        match self._known.get(key):
            case [float(step), float(image)]:
                return step * steps + image * images
        return None

    def _store(self) -> None:
        with contextlib.suppress(StoreError):
            write_atomically(self._path, json.dumps(self._known).encode())


def duration_text(seconds: float) -> str:
    """Seconds as text: "40 s", "3 min", "2.5 h"."""
    if seconds < 100:
        return f"{max(round(seconds), 1)} s"
    return f"{seconds / 60:.0f} min" if seconds < 5940 else f"{seconds / 3600:.1f} h"


def _key(case: Case) -> str:
    """What the seconds of a case depend on, besides its numbers of steps and images."""
    dataset = case.spec.parts["dataset"].entry.component.name
    return _hash(json.dumps([dataset, stage_key(case, "training")]))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _rounds(cases: Sequence[Case]) -> int:
    """Largest number of rounds of all subjects."""
    return sum(subject.case.spec.measure.rounds for subject in subjects_of(cases)[0])


def _images(case: Case) -> int:
    return sum(len(case.dataset.split(name)) for name in SPLITS)
