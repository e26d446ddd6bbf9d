"""From base, matrix, include, exclude and named cases to the list of variants of a suite."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlbench.document import KeyPath
from mlbench.errors import SuiteError, hint
from mlbench.settings import SECTIONS, Settings

__all__ = ["Variant", "expand"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*$")

Where = Callable[[KeyPath], str]


@dataclass(frozen=True, slots=True)
class Variant:
    """One experiment before it is repeated over seeds. axes: its label on each axis of the matrix."""

    name: str
    axes: Mapping[str, str]
    settings: Settings


@dataclass(frozen=True, slots=True)
class _Axis:
    """An axis of the matrix: label to (overrides, key path)."""

    name: str
    values: Mapping[str, tuple[Mapping[str, Any], KeyPath]]


def expand(
    base: Mapping[str, Any],
    matrix: Mapping[str, Any],
    include: Sequence[Mapping[str, Any]],
    exclude: Sequence[Mapping[str, Any]],
    cases: Mapping[str, Mapping[str, Any]],
    where: Where,
) -> list[Variant]:
    """Every variant, in the order of the file: the matrix without `exclude`, `include`, then `cases`.

    A suite with neither matrix nor cases has one variant, "base". Raises SuiteError.
    """
    start = Settings().updated(base, where, ("base",))
    axes = [_axis(name, values, where) for name, values in matrix.items()]
    by_name = {axis.name: axis for axis in axes}
    variants = []
    if axes:
        dropped = [_labels(entry, by_name, where, ("exclude", i)) for i, entry in enumerate(exclude)]
        for combination in itertools.product(*(axis.values for axis in axes)):
            labels = dict(zip(by_name, combination, strict=True))
            if not any(all(labels[name] == label for name, label in entry.items()) for entry in dropped):
                variants.append(_variant(start, labels, by_name, where))
    elif exclude or include:
        key = "exclude" if exclude else "include"
        raise SuiteError(f"{where((key,))}: there is no matrix to {key} from")
    for index, entry in enumerate(include):
        variants.append(_included(start, entry, by_name, where, ("include", index)))
    for name, overrides in cases.items():
        key = ("cases", name)
        _check_name(name, where(key))
        variants.append(Variant(name, {}, start.updated(overrides, where, key)))
    if not axes and not cases:
        variants.append(Variant("base", {}, start))
    return variants


def _axis(name: str, values: Any, where: Where) -> _Axis:
    """An axis is a key of the case ("neck", "backbone.weights") with values, or any other word with a
    mapping from label to overrides, to change several keys together."""
    key: KeyPath = ("matrix", name)
    is_setting = name.partition(".")[0] in SECTIONS
    labelled: dict[str, tuple[Mapping[str, Any], KeyPath]] = {}
    if isinstance(values, Mapping):
        for label, value in values.items():
            if not is_setting and not isinstance(value, Mapping):
                raise SuiteError(
                    f"{where((*key, label))}: expected a mapping of settings, such as "
                    f"{{backbone.weights: none}}, since {name!r} is no setting itself "
                    f"({hint(name, SECTIONS)})"
                )
            labelled[label] = ({name: value}, (*key, label)) if is_setting else (value, (*key, label))
    elif isinstance(values, list):
        if not is_setting:
            raise SuiteError(f"{where(key)}: unknown key {name!r} ({hint(name, SECTIONS)})")
        for index, value in enumerate(values):
            label = _label(value, where((*key, index)))
            if label in labelled:
                raise SuiteError(
                    f"{where((*key, index))}: two values of this axis would be called {label!r}; "
                    f"name them, as in {name}: {{first: ..., second: ...}}"
                )
            labelled[label] = ({name: value}, (*key, index))
    if not labelled:
        raise SuiteError(f"{where(key)}: expected a list of values or a mapping of labels to values")
    for label, (_, label_key) in labelled.items():
        _check_name(label, where(label_key))
    return _Axis(name, labelled)


def _label(value: Any, where: str) -> str:
    if isinstance(value, Mapping):
        if "name" not in value:
            raise SuiteError(f"{where}: needs a name, or write the axis as a mapping of labels to values")
        value = value["name"]
    if isinstance(value, list):
        raise SuiteError(f"{where}: a list needs a label; write the axis as a mapping of labels to values")
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else re.sub(r"[^A-Za-z0-9._+-]+", "_", str(value))


def _labels(
    entry: Mapping[str, Any], axes: Mapping[str, _Axis], where: Where, key: KeyPath
) -> dict[str, str]:
    """The axes that an entry of include or exclude names, with their labels."""
    result = {}
    for name, value in entry.items():
        if name not in axes:
            raise SuiteError(f"{where((*key, name))}: no axis {name!r} in the matrix ({hint(name, axes)})")
        label = _label(value, where((*key, name)))
        if label not in axes[name].values:
            known = hint(label, axes[name].values)
            raise SuiteError(f"{where((*key, name))}: the axis {name!r} has no value {label!r} ({known})")
        result[name] = label
    return result


def _included(
    start: Settings, entry: Mapping[str, Any], axes: Mapping[str, _Axis], where: Where, key: KeyPath
) -> Variant:
    missing = [name for name in axes if name not in entry]
    if missing:
        raise SuiteError(f"{where(key)}: an included case names every axis; {', '.join(missing)} missing")
    labels = _labels({name: entry[name] for name in axes}, axes, where, key)
    variant = _variant(start, labels, axes, where)
    extra = {name: value for name, value in entry.items() if name not in axes}
    return Variant(variant.name, labels, variant.settings.updated(extra, where, key))


def _variant(
    start: Settings, labels: Mapping[str, str], axes: Mapping[str, _Axis], where: Where
) -> Variant:
    settings = start
    for name, label in labels.items():
        overrides, key = axes[name].values[label]
        # An axis that is a setting was written without its own name as a key; its path is the value's.
        locate = (lambda path, key=key: where((*key, *path[1:]))) if name in overrides else where
        settings = settings.updated(overrides, locate, () if name in overrides else key)
    return Variant("-".join(labels.values()), dict(labels), settings)


def _check_name(name: str, where: str) -> None:
    if not _NAME.match(name):
        raise SuiteError(
            f"{where}: {name!r} cannot name a case (letters, digits, . _ + - and a letter or digit first)"
        )
