"""Which classes go to training, calibration and test, when the user has not said."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal

from mlbench.plugin import DataError, derive

__all__ = ["MIN_CLASSES", "Divided", "hold_out", "hold_out_units", "partition"]

#: What is divided where the user has not said the split of every image: the classes, so that test has new
#: ones, or the images of each class.
Divided = Literal["classes", "images"]

#: Classes that every split needs: with one alone there is nothing to tell apart.
MIN_CLASSES = 2


def partition(
    names: Sequence[str], *, calibration: float, test: float, seed: int, minimum: int = MIN_CLASSES
) -> tuple[set[str], set[str], set[str]]:
    """Divide class names at random into (train, calibration, test), at least `minimum` names in each.

    The classes are ranked by a hash of their name and the ranking is cut, so that the shares are met exactly,
    nothing depends on the order of the names, and a class that comes or goes moves at most one other across
    each cut. Raises DataError when there are not enough of them.
    """
    if len(names) < 3 * minimum:
        raise DataError(f"{len(names)} are too few to divide, at least {3 * minimum} are needed")
    tested = hold_out(names, test, seed=seed, minimum=minimum, leave=2 * minimum)
    rest = [name for name in names if name not in tested]
    calibrated = hold_out(rest, calibration / (1 - test), seed=seed, minimum=minimum, leave=minimum)
    return set(rest) - calibrated, calibrated, tested


def hold_out(names: Sequence[str], share: float, *, seed: int, minimum: int, leave: int) -> set[str]:
    """A random share of the class names, at least `minimum` and all but `leave` at most."""
    ranking = sorted(names, key=lambda name: (derive(seed, "partition", name), name))
    count = max(minimum, min(round(share * len(names)), len(names) - leave))
    return set(ranking[:count])


def hold_out_units(
    units: Iterable[tuple[str, str]], share: float, *, seed: int, leave: int = 1
) -> set[tuple[str, str]]:
    """A random share of the units of each class, given as (class, unit): two at least of four and more, so
    that they can find each other, one of fewer, none of one. `leave` stay, or one of a class that is too
    small for that."""
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
