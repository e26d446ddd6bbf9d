"""The answer: which case to take, and whether the numbers carry it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import ClassVar

from mlbench.plugin import PageContext, Section, SectionOptions
from mlbench_sections.quantities import figure_text, measure_text, range_text
from mlbench_sections.templates import template

__all__ = ["Answer"]


class Answer(SectionOptions):
    """The case to take: the best within noise in the headline metrics, and of several such cases the
    smallest, then the fastest; with what speaks against it, and the verdicts on the suite's claims."""

    place: ClassVar[int] = 100

    def build(self, context: PageContext) -> Section:
        choice = context.choice
        return Section.of(
            "Answer",
            template("answer"),
            question=context.question,
            source=context.source,
            choice=choice,
            figures=list(_figures(context)),
            doubts=[*choice.doubts, *_doubts(context)],
            facts=list(_facts(context)),
            rankings=[each.sentence for each in context.rankings],
            claims=context.verdicts,
        )


def _figures(context: PageContext) -> Iterator[tuple[str, str, str]]:
    """Heading, value and interval of the numbers of the chosen case."""
    row = next((each for each in context.rows if each.name == context.choice.case), None)
    if row is None:
        return
    for name, heading in context.headlines.items():
        if name in row.figures:
            yield heading, figure_text(row.figures[name]), range_text(row.figures[name])
    for name, heading in (
        ("bytes", "MB"),
        ("latency_p50", "ms for one image"),
        ("images_per_second", "images/s"),
    ):
        if name in row.figures:
            yield heading, measure_text(name, row.figures[name]), ""
    if "threshold" in row.figures:
        yield (
            "same up to distance",
            figure_text(row.figures["threshold"]),
            range_text(row.figures["threshold"]),
        )


def _facts(context: PageContext) -> Iterator[tuple[str, str]]:
    """What the numbers rest on."""
    done = context.done
    if not done:
        return
    seeds = Counter(len(row.seeds) for row in context.rows if row.seeds)
    yield "cases", f"{len(context.rows):,}"
    yield "seeds each", " to ".join(map(str, dict.fromkeys((min(seeds), max(seeds)))))
    scored = done[-1].evaluation
    if scored.get("queries"):
        yield "queries", f"{scored['queries']:,}"
        yield "classes", f"{scored.get('classes', 0):,}"
    disjoint = {record.data.get("disjoint") for record in done}
    if disjoint == {True}:
        yield "test classes", "never seen in training"
    elif disjoint == {False}:
        yield "test classes", "seen in training"
    calibration = (scored.get("threshold") or {}).get("calibration") or {}
    if calibration:
        yield "threshold fitted on", f"{calibration.get('classes', 0):,} other classes"
    device = done[-1].environment.get("device_product") or done[-1].environment.get("device")
    if device:
        yield "measured on", str(device)


def _doubts(context: PageContext) -> Iterator[str]:
    yield from (f"{text}." for text in context.leaks)
    failed = [row.name for row in context.rows if row.failed]
    if failed:
        yield f"{len(failed)} case{'s' if len(failed) > 1 else ''} failed, in part or wholly: see Notes."
    if context.lacking:
        yield f"{len(context.lacking)} of the suite's cases and seeds have no record: see Notes."
    row = next((each for each in context.rows if each.name == context.choice.case), None)
    if row is not None and any(each.disturbed for each in row.figures.values()):
        yield "Its speed was measured while other work slowed the machine (~)."
    yield from _threshold_doubts(context)
    for verdict in ("refuted", "inconclusive", "not measurable here"):
        names = [str(each["id"]) for each in context.verdicts if each["verdict"] == verdict]
        if names:
            claims = f"the claim {names[0]} is" if len(names) == 1 else f"the claims {', '.join(names)} are"
            yield f"{claims[0].upper()}{claims[1:]} {verdict}."


def _threshold_doubts(context: PageContext) -> Iterator[str]:
    """Whether the threshold is worth more than accepting every pair."""
    found = context.findings.get(context.choice.case)
    if found is None:
        return
    sweep, f1 = found.details.sweep, found.record.metrics.get("f1")
    everything = 2 * sweep.positives / max(1, 2 * sweep.positives + sweep.negatives)
    if f1 is not None and f1.value is not None and f1.low is not None and f1.low <= everything:
        yield (
            f"Its threshold may be worth nothing: F1 is {f1.value:.3f} (seed {found.record.seed}), and "
            f"{everything:.3f} where every pair counts as the same."
        )
