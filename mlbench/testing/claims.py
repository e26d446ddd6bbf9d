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
from mlbench.testing.random_state import untouched

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
            f"judge() raises a ClaimError where all cases of compared() have all of quantities(): {error}; "
            "name in them all that it reads"
        ) from None


def claim_names_its_cases(subject: Subject) -> None:
    groups = subject.claim().compared()
    expect(
        groups,
        f"compared() returns {groups!r}; return at least one group, such as [[case]] for a claim on one case",
    )
    for group in groups:
        known = bool(group) and all(each and isinstance(each, str | Mapping) for each in group)
        expect(
            known,
            f"compared() has the group {group!r}; return names of cases, or labels by axis; not {group!r}",
        )


def claim_names_its_quantities(subject: Subject) -> None:
    names = subject.claim().quantities()
    known = (
        bool(names) and not isinstance(names, str) and all(isinstance(name, str) and name for name in names)
    )
    expect(known, f"quantities() returns {names!r}; return a list of names of metrics, speeds and sizes")


def claim_is_judged_by_evidence(subject: Subject) -> None:
    found = _judged(subject)
    expect(
        isinstance(found, Finding),
        f"judge() returns {found!r}; return a Finding, as Finding.of(effect) gives",
    )
    expect(
        isinstance(found.effect, Effect), f"the effect of the finding is {found.effect!r}; make it an Effect"
    )
    effects = (found.effect, *found.parts)
    for p in (each for one in (found, *effects) for each in (one.support, one.refute)):
        expect(0 <= p <= 1, f"support or refute is {p!r}; give p-values in [0, 1]")
    for each in effects:
        expect(each.label, "an effect has no label; pass label= to it, which the report shows")
        expect(
            math.isfinite(each.value),
            f"the value of {each.label} is {each.value!r}; compute a finite number, or raise a ClaimError",
        )
        known = None in (each.low, each.high) or each.low <= each.high
        expect(known, f"low of {each.label} is {each.low}, above high, {each.high}; exchange them")


def claim_is_judged_alike_by_equal_evidence(subject: Subject) -> None:
    with untouched("judge()", "draw from a generator with a fixed seed"):
        found = [_judged(subject) for _ in range(2)]
    expect(
        found[0] == found[1],
        "judge() gives two findings for the same evidence; draw from a generator with a fixed seed",
    )


def claim_without_a_case_is_a_claim_error(subject: Subject) -> None:
    claim = subject.claim()
    for case in _axes(claim.compared()):
        try:
            claim.judge(_evidence(subject, without=case))
        except ClaimError:
            continue
        except Exception as error:
            raise AssertionError(
                f"judge() raises {error!r} where a case has no records; raise a ClaimError instead, as "
                "evidence.values() does"
            ) from None
        raise AssertionError(
            f"judge() answers without records of {case}, which it compares; read them with "
            "evidence.values(), which raises a ClaimError"
        )


CHECKS: dict[str, tuple[Callable[[Subject], None], ...]] = {
    "claim": (
        claim_names_its_cases,
        claim_names_its_quantities,
        claim_is_judged_by_evidence,
        claim_is_judged_alike_by_equal_evidence,
        claim_without_a_case_is_a_claim_error,
    )
}
