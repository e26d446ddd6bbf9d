"""Checks of claims."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from mlbench.claims.evidence import Evidence
from mlbench.contracts.claims import Cases, Effect, Finding
from mlbench.errors import ClaimError
from mlbench.planning.variants import label_text
from mlbench.records.record import MEASURED, Estimate, Record, Timing
from mlbench.seeding import numpy_generator
from mlbench.testing.check import Subject, expect

__all__ = ["CHECKS"]

_SEEDS = 5

#: An axis that no claim names, with the strata of cases that are chosen by labels.
_STRATA = ("made-up axis", ("one", "two"))


def _axes(groups: Sequence[Sequence[Cases]]) -> dict[str, dict[str, str]]:
    """Cases for the groups of a claim: labels by axis."""
    found: dict[str, dict[str, str]] = {}
    for cases in (each for group in groups for each in group):
        if isinstance(cases, str):
            found[cases] = {}
            continue
        labels = {axis: label_text(label) for axis, label in cases.items()}
        for stratum in _STRATA[1]:
            found["-".join((*labels.values(), stratum))] = {**labels, _STRATA[0]: stratum}
    return found


def _records(cases: Mapping[str, Any], quantities: Sequence[str]) -> Iterator[Record]:
    """Made-up records of the cases, with a value of every quantity."""
    for place, case in enumerate(cases):
        for seed in range(_SEEDS):
            noise = numpy_generator(0, "claim", case, seed).random(6)
            rounds = tuple(map(float, 100 + place + noise))
            speeds = {
                name: Timing(rounds[0], rounds, unit, higher)
                for name, (unit, higher) in MEASURED.items()
                if "per_second" in name or "latency" in name
            }
            yield Record(
                suite="made up",
                case=case,
                seed=seed,
                fingerprint=f"{case}-{seed}",
                status="done",
                metrics={
                    name: Estimate(0.5 + 0.01 * place + 0.01 * float(noise[0]))
                    for name in quantities
                    if name not in MEASURED
                },
                size={name: 1000 + place for name in MEASURED if name not in speeds},
                speed=speeds,
                environment={"device": "cpu"},
            )


def _evidence(subject: Subject, *, without: str = "") -> Evidence:
    claim = subject.claim()
    axes = _axes(claim.compared())
    known = [record for record in _records(axes, claim.quantities()) if record.case != without]
    return Evidence(known, axes, seeds=range(_SEEDS))


def _judged(subject: Subject) -> Any:
    try:
        return subject.claim().judge(_evidence(subject))
    except ClaimError as error:
        raise AssertionError(
            f"judge() answers where all cases of compared() have all of quantities(): {error}"
        ) from None


def claim_names_its_cases(subject: Subject) -> None:
    groups = subject.claim().compared()
    expect(groups, "compared() gives at least one group, such as [[case]] where nothing is compared")
    for group in groups:
        known = bool(group) and all(each and isinstance(each, str | Mapping) for each in group)
        expect(known, f"a group of compared() has names of cases, or labels by axis; not {group!r}")


def claim_names_its_quantities(subject: Subject) -> None:
    names = subject.claim().quantities()
    known = (
        bool(names) and not isinstance(names, str) and all(isinstance(name, str) and name for name in names)
    )
    expect(known, f"quantities() gives names of metrics, speeds and sizes; not {names!r}")


def claim_is_judged_by_evidence(subject: Subject) -> None:
    found = _judged(subject)
    expect(isinstance(found, Finding), f"judge() returns a Finding, not {found!r}")
    expect(isinstance(found.effect, Effect), f"the effect of a finding is an Effect, not {found.effect!r}")
    effects = (found.effect, *found.parts)
    for p in (each for one in (found, *effects) for each in (one.support, one.refute)):
        expect(0 <= p <= 1, f"support and refute are p-values in [0, 1], not {p!r}")
    for each in effects:
        expect(each.label, "every effect has a label")
        expect(math.isfinite(each.value), f"the value of {each.label} is a number, not {each.value!r}")
        known = None in (each.low, each.high) or each.low <= each.high
        expect(known, f"low is at most high; not so: {each.label}")


def claim_is_judged_alike_by_equal_evidence(subject: Subject) -> None:
    found = [_judged(subject) for _ in range(2)]
    expect(found[0] == found[1], "judge() gives the same for the same evidence")


def claim_without_a_case_is_a_claim_error(subject: Subject) -> None:
    claim = subject.claim()
    for case in _axes(claim.compared()):
        try:
            claim.judge(_evidence(subject, without=case))
        except ClaimError:
            continue
        except Exception as error:
            raise AssertionError(
                f"judge() raises a ClaimError where a case has no records, not {error!r}"
            ) from None
        raise AssertionError(f"judge() raises a ClaimError without records of {case}, which it compares")


CHECKS: dict[str, tuple[Callable[[Subject], None], ...]] = {
    "claim": (
        claim_names_its_cases,
        claim_names_its_quantities,
        claim_is_judged_by_evidence,
        claim_is_judged_alike_by_equal_evidence,
        claim_without_a_case_is_a_claim_error,
    )
}
