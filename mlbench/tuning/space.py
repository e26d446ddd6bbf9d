"""The search space of a tuning: settings by their keys, each with a range or with choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from mlbench.errors import SuiteError, hint
from mlbench.planning.document import KeyPath, flow_text
from mlbench.planning.settings import SECTIONS, Where

__all__ = ["Choices", "Dimension", "Range", "read_space"]

#: Sections that decide how a trial is scored or measured: if they varied, trials could not be compared.
_SCORING = ("dataset", "metrics", "threshold", "evaluation", "measure")

#: Keys of a range.
_RANGE = ("low", "high", "log", "step")

_FORMS = "{low: 0.1, high: 0.6}, with log: true or a step, or {choices: [a, b]}"

Number = int | float


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, both included: whole numbers where low, high and step are whole. log: drawn
    on a logarithmic scale. step: distance of neighbours; None for any number between."""

    low: Number
    high: Number
    log: bool = False
    step: Number | None = None

    @property
    def whole(self) -> bool:
        """Whether all values are whole numbers."""
        return not any(isinstance(each, float) for each in (self.low, self.high, self.step))

    def ends(self) -> Sequence[tuple[KeyPath, Any]]:
        """The outermost values, each with its place below the setting."""
        return (("low",), self.low), (("high",), self.high)

    def plain(self) -> dict[str, Any]:
        """As plain data."""
        return {"low": self.low, "high": self.high, "log": self.log, "step": self.step}


@dataclass(frozen=True)
class Choices:
    """Some values, of any kind that a suite file can have."""

    values: tuple[Any, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """Each value as YAML on one line."""
        return tuple(map(flow_text, self.values))

    def ends(self) -> Sequence[tuple[KeyPath, Any]]:
        """Every value with its place below the setting."""
        return [(("choices", index), value) for index, value in enumerate(self.values)]

    def plain(self) -> dict[str, Any]:
        """As plain data."""
        return {"choices": list(self.values)}


Dimension = Range | Choices


def read_space(given: Any, where: Where, key: KeyPath) -> dict[str, Dimension]:
    """The dimensions by setting ("loss.margin"), from the mapping at `key` of a suite file.

    Raises SuiteError for the first mistake. Whether a case has the setting, and takes the values, is known
    only to its components.
    """
    if not isinstance(given, Mapping) or not given:
        raise SuiteError(f"{where(key)}: expected settings with their values, such as loss.margin: {_FORMS}")
    space = {}
    for name, form in given.items():
        here = (*key, name)
        section = name.partition(".")[0]
        if section not in SECTIONS:
            raise SuiteError(f"{where(here)}: unknown key {section!r} ({hint(section, SECTIONS)})")
        if section in _SCORING or name == "recipe.select_by":
            raise SuiteError(
                f"{where(here)}: {section if section in _SCORING else name} decides how a trial is scored, "
                "so trials could not be compared; tune settings of training"
            )
        space[name] = _dimension(form, where, here)
    _check_twice(given, where, key)
    return space


def _check_twice(names: Mapping[str, Any], where: Where, key: KeyPath) -> None:
    """Raise SuiteError where the space has a setting as a whole and a part of it, as an option of an inner
    component."""
    for name in names:
        if wholes := [each for each in names if name.startswith(f"{each}.")]:
            raise SuiteError(f"{where((*key, name))}: the space replaces the whole {wholes[0]} too; drop one")


def _dimension(form: Any, where: Where, key: KeyPath) -> Dimension:
    if not isinstance(form, Mapping):
        raise SuiteError(f"{where(key)}: expected {_FORMS}, not {form!r}")
    for name in form:
        if name not in (*_RANGE, "choices"):
            raise SuiteError(
                f"{where((*key, name))}: unknown key {name!r} ({hint(name, (*_RANGE, 'choices'))})"
            )
    if "choices" not in form:
        return _range(form, where, key)
    if len(form) > 1:
        raise SuiteError(f"{where(key)}: give a range or choices, not both")
    values = form["choices"]
    if not isinstance(values, list) or len(values) < 2:
        raise SuiteError(f"{where((*key, 'choices'))}: expected a list of at least 2 values, not {values!r}")
    found = Choices(tuple(values))
    if len(set(found.texts)) < len(values):
        raise SuiteError(f"{where((*key, 'choices'))}: a value occurs twice")
    return found


def _range(form: Mapping[str, Any], where: Where, key: KeyPath) -> Range:
    for name in ("low", "high"):
        if name not in form:
            raise SuiteError(f"{where(key)}: {name} is missing; expected {_FORMS}")
    for name in ("low", "high", "step"):
        value = form.get(name)
        if name in form and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise SuiteError(f"{where((*key, name))}: expected a number, not {value!r}")
    if not isinstance(form.get("log", False), bool):
        raise SuiteError(f"{where((*key, 'log'))}: expected true or false, not {form['log']!r}")
    found = Range(form["low"], form["high"], form.get("log", False), form.get("step"))
    if found.low >= found.high:
        raise SuiteError(f"{where((*key, 'low'))}: expected less than high ({found.high}), not {found.low}")
    if found.log and found.low <= 0:
        raise SuiteError(f"{where((*key, 'low'))}: expected more than 0 with log: true, not {found.low}")
    if found.step is not None:
        if found.log:
            raise SuiteError(f"{where((*key, 'step'))}: give log or step, not both")
        low, high, step = (Decimal(str(each)) for each in (found.low, found.high, found.step))
        if step <= 0 or (high - low) % step:
            raise SuiteError(
                f"{where((*key, 'step'))}: expected a number above 0 that divides high - low ({high - low}), "
                f"not {step}"
            )
    return found
