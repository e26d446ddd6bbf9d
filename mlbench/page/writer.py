"""The writer of a page: sections rendered from their templates into one HTML file.

The file needs nothing else: its style, scripts, data and images are in it, and its content security policy
lets no browser ask for anything more."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from mlbench.contracts import Chart, Part, Section
from mlbench.page.images import Images
from mlbench.page.script import chart_script

if TYPE_CHECKING:
    from jinja2 import Environment, Template
    from markupsafe import Markup

__all__ = ["PageWriter", "chart_json"]


@dataclass(frozen=True)
class _Rendered:
    anchor: str
    title: str
    parts: Sequence[tuple[str, Markup]]


class PageWriter:
    """A page. title: its heading. cases: those that a reader can choose between, the first shown first.
    images: of its sections. kind: a word above the heading. home: relative address and text of a page that
    this one belongs to."""

    def __init__(
        self,
        title: str,
        *,
        cases: Sequence[str] = (),
        images: Images | None = None,
        kind: str = "",
        home: tuple[str, str] | None = None,
    ) -> None:
        self.title = title
        self.images = Images() if images is None else images
        self._cases = cases
        self._kind = kind
        self._home = home
        self._sections: list[_Rendered] = []
        self._charts: list[str] = []
        self._faults: list[str] = []

    def add(self, anchor: str, section: Section) -> None:
        """Add a section. anchor: its name in links. Whatever its templates raise is raised, and nothing
        added."""
        charts: list[str] = []
        parts = [(part.case, self._rendered(part, charts)) for part in section.parts]
        self._sections.append(_Rendered(anchor, section.title, parts))
        self._charts += charts

    def add_fault(self, line: str) -> None:
        """Add a line on what the page lacks."""
        self._faults.append(line)

    def html(self, *, script: str = "") -> str:
        """The page. script: relative address of a file with `chart_script()`; "" to have it in the page."""
        addresses, notes = self.images.encoded()
        shown = {case for each in self._sections for case, _ in each.parts}
        return (
            _environment()
            .get_template("page.html")
            .render(
                title=self.title,
                kind=self._kind,
                home=self._home,
                sections=self._sections,
                cases=[case for case in self._cases if case in shown],
                faults=[*self._faults, *notes],
                charts=self._charts,
                images=chart_json(addresses) if addresses else "",
                style=_asset("page.css"),
                behaviour=_asset("page.js"),
                library=chart_script() if self._charts and not script else "",
                script=script if self._charts else "",
            )
        )

    def _rendered(self, part: Part, charts: list[str]) -> Markup:
        from markupsafe import Markup

        environment = _environment()
        macros: Any = environment.get_template("macros.html").module

        def chart(name: str) -> Markup:
            found = part.charts[name]
            charts.append(chart_json(_complete(found)))
            found_text: Markup = macros.chart(len(self._charts) + len(charts) - 1, found.description)
            return found_text

        def image(number: int | None, text: str = "") -> Markup:
            found_text: Markup = macros.image(number, text)
            return found_text

        given = {**part.values, "chart": chart, "image": image}
        return Markup(_compiled(part.template).render(given))  # noqa: S704  escaped by the template


def chart_json(data: Any) -> str:
    """JSON that may stand in a script element: what would end it is escaped. Raises ValueError for numbers
    that are not finite."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _complete(chart: Chart) -> Mapping[str, Any]:
    sized = "width" in chart.spec or any(name in chart.spec for name in ("hconcat", "vconcat", "facet"))
    width = {} if sized else {"width": "container"}
    return {**width, **chart.spec, "description": chart.description}


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("mlbench.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _compiled(template: str) -> Template:
    return _environment().from_string(template)


@cache
def _asset(name: str) -> Markup:
    from importlib.resources import files

    from markupsafe import Markup

    text = files("mlbench.page").joinpath("templates", name).read_text(encoding="utf-8")
    return Markup(text)  # noqa: S704  a file of ours
