"""Lists of pairs from CSV files."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from mlbench.contracts import PairList
from mlbench.errors import DataError, first_line

__all__ = ["read_pairs"]


def read_pairs(path: Path, images: int, folds: int) -> PairList:
    """Read a CSV file with the columns left, right (row numbers from 0), same (1 or 0) and optionally fold.

    images: number of images. folds: without a fold column, the list is cut into this many parts of equal size
    in file order, as in face verification. Raises DataError, also for a pair of an image with itself and for
    a pair that is listed as both the same and different.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({first_line(error)})") from None
    for column in ("left", "right", "same"):
        if not rows or column not in rows[0]:
            raise DataError(
                f"{path}: expected a CSV file with the columns left, right, same and optionally fold"
            )
    numbered = "fold" in rows[0]
    values = np.empty((4, len(rows)), np.int64)
    for index, row in enumerate(rows):
        try:
            fold = row["fold"] if numbered else index * folds // len(rows)
            values[:, index] = [int(row["left"]), int(row["right"]), _to_bit(row["same"]), int(fold)]
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
            raise DataError(
                f"{path}:{index + 2}: expected row numbers and 1 or 0, found {dict(row)}"
            ) from None
        if not (0 <= values[0, index] < images and 0 <= values[1, index] < images):
            raise DataError(f"{path}:{index + 2}: rows run from 0 to {images - 1}, found {dict(row)}")
    _check_answers(path, *values[:3].tolist())
    return PairList(values[0], values[1], values[2].astype(bool), values[3])


def _check_answers(path: Path, left: list[int], right: list[int], same: list[int]) -> None:
    """Raise DataError for a pair of an image with itself, and for a pair listed as both the same and
    different."""
    first: dict[tuple[int, int], int] = {}
    for index, (one, other) in enumerate(zip(left, right, strict=True)):
        if one == other:
            raise DataError(f"{path}:{index + 2}: a pair of image {one} with itself, which any model accepts")
        before = first.setdefault((min(one, other), max(one, other)), index)
        if same[before] != same[index]:
            raise DataError(
                f"{path}:{index + 2}: the images {one} and {other} are "
                f"{'the same' if same[index] else 'different'} here, but not in line {before + 2}"
            )


def _to_bit(text: str) -> int:
    return {"1": 1, "0": 0, "true": 1, "false": 0}[text.strip().lower()]
