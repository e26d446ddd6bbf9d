"""The types of a stored record, as far as its readers rely on them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StrictInt, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic needs it below Python 3.12

__all__ = ["check_shape"]

_Number = Annotated[float, Field(strict=True, allow_inf_nan=False, lt=1e300, gt=-1e300)]
_Text = Annotated[str, Field(strict=True)]
_Facts = dict[_Text, Any]
_ANY = ConfigDict(extra="allow")


class _Estimate(TypedDict, total=False):
    __pydantic_config__ = _ANY  # type: ignore[misc]
    value: _Number | None
    low: _Number | None
    high: _Number | None
    tolerance: _Number | None
    note: _Text
    unit: _Text
    heading: _Text


class _Timing(TypedDict, total=False):
    __pydantic_config__ = _ANY  # type: ignore[misc]
    value: _Number | None
    rounds: list[Annotated[_Number, Field(gt=0)]]
    reference: list[Annotated[_Number, Field(gt=0)]]
    note: _Text
    unit: _Text


class _Threshold(TypedDict, total=False):
    __pydantic_config__ = _ANY  # type: ignore[misc]
    distance: _Number | None
    note: _Text
    remarks: dict[_Text, _Text]


class _Intervals(TypedDict):
    __pydantic_config__ = _ANY  # type: ignore[misc]
    level: _Number | None


class _Protocol(TypedDict, total=False):
    __pydantic_config__ = _ANY  # type: ignore[misc]
    text: _Text


class _Width(TypedDict, total=False):
    __pydantic_config__ = _ANY  # type: ignore[misc]
    threshold: _Threshold


class _Evaluation(TypedDict, total=False):
    __pydantic_config__ = _ANY  # type: ignore[misc]
    threshold: _Threshold | None
    intervals: _Intervals
    protocol: _Protocol
    widths: dict[_Text, _Width]
    queries: StrictInt


class _Training(TypedDict, total=False):
    __pydantic_config__ = _ANY  # type: ignore[misc]
    loss_variation: _Number | None
    curves: dict[_Text, list[_Number | None]]


class _Measured(TypedDict, total=False):
    __pydantic_config__ = _ANY  # type: ignore[misc]
    turns: dict[_Text, _Text]
    reference_minimum: _Number | None


class _Record(TypedDict, total=False):
    __pydantic_config__ = _ANY  # type: ignore[misc]
    suite: _Text
    case: _Text
    seed: StrictInt
    fingerprint: _Text
    status: Literal["done", "failed"]
    error: _Text
    finished: _Text
    axes: dict[_Text, Any]
    settings: _Facts
    metrics: dict[_Text, _Estimate]
    evaluation: _Evaluation
    size: dict[_Text, _Number | None]
    speed: dict[_Text, _Timing]
    memory: dict[_Text, _Timing]
    measured: _Measured
    data: _Facts
    training: _Training
    notes: list[_Text]
    components: dict[_Text, _Facts]
    conditions: _Facts
    environment: _Facts
    seconds: dict[_Text, _Number]


@cache
def _adapter() -> TypeAdapter[Any]:
    return TypeAdapter(_Record)


def check_shape(data: Mapping[str, Any]) -> None:
    """Raise ValueError for a value of another type than readers of a record rely on, and for a number that is
    not finite. data: of a record of the current schema."""
    try:
        _adapter().validate_python(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{place}: {first['msg'][:1].lower()}{first['msg'][1:]}") from None
