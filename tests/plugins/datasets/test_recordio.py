from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from containers import MAGIC, face_records, labelled, picture, write_records

from mlbench.errors import DataError
from mlbench_datasets.containers import recordio
from mlbench_datasets.containers.recordio import read_records

OLD = 1_600_000_000


def age(folder: Path) -> None:
    """Caches keep only files that have not changed for two seconds."""
    for file in folder.iterdir():
        os.utime(file, (OLD, OLD))


def contents(file: Path) -> list[tuple[str, bytes]]:
    pool = read_records(file, [])
    return [(pool.names[code], pool.source.read(item)) for item, code in enumerate(pool.classes.tolist())]


@pytest.mark.parametrize("flag", [1, 2])
def test_records_give_images_and_labels_as_packed(tmp_path: Path, flag: int) -> None:
    images = face_records(tmp_path / "train.rec", [2, 3, 1], flag=flag)
    assert contents(tmp_path / "train.rec") == [(str(label), data) for label, data in images]


def test_records_without_identities_give_the_labels_of_the_images(tmp_path: Path) -> None:
    plain = {key: labelled([label], picture(key)) for key, label in ((7, 5), (2, 9), (3, 5))}
    write_records(tmp_path / "a.rec", plain)
    assert contents(tmp_path / "a.rec") == [("9", picture(2)), ("5", picture(3)), ("5", picture(7))]


def test_records_that_hold_the_magic_number_are_joined_again(tmp_path: Path) -> None:
    image = picture(1)
    tricky = image[:400] + MAGIC + MAGIC + image[400:444] + b"x" + MAGIC + image[444:] + MAGIC
    file = write_records(tmp_path / "a.rec", {0: labelled([0], tricky), 1: labelled([1], MAGIC)})
    assert contents(file) == [("0", tricky), ("1", MAGIC)]
    assert [code for code, _ in contents(file)] == ["0", "1"]


def test_labels_come_from_the_identities_without_reading_every_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    labels = recordio._labels
    monkeypatch.setattr(recordio, "_labels", lambda *args: read.append(args[2]) or labels(*args))
    images = face_records(tmp_path / "train.rec", [10, 10, 10])
    pool = read_records(tmp_path / "train.rec", [])
    assert [pool.names[code] for code in pool.classes] == [str(label) for label, _ in images]
    assert len(read) == 1 + 3 + 2 * 3  # record 0, identities, first and last image of each


@pytest.mark.parametrize("harm", ["overlap", "gap", "fractions", "labels", "rounded"])
def test_identities_that_do_not_fit_give_way_to_the_labels_of_the_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    ranges = {
        "overlap": [(1, 4), (3, 5)],
        "gap": [(1, 2), (3, 5)],
        "fractions": [(1, 2.5), (2.5, 5)],
    }.get(harm, [(1, 3), (3, 5)])
    truth = [0, 1, 0, 1] if harm == "labels" else [0, 0, 1, 1]
    if harm == "rounded":
        monkeypatch.setattr(recordio, "_EXACT", 4)
    data = {0: labelled([5, 7], b"")}
    data |= {key: labelled([label, 0], picture(key)) for key, label in enumerate(truth, 1)}
    data |= {key: labelled(each, b"") for key, each in enumerate(ranges, 5)}
    file = write_records(tmp_path / "a.rec", data)
    assert [name for name, _ in contents(file)] == [str(label) for label in truth]


def test_records_are_scanned_once_and_again_when_they_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans = []
    learnt = recordio._read_labels
    monkeypatch.setattr(recordio, "_read_labels", lambda *args: scans.append(args) or learnt(*args))
    file = tmp_path / "a" / "train.rec"
    images = face_records(file, [2, 2])
    age(file.parent)
    for _ in range(2):
        assert contents(file) == [(str(label), data) for label, data in images]
    assert len(scans) == 1
    images = face_records(file, [3, 2])
    assert len(contents(file)) == 5
    assert len(contents(file)) == 5
    assert len(scans) == 3  # a file that has just changed may change again


def test_damaged_cache_is_made_again(tmp_path: Path) -> None:
    file = tmp_path / "a" / "train.rec"
    face_records(file, [2, 2])
    age(file.parent)
    expected = contents(file)
    (cache,) = (tmp_path / "cache").rglob("*.npz")
    whole = cache.read_bytes()
    for damaged in (b"", b"nonsense", whole[: len(whole) // 2]):
        cache.write_bytes(damaged)
        assert contents(file) == expected
    assert cache.read_bytes() == whole


def test_record_source_travels_to_other_processes(tmp_path: Path) -> None:
    images = face_records(tmp_path / "train.rec", [2, 2])
    source = pickle.loads(pickle.dumps(read_records(tmp_path / "train.rec", []).source))
    assert [source.read(item) for item in range(4)] == [data for _, data in images]


def test_records_say_when_the_property_file_counts_other_classes(tmp_path: Path) -> None:
    notes: list[str] = []
    face_records(tmp_path / "train.rec", [2, 2, 2])
    (tmp_path / "property").write_text("3,112,112\n")
    read_records(tmp_path / "train.rec", notes)
    assert notes == []
    (tmp_path / "property").write_text("85742,112,112\n")
    read_records(tmp_path / "train.rec", notes)
    assert notes == [f"{tmp_path}/property states 85,742 classes, but the records have 3"]


def test_records_that_cannot_be_read_are_one_clear_line(tmp_path: Path) -> None:
    file = tmp_path / "train.rec"

    def problem() -> str:
        with pytest.raises(DataError) as caught:
            contents(file)
        assert "\n" not in str(caught.value)
        return str(caught.value).replace(str(tmp_path), "…")

    assert problem() == "…/train.rec: no such file; a RecordIO pack is a .rec file with its .idx beside it"
    face_records(file, [2, 2])
    index = file.with_suffix(".idx")
    text, whole = index.read_text(), file.read_bytes()
    index.unlink()
    assert problem().startswith("…/train.idx: no such file")
    for wrong in ("", "\n", "0\n1\n", "0\t0\tx\n", "nonsense", "0\t-8\n"):
        index.write_text(wrong)
        assert problem() == "…/train.idx: not an index; expected a key and a byte offset on each line"
    index.write_text(text + "1\t0\n")
    assert problem() == "…/train.idx: the key 1 appears twice"
    index.write_text("0\t4\n1\t8\n")
    assert problem() == "…/train.rec: no record at byte 4; does the .idx file belong to it?"
    index.write_text(text)
    file.write_bytes(whole[: len(whole) // 2])
    assert problem().startswith("…/train.rec: no record at byte")
    write_records(file, {0: b"short"})
    assert problem().startswith("…/train.rec: a record without the header of an image")
    write_records(file, {0: labelled([1.5], b"x")})
    assert problem() == "…/train.rec: record 0 has the label 1.5; expected 0, 1, 2, ..."
    write_records(file, {0: labelled([float("nan"), 3], b"x")})
    assert problem().startswith("…/train.rec: record 0 has no valid range of images")
    write_records(file, {0: labelled([5, 7], b"")})
    assert problem() == "…/train.rec: no images"


def test_image_that_is_cut_off_is_named(tmp_path: Path) -> None:
    face_records(tmp_path / "train.rec", [2, 2])
    pool = read_records(tmp_path / "train.rec", [])
    offset = int(pool.source.offsets[3])
    with (tmp_path / "train.rec").open("r+b") as stream:
        stream.truncate(offset + 100)
    with pytest.raises(DataError, match=rf"ends within the record at byte {offset:,}"):
        pool.source.read(3)
    assert np.array_equal(pool.classes, [0, 0, 1, 1])
