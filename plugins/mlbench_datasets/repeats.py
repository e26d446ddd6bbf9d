"""One image in several rows of a manifest: once for each split that uses it, and for each of its roles."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mlbench.plugin import QUERY, DataError, one_form

if TYPE_CHECKING:
    from mlbench.plugin import Box
    from mlbench_datasets.manifest import Row

__all__ = ["Rows"]


class Rows:
    """Rows of a manifest. Those that give one image another role in the same split become one.

    An image may be found in any number of splits, but be trained on, or ask, in one alone: a model must not
    be scored on what it has learned from, nor a threshold be fitted on what it is then judged on.
    """

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._first: dict[tuple[str, Box | None], int] = {}
        self._others: dict[tuple[str, Box | None], list[int]] = {}

    def add(self, row: Row) -> None:
        """Raises DataError where the row does not agree with others of its image."""
        key = (one_form(row.path), row.box)
        first = self._first.setdefault(key, len(self.rows))
        if first == len(self.rows):
            self.rows.append(row)
            return
        known = [first, *self._others.get(key, ())]
        for position in known:
            self._check(self.rows[position], row)
        same = next((each for each in known if self.rows[each].split == row.split), None)
        if same is not None:
            other = self.rows[same]
            assert other.role is not None
            assert row.role is not None
            self.rows[same] = replace(other, role=other.role | row.role)
            return
        self._others.setdefault(key, []).append(len(self.rows))
        self.rows.append(row)

    @staticmethod
    def _check(other: Row, row: Row) -> None:
        what = f"the same {'image' if row.box is None else 'box'} of {row.path!r} as in {other.where}"
        if row.split == other.split and (row.role is None or other.role is None or row.role & other.role):
            raise DataError(f"{row.where}: {what}; keep one of the rows")
        for name in ("label", "group"):
            if (here := getattr(row, name)) != (there := getattr(other, name)):
                raise DataError(f"{row.where}: {what}, but with another {name}, {here!r} and not {there!r}")
        if row.split != other.split and (first := _use(row)) and (second := _use(other)):
            raise DataError(
                f"{row.where}: {what}; it {first} here and {second} there, and may do only one of these; "
                "write false under is_query where it is only to be found"
            )


def _use(row: Row) -> str:
    """What nobody else may do with the image; "" where it is only found."""
    if row.split == "train":
        return "is trained on"
    return f"asks in {row.split}" if row.role is None or row.role & QUERY else ""
