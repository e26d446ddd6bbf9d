"""Words for cases in the labels of effects."""

from __future__ import annotations

from mlbench.plugin import Cases

__all__ = ["cases_text"]


def cases_text(cases: Cases) -> str:
    """Cases in a few words: a name, or labels on axes joined by +."""
    return cases if isinstance(cases, str) else "+".join(str(label) for label in cases.values())
