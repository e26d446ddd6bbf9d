"""The `lfw` data set: folders of portraits with a list of pairs to be verified."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from mlbench.errors import DataError, OptionError
from mlbench.names import find_path
from mlbench_datasets.notes import examples

if TYPE_CHECKING:
    from mlbench_datasets.containers.split import PairedContainerSet

__all__ = ["lfw"]


def lfw(
    data_root: Path,
    image_size: int,
    *,
    path: str,
    pairs: str | None = None,
    train: str | None = None,
    calibration: Annotated[float, Field(gt=0, lt=1)] = 0.2,
    disjoint: bool = False,
    seed: int = 0,
) -> PairedContainerSet:
    """Labeled Faces in the Wild, and any data in its form: portraits as NAME/NAME_0001.jpg, and a list of
    pairs in folds, whose images are the test split.

    Options
    -------
    path: a folder with portraits at any depth; what counts is that files are called NAME_NUMBER.
    pairs: the list, from the data root; by default pairs.txt in that folder or beside it.
    train: what to train on: a folder with a folder for each class, or a .rec file (see insightface); by
        default the people of `path` who are in no pair, who in LFW itself are few.
    calibration: share of the classes to train on that is kept to fit thresholds on; all pairs of their images
        are compared, so make it small where classes are many.
    disjoint: whether you know that nobody in the pairs is in `train`; names alone do not tell. The default of
        `train` is disjoint of itself.
    seed: of the choice of classes for calibration.

    Raises DataError for a missing file, an image of the list that is missing or cannot be read, too few
    classes.
    """
    from mlbench_datasets.containers.division import with_test
    from mlbench_datasets.containers.portraits import paired_test, training_pool
    from mlbench_datasets.containers.split import PairedContainerSet, version_of

    notes: list[str] = []
    folder = find_path(data_root / Path(path).expanduser())
    tested = paired_test(folder, _pair_file(data_root, folder, pairs), image_size, notes)
    place = folder if train is None else find_path(data_root / Path(train).expanduser())
    pool, content = training_pool(place, tested.left_over if train is None else None, tested.copies, notes)
    shared = set(pool.names).intersection(tested.split.names)
    if disjoint and shared:
        raise OptionError(
            f"disjoint is true, but {train} has people of the pairs: {examples(sorted(shared))}",
            "disjoint",
        )
    if train is not None and not disjoint and not shared:
        notes.append(f"names do not tell whether somebody in the pairs is in {train} too (see disjoint)")
    splits = with_test(str(place), pool, tested.split, image_size, notes, calibration=calibration, seed=seed)
    version = version_of(splits, content, tested.content)
    return PairedContainerSet(version, disjoint or train is None, tuple(notes), splits, tested.pairs)


def _pair_file(data_root: Path, folder: Path, pairs: str | None) -> Path:
    if pairs is not None:
        return find_path(data_root / Path(pairs).expanduser())
    candidates = [folder / "pairs.txt", folder.parent / "pairs.txt"]
    for each in candidates:
        if each.is_file():
            return each
    raise DataError(
        f"{folder}: no pairs.txt in it or beside it; put LFW's list of pairs there, or name it as pairs"
    )
