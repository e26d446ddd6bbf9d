"""Which classes of a pool go to training, calibration and test."""

from __future__ import annotations

import numpy as np

from mlbench.contracts import SPLITS, SplitName
from mlbench.errors import DataError
from mlbench_datasets.containers.split import Pool
from mlbench_datasets.partition import MIN_CLASSES, hold_out, partition

__all__ = ["divide", "without_calibration"]


def divide(
    place: str, pool: Pool, notes: list[str], *, calibration: float, test: float, seed: int
) -> dict[SplitName, set[str]]:
    """Class names of each split. Classes with one image are divided apart, in the same shares: they can be
    trained on, but nothing in them can be found.

    place: of the data, for messages. Raises DataError for too few classes.
    """
    full, single = _by_size(pool)
    if len(full) < 3 * MIN_CLASSES:
        raise DataError(
            f"{place}: classes with two images or more: {len(full)} of {len(pool.names)}; at least "
            f"{3 * MIN_CLASSES} are needed, {MIN_CLASSES} for each of {', '.join(SPLITS)}"
        )
    if single:
        notes.append(
            f"{len(single)} of {len(pool.names)} classes with one image only: no query can be matched there"
        )
    chosen: dict[SplitName, set[str]] = {name: set() for name in SPLITS}
    for group, minimum in ((full, MIN_CLASSES), (single, 0)):
        parts = partition(group, calibration=calibration, test=test, seed=seed, minimum=minimum)
        for name, names in zip(SPLITS, parts, strict=True):
            chosen[name] |= names
    return chosen


def without_calibration(
    place: str, pool: Pool, notes: list[str], *, share: float, seed: int
) -> tuple[set[str], set[str]]:
    """Class names of train and calibration, where the test split lies elsewhere.

    share: of the classes with two images or more, which become the calibration split. Raises DataError for
    too few classes.
    """
    full, _ = _by_size(pool)
    if len(full) < 2 * MIN_CLASSES:
        raise DataError(
            f"{place}: classes to train on with two images or more: {len(full)} of {len(pool.names)}; at "
            f"least {2 * MIN_CLASSES} are needed, {MIN_CLASSES} of them for calibration"
        )
    taken = hold_out(full, share, seed=seed, minimum=MIN_CLASSES, leave=MIN_CLASSES)
    notes.append(f"{len(taken):,} of {len(pool.names):,} training classes are kept for calibration")
    return set(pool.names) - taken, taken


def _by_size(pool: Pool) -> tuple[list[str], list[str]]:
    """Names of classes with two images or more, and of those with one."""
    sizes = np.bincount(pool.classes, minlength=len(pool.names)).tolist()
    named = list(zip(pool.names, sizes, strict=True))
    return [name for name, size in named if size > 1], [name for name, size in named if size == 1]
