"""The record: everything learned from one case, as plain data with a schema version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any

from mlbench.errors import StoreError

__all__ = ["METRICS", "SCHEMA", "Metric", "Record"]

#: Version of the stored form. Every past version stays readable for ever.
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Metric:
    """A named value in a record: what it is, its unit, and which direction is better (None: neither)."""

    summary: str
    unit: str = ""
    higher_is_better: bool | None = True


#: What an evaluation reports. Thresholds are cosine distances: two images are "the same" at or below.
METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "recall_at_1": Metric("share of queries whose nearest gallery image is of the same class"),
        "f1": Metric("F1 over all test pairs at the threshold fitted on the calibration split"),
        "precision": Metric("precision over all test pairs at that threshold"),
        "recall": Metric("recall over all test pairs at that threshold"),
        "f1_threshold": Metric("cosine distance with the best F1 on the calibration split", "distance", None),
        "f1_optimistic": Metric("best F1 that any threshold reaches on the test pairs themselves"),
        "f1_optimistic_threshold": Metric("the threshold that reaches it", "distance", None),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One case that was run.

    status: "done" or "failed". error: one line, "" when done. metrics: see `METRICS`. size: of the deployed
    model (backbone and neck; class centres apart). speed: images per second and how it was measured.
    data: versions, sizes and notes of the data set. training: steps, seconds, curves. axes: the case's
    label on each axis of the suite's matrix. components: provenance of each. finished: UTC, ISO 8601.
    """

    suite: str
    case: str
    seed: int
    fingerprint: str
    status: str
    error: str = ""
    axes: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    size: Mapping[str, Any] = field(default_factory=dict)
    speed: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    components: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    finished: str = ""
    schema: int = SCHEMA

    @property
    def key(self) -> str:
        """Name of the record within its suite: "case-s0-1a2b3c4d"."""
        return f"{self.case}-s{self.seed}-{self.fingerprint[:8]}"

    def plain(self) -> dict[str, Any]:
        """As plain JSON data."""
        return asdict(self)

    @classmethod
    def from_plain(cls, data: Mapping[str, Any], where: str) -> Record:
        """A record from stored data. Raises StoreError, naming `where`, for what is not a record."""
        version = data.get("schema")
        if version != SCHEMA:
            raise StoreError(f"{where}: record schema {version!r}; this mlbench reads {SCHEMA}")
        known = {name: value for name, value in data.items() if name in cls.__dataclass_fields__}
        try:
            return cls(**{**known, "notes": tuple(known.get("notes", ()))})
        except TypeError as error:
            raise StoreError(f"{where}: not a record ({error})") from None
