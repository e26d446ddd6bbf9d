"""Random divisions of classes and images into train, calibration and test."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal

from mlbench.plugin import DataError, derive

__all__ = ["MIN_CLASSES", "Divided", "hold_out", "hold_out_units", "partition"]

#: What to divide where the user does not state the split of every image: the classes, so that test has new
#: ones, or the images of each class.
Divided = Literal["classes", "images"]

#: Least number of classes in a split: one class alone has no negative pairs.
MIN_CLASSES = 2


def partition(
    names: Sequence[str], *, calibration: float, test: float, seed: int, minimum: int = MIN_CLASSES
) -> tuple[set[str], set[str], set[str]]:
    """Divide class names at random into (train, calibration, test), at least `minimum` names in each.

    The classes are ranked by a hash of their names, and the ranking is cut into parts: the shares are exact,
    the order of the names does not matter, and adding or removing a class moves at most one other class
    across each cut. Raises DataError for too few names."""
    if len(names) < 3 * minimum:
        raise DataError(f"{len(names)} are too few to divide, at least {3 * minimum} are needed")
    tested = hold_out(names, test, seed=seed, minimum=minimum, leave=2 * minimum)
    rest = [name for name in names if name not in tested]
    calibrated = hold_out(rest, calibration / (1 - test), seed=seed, minimum=minimum, leave=minimum)
    return set(rest) - calibrated, calibrated, tested


def hold_out(names: Sequence[str], share: float, *, seed: int, minimum: int, leave: int) -> set[str]:
    """A random share of the class names: at least `minimum`, at most all but `leave`."""
    ranking = sorted(names, key=lambda name: (derive(seed, "partition", name), name))
    count = max(minimum, min(round(share * len(names)), len(names) - leave))
    return set(ranking[:count])


def hold_out_units(
    units: Iterable[tuple[str, str]], share: float, *, seed: int, leave: int = 1
) -> set[tuple[str, str]]:
    """A random share of the units of each class, given as (class, unit).

    At least two units of a class with four or more, so that there are positive pairs among them; one of a
    class with two or three; none of a class with one. `leave` units of each class remain, or one where the
    class is too small."""
    by_class: defaultdict[str, set[str]] = defaultdict(set)
    for name, unit in units:
        by_class[name].add(unit)
    taken: set[tuple[str, str]] = set()
    for name, members in by_class.items():
        ranking = sorted(members, key=lambda unit: (derive(seed, "partition", name, unit), unit))
        kept = max(1, min(leave, len(ranking) - 1))
        least = 2 if len(ranking) >= 4 else 1
        count = min(max(least, round(share * len(ranking))), len(ranking) - kept)
        taken.update((name, unit) for unit in ranking[:count])
    return taken
