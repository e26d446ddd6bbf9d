"""The variants of a suite, expanded from base, matrix, include, exclude and named cases."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mlbench.errors import SuiteError, hint
from mlbench.planning.document import KeyPath
from mlbench.planning.settings import SECTIONS, Changes, Settings, Where
from mlbench.planning.sizes import Size

__all__ = ["MAX_CASE_NAME", "MAX_SUITE_NAME", "Variant", "expand"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_NAME_RULE = "letters, digits and . _ + -, a letter or digit first"

#: Longest name of a suite and of a case, so that file names with prefix and suffix stay below 255 characters.
MAX_SUITE_NAME, MAX_CASE_NAME = 60, 150

#: The matrix: axis, to label, to the changes of that value.
_Axes = Mapping[str, Mapping[str, Changes]]


@dataclass(frozen=True, slots=True)
class Variant:
    """One experiment before it is repeated over seeds.

    axes: its label on each axis of the matrix. where: its place in the suite file, as text.
    """

    name: str
    axes: Mapping[str, str]
    settings: Settings
    where: str


def expand(
    base: Mapping[str, Any],
    matrix: Mapping[str, Any],
    include: Sequence[Mapping[str, Any]],
    exclude: Sequence[Mapping[str, Any]],
    cases: Mapping[str, Mapping[str, Any]],
    where: Where,
    size: Size | None = None,
) -> list[Variant]:
    """Every variant, in the order of the file: the matrix without `exclude`, `include`, then `cases`, with
    the changes of a size.

    A suite with neither matrix nor cases has one variant, "base". Raises SuiteError.
    """
    size = size or Size()
    start = Settings().updated(Changes.read(base, where, ("base",)))
    start = start.updated(Changes.read(size.base, where, (*size.key, "base")))
    axes = {name: _axis(name, values, where) for name, values in matrix.items()}
    for key, entries in (("exclude", exclude), ("include", include)):
        if entries and not axes:
            raise SuiteError(f"{where((key,))}: there is no matrix to {key}; write single cases under cases")
    variants = _product(start, axes, exclude, where)
    variants += [
        _included(start, entry, axes, where, ("include", index)) for index, entry in enumerate(include)
    ]
    variants += [_case(start, name, overrides, where, ("cases", name)) for name, overrides in cases.items()]
    if not axes and not cases and not size.cases:
        variants.append(Variant("base", {}, start, where(("base",))))
    if not variants and not size.cases:
        raise SuiteError(f"{where(('exclude',))}: excludes every case")
    _check_names(variants)
    variants = _resized(start, variants, size, where)
    _check_used(start, variants)
    return variants


def _axis(name: str, values: Any, where: Where) -> dict[str, Changes]:
    """An axis is a key of the case ("neck", "backbone.weights") with a list of values or a mapping from
    label to value, or any other word with a mapping from label to settings, to change several together."""
    key: KeyPath = ("matrix", name)
    is_setting = name.partition(".")[0] in SECTIONS
    axis: dict[str, Changes] = {}
    if isinstance(values, Mapping):
        for label, value in values.items():
            here = (*key, label)
            _check_label(label, where(here))
            if is_setting:
                axis[label] = _setting(name, value, where, here)
            elif isinstance(value, Mapping):
                axis[label] = Changes.read(value, where, here)
            else:
                raise SuiteError(
                    f"{where(here)}: expected a mapping of settings, such as {{backbone.weights: none}}, "
                    f"since {name!r} is no setting itself ({hint(name, SECTIONS)})"
                )
    elif isinstance(values, list):
        if not is_setting:
            raise SuiteError(f"{where(key)}: unknown key {name!r} ({hint(name, SECTIONS)})")
        for index, value in enumerate(values):
            here = (*key, index)
            label = _label(value, where(here))
            _check_label(label, where(here))
            if label in axis:
                raise SuiteError(
                    f"{where(here)}: two values of this axis would be called {label!r}; "
                    f"name them, as in {name}: {{first: ..., second: ...}}"
                )
            axis[label] = _setting(name, value, where, here)
    if not axis:
        raise SuiteError(f"{where(key)}: expected a list of values or a mapping of labels to values")
    return axis


def _setting(name: str, value: Any, where: Where, key: KeyPath) -> Changes:
    """Changes of one value of an axis that is a setting. Its own name is not a key at that place."""
    return Changes.read({name: value}, lambda path: where((*key, *path[1:])))


def _check_label(label: str, where: str) -> None:
    if not _NAME.fullmatch(label):
        raise SuiteError(
            f"{where}: {label!r} cannot be part of a case's name ({_NAME_RULE}); "
            "write the axis as a mapping of labels to values"
        )


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


def _product(
    start: Settings, axes: _Axes, exclude: Sequence[Mapping[str, Any]], where: Where
) -> list[Variant]:
    if not axes:
        return []
    excluded = [_labels(entry, axes, where, ("exclude", index)) for index, entry in enumerate(exclude)]
    variants = []
    for combination in itertools.product(*axes.values()):
        labels = dict(zip(axes, combination, strict=True))
        if not any(entry.items() <= labels.items() for entry in excluded):
            changes = [axes[name][label] for name, label in labels.items()]
            variants.append(_combined(start, labels, changes, where(("matrix",))))
    return variants


def _labels(entry: Mapping[str, Any], axes: _Axes, where: Where, key: KeyPath) -> dict[str, str]:
    """The axes that an entry of `exclude` names, with their labels."""
    if not entry:
        raise SuiteError(f"{where(key)}: names no axis; choose from: {', '.join(axes)}")
    result = {}
    for name, value in entry.items():
        here = where((*key, name))
        if name not in axes:
            raise SuiteError(f"{here}: no axis {name!r} in the matrix ({hint(name, axes)})")
        label = _label(value, here)
        if label not in axes[name]:
            raise SuiteError(f"{here}: the axis {name!r} has no value {label!r} ({hint(label, axes[name])})")
        result[name] = label
    return result


def _included(start: Settings, entry: Mapping[str, Any], axes: _Axes, where: Where, key: KeyPath) -> Variant:
    """A combination that the matrix lacks: for each axis one of its labels or, where the axis is a setting,
    another value; further keys set what they name, for this case alone."""
    missing = [name for name in axes if name not in entry]
    if missing:
        raise SuiteError(f"{where(key)}: an included case names every axis; {', '.join(missing)} missing")
    labels, chosen = {}, []
    for name, axis in axes.items():
        here = where((*key, name))
        label = _label(entry[name], here)
        if label in axis:
            changes = axis[label]
        elif name.partition(".")[0] in SECTIONS:
            changes = _setting(name, entry[name], where, (*key, name))
            _check_label(label, here)
        else:
            raise SuiteError(f"{here}: the axis {name!r} has no value {label!r} ({hint(label, axis)})")
        labels[name] = label
        chosen.append(changes)
    variant = _combined(start, labels, chosen, where(key))
    extra = {name: value for name, value in entry.items() if name not in axes}
    settings = variant.settings.updated(Changes.read(extra, where, key))
    return Variant(variant.name, labels, settings, variant.where)


def _combined(start: Settings, labels: Mapping[str, str], changes: Sequence[Changes], where: str) -> Variant:
    together = Changes()
    for part in changes:
        together = together.joined(part)
    return Variant("-".join(labels.values()), labels, start.updated(together), where)


def _case(start: Settings, name: str, overrides: Mapping[str, Any], where: Where, key: KeyPath) -> Variant:
    if not _NAME.fullmatch(name):
        raise SuiteError(f"{where(key)}: {name!r} cannot name a case ({_NAME_RULE})")
    return Variant(name, {}, start.updated(Changes.read(overrides, where, key)), where(key))


def _resized(start: Settings, variants: Sequence[Variant], size: Size, where: Where) -> list[Variant]:
    """The variants with the cases of a size: null removes one, by whichever key it was made; settings change
    one, or make another."""
    found = {variant.name: variant for variant in variants}
    for name, overrides in size.cases.items():
        key = (*size.key, "cases", name)
        if overrides is None:
            if name not in found:
                raise SuiteError(f"{where(key)}: there is no case {name!r} to remove ({hint(name, found)})")
            del found[name]
        elif name in found:
            changes = Changes.read(overrides, where, key)
            found[name] = replace(found[name], settings=found[name].settings.updated(changes))
        else:
            found[name] = _case(start, name, overrides, where, key)
    if not found:
        raise SuiteError(f"{where((*size.key, 'cases'))}: removes every case")
    _check_names(list(found.values()))
    return list(found.values())


def _check_names(variants: Sequence[Variant]) -> None:
    known: dict[str, Variant] = {}
    for variant in variants:
        if len(variant.name) > MAX_CASE_NAME:
            advice = (
                "name the values of the axes, as in {short: value, ...}" if variant.axes else "choose another"
            )
            raise SuiteError(
                f"{variant.where}: the name of the case {variant.name[:40]}... has {len(variant.name)} "
                f"letters; at most {MAX_CASE_NAME} fit into the names of its files; {advice}"
            )
        other = known.setdefault(variant.name, variant)
        if other is not variant:
            raise SuiteError(f"{variant.where}: a case {variant.name!r} is there already, by {other.where}")


def _check_used(start: Settings, variants: Sequence[Variant]) -> None:
    """An option of base that every case loses by naming another component was meant for them."""
    used = {path for variant in variants for path, _ in variant.settings}
    for path, leaf in start:
        section, *option = path
        if option not in ([], ["name"]) and path not in used:
            raise SuiteError(
                f"{leaf.where}: no case has this option, since every case replaces the {section}; "
                f"vary {section}.name to keep it, or write it where the {section} is replaced"
            )
