"""Deciding: seeds are added to the cases of open claims until each is decided, or more seeds cannot decide
it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from mlbench.claims.judgement import ALPHA, Judgement, Verdict
from mlbench.claims.looks import Looks, write_looks
from mlbench.claims.suite_claims import cases_of, claims_of_store, looks_at, stored_records
from mlbench.planning.plan import Plan, make_plan
from mlbench.records.store import Store
from mlbench.regression.statistics import samples_needed

__all__ = ["can_be_decided", "decide", "next_count"]

#: Seeds that are added at once, as a share of those that are there, so that looks become rarer.
_GROWTH = 0.25


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
    plan. limit: as in `make_plan`.
    """
    train(plan)
    suite = plan.suite
    looks = _first_looks(plan, store, most)
    seeds = list(suite.seeds)
    while True:
        write_looks(store.folder, looks)
        judged = {each.claim.id: each for each in claims_of_store(plan, store)}
        wanted = [claim for claim in suite.claims if claim.id in looks and _is_open(judged[claim.id])]
        if not wanted:
            return
        seeds = _more_seeds(seeds, max(looks[claim.id].counts[-1] for claim in wanted))
        count = next_count(len(seeds), max(looks[claim.id].most for claim in wanted))
        new = _more_seeds(seeds, count)[len(seeds) :]
        names = ", ".join(claim.id for claim in wanted)
        note(f"open: {names}; adding seed{'s' * (len(new) > 1)} {', '.join(map(str, new))}")
        more = make_plan(suite, plan.device, seeds=new, limit=limit)
        cases = {case for claim in wanted for case in cases_of(claim, suite)}
        train(replace(more, cases=tuple(case for case in more.cases if case.name in cases)))
        seeds += new
        for claim in wanted:
            before = looks[claim.id]
            looks[claim.id] = replace(before, counts=(*before.counts, min(count, before.most)))


def next_count(count: int, most: int) -> int:
    """The number of seeds at the next look."""
    return min(most, max(count + 1, math.ceil(count * (1 + _GROWTH))))


def can_be_decided(judgement: Judgement, most: int) -> bool:
    """Whether a claim is open and up to `most` seeds can decide it: whether they would, were the effect as
    far
    from its bound as its interval allows."""
    if judgement.verdict is not Verdict.INCONCLUSIVE or judgement.finding is None:
        return False
    effect = judgement.finding.effect
    if effect.kind != "seeds" or judgement.finding.note or effect.samples >= most:
        return False
    if effect.spread is None or effect.low is None or effect.high is None:
        return True
    if effect.spread == 0:
        return effect.needed is not None and effect.needed <= most
    farthest = max(abs(effect.low - effect.bound), abs(effect.high - effect.bound))
    return samples_needed(effect.spread, farthest, level=1 - ALPHA, most=most) is not None


def _is_open(judgement: Judgement) -> bool:
    return judgement.looks is not None and can_be_decided(judgement, judgement.looks.most)


def _more_seeds(seeds: Sequence[int], count: int) -> list[int]:
    """At least `count` seeds: these, then the next higher ones."""
    return [*seeds, *range(max(seeds) + 1, max(seeds) + 1 + max(0, count - len(seeds)))]


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
