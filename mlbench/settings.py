"""The settings of a case: components and their options, each remembering where it was written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlbench.contracts import KINDS
from mlbench.document import KeyPath
from mlbench.errors import SuiteError, hint

__all__ = ["SECTIONS", "Leaf", "Settings"]

#: Everything a case may set: one component of each kind, and two settings that belong to none.
SECTIONS = (*KINDS, "image", "precision")


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value and the place it was written at, as text ("suite.yaml:12: base.neck.dim")."""

    value: Any
    where: str


class Settings:
    """Values by (section,) or (section, option). Immutable: `updated` gives new ones.

    A section that holds a component has the option "name". Setting a section to a name, or to a mapping
    with a name, replaces the component and all its options; a mapping without a name changes options of
    the component that is there.
    """

    def __init__(self, leaves: Mapping[tuple[str, ...], Leaf] | None = None) -> None:
        self._leaves = dict(leaves or {})

    def updated(
        self, overrides: Mapping[str, Any], where: Callable[[KeyPath], str], key: KeyPath = ()
    ) -> Settings:
        """These settings with `overrides` laid over them; keys may be dotted.

        where, key: turn a key path into text for messages. Raises SuiteError for an unknown section.
        """
        leaves = dict(self._leaves)
        for name, value in overrides.items():
            section, _, option = name.partition(".")
            here = (*key, name)
            if section not in SECTIONS:
                raise SuiteError(f"{where(here)}: unknown key {section!r} ({hint(section, SECTIONS)})")
            if option:
                leaves.pop((section,), None)
                leaves[section, option] = Leaf(value, where(here))
            elif isinstance(value, Mapping):
                if "name" in value:
                    _clear(leaves, section)
                leaves.pop((section,), None)
                for inner, inner_value in value.items():
                    leaves[section, inner] = Leaf(inner_value, where((*here, inner)))
            else:
                _clear(leaves, section)
                component = section in KINDS and value is not None
                leaves[(section, "name") if component else (section,)] = Leaf(value, where(here))
        return Settings(leaves)

    def section(self, section: str) -> dict[str, Any] | None:
        """Options of a section as plain data; None when it is absent or set to null."""
        found = {path[1]: leaf.value for path, leaf in self._in(section) if len(path) > 1}
        return found or None

    def value(self, section: str) -> Any:
        """Value of a section that is not a mapping; None when it is absent."""
        leaf = self._leaves.get((section,))
        return leaf.value if leaf else None

    def where(self, section: str, option: str = "") -> str:
        """Where the option was written, else where its section was; "" when neither was."""
        for path in ((section, option), (section, "name"), (section,)):
            if path in self._leaves:
                return self._leaves[path].where
        return next((leaf.where for _, leaf in self._in(section)), "")

    def _in(self, section: str) -> Iterator[tuple[tuple[str, ...], Leaf]]:
        return ((path, leaf) for path, leaf in self._leaves.items() if path[0] == section)


def _clear(leaves: dict[tuple[str, ...], Leaf], section: str) -> None:
    for path in [path for path in leaves if path[0] == section]:
        del leaves[path]
