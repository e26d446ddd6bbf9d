"""The settings of a case: components and their options, each with its place in the suite file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

from mlbench.contracts import KINDS
from mlbench.contracts.paths import with_value
from mlbench.errors import SuiteError, hint
from mlbench.planning.document import KeyPath

__all__ = ["COLLECTIONS", "COMPONENTS", "SECTIONS", "Changes", "Leaf", "Settings", "Where"]

#: Sections with one component, and its kind. A teacher is a frozen backbone.
COMPONENTS: Mapping[str, str] = MappingProxyType(
    {**{kind: kind for kind, each in KINDS.items() if each.in_case}, "teacher": "backbone"}
)

#: Sections with any number of components by name, and their kind.
COLLECTIONS: Mapping[str, str] = MappingProxyType({"losses": "loss", "metrics": "metric"})

#: Sections with options but without a component.
_PLAIN = ("image", "compute", "evaluation", "measure")

#: Sections that are one value.
_VALUES = ("precision", "widths")

#: Every section of a case.
SECTIONS = (*COMPONENTS, *COLLECTIONS, *_PLAIN, *_VALUES)

#: Turns a key path into text for messages ("suite.yaml:12: base.neck.dim").
Where = Callable[[KeyPath], str]

_Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value and its place in the suite file, as text. places: of the keys below it, by their path."""

    value: Any
    where: str
    places: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Changes:
    """The changes from one place of a suite.

    replaced: sections whose former settings are dropped, with the place. leaves: values by (section,) or
    (section, option); a section with a component has the option "name".
    """

    replaced: dict[str, str] = field(default_factory=dict)
    leaves: dict[_Path, Leaf] = field(default_factory=dict)

    @classmethod
    def read(cls, overrides: Mapping[str, Any], where: Where, key: KeyPath = ()) -> Changes:
        """Changes from the mapping at `key` of a suite.

        "neck: gap" and "neck: {name: gap, dim: 64}" replace the neck and all its options; "neck: {dim: 64}"
        and "neck.dim: 64" change an option of the neck that is there; "sampler: null" removes the sampler.
        "metrics: [a, b]" replaces all metrics, "metrics: {a: {k: [1]}}" sets one, and so with losses. Raises
        SuiteError for an unknown section, a value of the wrong shape or an option set twice."""
        changes = cls()
        for name, value in overrides.items():
            here = where((*key, name))
            section, dot, option = name.partition(".")
            if section not in SECTIONS:
                raise SuiteError(f"{here}: unknown key {section!r} ({hint(section, SECTIONS)})")
            if dot and (not option or section in _VALUES):
                raise SuiteError(f"{here}: unknown key {name!r}; {_expected(section)}")
            if dot:
                places = dict(_places(value, where, (*key, name))) if section in COMPONENTS else {}
                changes._put((section, option), Leaf(value, here, places))
            elif section in COLLECTIONS and isinstance(value, list) and {str} >= set(map(type, value)):
                changes.replaced[section] = here
                for index, each in enumerate(value):
                    changes._put((section, each), Leaf({}, where((*key, name, index))))
            elif isinstance(value, Mapping) and section not in _VALUES:
                if "name" in value and section in COMPONENTS:
                    changes.replaced[section] = here
                for inner, inner_value in value.items():
                    below = (*key, name, inner)
                    places = dict(_places(inner_value, where, below)) if section in COMPONENTS else {}
                    changes._put((section, inner), Leaf(inner_value, where(below), places))
            elif value is None or (isinstance(value, str) and section in (*COMPONENTS, "precision")):
                changes.replaced[section] = here
                component = section in COMPONENTS and value is not None
                changes._put((section, "name") if component else (section,), Leaf(value, here))
            elif isinstance(value, list) and section == "widths":
                changes.replaced[section] = here
                changes._put((section,), Leaf(value, here))
            else:
                raise SuiteError(f"{here}: {_expected(section)}, not {value!r}")
        return changes

    def joined(self, other: Changes) -> Changes:
        """Both together; the order does not matter. Raises SuiteError when both set the same."""
        for section in self.replaced.keys() & other.replaced.keys():
            raise SuiteError(f"{other.replaced[section]}: {section} is set by {self.replaced[section]} too")
        result = Changes({**self.replaced, **other.replaced}, dict(self.leaves))
        for path, leaf in other.leaves.items():
            result._put(path, leaf)
        return result

    def _put(self, path: _Path, leaf: Leaf) -> None:
        if path in self.leaves:
            raise SuiteError(f"{leaf.where}: {'.'.join(path)} is set by {self.leaves[path].where} too")
        self.leaves[path] = leaf


class Settings:
    """Values by (section,) or (section, option). Immutable."""

    def __init__(self, leaves: Mapping[_Path, Leaf] | None = None) -> None:
        self._leaves = dict(leaves or {})

    def updated(self, changes: Changes) -> Settings:
        """These settings with `changes` applied."""
        leaves = {path: leaf for path, leaf in self._leaves.items() if path[0] not in changes.replaced}
        for path, leaf in changes.leaves.items():
            leaves.pop(path[:1], None)  # an option of a section that was null
            for below in [each for each in leaves if _is_below(each, path) and each not in changes.leaves]:
                del leaves[below]
            leaves[path] = leaf
        return Settings(leaves)

    def over(self, preset: Settings) -> Settings:
        """These settings, completed key by key from `preset`. A section that is null here, or names another
        component, takes nothing from the preset."""
        replaced = {
            path[0]: leaf.where
            for path, leaf in self
            if len(path) == 1 or (path[1] == "name" and leaf.value != preset._value(path, leaf.value))
        }
        return preset.updated(Changes(replaced, dict(self)))

    def _value(self, path: _Path, default: Any) -> Any:
        return self._leaves[path].value if path in self._leaves else default

    def section(self, section: str) -> dict[str, Any] | None:
        """Options of a section as plain data; None when it is absent or set to null."""
        found: dict[str, Any] = {}
        inner: list[tuple[str, Leaf]] = []
        for path, leaf in self._sections.get(section, ()):
            if path[1:] and "." in path[1] and section in COMPONENTS:
                inner.append((path[1], leaf))
            elif path[1:]:
                found[path[1]] = leaf.value
        for option, leaf in inner:  # of a component that is an option
            found = with_value(found, option.split("."), leaf.value) or {**found, option: leaf.value}
        return found or None

    def leaves(self, section: str, *options: str) -> tuple[Leaf, ...]:
        """Every leaf of a section, or those of some of its options."""
        found = self._sections.get(section, ())
        return tuple(leaf for path, leaf in found if not options or path[-1] in options)

    @cached_property
    def _sections(self) -> dict[str, list[tuple[_Path, Leaf]]]:
        sections: dict[str, list[tuple[_Path, Leaf]]] = {}
        for path, leaf in self:
            sections.setdefault(path[0], []).append((path, leaf))
        return sections

    def value(self, section: str) -> Any:
        """Value of a section that is not a mapping; None when it is absent."""
        leaf = self._leaves.get((section,))
        return leaf.value if leaf else None

    def where(self, section: str, option: str = "") -> str:
        """Place of the option, else of its section; "" when neither is set."""
        keys = option.split(".")
        for length in range(len(keys), 0, -1):
            if leaf := self._leaves.get((section, ".".join(keys[:length]))):
                below = (".".join(keys[length:end]) for end in range(len(keys), length, -1))
                return next((leaf.places[each] for each in below if each in leaf.places), leaf.where)
        for path in ((section, "name"), (section,)):
            if path in self._leaves:
                return self._leaves[path].where
        return next((leaf.where for leaf in self.leaves(section)), "")

    def __iter__(self) -> Iterator[tuple[_Path, Leaf]]:
        return iter(self._leaves.items())


def _is_below(path: _Path, other: _Path) -> bool:
    """Whether a path is of an option of the component that the other one sets."""
    return len(path) == len(other) == 2 and path[0] == other[0] and path[1].startswith(f"{other[1]}.")


def _places(value: Any, where: Where, key: KeyPath, below: str = "") -> Iterator[tuple[str, str]]:
    """The path below `key` and the place of every key in a value."""
    items = (
        value.items() if isinstance(value, Mapping) else enumerate(value if isinstance(value, list) else ())
    )
    for name, each in items:
        path = f"{below}{name}"
        yield path, where((*key, name))
        yield from _places(each, where, (*key, name), f"{path}.")


def _expected(section: str) -> str:
    if section == "precision":
        return "expected the name of a precision"
    if section == "widths":
        return "expected a list of widths that ends with the neck's dim, such as [32, 64, 256]"
    if section == "metrics":
        return (
            "expected names of metrics, such as [retrieval, verification], or a mapping of each one's options"
        )
    if section == "losses":
        return "expected a mapping such as {cosface: {margin: 0.4}, supcon: {weight: 0.5}}"
    if section in _PLAIN:
        example = {
            "image": "size: 128",
            "compute": "compile: true",
            "evaluation": "resamples: 1000",
            "measure": "batch_size: 32",
        }[section]
        return f"expected a mapping such as {{{example}}}"
    return f"expected the name of a {section} or a mapping of its options"
