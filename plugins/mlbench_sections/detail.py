"""Parts that each case in detail has: the limit of what is shown, and images with their captions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from mlbench.plugin import CaseFindings, Chart, PageContext, Part, Section
from mlbench_sections.templates import template

__all__ = ["by_case", "picture", "share"]

#: Values and charts of a part, None where there is nothing to say.
Made = tuple[dict[str, Any], dict[str, Chart]] | None


def share(context: PageContext, most: int, total: int, least: int) -> int:
    """How much each case may show: its share of `total` for all cases, but at least `least`; never more than
    `most`."""
    return min(most, max(least, total // max(1, len(context.findings))))


def picture(context: PageContext, case: str, image: int, **more: Any) -> dict[str, Any]:
    """An image for a template: its number, class, name without the folder of the class, and both as text;
    `more` as it is."""
    found = context.findings[case]
    kind = found.class_of(image)
    name = found.name_of(image).removeprefix(f"{kind}/")
    facts = {"class": kind, "name": name, "text": found.text(image)}
    return {"number": context.image(case, image), **facts, **more}


def by_case(
    context: PageContext, title: str, name: str, make: Callable[[str, CaseFindings], Made]
) -> Section | None:
    """A section with a part for each case in detail, from the template `name`."""

    def parts() -> Iterator[Part]:
        for case, found in context.findings.items():
            made = make(case, found)
            if made is not None:
                values, charts = made
                given = {"case": case, "seed": found.record.seed, "why": found.why, **values}
                yield Part(template(name), given, charts, case)

    found = tuple(parts())
    return Section(title, found) if found else None
