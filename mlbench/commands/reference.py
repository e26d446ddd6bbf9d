"""The reference of components and of their kinds in Markdown."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from mlbench.commands.kinds import KindContract, Member, common_members, member, type_contract
from mlbench.contracts import EVERY_KIND, KINDS, CatalogueItem, Component
from mlbench.contracts.options import BASES
from mlbench.options import options_of
from mlbench.planning.document import flow_text

if TYPE_CHECKING:
    from mlbench.options import Option
    from mlbench.registry import Entry

__all__ = ["components_markdown", "kinds_markdown", "kinds_table"]

_TABLE = ["| option | type | default | meaning |", "|---|---|---|---|"]


def components_markdown(entries: Iterable[Entry]) -> str:
    """A page with every component: what it is, where it comes from, its formula, its options.

    Options that every component of a kind has are shown once, and a preset shows what it changes."""
    kinds = [(kind, list(group)) for kind, group in groupby(entries, key=lambda entry: entry.component.kind)]
    lines = ["# Components", "", "```console", "$ mlbench list --markdown > docs/components.md", "```", ""]
    lines += ["[Kinds of components](kinds.md) has what each kind is given and must have.", ""]
    for kind, group in kinds:
        links = [f"[{entry.component.name}](#{entry.component.name})" for entry in group]
        lines += [f"- [{kind}](#{kind}): {', '.join(links)}"]
    lines += [""]
    for kind, group in kinds:
        lines += [f"## {kind}", "", f"{_sentence(KINDS[kind].summary)}", ""]
        common = options_of(BASES[kind])
        if common:
            lines += [f"Options of every {kind}:", "", *_options_table(common), ""]
        for entry in group:
            lines += _component(entry, group, common)
    return "\n".join(lines).rstrip("\n") + "\n"


def kinds_table(entries: Iterable[Entry], *, names: bool) -> str:
    """A row for each kind: what it is given, must have, and its checks. names: of its components, instead of
    its class and what it may have."""
    registered = list(entries)
    page = "docs/kinds.md" if names else "kinds.md"
    head = ["kind", "components"] if names else ["kind", "class"]
    rows = [[*head, "is given", "returns, which must have", *([] if names else ["may have"]), "checks"]]
    rows.append(["---"] * len(rows[0]))
    for kind in KINDS:
        found = KindContract.of(kind)
        own = [entry.component.name for entry in registered if entry.component.kind == kind]
        checks = f"[{len(found.duties)}]({page}#{kind})"
        row = [", ".join(f"`{each}`" for each in found.given), f"`{found.returns}`: {found.duties[0].text}"]
        if names:
            rows.append([kind, _code(own), *row, checks])
        else:
            may = _code(each.name for each in found.own_members)
            rows.append([kind, f"`{found.base}`", *row, may, checks])
    return "".join(f"| {' | '.join(map(_cell, row))} |\n" for row in rows)


def kinds_markdown(offered: Mapping[str, Any]) -> str:
    """A page with the contract of every kind. offered: everything that a plugin may import, by name; what no
    kind mentions is listed at the end."""
    shown = KindContract.of("neck")
    lines = [
        "# Kinds of components",
        "",
        "```console",
        "$ mlbench show neck",
        f"neck: {shown.summary}",
        "...",
    ]
    lines += ["```", "", "`mlbench show KIND` prints the part of this page about one kind. A component is a"]
    lines += [
        "subclass of the class of its kind; every name is in `mlbench.plugin`.",
        "",
        "## Every kind",
        "",
    ]
    lines += [*_duties(EVERY_KIND), "", "A class may have:", ""]
    lines += [*_members(common_members()), ""]
    where: dict[str, str] = {}
    for each in map(type_contract, (Component, CatalogueItem)):
        where[each.name] = "every kind"
        lines += [f"### `{each.signature}`", "", each.meaning, ""]
    for kind in KINDS:
        found = KindContract.of(kind)
        lines += [
            f"## {kind}",
            "",
            f"{_sentence(found.summary)} A subclass of `{found.base}`.",
            "",
            *([found.about, ""] if found.about else []),
        ]
        lines += [
            f"`{found.method}` is given {' and '.join(f'`{each}`' for each in found.given) or 'nothing'}"
        ]
        lines += [f"and returns `{found.returns}`: {found.result}", ""]
        lines += [line for each in found.given if each.meaning for line in (each.meaning, "")]
        lines += [*_duties(found.duties), ""]
        if found.options:
            lines += [f"Options of every {kind}, in [components](components.md#{kind}).", ""]
        where |= dict.fromkeys((each.type for each in found.given if each.fields), kind)
        if found.own_members:
            lines += ["The class may have:", "", *_members(found.own_members), ""]
        for each in found.types:
            if each.name in where:
                lines += [f"`{each.name}`: see [{where[each.name]}](#{where[each.name]}).", ""]
                continue
            where[each.name] = kind
            lines += [f"### `{each.signature}`", "", each.meaning, ""]
            if each.members:
                lines += [*_members(each.members), ""]
    classes = {each.__name__ for each in BASES.values()}
    others = {name: thing for name, thing in offered.items() if name not in where and name not in classes}
    lines += [
        "## Errors",
        "",
        "A plugin raises these for what is wrong with a suite, its data or its files.",
        "",
    ]
    errors = {
        name: each for name, each in others.items() if isinstance(each, type) and issubclass(each, Exception)
    }
    lines += [f"- `{name}`: {_first(each)}" for name, each in errors.items()]
    lines += ["", "## Helpers", "", "Functions and classes that components may use.", ""]
    for name, thing in others.items():
        if inspect.isfunction(thing):
            found_member = member(name, thing)
            lines += [f"- `{found_member.signature}`: {_first(thing)}"]
        elif isinstance(thing, type) and name not in errors and inspect.isclass(thing):
            lines += [f"- `{name}`: {_first(thing)}"]
    return "\n".join(lines).rstrip("\n") + "\n"


def _first(thing: Any) -> str:
    """First paragraph of a docstring on one line."""
    return " ".join(inspect.cleandoc(thing.__doc__ or "").partition("\n\n")[0].split())


def _component(entry: Entry, group: Sequence[Entry], common: Sequence[Option]) -> list[str]:
    component, options_class = entry.component, entry.options_class
    documentation = inspect.getdoc(options_class) or ""
    lines = [f"### {component.name}", ""]
    if not documentation.casefold().startswith(component.summary.casefold()):
        lines += [f"{component.summary}.", ""]
    lines += [documentation, ""]
    if component.source:
        lines += [f"Source: {_source(component.source)}", ""]
    parent = _parent(options_class, group)
    known = {*common, *(parent.options if parent else ())}
    texts = {(each.name, each.type, each.description) for each in known}
    new = [each for each in entry.options if each not in known]
    changed = [each for each in new if (each.name, each.type, each.description) in texts]
    own = [each for each in new if each not in changed]
    if parent is not None:
        lines += [f"Options as `{parent.component.name}`{', and:' if own else '.'}", ""]
    if own:
        lines += [*_options_table(own), ""]
    if defaults := {each.name: json.loads(each.default) for each in changed if each.default is not None}:
        lines += [f"Other defaults: `{flow_text(defaults)}`.", ""]
    if brought := options_class.settings():
        sections = "; ".join(f"`{name}: {flow_text(value)}`" for name, value in brought.items())
        lines += [f"Settings of other sections, where the suite does not set them: {sections}.", ""]
    return lines


def _parent(options_class: type, group: Sequence[Entry]) -> Entry | None:
    """The component of the group that is the nearest base of a class."""
    by_class = {entry.options_class: entry for entry in group}
    return next((by_class[each] for each in options_class.__mro__[1:] if each in by_class), None)


def _options_table(options: Iterable[Option]) -> list[str]:
    rows = []
    for option in options:
        default = "required" if option.default is None else f"`{_short(option.default)}`"
        cells = (f"`{option.name}`", option.type, default, " ".join(option.description.split()))
        rows.append(f"| {' | '.join(map(_cell, cells))} |")
    return [*_TABLE, *rows]


def _short(default: str) -> str:
    value: Any = json.loads(default)
    return flow_text(value)


def _duties(duties: Iterable[Any]) -> list[str]:
    rows = [f"| {_cell(each.text)} | `{each.check}` |" for each in duties]
    return ["| must have | check |", "|---|---|", *rows]


def _members(members: Iterable[Member]) -> list[str]:
    lines = []
    for each in members:
        meaning = "\n".join(f"  {line}".rstrip() for line in each.meaning.splitlines())
        lines += [f"- `{each.signature}`" + (f"\n\n{meaning}" if meaning else "")]
    return lines


def _sentence(summary: str) -> str:
    return f"{summary[0].upper()}{summary[1:]}."


def _source(source: str) -> str:
    if source.startswith("arXiv:"):
        return f"[{source}](https://arxiv.org/abs/{source.removeprefix('arXiv:')})"
    return f"<{source}>"


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
