"""Divisions of a pool's classes, or of the images of each class, into the splits of a data set."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mlbench.plugin import SPLITS, DataError, SplitName
from mlbench_datasets.containers.copies import copy_notes
from mlbench_datasets.containers.split import ContainerSplit, Pool, part, part_of, version_of
from mlbench_datasets.division_options import DivideOptions
from mlbench_datasets.partition import MIN_CLASSES, Divided, hold_out, hold_out_units
from mlbench_datasets.split_set import SplitSet

__all__ = ["Tested", "divided_set", "with_test"]

Splits = dict[SplitName, ContainerSplit]


class Tested(NamedTuple):
    """The images to score on, where they are apart from the training images. place: for messages."""

    place: str
    pool: Pool


def divided_set(
    place: str,
    pool: Pool,
    tested: Tested | None,
    options: DivideOptions,
    image_size: int,
    notes: list[str],
    contents: Sequence[bytes],
    files: Sequence[Path] = (),
) -> SplitSet[ContainerSplit]:
    """The data set of a pool, divided as `options` says; `tested` is its test split where it is given.

    place: of the pool, for messages. contents: see `version_of`. files: see `copy_notes`.
    Raises DataError for too few classes.
    """
    divide, calibration, seed = options.divide, options.calibration, options.seed
    if tested is None:
        splits = _divided(place, pool, image_size, notes, options)
        disjoint = divide != "images"
    else:
        whole = _tested_whole(tested.place, tested.pool, image_size, pool.names)
        splits = with_test(
            place, pool, whole, image_size, notes, divide=divide, calibration=calibration, seed=seed
        )
        disjoint = set(tested.pool.names).isdisjoint(pool.names)
    notes += copy_notes(splits, files)
    return SplitSet(version_of(splits, *contents), disjoint, tuple(notes), splits)


def _divided(place: str, pool: Pool, image_size: int, notes: list[str], options: DivideOptions) -> Splits:
    """Three splits of the pool's classes, or of the images of each class. Classes with one image are divided
    separately, in the same shares: in training they are like any class, elsewhere distractors.
    Raises DataError for too few classes."""
    if options.divide == "images":
        everything = np.arange(len(pool.classes))
        rest, tested = _held_out(pool, everything, options.test, seed=options.seed, leave=2)
        trained, held = _held_out(pool, rest, options.calibration_of_rest, seed=options.seed)
        notes.append("the images of each class are divided: test has the classes of training")
        return {
            "train": _checked(place, pool, trained, image_size, "train"),
            "calibration": _checked(place, pool, held, image_size, "calibration"),
            "test": _checked(place, pool, tested, image_size, "test"),
        }
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
        parts = options.partition(group, minimum=minimum)
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
    divide: Divided | None = "classes",
    calibration: float,
    seed: int,
) -> Splits:
    """Splits with a given test split: calibration is a share of the pool's classes with two images or more,
    or of the images of each class, and train the rest. divide: None means the images where test has classes
    of the pool, else the classes. Raises DataError for too few classes."""
    if divide == "images" or (divide is None and not set(test.names).isdisjoint(pool.names)):
        everything = np.arange(len(pool.classes))
        trained, held = _held_out(pool, everything, calibration, seed=seed)
        notes.append(f"{len(held):,} of {len(everything):,} training images become the calibration split")
        return {
            "train": _checked(place, pool, trained, image_size, "train"),
            "calibration": _checked(place, pool, held, image_size, "calibration"),
            "test": test,
        }
    full, _ = _by_size(pool)
    if len(full) < 2 * MIN_CLASSES:
        raise DataError(
            f"{place}: training classes with two images or more: {len(full)} of {len(pool.names)}; at "
            f"least {2 * MIN_CLASSES} are needed, {MIN_CLASSES} of them for calibration"
        )
    taken = hold_out(full, calibration, seed=seed, minimum=MIN_CLASSES, leave=MIN_CLASSES)
    notes.append(f"{len(taken):,} of {len(pool.names):,} training classes become the calibration split")
    return {
        "train": part(pool, set(pool.names) - taken, image_size, train=True),
        "calibration": part(pool, taken, image_size, train=False),
        "test": test,
    }


def _tested_whole(place: str, pool: Pool, image_size: int, trained: Collection[str]) -> ContainerSplit:
    """A whole pool as the test split. trained: classes of the training pool, which a protocol may use as
    gallery. Raises DataError when fewer than 2 classes have positive pairs."""
    full, _ = _by_size(pool)
    if len(full) < MIN_CLASSES and len(set(pool.names).intersection(trained)) < MIN_CLASSES:
        raise DataError(
            f"{place}: classes to score on with two images or more: {len(full)} of {len(pool.names)}; "
            f"at least {MIN_CLASSES} are needed"
        )
    return part(pool, pool.names, image_size, train=False)


def _held_out(
    pool: Pool, items: np.ndarray, share: float, *, seed: int, leave: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """The items without a share of each class, and that share."""
    units = [(pool.names[code], str(item)) for code, item in zip(pool.classes[items], items, strict=True)]
    taken = hold_out_units(units, share, seed=seed, leave=leave)
    held = np.fromiter((unit in taken for unit in units), bool, len(units))
    return items[~held], items[held]


def _checked(place: str, pool: Pool, items: np.ndarray, image_size: int, name: SplitName) -> ContainerSplit:
    if (classes := len(np.unique(pool.classes[items]))) < MIN_CLASSES:
        raise DataError(f"{place}: classes in the {name} split: {classes}; at least {MIN_CLASSES} are needed")
    return part_of(pool, items, image_size, train=name == "train")


def _by_size(pool: Pool) -> tuple[list[str], list[str]]:
    """Names of the classes with two images or more, and of the classes with one."""
    sizes = np.bincount(pool.classes, minlength=len(pool.names)).tolist()
    named = list(zip(pool.names, sizes, strict=True))
    return [name for name, size in named if size > 1], [name for name, size in named if size == 1]
