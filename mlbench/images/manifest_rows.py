"""Rows of a manifest that share an image: one for each split that uses it, and for each of its roles."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mlbench.contracts.data import QUERY
from mlbench.errors import DataError
from mlbench.names import one_form

if TYPE_CHECKING:
    from mlbench.images.decode import Box
    from mlbench.images.manifest import ManifestRow

__all__ = ["Rows"]


class Rows:
    """Rows of a manifest. Rows that give one image two roles in the same split are merged.

    An image may be in the gallery of any number of splits, but in training, or a query, in only one: a model
    must not be scored on training images, nor a threshold be tested on the images that it was fitted on.
    """

    def __init__(self) -> None:
        self.rows: list[ManifestRow] = []
        self._first: dict[tuple[str, Box | None], int] = {}
        self._others: dict[tuple[str, Box | None], list[int]] = {}

    def add(self, row: ManifestRow) -> None:
        """Add a row. Raises DataError where it contradicts another row of its image."""
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
    def _check(other: ManifestRow, row: ManifestRow) -> None:
        what = f"the same {'image' if row.box is None else 'box'} of {row.path!r} as in {other.where}"
        if row.split == other.split and (row.role is None or other.role is None or row.role & other.role):
            raise DataError(f"{row.where}: {what}; keep one of the rows")
        for name in ("label", "group"):
            if (here := getattr(row, name)) != (there := getattr(other, name)):
                raise DataError(f"{row.where}: {what}, but with another {name}: {here!r}, not {there!r}")
        if row.split != other.split and (first := _use(row)) and (second := _use(other)):
            raise DataError(
                f"{row.where}: {what}; it {first} here and {second} there, and only one of these is "
                "allowed; write false under is_query where it is only in the gallery"
            )


def _use(row: ManifestRow) -> str:
    """The exclusive use that a row makes of its image; "" where the image is only in the gallery."""
    if row.split == "train":
        return "is in training"
    return f"is a query of {row.split}" if row.role is None or row.role & QUERY else ""
