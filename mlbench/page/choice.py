"""The choice: the case that a page recommends, by the rankings of the headline metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlbench.page.cases import CaseRow
from mlbench.records.report import metric_text
from mlbench.regression.ranking import Ranking

__all__ = ["Choice", "choose"]

#: Seeds below which small differences between cases cannot be seen.
_FEW_SEEDS = 3


@dataclass(frozen=True)
class Choice:
    """The recommended case. case: its name, "" where the records allow no choice. reasons, doubts: one
    sentence each. equal: the cases that no headline metric tells apart from it."""

    case: str
    reasons: tuple[str, ...]
    doubts: tuple[str, ...] = ()
    equal: tuple[str, ...] = ()


def choose(rankings: Sequence[Ranking], rows: Sequence[CaseRow]) -> Choice:
    """The case to take: of those that are the best within noise in the first ranking, and in the others where
    a case is, the smallest, and of several smallest the fastest."""
    done = [row for row in rows if row.seeds]
    if not rankings:
        if len(done) == 1:
            return Choice(done[0].name, ("It is the only case with results.",))
        if not done:
            return Choice("", ("No case has results.",))
        why = "The cases are not ranked: they have no headline metric in common, or other data or protocols."
        return Choice("", (why,))
    first = rankings[0]
    equal, agreeing, against = list(first.equal), [first], []
    for ranking in rankings[1:]:
        if common := [case for case in equal if case in ranking.equal]:
            equal = common
            agreeing.append(ranking)
        else:
            against.append(ranking)
    by_name = {row.name: row for row in rows}
    case, cost = _cheapest(equal, by_name)
    reasons = [_quality(ranking, case) for ranking in agreeing]
    if cost:
        reasons.append(f"Of the {len(equal)} cases of which that is true, {cost}.")
    doubts = [_objection(each, case) for each in against]
    return Choice(case, tuple(reasons), (*doubts, *_seed_doubts(first)), tuple(equal))


def _objection(ranking: Ranking, case: str) -> str:
    best = ranking.equal[0]
    text = f"{ranking.heading} would choose otherwise: {best} has {metric_text(ranking.means[best])}"
    if case not in ranking.means:
        return f"{text}, and {case} is not ranked by it."
    return f"{text} and {case} {metric_text(ranking.means[case])}, more than noise apart."


def _quality(ranking: Ranking, case: str) -> str:
    value = metric_text(ranking.means[case])
    best = ranking.equal[0]
    if len(ranking.equal) == 1:
        return f"{ranking.heading} {value} is the best, by more than noise."
    noise = f"the noise of {ranking.seeds} seeds" if ranking.seeds > 1 else "the intervals over classes"
    if case == best:
        return f"{ranking.heading} {value} is the best value; {_others(ranking, case)} within {noise}."
    lead = metric_text(ranking.means[best])
    return f"{ranking.heading} {value} equals the best ({best}, {lead}) within {noise}."


def _others(ranking: Ranking, case: str) -> str:
    others = [each for each in ranking.equal if each != case]
    if len(others) > 2:
        return f"{len(others)} other cases equal it"
    return f"{' and '.join(others)} {'equal' if len(others) > 1 else 'equals'} it"


def _cheapest(cases: Sequence[str], rows: Mapping[str, CaseRow]) -> tuple[str, str]:
    """The smallest of cases, and of several smallest the fastest, with the reason; the first of them, without
    a reason, where neither is known of all."""
    if len(cases) == 1:
        return cases[0], ""
    why, left = "", list(cases)
    sizes = {case: rows[case].value("bytes") for case in left}
    known = {case: size for case, size in sizes.items() if size is not None}
    if len(known) == len(left) and len(set(known.values())) > 1:
        least = min(known.values())
        left = [case for case in left if known[case] == least]
        why = f"{'it is' if len(left) == 1 else 'it is among'} the smallest ({least / 1e6:.2f} MB)"
    if len(left) > 1:
        speeds = {case: rows[case].value("images_per_second") for case in left}
        fast = {case: speed for case, speed in speeds.items() if speed is not None}
        if len(fast) == len(left):
            best = max(fast, key=lambda case: fast[case])
            why += f"{' and' if why else 'it is'} the fastest measured ({fast[best]:,.0f} images/s)"
            return best, why
    return left[0], why


def _seed_doubts(ranking: Ranking) -> list[str]:
    if ranking.seeds >= _FEW_SEEDS or len(ranking.means) < 2:
        return []
    seeds = f"{ranking.seeds} seed{'s' if ranking.seeds > 1 else ''}"
    return [f"With {seeds}, small differences between cases cannot be told from noise; more seeds can."]
