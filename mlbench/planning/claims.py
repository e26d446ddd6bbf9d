"""The claims of a suite: read and checked, and the cases that they compare held to a fair comparison."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlbench.contracts.options import ClaimOptions
from mlbench.errors import ClaimError, SuiteError, hint
from mlbench.planning.case_groups import named_axes, paired_cases
from mlbench.planning.settings import SECTIONS
from mlbench.planning.spec import Part, Spec, located
from mlbench.records.record import MEASURED
from mlbench.registry import Registry

__all__ = ["DERIVED", "Claim", "check_claim", "check_fairness", "flat_settings", "read_claim"]

#: What follows from several settings, and compared cases must have in common too.
DERIVED = ("steps", "dim", "num_classes")

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Claim:
    """A claim of a suite: its id and its component of kind `claim`."""

    id: str
    part: Part

    @property
    def options(self) -> ClaimOptions:
        found: ClaimOptions = self.part.component
        return found

    @property
    def differ(self) -> tuple[str, ...]:
        """The settings in which compared cases may differ: those that the claim names, else the axes that it
        chooses its cases by."""
        axes = named_axes([group for groups in self.options.compared() for group in groups])
        return self.options.differ or tuple(axis for axis in axes if axis.partition(".")[0] in SECTIONS)


def read_claim(name: str, given: Mapping[str, Any], where: Callable[[str], str], registry: Registry) -> Claim:
    """A claim from its mapping in a suite file. where: place of an option, or of the claim for "". Raises
    SuiteError."""
    if not _ID.fullmatch(name):
        raise SuiteError(
            f"{where('')}: {name!r} cannot be the id of a claim (letters, digits and . _ -, a letter or a "
            "digit first)"
        )
    options = dict(given)
    kind = options.pop("name", None)
    if not isinstance(kind, str):
        known = hint("", registry.names("claim"))
        raise SuiteError(f"{where('')}: which kind of claim? it has no name; {known}")
    with located(where):
        entry = registry.get("claim", kind)
        return Claim(name, Part(entry, entry.check(options), where))


def check_claim(
    claim: Claim,
    axes: Mapping[str, Mapping[str, str]],
    quantities: Mapping[str, bool | None],
) -> None:
    """Raise SuiteError for a case, an axis or a quantity that the suite does not have, and for what can have
    no verdict: a case compared with itself, and a quantity of which neither more nor less is better.

    axes: labels of every case of any size by axis. quantities: whether higher is better.
    """
    where = claim.part.where
    for groups in _groups(claim):
        try:
            strata = paired_cases(groups, axes)
        except ClaimError as error:
            raise SuiteError(f"{where()}: {error}") from None
        for cases in strata.values():
            if twice := next((case for case in cases if cases.count(case) > 1), None):
                raise SuiteError(f"{where()}: compares {twice!r} with itself")
    for quantity in claim.part.ask("quantities"):
        if quantity not in quantities:
            raise SuiteError(f"{where()}: no case measures {quantity!r} ({hint(quantity, quantities)})")
        if quantities[quantity] is None:
            known = [name for name, higher in quantities.items() if higher is not None]
            raise SuiteError(f"{where()}: neither direction of {quantity!r} is better ({hint('', known)})")
    settings = (*SECTIONS, *DERIVED)
    for key in claim.options.differ:
        if key.partition(".")[0] not in settings:
            raise SuiteError(f"{where('differ')}: unknown setting {key!r} ({hint(key, settings)})")


def check_fairness(claim: Claim, specs: Mapping[str, Spec], derived: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise SuiteError where compared cases differ in more than the claim names, and where they do not differ
    in what it names.

    specs: the cases at hand; a comparison with others is not checked. derived: by case, values of `DERIVED`,
    None where not known.
    """
    axes = {name: spec.axes for name, spec in specs.items()}
    differ, unused, complete = claim.differ, set(claim.options.differ), True
    # A setting of the measurement changes speeds alone.
    timed = any(quantity in MEASURED for quantity in claim.options.quantities())
    facts: dict[str, dict[str, Any]] = {}
    for groups in _groups(claim):
        try:
            strata = paired_cases(groups, axes)
        except ClaimError:
            complete = False
            continue
        for cases in strata.values():
            for case in cases:
                facts.setdefault(case, {**_settings(specs[case], timed=timed), **derived[case]})
            for other in cases[1:]:
                for key in _differences(facts[cases[0]], facts[other]):
                    covering = [name for name in differ if _covers(name, key, facts[cases[0]], facts[other])]
                    if not covering:
                        raise SuiteError(_unfair(claim, key, cases[0], other, facts))
                    unused.difference_update(covering)
    unused -= {name for name in DERIVED if any(each[name] is None for each in derived.values())}
    if unused and complete:
        name = sorted(unused)[0]
        raise SuiteError(
            f"{claim.part.where('differ')}: compared cases do not differ in {name}; leave it out"
        )


def flat_settings(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by the dotted names that suite files use."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from flat_settings(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _groups(claim: Claim) -> Sequence[Sequence[Any]]:
    found: Sequence[Sequence[Any]] = claim.part.ask("compared")
    return found


def _settings(spec: Spec, *, timed: bool) -> dict[str, Any]:
    return {
        key: value for key, value in flat_settings(spec.plain()) if timed or not key.startswith("measure.")
    }


def _differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    keys = dict.fromkeys((*one, *other))
    return [
        key
        for key in keys
        if (one.get(key), key in one) != (other.get(key), key in other)
        and not (key in DERIVED and None in (one.get(key), other.get(key)))
    ]


def _covers(name: str, key: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether naming `name` allows a difference in `key`: the same setting, one inside it, or an option that
    only one of two different components has."""
    if key == name or key.startswith(f"{name}."):
        return True
    component, _, option = name.rpartition(".")
    foreign = (key in one) != (key in other)
    return option == "name" and foreign and key.startswith(f"{component}.")


def _unfair(claim: Claim, key: str, one: str, other: str, facts: Mapping[str, Mapping[str, Any]]) -> str:
    values = [facts[case].get(key, "absent") for case in (one, other)]
    return (
        f"{claim.part.where()}: not a fair comparison: {one!r} and {other!r} differ in {key} "
        f"({values[0]} and {values[1]}), which the claim does not name; make it equal, or add it to differ"
    )
