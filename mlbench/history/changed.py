"""Queries that changed sides between two sets of records: wrong now, or right now."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mlbench.errors import StoreError, first_few
from mlbench.evaluation.details import DETAILS, Changed, Details, changed_queries, read_details
from mlbench.page.findings import CaseFindings
from mlbench.page.gather import gather_findings
from mlbench.page.images import Images
from mlbench.records.record import Record
from mlbench.registry import Registry
from mlbench.regression.record_set import RecordSet

__all__ = ["CaseChanges", "changes_of_cases", "gallery_rows"]


@dataclass(frozen=True)
class CaseChanges:
    """The queries of a case that changed sides. seeds: counts by seed, of every seed with details on both
    sides. before, after: findings of the seed that is shown, None where there are none; `why` then says
    why."""

    case: str
    seeds: Mapping[int, Changed]
    before: CaseFindings | None = None
    after: CaseFindings | None = None
    why: str = ""

    @property
    def shown(self) -> Changed | None:
        """The changes of the seed that is shown."""
        return self.seeds.get(self.after.record.seed) if self.after is not None else None


def changes_of_cases(
    old: RecordSet,
    new: RecordSet,
    cases: Sequence[str],
    headline: str,
    registry: Registry,
    note: Callable[[str], None],
) -> list[CaseChanges]:
    """The changes of these cases. headline: the metric whose median over the seeds chooses the seed that is
    shown. note: takes one line on each file that cannot be read."""
    counts: dict[str, dict[int, Changed]] = {}
    reasons: dict[str, str] = {}
    chosen: dict[str, tuple[Record, Record]] = {}
    for case in cases:
        pairs, reasons[case] = _pairs(old, new, case)
        known: list[tuple[Record, Record]] = []
        for before, after in pairs:
            details = _details(old, before, note), _details(new, after, note)
            if details[0] is None or details[1] is None:
                reasons[case] = _lacking(old, new, details)
                continue
            if details[0].images != details[1].images or details[0].split != details[1].split:
                reasons[case] = "the two sides were scored on other images"
                continue
            counts.setdefault(case, {})[before.seed] = changed_queries(details[0], details[1])
            known.append((before, after))
        if known:
            known.sort(key=lambda pair: (_value(pair[1], headline), pair[0].seed))
            chosen[case] = known[(len(known) - 1) // 2]
    sides = []
    for side, place in ((old, 0), (new, 1)):
        records = tuple(pair[place] for pair in chosen.values())
        sides.append(_findings(side, records, list(chosen), registry, note))
    return [
        CaseChanges(case, counts.get(case, {}), sides[0].get(case), sides[1].get(case), reasons.get(case, ""))
        for case in cases
    ]


def gallery_rows(
    images: Images, queries: Sequence[int], findings: CaseFindings, other: CaseFindings, most: int
) -> list[dict[str, Any]]:
    """Rows of a gallery: queries that are wrong in `findings` and right in `other`, the most wrong first,
    with what was nearest. Of queries beyond the worst that are stored, the two ranks alone are known."""
    worst = {int(query): place for place, query in enumerate(findings.details.worst.query)}
    ordered = sorted(queries, key=lambda query: (worst.get(query, len(worst)), query))
    rows = []
    for query in ordered[:most]:
        row: dict[str, Any] = {
            "query": _picture(images, findings, other, query),
            "rank": _rank(findings.details, query),
            "nearest": [],
            "right": None,
        }
        if (place := worst.get(query)) is not None:
            table = findings.details.worst
            row["nearest"] = [
                {
                    **_picture(images, findings, other, int(image)),
                    "similarity": float(similarity),
                    "same": bool(same),
                }
                for image, similarity, same in zip(
                    table.nearest[place], table.similarity[place], table.same[place], strict=True
                )
                if image >= 0 and not math.isnan(similarity)
            ]
            if (target := int(table.right[place])) >= 0:
                row["right"] = {
                    **_picture(images, findings, other, target),
                    "similarity": float(table.right_similarity[place]),
                    "rank": int(table.right_rank[place]),
                }
        rows.append(row)
    return rows


def _pairs(old: RecordSet, new: RecordSet, case: str) -> tuple[list[tuple[Record, Record]], str]:
    """Finished records of a case on both sides, by seed; and why there are none."""
    before, after = (
        {record.seed: record for record in side.records if record.case == case and record.status == "done"}
        for side in (old, new)
    )
    seeds = sorted(before.keys() & after.keys())
    if not seeds:
        return [], "no seed on both sides" if before and after else "one side has no finished record"
    pairs = [(before[seed], after[seed]) for seed in seeds]
    same = [pair for pair in pairs if pair[0].data.get("version") == pair[1].data.get("version")]
    return same, "" if same else "other data on the two sides, so that queries cannot be compared"


def _details(side: RecordSet, record: Record, note: Callable[[str], None]) -> Details | None:
    if side.store is None or side.selection is None:
        return None
    key = side.selection.stored.get(record.key, record.key)
    try:
        return read_details(side.store.checkpoints(key) / DETAILS)
    except StoreError as error:
        note(str(error))
        return None


def _lacking(old: RecordSet, new: RecordSet, details: Sequence[Details | None]) -> str:
    lacking = [side.name for side, found in zip((old, new), details, strict=True) if found is None]
    return f"no details of single images in {first_few(lacking, 2)}: `mlbench run` stores them"


def _findings(
    side: RecordSet,
    records: tuple[Record, ...],
    cases: list[str],
    registry: Registry,
    note: Callable[[str], None],
) -> Mapping[str, CaseFindings]:
    if side.store is None or side.selection is None or not records:
        return {}
    chosen = replace(side.selection, records=records)
    return gather_findings(chosen, side.store, cases, "", "", registry, note)[0]


def _picture(images: Images, one: CaseFindings, other: CaseFindings, image: int) -> dict[str, Any]:
    """An image for a template, read from whichever side can read it; its name is without the folder of its
    class."""
    side = one if one.splits else other
    number, kind = images.number(*side.source(image)), side.class_of(image)
    name = side.name_of(image).removeprefix(f"{kind}/")
    return {"number": number, "text": side.text(image), "class": kind, "name": name}


def _rank(details: Details, query: int) -> int:
    return int(details.rank[details.queries == query][0])


def _value(record: Record, headline: str) -> float:
    found = record.metrics.get(headline)
    return found.value if found is not None and found.value is not None else -math.inf
