"""Sections of the report page: text with charts and images, as plain data that the page renders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Chart", "Part", "Section"]


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart. spec: in Vega-Lite 5, as plain data that hold their own values; a row's whole number under the
    key "image" is that of an image (see `PageContext.image`), shown in the row's tooltip. The page sets the
    colours, the fonts, and the width where there is none. description: what the chart shows, in a sentence,
    for those who do not see it."""

    spec: Mapping[str, Any]
    description: str


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a section. template: HTML as a Jinja2 template, which is given `values` and, as functions,
    `chart(name)` of one of `charts` and `image(number, text)` of an image of `PageContext.image`. Values are
    escaped; an unknown name is an error. case: the case that it is about, "" for no single one; the page
    shows the parts of one case at a time, chosen by the reader."""

    template: str
    values: Mapping[str, Any] = field(default_factory=dict)
    charts: Mapping[str, Chart] = field(default_factory=dict)
    case: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A section. title: its heading and its link at the top of the page. parts: in their order."""

    title: str
    parts: tuple[Part, ...]

    @classmethod
    def of(
        cls, title: str, template: str, charts: Mapping[str, Chart] | None = None, **values: Any
    ) -> Section:
        """A section of one part."""
        return cls(title, (Part(template, values, charts or {}),))
