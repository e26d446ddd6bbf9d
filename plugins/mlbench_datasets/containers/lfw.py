"""The `lfw` data set: folders of portraits with a list of pairs to be verified."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlbench.plugin import DataError, DatasetOptions, OptionError, find_path
from mlbench_datasets.division_options import Share
from mlbench_datasets.notes import examples

if TYPE_CHECKING:
    from mlbench.plugin import DatasetContext
    from mlbench_datasets.containers.split import ContainerSplit
    from mlbench_datasets.split_set import PairedSplitSet

__all__ = ["Lfw"]


class Lfw(DatasetOptions):
    """Labeled Faces in the Wild, and any data in its form: portraits as NAME/NAME_0001.jpg, and a list of
    pairs in folds, whose images are the test split.

    Raises DataError for a missing file, an image of the list that is missing or cannot be read, too few
    classes.
    """

    path: str
    """A folder with portraits at any depth; the files must be called NAME_NUMBER."""
    pairs: str | None = None
    """The list of pairs, relative to the data root; null for pairs.txt in that folder or beside it."""
    train: str | None = None
    """What to train on: a folder with a folder for each class, or a .rec file (see insightface); null for the
    people of `path` who are in no pair (few in LFW itself)."""
    calibration: Share = 0.2
    """Share of the classes to train on in calibration, where thresholds are fitted. All pairs of their images
    are compared: make it small where there are many classes."""
    disjoint: bool = False
    """Whether you know that no person of the pairs is in `train`; names alone do not tell. With train: null
    the splits are always disjoint."""
    seed: int = 0
    """Seed of the choice of classes for calibration."""

    def build(self, context: DatasetContext) -> PairedSplitSet[ContainerSplit]:
        from mlbench_datasets.containers.division import with_test
        from mlbench_datasets.containers.portraits import paired_test, training_pool
        from mlbench_datasets.containers.split import version_of
        from mlbench_datasets.split_set import PairedSplitSet

        notes: list[str] = []
        root, size, train = context.root, context.image_size, self.train
        folder = find_path(root / Path(self.path).expanduser())
        tested = paired_test(folder, _pair_file(root, folder, self.pairs), size, notes)
        place = folder if train is None else find_path(root / Path(train).expanduser())
        left_over = tested.left_over if train is None else None
        pool, content = training_pool(place, left_over, tested.copies, notes)
        shared = set(pool.names).intersection(tested.split.names)
        if self.disjoint and shared:
            raise OptionError(
                f"disjoint is true, but {train} has people of the pairs: {examples(sorted(shared))}",
                "disjoint",
            )
        if train is not None and not self.disjoint and not shared:
            notes.append(f"names do not tell whether a person of the pairs is in {train} too (see disjoint)")
        splits = with_test(
            str(place), pool, tested.split, size, notes, calibration=self.calibration, seed=self.seed
        )
        version = version_of(splits, content, tested.content)
        disjoint = self.disjoint or train is None
        return PairedSplitSet(version, disjoint, tuple(notes), splits, listed=tested.pairs)


def _pair_file(root: Path, folder: Path, pairs: str | None) -> Path:
    if pairs is not None:
        return find_path(root / Path(pairs).expanduser())
    candidates = [folder / "pairs.txt", folder.parent / "pairs.txt"]
    for each in candidates:
        if each.is_file():
            return each
    raise DataError(
        f"{folder}: no pairs.txt in it or beside it; put LFW's list of pairs there, or set the option pairs"
    )
