"""The wording of notes: what a user must know of the data, in one line each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

__all__ = ["examples", "left_out", "remarked"]


def examples(texts: Sequence[str], show: int = 3) -> str:
    """The first few of `texts`, and how many more there are."""
    return ", ".join(texts[:show]) + (f", and {len(texts) - show} more" if len(texts) > show else "")


def left_out(paths: Sequence[str], unreadable: Mapping[int, str]) -> str:
    """Which of the files `paths` cannot be read, and why; `unreadable` maps position to reason."""
    # One for each reason first: what is to be done may differ.
    first = {reason: number for number, reason in enumerate(dict.fromkeys(unreadable.values()))}
    seen = Counter[str]()
    ranked = []
    for position, reason in unreadable.items():
        ranked.append((seen[reason], first[reason], f"{paths[position]} ({reason})"))
        seen[reason] += 1
    named = examples([text for _, _, text in sorted(ranked)])
    return f"{len(unreadable)} of {len(paths)} images left out as unreadable: {named}"


def remarked(paths: Sequence[str], remarks: Mapping[int, Sequence[str]]) -> list[str]:
    """What was remarked on in reading the files `paths`, a line for each remark; `remarks` maps position to
    remarks."""
    found: dict[str, list[str]] = {}
    for position, texts in remarks.items():
        for text in texts:
            found.setdefault(text, []).append(paths[position])
    return [
        f"{text}: {len(names)} of {len(paths)} images ({examples(names)})" for text, names in found.items()
    ]
