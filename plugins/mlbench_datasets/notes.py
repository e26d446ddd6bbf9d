"""The wording of notes: facts about the data that a user must know, one line each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

__all__ = ["examples", "left_out", "remarked"]


def examples(texts: Sequence[str], show: int = 3) -> str:
    """The first few of `texts`, and the number of the others."""
    return ", ".join(texts[:show]) + (f", and {len(texts) - show} more" if len(texts) > show else "")


def left_out(paths: Sequence[str], unreadable: Mapping[int, str]) -> str:
    """A note about the files of `paths` that cannot be read; `unreadable` maps position to reason."""
    # One file of each reason first: the remedy may differ.
    first = {reason: number for number, reason in enumerate(dict.fromkeys(unreadable.values()))}
    seen = Counter[str]()
    ranked = []
    for position, reason in unreadable.items():
        ranked.append((seen[reason], first[reason], f"{paths[position]} ({reason})"))
        seen[reason] += 1
    named = examples([text for _, _, text in sorted(ranked)])
    return f"{len(unreadable)} of {len(paths)} images left out as unreadable: {named}"


def remarked(paths: Sequence[str], remarks: Mapping[int, Sequence[str]]) -> list[str]:
    """Notes about the remarks made while the files `paths` were read, one for each remark; `remarks` maps
    position to remarks."""
    found: dict[str, list[str]] = {}
    for position, texts in remarks.items():
        for text in texts:
            found.setdefault(text, []).append(paths[position])
    return [
        f"{text}: {len(names)} of {len(paths)} images ({examples(names)})" for text, names in found.items()
    ]
