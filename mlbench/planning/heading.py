"""A heading: the name, title and tolerances of a suite, read from its file without loading components."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlbench.errors import SuiteError
from mlbench.planning.document import load_document
from mlbench.planning.sizes import choose_size, sized_title

__all__ = ["Heading", "checked_tolerances", "read_heading"]

#: Larger than any tolerance.
_MOST = 1e9


@dataclass(frozen=True)
class Heading:
    """Name and title of a suite. path: its file, None where only its name was given; tolerances is None then.
    has_cases: whether the file describes cases, and not only tolerances. size: part of the name; "" where the
    suite has none."""

    name: str
    title: str
    path: Path | None = None
    tolerances: Mapping[str, float] | None = None
    has_cases: bool = False
    size: str = ""


def read_heading(suite: str | Path, size: str | None = None) -> Heading:
    """The heading of a suite by its file, at one size (None: its first), or by its name (text that does not
    end in .yaml or .yml).

    Raises SuiteError for a file that is no suite, or whose tolerances are no numbers.
    """
    if isinstance(suite, str) and not suite.endswith((".yaml", ".yml")):
        return Heading(suite, suite)
    path = Path(suite)
    sized = choose_size(load_document(path), size)
    data = sized.document.data
    name = data.get("suite") if isinstance(data, dict) else None
    if not isinstance(name, str) or not name:
        raise SuiteError(f"{suite}: not a suite: it has no name (key 'suite')")
    try:
        tolerances = checked_tolerances(data.get("tolerances") or {})
    except ValueError as error:
        raise SuiteError(f"{path}: tolerances: {error}") from None
    title = sized_title(str(data.get("title") or ""), name, sized.size.name)
    return Heading(name, title, path, tolerances, "base" in data, sized.size.name)


def checked_tolerances(given: object) -> dict[str, float]:
    """Tolerances by name. Raises ValueError where they are anything but finite numbers from 0 on."""
    wanted = "expected numbers >= 0 by name, such as {recall_at_1: 0.02}"
    if not isinstance(given, Mapping):
        raise ValueError(wanted)
    for name, value in given.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 <= value <= _MOST:
            raise ValueError(f"{name}: {wanted}")
    return {str(name): float(value) for name, value in given.items()}
