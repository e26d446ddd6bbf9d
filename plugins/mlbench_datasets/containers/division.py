"""How the classes of a pool become the splits of a data set."""

from __future__ import annotations

import numpy as np

from mlbench.contracts import SPLITS, SplitName
from mlbench.errors import DataError
from mlbench_datasets.containers.split import ContainerSplit, Pool, part
from mlbench_datasets.partition import MIN_CLASSES, hold_out, partition

__all__ = ["divide", "tested_whole", "with_test"]

Splits = dict[SplitName, ContainerSplit]


def divide(
    place: str,
    pool: Pool,
    image_size: int,
    notes: list[str],
    *,
    calibration: float,
    test: float,
    seed: int,
) -> Splits:
    """Three splits of the pool's classes. Classes with one image are divided apart, in the same shares: they
    can be trained on, but nothing in them can be found.

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
    return {name: part(pool, chosen[name], image_size, train=name == "train") for name in SPLITS}


def with_test(
    place: str,
    pool: Pool,
    test: ContainerSplit,
    image_size: int,
    notes: list[str],
    *,
    calibration: float,
    seed: int,
) -> Splits:
    """Splits where the test lies elsewhere: train, and as calibration a share of the pool's classes with two
    images or more. Raises DataError for too few classes."""
    full, _ = _by_size(pool)
    if len(full) < 2 * MIN_CLASSES:
        raise DataError(
            f"{place}: classes to train on with two images or more: {len(full)} of {len(pool.names)}; at "
            f"least {2 * MIN_CLASSES} are needed, {MIN_CLASSES} of them for calibration"
        )
    taken = hold_out(full, calibration, seed=seed, minimum=MIN_CLASSES, leave=MIN_CLASSES)
    notes.append(f"{len(taken):,} of {len(pool.names):,} training classes are kept for calibration")
    return {
        "train": part(pool, set(pool.names) - taken, image_size, train=True),
        "calibration": part(pool, taken, image_size, train=False),
        "test": test,
    }


def tested_whole(place: str, pool: Pool, image_size: int) -> ContainerSplit:
    """A pool that is the test split as it is. Raises DataError when nothing could be found in it."""
    full, _ = _by_size(pool)
    if len(full) < MIN_CLASSES:
        raise DataError(
            f"{place}: classes to be scored on with two images or more: {len(full)} of {len(pool.names)}; "
            f"at least {MIN_CLASSES} are needed"
        )
    return part(pool, pool.names, image_size, train=False)


def _by_size(pool: Pool) -> tuple[list[str], list[str]]:
    """Names of classes with two images or more, and of those with one."""
    sizes = np.bincount(pool.classes, minlength=len(pool.names)).tolist()
    named = list(zip(pool.names, sizes, strict=True))
    return [name for name, size in named if size > 1], [name for name, size in named if size == 1]
