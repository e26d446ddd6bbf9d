from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
from containers import check_dataset, face_records, images_by_class, picture, shown

from mlbench.contracts import PairedDataset
from mlbench.errors import DataError, OptionError
from mlbench.plugin import DatasetContext
from mlbench_datasets.containers.insightface import InsightFace
from mlbench_datasets.containers.split import ContainerSplit
from mlbench_datasets.split_set import PairedSplitSet

OLD = 1_600_000_000


def pack(file: Path, pairs: int = 20, seed: int = 500) -> list[bytes]:
    images = [picture(seed + at // 2 * 2 + (at % 2) * (at // 2 % 2)) for at in range(2 * pairs)]
    file.write_bytes(pickle.dumps((images, [at % 2 == 0 for at in range(pairs)])))
    return images


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    folder = tmp_path / "emore"
    face_records(folder / "train.rec", [2, 3, 2, 4, 2, 1])
    (folder / "property").write_text("6,112,112\n")
    pack(folder / "lfw.bin")
    for file in folder.iterdir():
        os.utime(file, (OLD, OLD))
    return folder


def build(root: Path, **options: object) -> PairedSplitSet[ContainerSplit]:
    return InsightFace(**{"path": "emore", **options}).build(DatasetContext(root, 32))  # type: ignore[arg-type]


def test_identities_are_trained_on_and_pairs_are_the_test(tmp_path: Path, faces: Path) -> None:
    data = build(tmp_path, calibration=0.4)
    check_dataset(data)
    assert isinstance(data, PairedDataset)
    assert data.split("calibration").num_classes == 2
    assert set(data.split("train").names + data.split("calibration").names) == set("012345")
    assert [len(data.split("test")), len(data.pairs().same)] == [40, 20]
    images = pickle.loads((faces / "lfw.bin").read_bytes())[0]
    assert [data.split("test").image(at).tobytes() for at in range(40)] == [shown(each) for each in images]
    assert images_by_class(data, "train").keys() == set(data.split("train").names)


def test_images_of_a_verification_set_have_no_labels(tmp_path: Path, faces: Path) -> None:
    test = build(tmp_path).split("test")
    assert {test.role(at) for at in range(len(test))} == {0}
    assert test.num_classes == len(test)
    assert test.class_name(3) == "lfw.bin image 3"


def test_nobody_knows_who_is_in_a_verification_set_but_the_user(tmp_path: Path, faces: Path) -> None:
    data = build(tmp_path)
    assert not data.disjoint
    assert (
        "the files do not tell whether a person of lfw.bin is in training (see option disjoint)" in data.notes
    )
    known = build(tmp_path, disjoint=True)
    assert known.disjoint
    assert not any("somebody" in note for note in known.notes)


def test_verification_set_is_found_beside_the_records_or_by_path(tmp_path: Path, faces: Path) -> None:
    version = build(tmp_path).version
    (tmp_path / "bins").mkdir()
    (faces / "lfw.bin").rename(tmp_path / "bins" / "lfw.bin")
    assert build(tmp_path, test="bins/lfw.bin").split("test").class_name(0) == "bins/lfw.bin image 0"
    pack(faces / "cfp_fp.bin")
    with pytest.raises(OptionError, match=r"emore: no verification set 'lfw\.bin'; choose"):
        build(tmp_path)
    (tmp_path / "bins" / "lfw.bin").rename(faces / "lfw.bin")
    assert build(tmp_path, path="emore/train.rec").version == version


def test_version_follows_the_records_and_the_verification_set(tmp_path: Path, faces: Path) -> None:
    version = build(tmp_path).version
    os.utime(faces / "lfw.bin", (OLD + 9, OLD + 9))
    assert build(tmp_path).version == version
    os.utime(faces / "train.rec", (OLD + 9, OLD + 9))
    touched = build(tmp_path).version
    os.utime(faces / "train.idx", (OLD + 9, OLD + 9))
    assert len({version, touched, build(tmp_path).version}) == 3
    pack(faces / "lfw.bin", seed=501)
    assert build(tmp_path).version not in (version, touched)


def test_image_that_cannot_be_read_is_named(tmp_path: Path, faces: Path) -> None:
    images, same = pickle.loads((faces / "lfw.bin").read_bytes())
    (faces / "lfw.bin").write_bytes(pickle.dumps(([*images[:-1], b"nope"], same)))
    test = build(tmp_path).split("test")
    with pytest.raises(DataError, match=r"lfw\.bin: image 39: not an image$"):
        test.image(39)


def test_too_few_identities_are_refused(tmp_path: Path, faces: Path) -> None:
    face_records(faces / "train.rec", [2, 2, 2, 1])
    with pytest.raises(DataError, match=r"train\.rec: training classes with two images or more: 3 of 4"):
        build(tmp_path)
