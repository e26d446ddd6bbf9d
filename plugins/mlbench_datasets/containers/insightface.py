"""The `insightface` data set: faces as InsightFace ships them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlbench.plugin import DatasetOptions, OptionError, find_path, hint
from mlbench_datasets.division_options import Share

if TYPE_CHECKING:
    from mlbench.plugin import DatasetContext
    from mlbench_datasets.containers.split import ContainerSplit
    from mlbench_datasets.split_set import PairedSplitSet

__all__ = ["InsightFace"]


class InsightFace(DatasetOptions):
    """Faces in the packs of InsightFace (MS1MV2, MS1MV3, Glint360K, WebFace): the identities of train.rec for
    training and calibration, and a verification set such as lfw.bin, cfp_fp.bin or agedb_30.bin for test, in
    10 folds.

    A verification set lists pairs without identities: its images have no labels, and metrics that need labels
    are left out. The labels of the .rec are read once and cached until the file's size or modification time
    changes; these also stand for its pixels in the version of the data, so copy it with its times (cp -p,
    rsync -t). A .bin is a pickle; nothing in it is executed.

    Raises DataError for a missing or damaged file, and for too few identities.
    """

    path: str
    """A folder with train.rec, train.idx and optionally property; or a .rec file with its .idx beside it."""
    test: str = "lfw.bin"
    """The verification set, a .bin file in that folder or at a path relative to the data root."""
    calibration: Share = 0.005
    """Share of the identities in calibration, where thresholds are fitted. All pairs of their images are
    compared: keep it small where there are many identities."""
    disjoint: bool = False
    """Whether you know that no person of the verification set is in training; the files do not tell."""
    seed: int = 0
    """Seed of the choice of identities for calibration."""

    def build(self, context: DatasetContext) -> PairedSplitSet[ContainerSplit]:
        from mlbench_datasets.containers.division import with_test
        from mlbench_datasets.containers.face_pack import read_face_pack
        from mlbench_datasets.containers.file_cache import stamp
        from mlbench_datasets.containers.recordio import read_records
        from mlbench_datasets.containers.split import unlabelled, version_of
        from mlbench_datasets.split_set import PairedSplitSet

        notes: list[str] = []
        place = find_path(context.root / Path(self.path).expanduser())
        records = place if place.suffix == ".rec" and not place.is_dir() else place / "train.rec"
        pool = read_records(records, notes)
        pack = read_face_pack(_verification_set(context.root, records.parent, self.test))
        if not self.disjoint:
            notes.append(
                f"the files do not tell whether a person of {self.test} is in training (see option disjoint)"
            )
        faces = unlabelled(pack.source, len(pack.source.images), context.image_size, name=self.test)
        splits = with_test(
            str(records),
            pool,
            faces,
            context.image_size,
            notes,
            calibration=self.calibration,
            seed=self.seed,
        )
        version = version_of(splits, stamp([records, records.with_suffix(".idx")]), pack.content)
        return PairedSplitSet(version, self.disjoint, tuple(notes), splits, listed=pack.pairs)


def _verification_set(root: Path, folder: Path, test: str) -> Path:
    for place in (folder / test, find_path(root / Path(test).expanduser())):
        if place.is_file():
            return place
    there = [file.name for file in folder.glob("*.bin")]
    raise OptionError(f"{folder}: no verification set {test!r}; {hint(test, there)}", "test")
