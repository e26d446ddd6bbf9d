"""Checks of sections of the report page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mlbench.contracts import Section
from mlbench.page.context import PageContext
from mlbench.page.writer import PageWriter
from mlbench.records.record import Estimate, Record, Timing
from mlbench.testing.check import Subject, expect
from mlbench.testing.random_state import untouched

__all__ = ["CHECKS"]

#: A name of a case that is markup where it is not escaped.
_MARKUP = "<i>case</i>"


def _records(*cases: str) -> tuple[Record, ...]:
    """Made-up records of these cases in two seeds; the last case failed in one."""
    return tuple(
        Record(
            suite="made up",
            case=case,
            seed=seed,
            fingerprint=f"{place}{seed}" * 32,
            status="failed" if place and place == len(cases) - 1 and seed else "done",
            error="TrainingError: the loss is not finite" if place == len(cases) - 1 and seed else "",
            metrics={
                "recall_at_1": Estimate(
                    0.9 - place / 10 + seed / 100, 0.7 - place / 10, 0.95, heading="Recall@1", headline=True
                ),
                "threshold": Estimate(0.4, 0.3, 0.5, unit="distance", higher_is_better=None),
            },
            size={"bytes": 1_000_000 * (place + 1), "parameters": 250_000 * (place + 1)},
            speed={"images_per_second": Timing(100.0 + place, (100.0 + place,), "images/s")},
            training={"curves": {"loss": [2.0, 1.0 + place], "lr": [0.1, 0.2]}},
            data={"version": "1", "disjoint": True},
            environment={"device": "cpu"},
            finished="2026-01-01T00:00:00",
        )
        for place, case in enumerate(cases)
        for seed in range(2)
    )


def _contexts(subject: Subject) -> Iterator[tuple[str, PageContext]]:
    """Contexts by what they have. An author's own argument of `build` replaces the made-up one."""
    given: dict[str, Any] = {"title": "Which case?", "question": "Is it so?", **subject.arguments}
    yield "no records", PageContext(**{**given, "records": ()})
    yield "one case without metrics", PageContext(**{**given, "records": (_bare(),)})
    yield "three cases", PageContext(**{"records": _records("small", "large", "odd"), **given})


def _bare() -> Record:
    return Record(suite="made up", case="bare", seed=0, fingerprint="f" * 64, status="done")


def _section(subject: Subject, context: PageContext) -> Any:
    return subject.made_options().build(context)


def _page(subject: Subject, context: PageContext) -> str:
    """The page with this section alone; "" where it has nothing to say."""
    section = _section(subject, context)
    if section is None:
        return ""
    writer = PageWriter("Which case?", cases=list(context.findings), images=context.images)
    writer.add("section", section)
    return writer.html(script="charts.js")


def section_is_built_of_records(subject: Subject) -> None:
    for what, context in _contexts(subject):
        found = _section(subject, context)
        if found is None:
            continue
        expect(
            isinstance(found, Section),
            f"build() returns {found!r} for {what}; return a Section, as Section.of() makes, or None",
        )
        expect(
            isinstance(found.title, str) and found.title.strip() and found.parts,
            f"the section for {what} has the title {found.title!r} and {len(found.parts)} parts; give it a "
            "title and at least one part, or return None",
        )


def section_renders(subject: Subject) -> None:
    for what, context in _contexts(subject):
        try:
            _page(subject, context)
        except Exception as error:
            raise AssertionError(
                f"the template cannot be rendered for {what}: {error}; pass every value that it names, and "
                "numbers that are finite"
            ) from None
        section = _section(subject, context)
        for name, chart in (each for part in getattr(section, "parts", ()) for each in part.charts.items()):
            expect(
                isinstance(chart.description, str) and chart.description.strip(),
                f"the chart {name!r} has no description; write in a sentence what it shows",
            )
            expect(
                not _has_key(chart.spec, "url"),
                f"the chart {name!r} has the key 'url'; return its rows in data.values: a page is one file",
            )


def section_is_always_the_same(subject: Subject) -> None:
    for what, context in _contexts(subject):
        with untouched("build()", "draw from a generator with a fixed seed"):
            found = [_page(subject, context) for _ in range(2)]
        expect(
            found[0] == found[1],
            f"build() gives two sections for {what}; draw from a generator with a fixed seed, read no clock",
        )


def section_escapes_names(subject: Subject) -> None:
    given = {key: each for key, each in subject.arguments.items() if key != "records"}
    context = PageContext(**{**given, "title": "t", "records": _records(_MARKUP, "large")})
    expect(
        _MARKUP not in _page(subject, context),
        f"the section has the name of the case {_MARKUP!r} as markup; remove |safe from the template",
    )


def _has_key(value: Any, key: str) -> bool:
    if isinstance(value, Mapping):
        return key in value or any(_has_key(each, key) for each in value.values())
    return isinstance(value, list | tuple) and any(_has_key(each, key) for each in value)


CHECKS: dict[str, tuple[Callable[[Subject], None], ...]] = {
    "section": (
        section_is_built_of_records,
        section_renders,
        section_is_always_the_same,
        section_escapes_names,
    )
}
