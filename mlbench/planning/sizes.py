"""Sizes of a suite: named changes of its file, of which `--size` chooses one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mlbench.errors import SuiteError, hint
from mlbench.planning.document import Document, KeyPath, flow_text

__all__ = ["Size", "Sized", "choose_size", "size_notes", "sized_title"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

#: Keys of a suite whose members keep the keys that a size does not name, unless it names another component.
_SINGLE_KEYS = ("claims",)

#: Keys of a suite that are the same at every size.
_FIXED = ("suite", "sizes", "plugins")


@dataclass(frozen=True)
class Size:
    """One size of a suite; without a name where the suite has no sizes.

    base, cases: changes of the settings, applied after those of the suite. key: of the size in the file.
    """

    name: str = ""
    about: str = ""
    base: Mapping[str, Any] = field(default_factory=dict)
    cases: Mapping[str, Any] = field(default_factory=dict)
    key: KeyPath = ()


@dataclass(frozen=True)
class Sized:
    """A suite file at one size. document: without sizes, with everything of the size except its base and
    cases. names: of all sizes, the default first."""

    document: Document
    size: Size = Size()
    names: tuple[str, ...] = ()


def choose_size(document: Document, name: str | None = None) -> Sized:
    """The document at the size with this name, else at its first size; as it is where it has none.

    Raises SuiteError for a name that the document lacks, and for mistakes in the size itself.
    """
    if not isinstance(document.data, dict):
        return Sized(document)  # no suite, whatever the size
    if "sizes" not in document.data:
        if name is not None:
            raise SuiteError(f"{document.path}: has no sizes; leave --size {name} out")
        return Sized(document)
    names = _names(document)
    if name is None:
        name = names[0]
    elif name not in names:
        raise SuiteError(f"{document.where(('sizes',))}: no size {name!r} ({hint(name, names)})")
    key = ("sizes", name)
    changes = dict(document.data["sizes"][name])
    about = changes.pop("about", "")
    if not isinstance(about, str):
        raise SuiteError(f"{document.where((*key, 'about'))}: expected text, not {about!r}")
    layers = {part: _layer(document, changes.pop(part, {}), (*key, part)) for part in ("base", "cases")}
    for case, overrides in layers["cases"].items():
        if overrides is not None:
            _layer(document, overrides, (*key, "cases", case))
    size = Size(name, " ".join(about.split()), layers["base"], layers["cases"], key)
    return Sized(_changed(document, changes, size), size, names)


def size_notes(size: str, about: str, names: tuple[str, ...], *, chosen: bool) -> list[str]:
    """Lines for the reader of a run: what the size is and, unless it was chosen, which others there are."""
    if not size:
        return []
    others = ", ".join(name for name in names if name != size)
    notes = [f"size {size}: {about}" if about else f"size {size}"]
    return notes if chosen or not others else [*notes, f"other sizes: {others} (choose with --size)"]


def sized_title(title: str, name: str, size: str) -> str:
    """The title over the results of a suite. name: with the size, for a suite without a title."""
    return f"{title}, size {size}" if title and size else title or name


def _names(document: Document) -> tuple[str, ...]:
    sizes = document.data["sizes"]
    if not isinstance(sizes, Mapping) or not sizes:
        example = "{cpu: {base: {image.size: 96}}}"
        raise SuiteError(f"{document.where(('sizes',))}: expected sizes by name, such as {example}")
    for name, changes in sizes.items():
        where = document.where(("sizes", name))
        if not _NAME.fullmatch(name):
            raise SuiteError(
                f"{where}: {name!r} cannot name a size (letters, digits and . _ -, a letter or digit first)"
            )
        if not isinstance(changes, Mapping):
            raise SuiteError(
                f"{where}: expected a mapping of what changes ({{}} for nothing), not {changes!r}"
            )
        for key in _FIXED:
            if key in changes:
                raise SuiteError(f"{document.where(('sizes', name, key))}: {key!r} is not part of a size")
    return tuple(sizes)


def _layer(document: Document, given: Any, key: KeyPath) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        example = "settings by case" if key[-1] == "cases" else "settings, such as {image.size: 96}"
        raise SuiteError(f"{document.where(key)}: expected a mapping of {example}, not {flow_text(given)}")
    return given


def _changed(document: Document, changes: Mapping[str, Any], size: Size) -> Document:
    """The document with every key of the size but base and cases. A mapping is changed name by name, and null
    removes; anything else is replaced."""
    data = {key: value for key, value in document.data.items() if key != "sizes"}
    moved: dict[KeyPath, KeyPath] = {}

    def put(into: dict[str, Any], at: KeyPath, name: str, value: Any) -> None:
        if value is not None:
            into[name] = value
            moved[(*at, name)] = (*size.key, *at, name)
        elif name in into:
            del into[name]
        else:
            where = document.where((*size.key, *at, name))
            of = ".".join(map(str, at)) or "the suite"
            raise SuiteError(f"{where}: {of} has no {name!r} to remove ({hint(name, into)})")

    for key, value in changes.items():
        if not isinstance(value, Mapping) or not isinstance(data.get(key, {}), Mapping):
            put(data, (), key, value)
            continue
        data[key] = members = dict(data.get(key, {}))
        if not members:
            moved[(key,)] = (*size.key, key)
        for name, new in value.items():
            old = members.get(name)
            single = key in _SINGLE_KEYS and isinstance(new, Mapping) and "name" not in new
            if single and isinstance(old, Mapping):
                members[name] = inner = dict(old)
                for option, setting in new.items():
                    put(inner, (key, name), option, setting)
            else:
                put(members, (key,), name, new)
    name = data.get("suite")
    if isinstance(name, str):
        data["suite"] = f"{name}-{size.name}"
    return replace(document, data=data, moved=moved)
