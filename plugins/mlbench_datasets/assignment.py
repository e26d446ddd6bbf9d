"""Assignment of rows to train, calibration and test: as the user states it, else by a division of the
classes, or of the images of each class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mlbench.plugin import QUERY, SPLITS, DataError, ManifestRow, SplitName
from mlbench_datasets.division_options import DivideOptions
from mlbench_datasets.partition import MIN_CLASSES, hold_out, hold_out_units

__all__ = ["assign"]

_Members = dict[SplitName, list[int]]


def assign(place: Path, rows: Sequence[ManifestRow], notes: list[str], options: DivideOptions) -> _Members:
    """Positions of the rows of each split.

    place: of the data, for messages. Raises DataError for too few classes."""
    divide, calibration, seed = options.divide, options.calibration, options.seed
    if rows[0].split is None:
        if divide == "images":
            return _divided_images(place, rows, notes, options)
        chosen = _divided_classes(place, rows, notes, options)
        return {name: [i for i, row in enumerate(rows) if chosen[row.label] == name] for name in SPLITS}
    members: _Members = {name: [] for name in SPLITS}
    for position, row in enumerate(rows):
        assert row.split is not None
        members[row.split].append(position)
    for name in ("train", "test"):
        _check_classes(place, name, {rows[i].label for i in members[name]})
    if not members["calibration"]:
        trained = {rows[i].label for i in members["train"]}
        queried = {
            row.label for row in rows if row.split == "test" and (row.role is None or row.role & QUERY)
        }
        if divide == "images" or (divide is None and not trained.isdisjoint(queried)):
            reason = "" if divide == "images" else ", as test has classes of training"
            _hold_out_images(place, rows, members, notes, calibration, seed, reason)
        else:
            _hold_out_classes(place, rows, members, notes, calibration, seed)
    return members


def _check_classes(place: Path, name: str, classes: set[str]) -> None:
    if len(classes) < MIN_CLASSES:
        raise DataError(
            f"{place}: classes in the {name} split: {len(classes)}; at least {MIN_CLASSES} are needed"
        )


def _hold_out_classes(
    place: Path, rows: Sequence[ManifestRow], members: _Members, notes: list[str], share: float, seed: int
) -> None:
    sizes = Counter(rows[i].label for i in members["train"])
    full = [name for name, size in sizes.items() if size > 1]
    if len(full) < 2 * MIN_CLASSES:
        raise DataError(
            f"{place}: no calibration split, and to take it from, training classes with two images or "
            f"more: {len(full)}; at least {2 * MIN_CLASSES} are needed"
        )
    taken = hold_out(full, share, seed=seed, minimum=MIN_CLASSES, leave=MIN_CLASSES)
    notes.append(f"no calibration split given: {len(taken)} of {len(sizes)} training classes become it")
    members["calibration"] = [i for i in members["train"] if rows[i].label in taken]
    members["train"] = [i for i in members["train"] if rows[i].label not in taken]


def _hold_out_images(
    place: Path,
    rows: Sequence[ManifestRow],
    members: _Members,
    notes: list[str],
    share: float,
    seed: int,
    reason: str,
) -> None:
    """Make a calibration split like test: other images of the training classes."""
    trained = members["train"]
    taken = hold_out_units([_unit(rows[i]) for i in trained], share, seed=seed)
    members["calibration"] = [i for i in trained if _unit(rows[i]) in taken]
    members["train"] = [i for i in trained if _unit(rows[i]) not in taken]
    classes = {rows[i].label for i in members["calibration"]}
    if len(classes) < MIN_CLASSES:
        raise DataError(
            f"{place}: no calibration split, and to take it from, training classes with two images or more "
            f"(of two groups, where there are groups): {len(classes)}; at least {MIN_CLASSES} are needed"
        )
    notes.append(
        f"no calibration split given: {len(members['calibration']):,} of {len(trained):,} training images, "
        f"of {len(classes):,} classes, become it{reason}"
    )


def _divided_classes(
    place: Path, rows: Sequence[ManifestRow], notes: list[str], options: DivideOptions
) -> dict[str, SplitName]:
    """Class name to split. Classes with one image are divided separately, in the same shares: training uses
    them like any class; in calibration and test they are distractors in the gallery."""
    sizes = Counter(row.label for row in rows)
    full = [name for name, size in sizes.items() if size > 1]
    single = [name for name, size in sizes.items() if size == 1]
    if len(full) < 3 * MIN_CLASSES:
        advice = "; where every image is a class, the data set document_pool makes photographs of it"
        raise DataError(
            f"{place}: classes with two readable images or more: {len(full)} of {len(sizes)}; at least "
            f"{3 * MIN_CLASSES} are needed, {MIN_CLASSES} for each of {', '.join(SPLITS)}"
            f"{advice if len(single) > len(sizes) // 2 else ''}"
        )
    chosen: dict[str, SplitName] = {}
    for group, minimum in ((full, MIN_CLASSES), (single, 0)):
        parts = options.partition(group, minimum=minimum)
        for name, part in zip(SPLITS, parts, strict=True):
            chosen.update(dict.fromkeys(part, name))
    if single:
        notes.append(
            f"{len(single)} of {len(sizes)} classes with one image only: no query can be matched there"
        )
    return chosen


def _divided_images(
    place: Path, rows: Sequence[ManifestRow], notes: list[str], options: DivideOptions
) -> _Members:
    units = [_unit(row) for row in rows]
    tested = hold_out_units(units, options.test, seed=options.seed, leave=2)
    rest = [unit for unit in units if unit not in tested]
    calibrated = hold_out_units(rest, options.calibration_of_rest, seed=options.seed)
    members: _Members = {name: [] for name in SPLITS}
    for position, unit in enumerate(units):
        name: SplitName = "test" if unit in tested else "calibration" if unit in calibrated else "train"
        members[name].append(position)
    for name, chosen in members.items():
        _check_classes(place, name, {rows[i].label for i in chosen})
    notes.append("the images of each class are divided: test has the classes of training")
    return members


def _unit(row: ManifestRow) -> tuple[str, str]:
    """The class, and the unit within it that stays in one split: a group, or the boxes of one file."""
    return row.label, f"group {row.group}" if row.group else row.path
