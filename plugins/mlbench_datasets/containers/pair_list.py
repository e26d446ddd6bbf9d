"""Lists of pairs in the form of Labeled Faces in the Wild (UMass TR 07-49).

The first line has the number of folds and the number of pairs of each kind in a fold. Each fold lists its
positive pairs, "NAME 1 4", then its negative pairs, "NAME 1 OTHER 2": persons, and numbers of their images.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from mlbench.plugin import DataError, one_form

__all__ = ["ListedPair", "Portrait", "read_pair_list"]


class Portrait(NamedTuple):
    """An image of a person, by its number."""

    person: str
    number: int


class ListedPair(NamedTuple):
    """Two images, their fold, and the place where they are listed."""

    left: Portrait
    right: Portrait
    fold: int
    where: str

    @property
    def same(self) -> bool:
        return self.left.person == self.right.person


def read_pair_list(file: Path) -> list[ListedPair]:
    """The pairs, in order. Raises DataError with file and line of the first error."""
    try:
        lines = one_form(file.read_text(encoding="utf-8-sig")).splitlines()
    except OSError as error:
        raise DataError(f"{file}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise DataError(f"{file}: not UTF-8 text; expected a list of pairs such as LFW's pairs.txt") from None
    rows = [(f"{file}:{number}", line.split()) for number, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise DataError(f"{file}: empty file; expected a list of pairs such as LFW's pairs.txt")
    where, header = rows.pop(0)
    if not all(word.isdecimal() for word in header) or len(header) not in (1, 2):
        raise DataError(
            f"{where}: expected two numbers, folds and pairs of each kind in a fold, as in '10 300'"
        )
    folds, count = (int(word) for word in (["1", *header])[-2:])
    if folds < 2 or count < 1:
        raise DataError(
            f"{where}: {folds} fold(s) with {count} pairs of each kind; a threshold is fitted on other "
            "folds, so at least 2 folds are needed (LFW: pairs.txt, not pairsDevTest.txt)"
        )
    wanted = 2 * folds * count
    if len(rows) != wanted:
        raise DataError(
            f"{where}: {folds} folds with {count} pairs of each kind are {wanted} lines; {len(rows)} follow"
        )
    return [
        _pair(words, place, at // (2 * count), same=at % (2 * count) < count)
        for at, (place, words) in enumerate(rows)
    ]


def _pair(words: list[str], where: str, fold: int, *, same: bool) -> ListedPair:
    listed = " ".join(words)
    if same and len(words) == 3:
        words = [words[0], words[1], words[0], words[2]]
    numbers = words[1::2]
    if len(words) != 4 or not all(number.isdecimal() for number in numbers) or same != (words[0] == words[2]):
        expected = "'NAME 1 4', one person" if same else "'NAME 1 OTHER 2', two persons"
        raise DataError(f"{where}: {listed[:80]!r} is not {expected}")
    left, right = (Portrait(words[at], int(words[at + 1])) for at in (0, 2))
    if left == right:
        raise DataError(f"{where}: an image is paired with itself")
    return ListedPair(left, right, fold, where)
