"""The registration of a component."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CONTRACT", "OLDEST_CONTRACT", "Component"]

#: Version of everything in `mlbench.plugin`. It grows when a plugin that was written before may stop working.
CONTRACT = 1

#: The oldest version whose plugins still load.
OLDEST_CONTRACT = 1


@dataclass(frozen=True, slots=True)
class Component:
    """The registration of one component. Its options class is imported when it is first needed.

    kind: one of `KINDS`. name: its name in suites. options: "module:Class" of its options class, a subclass
    of its kind's (`NeckOptions` for a neck). summary: one line. source: the paper or page that it comes from,
    as "arXiv:1801.09414" or an address."""

    kind: str
    name: str
    options: str
    summary: str
    source: str = ""
