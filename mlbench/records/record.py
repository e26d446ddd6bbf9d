"""The record: everything learned from one case, as plain data with a schema version."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import median
from types import MappingProxyType
from typing import Any

from mlbench.contracts import Quantity
from mlbench.errors import StoreError
from mlbench.records.shape import check_shape
from mlbench.records.upgrade import upgraded

__all__ = [
    "DISTURBED",
    "EVALUATED",
    "MEASURED",
    "PAIR_LIST",
    "SCHEMA",
    "THRESHOLD",
    "TRAINED",
    "Estimate",
    "Record",
    "Timing",
    "default_tolerances",
    "parse_json",
]

#: Version of the stored form. Every past version stays readable.
SCHEMA = 7

#: Levels of lists and mappings that may be nested in JSON; a record has five.
_MOST_LEVELS = 100

#: Name of the fitted threshold among the metrics of a record.
THRESHOLD = "threshold"

#: What evaluation itself adds to the metrics of every record, by name.
EVALUATED: Mapping[str, Quantity] = MappingProxyType(
    {
        THRESHOLD: Quantity(
            "the fitted threshold: images at most this far apart are the same",
            "distance",
            None,
            heading="at distance",
        )
    }
)

#: What training adds to every record with at least one epoch, by name; the values are in `Record.training`.
TRAINED: Mapping[str, Quantity] = MappingProxyType(
    {
        "loss_variation": Quantity(
            "standard deviation of the loss over the steps of the last epoch, as a share of their mean",
            higher_is_better=False,
        ),
    }
)

#: A machine counts as disturbed if the reference workload takes this many times its lowest time there.
DISTURBED = 1.15

#: First letters of the names of metrics over a list of pairs; the other metrics are over all pairs.
PAIR_LIST = "pair_list_"

#: What is measured of a model besides its metrics, by name: the unit, and whether more is better. Speeds and
#: memory have a `Timing` (`Record.speed`, `Record.memory`), the rest is in `Record.size`.
MEASURED: Mapping[str, tuple[str, bool]] = MappingProxyType(
    {
        "images_per_second": ("images/s", True),
        "latency_p50": ("ms", False),
        "latency_p95": ("ms", False),
        "training_images_per_second": ("images/s", True),
        "onnx_images_per_second": ("images/s", True),
        "peak_cpu": ("bytes", False),
        "peak_cuda": ("bytes", False),
        "training_peak_cpu": ("bytes", False),
        "training_peak_cuda": ("bytes", False),
        "peak_host": ("bytes", False),
        "training_peak_host": ("bytes", False),
        "parameters": ("", False),
        "bytes": ("bytes", False),
        "centres": ("", False),
        "centres_bytes": ("bytes", False),
        "teacher": ("", False),
        "teacher_bytes": ("bytes", False),
        "flops": ("", False),
        "checkpoint_float32": ("bytes", False),
        "checkpoint_float16": ("bytes", False),
        "onnx": ("bytes", False),
    }
)


@dataclass(frozen=True, slots=True)
class Estimate:
    """The value of a metric. value: None where there is none; note then gives the reason. low, high: its
    interval, None where there is none. The other fields are those that the metric announced (see
    `mlbench.contracts.Quantity`), so that a report needs no plugin."""

    value: float | None
    low: float | None = None
    high: float | None = None
    note: str = ""
    unit: str = ""
    higher_is_better: bool | None = True
    heading: str = ""
    headline: bool = False
    tolerance: float | None = None

    def announced(self, quantity: Quantity) -> Estimate:
        """The same value with the fields that a metric announced."""
        names = ("unit", "higher_is_better", "heading", "headline", "tolerance")
        return replace(self, **{name: getattr(quantity, name) for name in names})


@dataclass(frozen=True, slots=True)
class Timing:
    """A speed or a memory peak, measured in several rounds of one process. value: the median of the rounds;
    None where it could not be measured, and note gives the reason ("out of memory at batch size 512").
    reference: seconds of the reference workload on either side of each round; () where it does not apply."""

    value: float | None
    rounds: tuple[float, ...] = ()
    unit: str = ""
    higher_is_better: bool = True
    note: str = ""
    reference: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The result of one case and seed.

    status: "done" or "failed". error: one line, "" when done. metrics: by name, in the order of their columns
    (see `mlbench.records.report`). evaluation: the threshold and its calibration, the protocol, the numbers
    of pairs, and the sweep of thresholds. size: of the deployed model (backbone and neck) in parameters,
    bytes and operations; centres, teacher: of the class centres and other parts that only training needs,
    without the state of the optimiser; None where it is not known. speed: by name. memory: peaks in bytes by
    name. measured: how speed and memory were measured. data: versions, sizes and notes of the data set.
    training: steps, seconds, curves, and the quantities of `TRAINED`. axes: the case's label on each axis of
    the suite's matrix. components: provenance of each. conditions: what can change the result besides
    settings and seed: "data" and "weights" (versions), "core" (hash of the core's code), "code" (hash of the
    core and the components), "libraries" (their versions), "component_libraries" (those of third-party
    components, where there are any), "device" (kind and product), "threads" (None on a
    GPU). finished: UTC, ISO 8601.
    """

    suite: str
    case: str
    seed: int
    fingerprint: str
    status: str
    error: str = ""
    axes: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Estimate] = field(default_factory=dict)
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    size: Mapping[str, int | None] = field(default_factory=dict)
    speed: Mapping[str, Timing] = field(default_factory=dict)
    memory: Mapping[str, Timing] = field(default_factory=dict)
    measured: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    components: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    conditions: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    finished: str = ""
    schema: int = SCHEMA

    @property
    def key(self) -> str:
        """Name of the record within its suite: "case-s0-1a2b3c4d"."""
        return f"{self.case}-s{self.seed}-{self.fingerprint[:8]}"

    def estimate(self, name: str) -> Estimate | None:
        """A metric, or a quantity of `TRAINED`; None where the record has neither."""
        if name in self.metrics or name not in TRAINED or self.training.get(name) is None:
            return self.metrics.get(name)
        return Estimate(float(self.training[name])).announced(TRAINED[name])

    def is_disturbed(self, speed: str) -> bool:
        """Whether other work slowed the machine while a speed was measured, by the median of the reference
        workload beside its rounds."""
        reference = self.speed[speed].reference if speed in self.speed else ()
        lowest = self.measured.get("reference_minimum")
        return bool(reference) and lowest is not None and median(reference) > DISTURBED * lowest

    def turn(self, speed: str) -> str:
        """Name of the group of cases that took the rounds of a speed in turn; "" for records from before it
        was stored."""
        return str(self.measured.get("turns", {}).get(speed, ""))

    def session(self, speed: str) -> str:
        """Name of the session in which a speed was measured. It has several groups, one after the other,
        where its models are too large for one: "a1b2.0" and "a1b2.1" are groups of the session "a1b2"."""
        return self.turn(speed).partition(".")[0]

    def plain(self) -> dict[str, Any]:
        """As plain JSON data."""
        return asdict(self)

    @classmethod
    def from_plain(cls, data: Mapping[str, Any], where: str) -> Record:
        """A record from stored data of any schema. Raises StoreError, with `where`, for other data."""
        version: Any = data.get("schema")
        if version not in range(1, SCHEMA + 1):
            raise StoreError(f"{where}: record schema {version!r}; this mlbench reads 1 to {SCHEMA}")
        try:
            data = upgraded(data, version)
            known = {name: value for name, value in data.items() if name in cls.__dataclass_fields__}
            known["schema"] = SCHEMA
            check_shape(known)
            known["metrics"] = {name: Estimate(**each) for name, each in known.get("metrics", {}).items()}
            for name in ("speed", "memory"):
                known[name] = {key: _timing(each) for key, each in known.get(name, {}).items()}
            return cls(**{**known, "notes": tuple(known.get("notes", ()))})
        except (TypeError, AttributeError, ValueError) as error:
            raise StoreError(f"{where}: not a record ({error})") from None


def default_tolerances(records: Sequence[Record]) -> dict[str, float]:
    """The tolerances that metrics announced, by name. Of different ones the last record's counts."""
    return {
        name: each.tolerance
        for record in records
        for name, each in record.metrics.items()
        if each.tolerance is not None
    }


def parse_json(text: str | bytes) -> Any:
    """JSON without NaN and infinity, nested at most 100 levels deep, as its readers are recursive. Raises
    ValueError."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not a number")

    too_deep = f"nested more than {_MOST_LEVELS} levels deep"
    try:
        data = json.loads(text, parse_constant=refuse)
    except RecursionError:
        raise ValueError(too_deep) from None
    level = [data]
    for _ in range(_MOST_LEVELS):
        level = [
            inner
            for each in level
            for inner in (each.values() if isinstance(each, dict) else each if isinstance(each, list) else ())
            if isinstance(inner, dict | list)
        ]
        if not level:
            return data
    raise ValueError(too_deep)


def _timing(data: Mapping[str, Any]) -> Timing:
    return Timing(**{**data, **{name: tuple(data.get(name, ())) for name in ("rounds", "reference")}})
