"""Judgements: the verdict on every claim of a suite, from the records of its cases.

All claims of a suite are tested together: their two-sided p-values are corrected by Holm's method, so that
the chance of even one wrong verdict among them is at most 5 %."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mlbench.claims.evidence import Evidence
from mlbench.claims.looks import Looks
from mlbench.claims.sequential import boundaries, sequential_p
from mlbench.contracts.claims import Effect, Finding
from mlbench.errors import ClaimError
from mlbench.planning.claims import Claim
from mlbench.records.record import Record

__all__ = ["ALPHA", "Judgement", "Verdict", "holm", "judge", "seed_order"]

#: The largest chance of a wrong verdict among all claims of a suite.
ALPHA = 0.05


class Verdict(StrEnum):
    """Verdict on a claim."""

    SUPPORTED = "supported"
    REFUTED = "refuted"
    INCONCLUSIVE = "inconclusive"
    NOT_MEASURABLE = "not measurable here"


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on one claim. finding: None where it is not measurable. p: two-sided, corrected for all
    claims. reason: why there is no verdict, or what would bring one; "" else. looks: None where the claim was
    tested once."""

    claim: Claim
    verdict: Verdict
    finding: Finding | None = None
    p: float = 1.0
    reason: str = ""
    looks: Looks | None = None


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
    looks = looks or {}
    found: list[tuple[Claim, Finding | None, float, str]] = []
    for claim in claims:

        def evidence(seeds: Sequence[int], level: float) -> Evidence:
            return Evidence(records, axes, removed=removed, absent=absent, seeds=seeds, level=level)

        try:
            _check_device(claim, records)
            found.append((claim, *_tested(claim, evidence, order, looks.get(claim.id)), ""))
        except ClaimError as error:
            found.append((claim, None, 1.0, str(error)))
    adjusted = holm([p for _, finding, p, _ in found if finding is not None])
    judgements = []
    for claim, finding, _, reason in found:
        known = looks.get(claim.id)
        if finding is None:
            judgements.append(Judgement(claim, Verdict.NOT_MEASURABLE, reason=reason, looks=known))
            continue
        p = adjusted.pop(0)
        verdict = Verdict.INCONCLUSIVE
        if p <= ALPHA:
            verdict = Verdict.SUPPORTED if finding.support < finding.refute else Verdict.REFUTED
        reason = _undecided(finding) if verdict is Verdict.INCONCLUSIVE else ""
        judgements.append(Judgement(claim, verdict, finding, p, reason, known))
    return judgements


def seed_order(records: Sequence[Record], seeds: Sequence[int]) -> list[int]:
    """All seeds of the records: first those of the suite, then others, ascending."""
    return [*seeds, *sorted({record.seed for record in records} - set(seeds))]


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


def _tested(
    claim: Claim,
    evidence: Callable[[Sequence[int], float], Evidence],
    order: Sequence[int],
    looks: Looks | None,
) -> tuple[Finding, float]:
    """The finding, and its two-sided p-value before the correction for several claims. evidence: of some
    seeds with intervals at a level."""

    def finding(seeds: Sequence[int], level: float) -> Finding:
        found: Finding = claim.part.ask("judge", evidence(seeds, level))
        return found

    if looks is None:
        found = finding(order, 1 - ALPHA)
        return found, _two_sided(found)
    # The interval at a look is wider by what the other looks may spend, so that all of them hold together.
    bounds = boundaries(looks.counts, looks.most, ALPHA)
    stages = [finding(order[:count], 1 - bound) for count, bound in zip(looks.counts, bounds, strict=True)]
    # A look counts for the side that the last one points to: only its verdict is given.
    last = stages[-1]
    supports = last.support < last.refute
    p_values = [_two_sided(each) if (each.support < each.refute) == supports else 1.0 for each in stages]
    return last, sequential_p(p_values, looks.counts, looks.most)


def _two_sided(finding: Finding) -> float:
    """The two-sided p-value of a finding."""
    return min(1.0, 2 * min(finding.support, finding.refute))


def _undecided(finding: Finding) -> str:
    """What would decide a claim, in a few words."""
    effect: Effect = finding.effect
    if finding.note:
        return finding.note
    if effect.kind != "seeds":
        return f"{effect.samples} {effect.kind} do not decide it; measure again with more measure.rounds"
    if effect.samples == 1:
        return "1 seed; at least 3 are needed"
    if effect.needed is None:
        return "no number of seeds up to 1,000 would decide an effect of this size"
    needed = max(3, math.ceil(effect.needed))
    more = needed - effect.samples
    if more > 0:
        return f"{more} more seeds would decide an effect of this size (80 % power)"
    return "a few more seeds: it would be decided if it were the only claim"
