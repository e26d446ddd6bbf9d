"""The record: everything learned from one case, as plain data with a schema version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any

from mlbench.errors import StoreError

__all__ = ["MEASURED", "SCHEMA", "Estimate", "Record", "Timing", "parse_json"]

#: Version of the stored form. Every past version stays readable for ever.
SCHEMA = 5


#: Levels of lists and mappings in what is read; a record has five.
_MOST_LEVELS = 100

#: What is measured of a model beside its metrics, by name: the unit, and whether more is better. Speeds and
#: memory have a `Timing` (`Record.speed`, `Record.memory`), the rest is in `Record.size`.
MEASURED: Mapping[str, tuple[str, bool]] = MappingProxyType(
    {
        "images_per_second": ("images/s", True),
        "latency_p50": ("ms", False),
        "latency_p95": ("ms", False),
        "training_images_per_second": ("images/s", True),
        "onnx_images_per_second": ("images/s", True),
        "peak_host": ("bytes", False),
        "peak_cuda": ("bytes", False),
        "training_peak_host": ("bytes", False),
        "training_peak_cuda": ("bytes", False),
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
    """A measured value. value: None where there is none, and note says why. low, high: its interval, None
    where there is none. higher_is_better: None where neither direction is better."""

    value: float | None
    low: float | None = None
    high: float | None = None
    note: str = ""
    unit: str = ""
    higher_is_better: bool | None = True


@dataclass(frozen=True, slots=True)
class Timing:
    """What was measured in several rounds of one process. value: their median where there are any; None where
    it could not be measured, and note says why ("out of memory at batch size 512"). reference: seconds of a
    workload that never changes, timed on both sides of each round; () where that says nothing about it."""

    value: float | None
    rounds: tuple[float, ...] = ()
    unit: str = ""
    higher_is_better: bool = True
    note: str = ""
    reference: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One case that was run.

    status: "done" or "failed". error: one line, "" when done. metrics: by name. evaluation: the threshold and
    where it comes from, how many pairs were compared and how, and the sweep of thresholds. size: of the
    deployed model (backbone and neck) in parameters, bytes and operations; centres, teacher: the class
    centres and whatever else only training needs, without what an optimiser keeps of them; None where it is
    not known. speed: by name. memory: peaks in bytes by name. measured: how speed and memory were measured.
    data: versions, sizes and notes of the data set. training: steps, seconds, curves. axes: the case's label
    on each axis of the suite's matrix. components: provenance of each. conditions: what can change the result
    besides settings and seed: "data" and "weights" (versions), "core" (hash of the core's code), "code" (hash
    of that and of the components), "libraries" (their versions), "device" (kind and product), "threads" (None
    on a GPU). finished: UTC, ISO 8601.
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

    def plain(self) -> dict[str, Any]:
        """As plain JSON data."""
        return asdict(self)

    @classmethod
    def from_plain(cls, data: Mapping[str, Any], where: str) -> Record:
        """A record from stored data. Raises StoreError, naming `where`, for what is not a record."""
        version: Any = data.get("schema")
        if version not in range(1, SCHEMA + 1):
            raise StoreError(f"{where}: record schema {version!r}; this mlbench reads 1 to {SCHEMA}")
        try:
            for upgrade in (_from_1, _from_2, _from_3, _from_4)[version - 1 :]:
                data = upgrade(data)
            known = {name: value for name, value in data.items() if name in cls.__dataclass_fields__}
            _check(known)
            known["metrics"] = {name: Estimate(**each) for name, each in known.get("metrics", {}).items()}
            for name in ("speed", "memory"):
                known[name] = {key: _timing(each) for key, each in known.get(name, {}).items()}
            return cls(**{**known, "notes": tuple(known.get("notes", ()))})
        except (TypeError, AttributeError, ValueError) as error:
            raise StoreError(f"{where}: not a record ({error})") from None


def parse_json(text: str | bytes) -> Any:
    """JSON without the numbers that are none (NaN and infinity), nested no deeper than anyone means it to be:
    what reads it is recursive. Raises ValueError."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no number")

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


def _check(data: Mapping[str, Any]) -> None:
    """Raise ValueError for values that nobody can count with or look up."""
    for name in ("suite", "case", "fingerprint", "status", "error", "finished"):
        if not isinstance(data.get(name, ""), str):
            raise ValueError(f"{name}: expected text")
    if type(data.get("seed")) is not int:
        raise ValueError("seed: expected a whole number")
    groups = ("metrics", "speed", "memory", "size")
    for name in (*groups, "data", "measured", "environment", "conditions", "settings", "components"):
        if not isinstance(data.get(name, {}), Mapping):
            raise ValueError(f"{name}: expected a mapping")
    for group in groups:
        for name, each in data.get(group, {}).items():
            values = [each]
            if isinstance(each, Mapping):
                rounds = [*each.get("rounds", ()), *each.get("reference", ())]
                values = [*(each.get(field) for field in ("value", "low", "high")), *rounds]
            if not all(value is None or _is_finite(value) for value in values):
                raise ValueError(f"{group}.{name}: expected a number")
            if isinstance(each, Mapping) and not all(value > 0 for value in rounds):
                raise ValueError(f"{group}.{name}: expected rounds above 0")
    quiet = data.get("measured", {}).get("quiet")
    if quiet is not None and not _is_finite(quiet):
        raise ValueError("measured.quiet: expected a number")


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _timing(data: Mapping[str, Any]) -> Timing:
    return Timing(**{**data, **{name: tuple(data.get(name, ())) for name in ("rounds", "reference")}})


def _from_1(data: Mapping[str, Any]) -> dict[str, Any]:
    """Schema 1 kept metrics as bare numbers, and the threshold by the name of the only policy there was."""
    metrics = {
        {"f1_threshold": "threshold"}.get(name, name): (
            {"value": value, "unit": "distance", "higher_is_better": None}
            if name.endswith("threshold")
            else {"value": value}
        )
        for name, value in data.get("metrics", {}).items()
    }
    return {**data, "metrics": metrics}


def _from_2(data: Mapping[str, Any]) -> dict[str, Any]:
    """Schema 2 kept one speed, and how it was measured beside it."""
    old = dict(data.get("speed", {}))
    speed = {}
    if "images_per_second" in old:
        speed["images_per_second"] = {
            "value": old.pop("images_per_second"),
            "rounds": old.pop("rounds", ()),
            "unit": "images/s",
            "note": old.pop("error", ""),
        }
    return {**data, "speed": speed, "measured": old}


def _from_3(data: Mapping[str, Any]) -> dict[str, Any]:
    """Schema 3 kept one reference for all speeds, as one of them."""
    speed = dict(data.get("speed", {}))
    reference = speed.pop("reference", {}).get("rounds", ())
    on_cpu = str(data.get("environment", {}).get("device", "cpu")) == "cpu"
    # ONNX Runtime works on the CPU, wherever the reference did.
    beside = {name: reference if on_cpu or not name.startswith("onnx") else () for name in speed}
    speed = {name: {**each, "reference": beside[name]} for name, each in speed.items()}
    return {**data, "speed": speed}


def _from_4(data: Mapping[str, Any]) -> dict[str, Any]:
    """Schema 4 kept of the conditions what stands elsewhere in the record, and no hash of the core's code."""
    environment = data.get("environment", {})
    kind = str(environment.get("device", "")).partition(":")[0]
    found = {
        "data": data.get("data", {}).get("version"),
        "libraries": environment.get("libraries"),
        "device": f"{kind} {environment.get('device_product', '')}" if kind else None,
        "threads": environment.get("threads") if kind == "cpu" else None,
    }
    conditions = {name: value for name, value in found.items() if value is not None}
    return {**data, "conditions": conditions, "schema": SCHEMA}
