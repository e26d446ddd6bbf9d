from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from containers import check_dataset, face_records, images_by_class, picture, shown

from mlbench.contracts import PairedDataset
from mlbench.errors import DataError, OptionError
from mlbench.plugin import DatasetContext
from mlbench_datasets.containers.lfw import Lfw
from mlbench_datasets.containers.pair_list import Portrait, read_pair_list
from mlbench_datasets.containers.split import ContainerSplit
from mlbench_datasets.split_set import PairedSplitSet

PEOPLE = ["Ann_Lee", "Bo", "Cy_de_la_Cruz", "Di", "Ed", "Fay", "Gus", "Hal"]

#: Two folds with two pairs of each kind, as LFW writes them.
PAIRS = """\
2\t2
Ann_Lee\t1\t2
Bo\t2\t3
Ann_Lee\t1\tBo\t1
Bo\t2\tCy_de_la_Cruz\t3
Cy_de_la_Cruz\t1\t2
Ann_Lee\t2\t3
Cy_de_la_Cruz\t1\tBo\t1
Ann_Lee\t3\tCy_de_la_Cruz\t2
"""


def portraits(folder: Path, people: list[str] = PEOPLE, views: int = 3, suffix: str = "jpg") -> Path:
    for at, person in enumerate(people):
        (folder / person).mkdir(parents=True)
        for view in range(1, views + 1):
            (folder / person / f"{person}_{view:04d}.{suffix}").write_bytes(picture(10 * at + view))
    return folder


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    folder = portraits(tmp_path / "lfw")
    (folder / "pairs.txt").write_text(PAIRS)
    return folder


def build(root: Path, **options: object) -> PairedSplitSet[ContainerSplit]:
    return Lfw(**{"path": "lfw", **options}).build(DatasetContext(root, 32))  # type: ignore[arg-type]


def test_pairs_are_those_of_the_list_in_its_folds(tmp_path: Path, faces: Path) -> None:
    data = build(tmp_path)
    check_dataset(data)
    assert isinstance(data, PairedDataset)
    test, pairs = data.split("test"), data.pairs()

    def name(index: int) -> str:
        person = test.class_name(test.label(index))
        same = [
            file for file in (faces / person).iterdir()
            if shown(file.read_bytes()) == test.image(index).tobytes()
        ]  # fmt: skip
        return f"{person} {int(same[0].stem[-4:])}"

    rows = [
        (name(left), name(right), bool(same), int(fold))
        for left, right, same, fold in zip(*pairs, strict=True)
    ]
    assert rows == [
        ("Ann_Lee 1", "Ann_Lee 2", True, 0),
        ("Bo 2", "Bo 3", True, 0),
        ("Ann_Lee 1", "Bo 1", False, 0),
        ("Bo 2", "Cy_de_la_Cruz 3", False, 0),
        ("Cy_de_la_Cruz 1", "Cy_de_la_Cruz 2", True, 1),
        ("Ann_Lee 2", "Ann_Lee 3", True, 1),
        ("Cy_de_la_Cruz 1", "Bo 1", False, 1),
        ("Ann_Lee 3", "Cy_de_la_Cruz 2", False, 1),
    ]
    assert len(test) == 9


def test_people_in_no_pair_are_trained_on(tmp_path: Path, faces: Path) -> None:
    data = build(tmp_path)
    assert data.disjoint
    assert set(data.split("test").names) == set(PEOPLE[:3])
    assert set(data.split("train").names + data.split("calibration").names) == set(PEOPLE[3:])
    assert data.split("calibration").num_classes == 2
    assert data.notes == ("2 of 5 training classes become the calibration split",)


def test_training_on_another_folder(tmp_path: Path, faces: Path) -> None:
    portraits(tmp_path / "casia", ["0001", "0002", "0003", "0004", "0005"])
    data = build(tmp_path, train="casia")
    check_dataset(data)
    assert not data.disjoint
    assert data.notes[:2] == (
        "the same image is in train and test: 0001/0001_0001.jpg and Ann_Lee/Ann_Lee_0001.jpg (and 8 more)",
        "names do not tell whether a person of the pairs is in casia too (see disjoint)",
    )
    assert build(tmp_path, train="casia", disjoint=True).disjoint
    assert set(data.split("train").names + data.split("calibration").names) == {
        f"000{n}" for n in range(1, 6)
    }
    portraits(tmp_path / "more", ["Bo", "0002", "0003", "0004"])
    with pytest.raises(OptionError, match="disjoint is true, but more has people of the pairs: Bo"):
        build(tmp_path, train="more", disjoint=True)


def test_training_on_records(tmp_path: Path, faces: Path) -> None:
    images = face_records(tmp_path / "ms1m" / "train.rec", [2, 3, 2, 2])
    data = build(tmp_path, train="ms1m/train.rec", calibration=0.5)
    check_dataset(data)
    found = {**images_by_class(data, "train"), **images_by_class(data, "calibration")}
    truth: dict[str, list[bytes]] = {}
    for label, file in images:
        truth.setdefault(str(label), []).append(shown(file))
    assert found == truth


def test_pairs_may_lie_beside_the_folder_or_anywhere(tmp_path: Path, faces: Path) -> None:
    version = build(tmp_path).version
    shutil.move(faces / "pairs.txt", tmp_path / "pairs.txt")
    assert build(tmp_path).version == version
    shutil.move(tmp_path / "pairs.txt", tmp_path / "view2.txt")
    assert build(tmp_path, pairs="view2.txt").version == version
    with pytest.raises(DataError, match=r"lfw: no pairs\.txt in it or beside it"):
        build(tmp_path)


def test_images_may_lie_flat_and_have_any_suffix(tmp_path: Path) -> None:
    portraits(tmp_path / "deep", suffix="png")
    (tmp_path / "lfw").mkdir()
    for file in (tmp_path / "deep").rglob("*.png"):
        shutil.move(file, tmp_path / "lfw" / file.name.replace("_000", "_"))
    (tmp_path / "lfw" / "pairs.txt").write_text(PAIRS)
    check_dataset(build(tmp_path))


def test_version_follows_the_images_and_the_list(tmp_path: Path, faces: Path) -> None:
    version = build(tmp_path).version
    for file in faces.rglob("*.jpg"):
        os.utime(file, (1_600_000_000, 1_600_000_000))
    assert build(tmp_path).version == version
    text = (faces / "pairs.txt").read_text()
    (faces / "pairs.txt").write_text(text.replace("Ann_Lee\t1\tBo\t1", "Ann_Lee\t2\tBo\t1"))
    changed = build(tmp_path).version
    assert changed != version
    (faces / "Bo" / "Bo_0003.jpg").write_bytes(picture(77))
    assert build(tmp_path).version not in (version, changed)
    (faces / "Di" / "Di_0001.jpg").write_bytes(picture(78))
    assert len({version, changed, build(tmp_path).version}) == 3


def test_pair_list_is_read_as_written(tmp_path: Path) -> None:
    (tmp_path / "pairs.txt").write_text(PAIRS.replace("\t", "  ") + "\n\n", encoding="utf-8-sig")
    pairs = read_pair_list(tmp_path / "pairs.txt")
    assert [pair.same for pair in pairs] == [True, True, False, False] * 2
    assert [pair.fold for pair in pairs] == [0] * 4 + [1] * 4
    assert pairs[3][:2] == (Portrait("Bo", 2), Portrait("Cy_de_la_Cruz", 3))
    assert pairs[3].where == f"{tmp_path}/pairs.txt:5"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("2\t2\n", "", r":1: expected two numbers, folds and pairs of each kind in a fold, as in '10 300'"),
        (
            "2\t2\n",
            "4\n",
            r":1: 1 fold\(s\) with 4 pairs of each kind; a threshold is fitted on other folds",
        ),
        ("2\t2\n", "2\t0\n", r":1: 2 fold\(s\) with 0 pairs of each kind"),
        ("2\t2\n", "2\t3\n", r":1: 2 folds with 3 pairs of each kind are 12 lines; 8 follow"),
        ("Bo\t2\t3\n", "Bo\t2\n", r":3: 'Bo 2' is not 'NAME 1 4', one person"),
        ("Bo\t2\t3\n", "Bo\ttwo\t3\n", r":3: 'Bo two 3' is not 'NAME 1 4', one person"),
        ("Bo\t2\t3\n", "Bo\t2\t2\n", r":3: an image is paired with itself"),
        ("Bo\t2\t3\n", "Bo\t2\tDi\t3\n", r":3: 'Bo 2 Di 3' is not 'NAME 1 4', one person"),
        ("Ann_Lee\t1\tBo\t1", "Ann_Lee\t1\t2", r":4: 'Ann_Lee 1 2' is not 'NAME 1 OTHER 2', two persons"),
        ("Ann_Lee\t1\tBo\t1", "Bo\t2\tBo\t1", r":4: 'Bo 2 Bo 1' is not 'NAME 1 OTHER 2', two persons"),
        ("Bo\t2\t3\n", "Bo\t2\t4\n", r":3: no image Bo_0004 in \S+/lfw$"),
        ("Bo\t2\t3\n", "Ann_Le\t2\t3\n", r":3: no image Ann_Le_0002 in \S+/lfw; did you mean 'Ann_Lee'\?"),
    ],
)
def test_wrong_pair_list_is_named_by_line(
    tmp_path: Path, faces: Path, old: str, new: str, message: str
) -> None:
    (faces / "pairs.txt").write_text(PAIRS.replace(old, new, 1))
    with pytest.raises(DataError, match=rf"pairs\.txt{message}"):
        build(tmp_path)


def test_what_cannot_be_used_is_one_clear_line(tmp_path: Path, faces: Path) -> None:
    def problem(**options: object) -> str:
        with pytest.raises(DataError) as caught:
            build(tmp_path, **options)
        assert "\n" not in str(caught.value)
        return str(caught.value).replace(str(tmp_path), "…")

    assert problem(path="gone", pairs="lfw/pairs.txt").startswith("…/gone: no such folder")
    assert problem(pairs="gone.txt") == "…/gone.txt: No such file or directory"
    (tmp_path / "void.txt").write_text("\n")
    assert problem(pairs="void.txt").startswith("…/void.txt: empty file; expected a list of pairs")
    (tmp_path / "void.txt").write_bytes(b"\xff\xfe")
    assert problem(pairs="void.txt").startswith("…/void.txt: not UTF-8 text")
    assert problem(train="gone.rec").startswith("…/gone.rec: no such file")
    (faces / "Bo" / "copy").mkdir()
    shutil.copy(faces / "Bo" / "Bo_0001.jpg", faces / "Bo" / "copy" / "Bo_1.png")
    assert problem() == "…/lfw: Bo/Bo_0001.jpg and Bo/copy/Bo_1.png have the same name; keep one of them"
    shutil.rmtree(faces / "Bo" / "copy")
    (faces / "Di" / "Di_0001.jpg").write_bytes(b"no image")
    assert build(tmp_path).notes[0].startswith("1 of 15 images left out as unreadable: Di/Di_0001.jpg")
    (faces / "Bo" / "Bo_0001.jpg").write_bytes(b"no image")
    expected = (
        "1 of 9 images left out as unreadable: Bo/Bo_0001.jpg (not an image), but they are in pairs.txt"
    )
    assert problem() == f"…/lfw: {expected}"
    (faces / "Bo" / "Bo_0001.jpg").write_bytes(picture(11))
    for person in PEOPLE[5:]:
        shutil.rmtree(faces / person)
    assert problem().startswith("…/lfw: training classes with two images or more: 2 of 2; at least 4")
    for person in PEOPLE[3:5]:
        shutil.rmtree(faces / person)
    assert problem().startswith("…/lfw: every person is in a pair, none is left to train on")


def test_image_that_has_gone_is_named(tmp_path: Path, faces: Path) -> None:
    split = build(tmp_path).split("test")
    shutil.rmtree(faces)
    with pytest.raises(DataError, match=r"Ann_Lee_0001\.jpg: No such file"):
        split.image(0)
