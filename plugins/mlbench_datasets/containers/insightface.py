"""The `insightface` data set: faces as InsightFace ships them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from mlbench.errors import OptionError, hint
from mlbench.names import find_path

if TYPE_CHECKING:
    from mlbench_datasets.containers.split import PairedContainerSet

__all__ = ["insightface"]


def insightface(
    data_root: Path,
    image_size: int,
    *,
    path: str,
    test: str = "lfw.bin",
    calibration: Annotated[float, Field(gt=0, lt=1)] = 0.005,
    disjoint: bool = False,
    seed: int = 0,
) -> PairedContainerSet:
    """Faces in the packs of InsightFace (MS1MV2, MS1MV3, Glint360K, WebFace): identities of train.rec to
    train on, and a verification set such as lfw.bin, cfp_fp.bin or agedb_30.bin to be judged by, in 10 folds.

    A verification set lists pairs without saying who is on them: its images have no labels, and what needs
    labels is not measured. Labels of the .rec are read once and kept in the cache folder until the file's
    size or time of change differs, and these stand for its pixels in the version of the data: copy it with
    its times (cp -p, rsync -t). Nothing in a .bin, which is a pickle, is executed.

    Options
    -------
    path: a folder with train.rec, train.idx and perhaps property; or a .rec file with its .idx beside it.
    test: the verification set, a .bin file in that folder or at a path from the data root.
    calibration: share of the identities that is kept from training to fit thresholds on; all pairs of their
        images are compared, so keep it small where identities are many.
    disjoint: whether you know that nobody in the verification set is trained on; the files do not tell.
    seed: of the choice of identities for calibration.

    Raises DataError for a missing or damaged file, and too few identities.
    """
    from mlbench_datasets.containers.division import with_test
    from mlbench_datasets.containers.face_pack import read_face_pack
    from mlbench_datasets.containers.kept import stamp
    from mlbench_datasets.containers.recordio import read_records
    from mlbench_datasets.containers.split import PairedContainerSet, unlabelled, version_of

    notes: list[str] = []
    place = find_path(data_root / Path(path).expanduser())
    records = place if place.suffix == ".rec" and not place.is_dir() else place / "train.rec"
    pool = read_records(records, notes)
    pack = read_face_pack(_verification_set(data_root, records.parent, test))
    if not disjoint:
        notes.append(f"whether somebody in {test} is trained on is not in the files (see option disjoint)")
    faces = unlabelled(pack.source, len(pack.source.images), image_size, name=test)
    splits = with_test(str(records), pool, faces, image_size, notes, calibration=calibration, seed=seed)
    version = version_of(splits, stamp([records, records.with_suffix(".idx")]), pack.content)
    return PairedContainerSet(version, disjoint, tuple(notes), splits, pack.pairs)


def _verification_set(data_root: Path, folder: Path, test: str) -> Path:
    for place in (folder / test, find_path(data_root / Path(test).expanduser())):
        if place.is_file():
            return place
    there = [file.name for file in folder.glob("*.bin")]
    raise OptionError(f"{folder}: no verification set {test!r} in it; {hint(test, there)}", "test")
