"""Deciding: seeds are added to the cases of open claims until each is decided, or more seeds cannot decide
it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mlbench.claims.judgement import ALPHA, Answer, Judgement, first_seeds
from mlbench.claims.looks import Looks, read_looks, write_looks
from mlbench.claims.sequential import sequential_p
from mlbench.claims.suite_claims import cases_of, claims_of_store, looks_at, stored_records
from mlbench.planning.claims import Claim
from mlbench.planning.plan import Plan, make_plan
from mlbench.records.store import Store
from mlbench.regression.statistics import samples_needed

__all__ = ["Step", "can_be_decided", "decide", "next_count", "next_step"]

#: Seeds that are added at once, as a share of those that are there, so that looks become rarer.
_GROWTH = 0.25


@dataclass(frozen=True)
class Step:
    """What is run next. claims: that are open. seeds: all that their cases need. looks: at the claims, the
    next one included, by their ids."""

    claims: tuple[Claim, ...]
    seeds: tuple[int, ...]
    looks: dict[str, Looks]


def decide(
    plan: Plan,
    store: Store,
    train: Callable[[Plan], object],
    note: Callable[[str], None],
    *,
    most: int,
    limit: int | None = None,
) -> None:
    """Train the plan, then more seeds of the cases of claims that are open, up to `most` seeds of a case.

    The number of seeds at every look is kept beside the records, so that the verdicts keep their error rate
    (see `mlbench.claims.sequential`). A claim that was looked at before keeps its first `most`. train: runs a
    plan. limit: as in `make_plan`. Raises StoreError, before any training, for looks that cannot be read.
    """
    read_looks(store.folder)
    train(plan)
    suite = plan.suite
    looks = _first_looks(plan, store, most)
    while True:
        write_looks(store.folder, looks)
        step = next_step(claims_of_store(plan, store), suite.seeds)
        if step is None:
            return
        # A claim that becomes open again, or is new, may lack seeds that others have.
        known = {(record.case, record.seed) for record in stored_records(plan, store)}
        cases = {case for claim in step.claims for case in cases_of(claim, suite)}
        more = make_plan(suite, plan.device, seeds=step.seeds, limit=limit)
        new = [case for case in more.cases if case.name in cases and (case.name, case.seed) not in known]
        if new:
            names = ", ".join(claim.id for claim in step.claims)
            seeds = [str(seed) for seed in dict.fromkeys(case.seed for case in new)]
            note(f"open: {names}; adding seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}")
            train(replace(more, cases=tuple(new)))
        looks |= step.looks


def next_step(judgements: Sequence[Judgement], seeds: Sequence[int]) -> Step | None:
    """What would decide claims that are open; None where there are none. seeds: those of the suite."""
    wanted = [each for each in judgements if _is_open(each)]
    looks = {each.claim.id: each.looks for each in wanted if each.looks is not None}
    if not looks:
        return None
    count = next_count(
        max(each.counts[-1] for each in looks.values()), max(each.most for each in looks.values())
    )
    return Step(
        tuple(each.claim for each in wanted),
        tuple(first_seeds(seeds, count)),
        {name: replace(each, counts=(*each.counts, min(count, each.most))) for name, each in looks.items()},
    )


def next_count(count: int, most: int) -> int:
    """The number of seeds at the next look."""
    return min(most, max(count + 1, math.ceil(count * (1 + _GROWTH))))


def can_be_decided(judgement: Judgement, most: int) -> bool:
    """Whether a claim is open and up to `most` seeds can decide it: whether they would, were the effect as
    far from its bound as its interval allows."""
    if judgement.verdict is not Answer.INCONCLUSIVE or judgement.finding is None:
        return False
    effect = judgement.finding.effect
    if effect.kind != "seeds" or judgement.finding.note or effect.samples >= most:
        return False
    if _least_p(judgement.finding.least, judgement.looks) > ALPHA:
        return False
    if effect.spread is None or effect.low is None or effect.high is None:
        return True
    if effect.low == effect.high:  # equal samples: only their number counts
        return effect.needed is not None and effect.needed <= most
    farthest = max(abs(effect.low - effect.bound), abs(effect.high - effect.bound))
    return samples_needed(effect.spread, farthest, level=1 - ALPHA, most=most) is not None


def _least_p(least: float, looks: Looks | None) -> float:
    """The two-sided p-value of a claim if every further look has the smallest one that its test can give.
    least: one-sided, see `Finding`."""
    if not least or looks is None:
        return 2 * least
    counts = list(looks.counts)
    while counts[-1] < looks.most:
        counts.append(next_count(counts[-1], looks.most))
    past = len(looks.counts)
    p_values = [1.0] * past + [2 * least] * (len(counts) - past)
    return sequential_p(p_values, counts, looks.most)


def _is_open(judgement: Judgement) -> bool:
    # Of the looks, not of the samples: seeds that failed are no samples.
    looks = judgement.looks
    return looks is not None and looks.counts[-1] < looks.most and can_be_decided(judgement, looks.most)


def _first_looks(plan: Plan, store: Store, most: int) -> dict[str, Looks]:
    """The looks that were kept, and the first one at every other claim that rests on seeds."""
    records, count = stored_records(plan, store), len(plan.suite.seeds)
    looks = {}
    for each in claims_of_store(plan, store):
        if each.looks is not None:
            looks[each.claim.id] = each.looks
        elif each.finding is not None and each.finding.effect.kind == "seeds":
            looks[each.claim.id] = looks_at(each.claim, plan.suite, records, (count,), max(most, count))
    return looks
