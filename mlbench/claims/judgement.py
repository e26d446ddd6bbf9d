"""Judgements: the verdict on every claim of a suite, from the records of its cases.

All claims of a suite are tested together: their two-sided p-values are corrected by Holm's method, so that
the chance of even one wrong verdict among them is at most 5 %. Claims that no values could decide, such as a
ranking of four variants, are never decided and so do not count (Tarone, Biometrics 1990): that follows from
their design, not from the values."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from mlbench.claims.evidence import Evidence
from mlbench.claims.looks import Looks
from mlbench.claims.sequential import boundaries, sequential_p
from mlbench.contracts.claims import Effect, Finding
from mlbench.errors import ClaimError
from mlbench.planning.claims import Claim
from mlbench.records.record import Record
from mlbench.regression.statistics import samples_needed

__all__ = ["ALPHA", "Answer", "Judgement", "first_seeds", "holm", "judge", "seed_order"]

#: The largest chance of a wrong verdict among all claims of a suite.
ALPHA = 0.05


class Answer(StrEnum):
    """The verdict on a claim."""

    SUPPORTED = "supported"
    REFUTED = "refuted"
    INCONCLUSIVE = "inconclusive"
    NOT_MEASURABLE = "not measurable here"


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on one claim. finding: None where it is not measurable. p: two-sided, corrected for all
    claims. reason: why there is no verdict, or what would bring one; "" else. looks: None where the claim was
    tested once. failed: seeds that do not count, as a case failed or has no value there. disturbed: cases
    whose speed was measured while other work slowed the machine. notes: what else limits the values, one line
    each."""

    claim: Claim
    verdict: Answer
    finding: Finding | None = None
    p: float = 1.0
    reason: str = ""
    looks: Looks | None = None
    failed: tuple[int, ...] = ()
    disturbed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def judge(
    claims: Sequence[Claim],
    records: Sequence[Record],
    axes: Mapping[str, Mapping[str, str]],
    *,
    removed: Collection[str] = (),
    absent: Mapping[str, str] | None = None,
    seeds: Sequence[int] = (),
    looks: Mapping[str, Looks] | None = None,
) -> list[Judgement]:
    """The judgement of every claim, in their order.

    axes: labels of every case by axis, whatever the size. removed: cases that the chosen size leaves out.
    absent: why a case has no records, by its name. seeds: those of the suite; others were added later, in
    ascending order. looks: of claims to which seeds were added until they were decided, by their id; those at
    other experiments do not count.
    """
    order = seed_order(records, seeds)
    evidence = partial(Evidence, records, axes, removed=removed, absent=absent)
    found: list[tuple[Claim, _Test, str]] = []
    for claim in claims:
        known = (looks or {}).get(claim.id)
        try:
            _check_device(claim, records)
            found.append((claim, _tested(claim, evidence, order, seeds, known), ""))
        except ClaimError as error:
            found.append((claim, _Test(looks=known), str(error)))
    adjusted = holm([test.p for _, test, _ in found if _is_decidable(test.finding)])
    # Holm's method compares the smallest p-value of those that are not decided with this level.
    level = ALPHA / max(1, sum(p > ALPHA for p in adjusted))
    judgements = []
    for claim, test, reason in found:
        finding = test.finding
        if finding is None:
            judgements.append(Judgement(claim, Answer.NOT_MEASURABLE, reason=reason, looks=test.looks))
            continue
        p = adjusted.pop(0) if _is_decidable(finding) else 1.0
        verdict = Answer.INCONCLUSIVE
        if p <= ALPHA:
            verdict = Answer.SUPPORTED if finding.support < finding.refute else Answer.REFUTED
        reason = _undecided(finding, level) if verdict is Answer.INCONCLUSIVE else ""
        judgements.append(
            Judgement(claim, verdict, finding, p, reason, test.looks, test.failed, test.disturbed, test.notes)
        )
    return judgements


def seed_order(records: Sequence[Record], seeds: Sequence[int]) -> list[int]:
    """All seeds of the records: first those of the suite, then others, ascending."""
    return [*seeds, *sorted({record.seed for record in records} - set(seeds))]


def first_seeds(seeds: Sequence[int], count: int) -> list[int]:
    """The seeds of a look: the first of the suite's, then those above them that were added."""
    start = max(seeds, default=-1) + 1
    return [*seeds, *range(start, start + count)][:count]


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number by Holm's method (Scandinavian Journal of Statistics, 1979)."""
    found = [1.0] * len(p_values)
    highest = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=lambda each: p_values[each])):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        found[index] = highest
    return found


def _check_device(claim: Claim, records: Sequence[Record]) -> None:
    needs = claim.options.needs
    if needs is None:
        return
    devices = sorted({str(record.environment.get("device", "")) for record in records} - {""})
    if not any(device.partition(":")[0] == needs for device in devices):
        ran = f"the records are from {', '.join(devices)}" if devices else "there are no records"
        raise ClaimError(f"it needs a {needs} device, and {ran}")


@dataclass(frozen=True, slots=True)
class _Test:
    """The test of one claim. p: two-sided, before the correction for several claims. The last three: see
    `Judgement`."""

    finding: Finding | None = None
    p: float = 1.0
    looks: Looks | None = None
    failed: tuple[int, ...] = ()
    disturbed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def _tested(
    claim: Claim,
    evidence: Callable[..., Evidence],
    order: Sequence[int],
    seeds: Sequence[int],
    looks: Looks | None,
) -> _Test:
    """evidence: of some seeds, with intervals at a level. order: all seeds. seeds: those of the suite."""

    def asked(seeds: Sequence[int], level: float) -> tuple[Finding, Evidence]:
        given = evidence(seeds=seeds, level=level)
        return claim.part.ask("judge", given), given

    if looks is None:
        last, given = asked(order, 1 - ALPHA)
        return _Test(last, _two_sided(last), None, *_remarks(given))
    # The interval at a look is wider by what the other looks may spend, so that all of them hold together.
    bounds = boundaries(looks.counts, looks.most, ALPHA)
    stages = []
    for count, bound in zip(looks.counts, bounds, strict=True):
        last, given = asked(first_seeds(seeds, count), 1 - bound)
        stages.append(last)
    # A look counts for the side that the last one points to: only its verdict is given.
    supports = last.support < last.refute
    p_values = [_two_sided(each) if (each.support < each.refute) == supports else 1.0 for each in stages]
    return _Test(last, sequential_p(p_values, looks.counts, looks.most), looks, *_remarks(given))


def _remarks(evidence: Evidence) -> tuple[tuple[int, ...], tuple[str, ...], tuple[str, ...]]:
    """The seeds that do not count, the cases with disturbed speeds and the notes, of what a claim asked
    for."""
    return tuple(sorted(evidence.failed)), tuple(sorted(evidence.disturbed)), tuple(evidence.notes)


def _is_decidable(finding: Finding | None) -> bool:
    """Whether a finding is there, and some values of its cases would decide the claim if it were the only
    one."""
    return finding is not None and 2 * finding.least <= ALPHA


def _two_sided(finding: Finding) -> float:
    """The two-sided p-value of a finding."""
    return min(1.0, 2 * min(finding.support, finding.refute))


def _undecided(finding: Finding, level: float) -> str:
    """What would decide a claim, in a few words. level: that its two-sided p-value must reach."""
    effect: Effect = finding.effect
    if finding.note:
        return finding.note
    if 2 * finding.least > level:
        return (
            f"its p-value is at least {2 * finding.least:.3f} with any number of seeds, and {level:.2g} "
            "is needed among the open claims"
        )
    if effect.kind == "exact":
        return "sizes have no noise; only more cases would decide it"
    if effect.kind == "rounds":
        return "its rounds do not decide it; measure again with more measure.rounds"
    if effect.samples == 1:
        return "1 seed; at least 3 are needed"
    if effect.spread is None:
        return f"{effect.samples} seeds do not decide it; it is not known how many would"
    needed = _needed(effect, level)
    if needed is None:
        return "no number of seeds up to 1,000 would decide an effect of this size"
    more = max(3, needed) - effect.samples
    if more > 0:
        return f"{more} more seed{'s' * (more > 1)} would decide an effect of this size (80 % power)"
    return "a few more seeds would decide an effect of this size"


def _needed(effect: Effect, level: float) -> int | None:
    """Number of seeds with which such an effect is decided at a level with 80 % probability; None for more
    than 1,000."""
    assert effect.spread is not None
    if effect.low == effect.high:  # equal samples, with the p-values of the sign test
        return math.ceil(math.log2(2 / level)) if effect.needed else None
    return samples_needed(effect.spread, abs(effect.value - effect.bound), level=1 - level)
