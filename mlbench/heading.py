"""A heading: the name, title and tolerances of a suite, read from its file without asking any component."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlbench.document import load_document
from mlbench.errors import SuiteError

__all__ = ["Heading", "read_heading"]


@dataclass(frozen=True)
class Heading:
    """What is known of a suite. path: its file, None where only its name was given; tolerances are not known
    then."""

    name: str
    title: str
    path: Path | None = None
    tolerances: Mapping[str, float] | None = None


def read_heading(suite: str | Path) -> Heading:
    """The heading of a suite that is given by its file, or by its name: text that does not end in .yaml.

    Raises SuiteError for a file that is no suite, or whose tolerances are no numbers.
    """
    if isinstance(suite, str) and not suite.endswith((".yaml", ".yml")):
        return Heading(suite, suite)
    path = Path(suite)
    data = load_document(path).data
    name = data.get("suite") if isinstance(data, dict) else None
    if not isinstance(name, str) or not name:
        raise SuiteError(f"{suite}: this is no suite; it has no name (key 'suite')")
    tolerances = _tolerances(path, data.get("tolerances") or {})
    return Heading(name, str(data.get("title") or name), path, tolerances)


def _tolerances(path: Path, given: object) -> dict[str, float]:
    if isinstance(given, dict):
        numbers = {
            str(name): float(value)
            for name, value in given.items()
            if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
        }
        if len(numbers) == len(given):
            return numbers
    raise SuiteError(f"{path}: tolerances: expected numbers >= 0 by name, such as {{recall_at_1: 0.02}}")
