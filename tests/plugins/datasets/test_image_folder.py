from __future__ import annotations

import hashlib
import inspect
import io
import os
import pickle
import re
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from mlbench.contracts import GALLERY, QUERY, Dataset, GroupedSplit, Split
from mlbench.errors import DataError, OptionError
from mlbench.images.manifest import read_manifest
from mlbench.plugin import DatasetContext
from mlbench_datasets import image_index as index_module
from mlbench_datasets.image_folder import ImageFolder
from mlbench_datasets.image_split import ImageSplit
from mlbench_datasets.split_set import SplitSet

SPLITS = ("train", "calibration", "test")
BOTH = QUERY | GALLERY


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


def save(file: Path, *, size: tuple[int, int] = (12, 8)) -> None:
    """A small image whose content depends on its name alone."""
    file.parent.mkdir(parents=True, exist_ok=True)
    seed = int.from_bytes(
        hashlib.blake2b(str(file.relative_to(file.parents[1])).encode()).digest()[:4], "big"
    )
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)


def fill(folder: Path, classes: dict[str, int]) -> Path:
    for name, count in classes.items():
        for number in range(count):
            save(folder / name / f"{number}.png")
    return folder


def eight(folder: Path) -> Path:
    return fill(folder, {f"class {letter}": 3 for letter in "abcdefgh"})


def build(place: Path, **options: object) -> SplitSet[ImageSplit]:
    return ImageFolder(path=place.name, **options).build(DatasetContext(place.parent, 32))  # type: ignore[arg-type]


def classes(data: SplitSet[ImageSplit], name: str) -> list[str]:
    split = data.split(name)  # type: ignore[arg-type]
    return [split.class_name(label) for label in range(split.num_classes)]


def contents(data: SplitSet[ImageSplit]) -> list[tuple[str, str, int, bytes]]:
    """Everything that the data set returns."""
    return [
        (name, split.class_name(split.label(i)), split.role(i), split.image(i).tobytes())
        for name in SPLITS
        for split in [data.split(name)]  # type: ignore[arg-type]
        for i in range(len(split))
    ]


def test_folder_divides_the_classes(tmp_path: Path) -> None:
    data = build(eight(tmp_path / "photos"))
    assert isinstance(data, Dataset)
    assert [data.split(name).num_classes for name in SPLITS] == [4, 2, 2]  # type: ignore[arg-type]
    assert [len(data.split(name)) for name in SPLITS] == [12, 6, 6]  # type: ignore[arg-type]
    assert sorted(name for split in SPLITS for name in classes(data, split)) == [
        f"class {c}" for c in "abcdefgh"
    ]
    assert data.disjoint
    assert data.notes == ()
    for name in SPLITS:
        split = data.split(name)  # type: ignore[arg-type]
        assert isinstance(split, Split)
        assert [split.label(i) for i in range(len(split))] == [i // 3 for i in range(len(split))]
        assert {split.role(i) for i in range(len(split))} == {QUERY | GALLERY}
    image = data.split("test").image(4)
    expected = Image.open(tmp_path / "photos" / classes(data, "test")[1] / "1.png")
    assert image.tobytes() == expected.convert("RGB").tobytes()


@settings(
    max_examples=12,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    sizes=st.lists(st.integers(1, 3), min_size=6, max_size=12).filter(lambda s: sum(n > 1 for n in s) >= 6),
    calibration=st.floats(0.05, 0.45),
    test=st.floats(0.05, 0.45),
    seed=st.integers(0, 3),
)
def test_folder_splits_are_disjoint_and_usable(
    tmp_path: Path, sizes: list[int], calibration: float, test: float, seed: int
) -> None:
    folder = tmp_path / "photos"
    shutil.rmtree(folder, ignore_errors=True)
    fill(folder, {f"{number:02}": size for number, size in enumerate(sizes)})
    data = build(folder, calibration=calibration, test=test, seed=seed)
    names = [classes(data, name) for name in SPLITS]
    assert sorted(name for part in names for name in part) == [f"{number:02}" for number in range(len(sizes))]
    for name, split_classes in zip(SPLITS, names, strict=True):
        assert sum(sizes[int(c)] > 1 for c in split_classes) >= 2
        split = data.split(name)  # type: ignore[arg-type]
        for i in range(len(split)):
            alone = sizes[int(split.class_name(split.label(i)))] == 1
            assert split.role(i) == (GALLERY if alone and name != "train" else QUERY | GALLERY)


def test_folder_takes_the_users_splits(tmp_path: Path) -> None:
    for split, letters in (("train", "abc"), ("val", "de"), ("test", "fg")):
        fill(tmp_path / "photos" / split, dict.fromkeys(letters, 2))
    data = build(tmp_path / "photos")
    assert [classes(data, name) for name in SPLITS] == [list("abc"), list("de"), list("fg")]
    assert data.disjoint
    fill(tmp_path / "photos" / "test", {"a": 2})
    assert not build(tmp_path / "photos").disjoint


def test_folder_takes_splits_in_capitals_and_names_what_it_leaves_out(tmp_path: Path) -> None:
    for split, letters in (("Train", "abc"), ("VAL", "de"), ("Test", "fg"), ("notes", "h")):
        fill(tmp_path / "photos" / split, dict.fromkeys(letters, 2))
    (tmp_path / "photos" / "docs").mkdir()
    data = build(tmp_path / "photos")
    assert [classes(data, name) for name in SPLITS] == [list("abc"), list("de"), list("fg")]
    assert data.notes == (
        "folders beside the split folders (Test, Train, VAL), left out: docs/ (images: 0), "
        "notes/ (images: 2)",
    )


def test_folder_takes_classes_at_a_level(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    for outer in "abc":
        fill(folder / outer, {f"{outer}1": 2, f"{outer}2": 2})
    data = build(folder, level=2)
    assert sorted(name for split in SPLITS for name in classes(data, split)) == [
        f"{outer}/{outer}{number}" for outer in "abc" for number in "12"
    ]
    assert data.notes == ()
    with pytest.raises(OptionError, match=r"no class folders at level 3; the images lie at most 2") as caught:
        build(folder, level=3)
    assert caught.value.option == "level"
    fill(folder, dict.fromkeys("adef", 2))
    assert build(folder, level=2).notes == ("classes whose folders hold other class folders: a",)
    data = build(folder)
    assert sorted(name for split in SPLITS for name in classes(data, split)) == list("abcdef")
    assert data.notes[0].startswith(
        "12 of 20 images lie in sub-folders of a class folder (level 1 of 2): a/a1/0"
    )


def test_folder_makes_a_calibration_split_from_training_classes(tmp_path: Path) -> None:
    fill(tmp_path / "photos" / "train", dict.fromkeys("abcdefghij", 2))
    fill(tmp_path / "photos" / "test", dict.fromkeys("yz", 2))
    data = build(tmp_path / "photos", calibration=0.3)
    assert sorted(classes(data, "train") + classes(data, "calibration")) == list("abcdefghij")
    assert data.split("calibration").num_classes == 3
    assert classes(data, "test") == ["y", "z"]
    assert data.notes == ("no calibration split given: 3 of 10 training classes become it",)
    assert data.disjoint


def test_folder_leaves_out_what_cannot_be_read_and_says_so(tmp_path: Path) -> None:
    folder = eight(tmp_path / "photos")
    whole = (folder / "class a" / "0.png").read_bytes()
    (folder / "class a" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "class a" / "empty.png").write_bytes(b"")
    (folder / "class b" / "text.jpg").write_text("not an image")
    (folder / "class b" / "text2.jpg").write_text("not an image")
    (folder / "lost").mkdir()
    (folder / "lost" / "x.jpg").write_text("nor this")
    data = build(folder)
    assert len(contents(data)) == 24
    assert len(data.notes) == 2
    assert data.notes[0].startswith("5 of 29 images left out as unreadable: class a/cut.jpg (")
    assert data.notes[0].endswith(
        "class a/empty.png (empty file), class b/text.jpg (not an image), and 2 more"
    )
    assert data.notes[1] == "classes left without an image: lost"


def test_folder_ignores_hidden_and_other_files(tmp_path: Path) -> None:
    folder = eight(tmp_path / "photos")
    before = build(folder)
    save(folder / ".cache" / "0.png")
    save(folder / "class a" / ".thumb.png")
    (folder / "class a" / "notes.txt").write_text("x")
    (folder / "class a" / "loop").symlink_to(folder)
    after = build(folder)
    assert after.version == before.version
    assert after.notes == (
        "2 of 26 files not read: 1 .txt, 1 hidden or of the system; such as class a/notes.txt",
        "hidden folders, not searched: .cache",
        "links to a folder that contains them, not followed: class a/loop",
    )
    save(folder / "stray.png")
    assert build(folder).notes[3] == "images outside of class folders, ignored: 1"


def test_folder_notes_copies(tmp_path: Path) -> None:
    folder = eight(tmp_path / "photos")
    shutil.copy(folder / "class a" / "0.png", folder / "class a" / "9.png")
    shutil.copy(folder / "class a" / "0.png", folder / "class b" / "9.png")
    data = build(folder)
    a, b = (next(name for name in SPLITS if f"class {letter}" in classes(data, name)) for letter in "ab")
    assert (a, b) == ("calibration", "train")
    assert data.notes == (
        "the same image is in train and calibration: class b/9.png and class a/0.png (and 1 more)",
        "duplicates within a class, which every model matches: class a/9.png = class a/0.png",
    )


def test_boxes_of_one_file_are_no_copies(tmp_path: Path) -> None:
    save(tmp_path / "a.png", size=(40, 30))
    shutil.copy(tmp_path / "a.png", tmp_path / "b.png")
    rows = [f'a.png,{label},"{x},0,{x + 9},9"' for label, x in enumerate(range(0, 30, 5)) for x in (x, x + 1)]
    assert build(table(tmp_path, "path,label,box", *rows)).notes == ()
    copied = build(table(tmp_path, "path,label,box", *rows, 'b.png,0,"0,0,9,9"'))
    assert copied.notes == ("duplicates within a class, which every model matches: b.png = a.png",)


def test_folder_names_classes_that_splits_share(tmp_path: Path) -> None:
    for split, letters in (("train", "abc"), ("val", "de"), ("test", "bcf")):
        for letter in letters:
            for number in range(2):
                save(tmp_path / "photos" / split / letter / f"{split}{number}.png")
    assert build(tmp_path / "photos").notes == (
        "classes of the test split that the train split also has: 2 of 3 (b, c)",
    )


def test_folder_takes_splits_in_capitals(tmp_path: Path) -> None:
    for split, letters in (("Train", "abc"), ("DEV", "de"), ("Testing", "fg")):
        fill(tmp_path / "photos" / split, dict.fromkeys(letters, 2))
    data = build(tmp_path / "photos")
    assert [classes(data, name) for name in SPLITS] == [list("abc"), list("de"), list("fg")]


ONE, TWO = (unicodedata.normalize(form, "Müller") for form in ("NFC", "NFD"))


def test_names_are_compared_in_one_unicode_form(tmp_path: Path) -> None:
    for split, letters in (("train", "abc"), ("val", "de"), ("test", "fg")):
        fill(tmp_path / "photos" / split, dict.fromkeys(letters, 2))
    fill(tmp_path / "photos" / "train", {ONE: 2})
    assert build(tmp_path / "photos").disjoint
    for name in ("x", "y"):
        save(tmp_path / "photos" / "test" / TWO / f"{name}.png")
    data = build(tmp_path / "photos")
    assert not data.disjoint
    assert f"classes of the test split that the train split also has: 1 of 3 ({ONE})" in data.notes


def test_a_class_in_two_unicode_forms_is_one(tmp_path: Path) -> None:
    folder = eight(tmp_path / "photos")
    for name, form in (("x", ONE), ("y", TWO)):
        save(folder / form / f"{name}.png")
    data = build(folder)
    assert sum(data.split(name).num_classes for name in SPLITS) == 9  # type: ignore[arg-type]
    assert data.notes == (f"folders whose names differ only in their Unicode form, read as one class: {ONE}",)


def test_version_is_the_same_in_every_unicode_form(tmp_path: Path) -> None:
    versions = set()
    for form in (ONE, TWO):
        folder = eight(tmp_path / form / "photos")
        for name in (form, "Mv"):  # which sorts between the two forms
            save(folder / "class x" / f"{name}.png", size=(12, 8))
        (folder / "class x" / f"{form}.png").write_bytes((folder / "class a" / "0.png").read_bytes() + b"x")
        versions.add(build(folder).version)
    assert len(versions) == 1


def test_manifest_names_files_and_labels_in_either_unicode_form(tmp_path: Path) -> None:
    folder = eight(tmp_path / "photos")
    (folder / "class a").rename(folder / TWO)
    rows = [f"class {letter}/{number}.png,class {letter}" for letter in "bcdefgh" for number in range(3)]
    rows += [f"{ONE}/0.png,{ONE}", f"{TWO}/1.png,{TWO}", f"{ONE}/2.png,{TWO}"]
    data = build(table(folder, "path,label", *rows))
    assert data.notes == ()
    assert len(contents(data)) == 24
    assert sum(data.split(name).num_classes for name in SPLITS) == 8  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"csv:26: the same image of .* as in .*csv:23"):
        build(table(folder, "path,label", *rows, f"{TWO}/0.png,other"))


def test_path_of_the_folder_in_the_other_unicode_form(tmp_path: Path) -> None:
    eight(tmp_path / TWO)
    assert len(contents(build(tmp_path / ONE))) == 24


def deep(folder: Path, tops: dict[str, int]) -> Path:
    eight(folder)
    ramp = np.linspace(0, 1, 12 * 8).reshape(8, 12)
    for name, top in tops.items():
        Image.fromarray((ramp * top).astype(np.uint16)).save(folder / "class a" / name)
    return folder


def test_deep_images_are_not_black_and_named(tmp_path: Path) -> None:
    folder = deep(tmp_path / "photos", {"u8.png": 255, "u12.png": 4095, "u16.png": 65535})
    data = build(folder)
    assert data.notes == (
        "more than 8 bits without a stated value of white, taken as 4095 (see option white): 1 of 27 images "
        "(class a/u12.png)",
        "more than 8 bits without a stated value of white, taken as 255 (see option white): 1 of 27 images "
        "(class a/u8.png)",
    )
    assert build(folder).notes == data.notes  # from the cache
    for split in map(data.split, SPLITS):  # type: ignore[arg-type]
        assert all(np.asarray(split.image(index)).max() > 200 for index in range(len(split)))


def test_white_of_deep_images_can_be_said(tmp_path: Path) -> None:
    folder = deep(tmp_path / "photos", {"dark.png": 1000, "light.png": 4095})
    data = build(folder, white=4095)
    assert data.notes == ()
    assert data.version != build(folder).version
    by_top = {
        os.fsdecode(split.paths[index]): np.asarray(split.image(index)).max()
        for split in map(data.split, SPLITS)  # type: ignore[arg-type]
        for index in range(len(split))
    }
    assert by_top["class a/dark.png"] == round(1000 / 4095 * 255)
    assert by_top["class a/light.png"] == 255


def test_damaged_colour_profiles_are_named(tmp_path: Path) -> None:
    folder = eight(tmp_path / "photos")
    Image.new("RGB", (12, 8), "red").save(folder / "class a" / "odd.png", icc_profile=b"nonsense")
    assert build(folder).notes == (
        "colour profile that cannot be used, colours taken as sRGB: 1 of 25 images (class a/odd.png)",
    )


def _content(kind: str, number: int) -> bytes:
    """The content of a file of this kind; no two are equal."""
    pixels = np.full((8, 8, 3), number + 1, np.uint8)
    buffer = io.BytesIO()
    if kind == "wide":
        Image.fromarray(pixels[..., 0].astype(np.uint16)).save(buffer, "PNG")
    elif kind == "broken":
        return b"%d" % number
    else:
        pillow_heif.register_heif_opener()
        image = Image.fromarray(pixels)
        image.save(
            buffer,
            kind,
            **({"lossless": True} if kind == "WEBP" else {"quality": -1} if kind == "HEIF" else {}),
        )
    return buffer.getvalue()


@settings(
    max_examples=25,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    files=st.lists(
        st.tuples(
            st.sampled_from(["PNG", "JPEG", "WEBP", "TIFF", "AVIF", "JPEG2000", "HEIF", "wide", "broken"]),
            st.sampled_from([".png", ".JPG", ".jfif", ".jp2", ".avif", ".heic", ".dat", ""]),
            st.sampled_from(["", "more/", ".hidden/"]),
        ),
        max_size=8,
    )
)
def test_every_file_is_read_or_named_and_none_is_black(
    tmp_path: Path, files: list[tuple[str, str, str]]
) -> None:
    folder = tmp_path / "photos"
    shutil.rmtree(folder, ignore_errors=True)
    eight(folder)
    for number, (kind, suffix, below) in enumerate(files):
        file = folder / "class a" / below / f"x{number}{suffix}"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(_content(kind, number))
    data = build(folder)
    read = list(map(data.split, SPLITS))  # type: ignore[arg-type]
    assert all(np.asarray(split.image(index)).any() for split in read for index in range(len(split)))
    named = 0
    for note in data.notes:
        counted = re.match(r"(\d+) of \d+ (files not read|images left out)", note)
        named += int(counted[1]) if counted else 0
    hidden = [below for _, _, below in files if below == ".hidden/"]
    assert sum(map(len, read)) + named + len(hidden) == 24 + len(files)
    assert any(".hidden" in note for note in data.notes) == bool(hidden)


def test_folder_notes_classes_of_one_image(tmp_path: Path) -> None:
    folder = fill(eight(tmp_path / "photos"), {"x": 1, "y": 1})
    assert build(folder).notes == ("2 of 10 classes with one image only: no query can be matched there",)


def test_folder_errors_say_what_to_do(tmp_path: Path) -> None:
    def problem(place: Path, **options: object) -> str:
        with pytest.raises(DataError) as caught:
            build(place, **options)
        assert "\n" not in str(caught.value)
        return str(caught.value).replace(str(tmp_path), "…")

    assert problem(tmp_path / "gone").startswith("…/gone: no such folder (there is …)")
    (tmp_path / "file").write_text("")
    assert (
        problem(tmp_path / "file")
        == "…/file: neither a folder nor a manifest, which ends in .csv or .parquet"
    )
    (tmp_path / "void").mkdir()
    assert problem(tmp_path / "void") == "…/void: no images (it is empty)"
    fill(tmp_path, {"flat": 3})
    assert problem(tmp_path / "flat").startswith("…/flat: 3 images, but no class folders; put")
    folder = eight(tmp_path / "photos")
    (folder / "bare").mkdir()
    assert problem(folder) == "…/photos: no images in bare/ (it is empty); fill the folder or remove it"
    (folder / "bare" / "a.svg").write_text("")
    assert problem(folder).startswith("…/photos: no images in bare/ (1 .svg; images end in .avif .bmp .gif")
    few = fill(tmp_path / "few", {"a": 2, "b": 2, "c": 2, "d": 2, "e": 2, "f": 1})
    assert problem(few).startswith("…/few: classes with two readable images or more: 5 of 6; at least 6 are")
    mixed = fill(tmp_path / "mixed" / "train", {"a": 2}).parent
    fill(mixed / "test", {"a": 2})
    assert problem(mixed) == "…/mixed: classes in the train split: 1; at least 2 are needed"
    fill(mixed / "train", {"b": 2})
    fill(mixed / "test", {"b": 2})
    assert problem(mixed, divide="classes").startswith(
        "…/mixed: no calibration split, and to take it from, training classes with two images or more: 2;"
    )
    fill(mixed / "val", {"y": 2, "z": 1})
    assert problem(mixed).startswith(
        "…/mixed: classes in the calibration split with a query and another image in the gallery: 1;"
    )
    (tmp_path / "broken" / "a").mkdir(parents=True)
    (tmp_path / "broken" / "a" / "x.png").write_text("x")
    assert problem(tmp_path / "broken").startswith("…/broken: 1 of 1 images left out as unreadable")
    with pytest.raises(OptionError):
        build(folder, calibration=0.5, test=0.5)


def table(folder: Path, header: str, *rows: str, name: str = "photos.csv") -> Path:
    (folder / name).write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return folder / name


def test_manifest_gives_the_same_data_as_the_folder(tmp_path: Path) -> None:
    folder = eight(tmp_path / "photos")
    rows = [f"class {letter}/{number}.png,class {letter}" for letter in "abcdefgh" for number in range(3)]
    data = build(table(folder, "path,label", *rows))
    assert contents(data) == contents(build(folder))
    assert data.version == build(table(folder, "path,label", *rows[::-1])).version == build(folder).version


def test_manifest_gives_splits_roles_and_boxes(tmp_path: Path) -> None:
    for name in "abcdefgh":
        save(tmp_path / "images" / f"{name}.png", size=(40, 30))
    file = table(
        tmp_path,
        "path,label,split,is_query,is_gallery,box",
        'images/a.png,cat,train,,,"1,2,11,22"',
        'images/a.png,dog,train,,,"20,10,40,30"',
        *(f"images/{name}.png,{label},validation,,," for name, label in zip("abcd", "ppqq", strict=True)),
        *(f"images/{name}.png,{label},test,yes,no," for name, label in zip("ef", "xy", strict=True)),
        f"{tmp_path}/images/g.png,x,test,no,yes,",
        "images/h.png,y,test,no,yes,",
    )
    data = build(file)
    whole = Image.open(tmp_path / "images" / "a.png")
    train = data.split("train")
    assert [train.image(i).tobytes() for i in range(2)] == [
        whole.crop(box).tobytes() for box in ((1, 2, 11, 22), (20, 10, 40, 30))
    ]
    assert [train.where(i) for i in range(2)] == [
        "images/a.png [1, 2, 11, 22]",
        "images/a.png [20, 10, 40, 30]",
    ]
    assert data.split("calibration").where(3) == "images/d.png"
    test = data.split("test")
    assert sorted((test.class_name(test.label(i)), test.role(i)) for i in range(4)) == [
        ("x", QUERY),
        ("x", GALLERY),
        ("y", QUERY),
        ("y", GALLERY),
    ]
    assert data.disjoint


def test_folder_divides_the_images_of_each_class(tmp_path: Path) -> None:
    folder = fill(tmp_path / "photos", {"a": 10, "b": 6, "c": 3, "d": 2, "e": 1})
    data = build(folder, divide="images", test=0.3, calibration=0.2)
    counts = {
        name: [[split.label(i) for i in range(len(split))].count(label) for label in range(split.num_classes)]
        for name in SPLITS
        for split in [data.split(name)]  # type: ignore[arg-type]
    }
    assert counts == {"train": [5, 2, 1, 1, 1], "calibration": [2, 2, 1], "test": [3, 2, 1, 1]}
    assert not data.disjoint
    assert data.notes == ("the images of each class are divided: test has the classes of training",)
    assert len({each[3] for each in contents(data)}) == 22
    assert build(folder, divide="images", test=0.3, calibration=0.2).version == data.version
    # Adding an image moves at most one other across each cut.
    before = {each[3]: each[0] for each in contents(data)}
    save(folder / "a" / "10.png")
    after = {each[3]: each[0] for each in contents(build(folder, divide="images", test=0.3, calibration=0.2))}
    assert sum(after[image] != part for image, part in before.items()) <= 2


def test_folder_takes_calibration_as_test_is(tmp_path: Path) -> None:
    fill(tmp_path / "photos" / "train", dict.fromkeys("abc", 10))
    fill(tmp_path / "photos" / "test", dict.fromkeys("ab", 2))
    data = build(tmp_path / "photos")
    assert [classes(data, name) for name in SPLITS] == [list("abc"), list("abc"), list("ab")]
    assert [len(data.split(name)) for name in SPLITS] == [24, 6, 4]  # type: ignore[arg-type]
    told = "no calibration split given: 6 of 30 training images, of 3 classes, become it, as test has classes"
    assert f"{told} of training" in data.notes
    fill(tmp_path / "photos" / "train", {"d": 2})
    chosen = build(tmp_path / "photos", divide="classes")
    assert set(classes(chosen, "train")).isdisjoint(classes(chosen, "calibration"))


def test_manifest_takes_one_image_in_several_splits_by_role(tmp_path: Path) -> None:
    folder = fill(tmp_path, {"a": 6, "b": 6})
    uses = (
        (0, "train"), (0, "gallery"), (1, "train"), (2, "val"), (3, "val"), (3, "gallery"),
        (4, "query"), (4, "gallery"), (5, "query"),
    )  # fmt: skip
    rows = [f"{name}/{n}.png,{name},{part}" for name in "ab" for n, part in uses]
    data = build(table(folder, "path,label,split", *rows))
    assert [len(data.split(name)) for name in SPLITS] == [4, 4, 8]  # type: ignore[arg-type]
    test = data.split("test")
    assert [test.role(i) for i in range(4)] == [GALLERY, GALLERY, BOTH, QUERY]
    assert not any("image" in note for note in data.notes)  # an image is no duplicate of itself
    groups = {name: data.split(name).groups.tolist() for name in SPLITS}  # type: ignore[arg-type]
    shared = groups["train"][0], groups["calibration"][1]
    assert groups["test"][:4] == [*shared, -1, -1]
    assert min(shared) >= 0
    assert groups["train"][1] == groups["calibration"][0] == -1
    plain = build(table(folder, "path,label,split", *(row for row in rows if "gallery" not in row)))
    assert plain.split("train").groups is None


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            ("train", "test"),
            "is a query of test here and is in training there, and only one of",
        ),
        (("train", "query"), "is a query of test here and is in training there"),
        (("val", "train"), "is in training here and is a query of calibration there"),
        (("query", "val"), "is a query of calibration here and is a query of test there"),
        (("gallery", "gallery"), "keep one of the rows"),
        (("train", "train"), "keep one of the rows"),
        (("test", "gallery"), "keep one of the rows"),
    ],
)
def test_manifest_refuses_an_image_that_is_trained_on_and_asks(
    tmp_path: Path, parts: tuple[str, str], message: str
) -> None:
    folder = fill(tmp_path, {"a": 1})
    file = table(folder, "path,label,split", *(f"a/0.png,a,{part}" for part in parts))
    with pytest.raises(DataError) as caught:
        build(file)
    assert str(caught.value).startswith(f"{file}:3: the same image of 'a/0.png' as in {file}:2; ")
    assert message in str(caught.value)


def test_manifest_groups_images(tmp_path: Path) -> None:
    folder = eight(tmp_path)
    rows = [f"class {c}/{n}.png,{c},{'' if n == 2 else 'morning'},{n}" for c in "abcdefgh" for n in range(3)]
    file = table(folder, "path,label,session,camera", *rows)
    data = build(file)
    assert isinstance(data.split("test"), GroupedSplit)
    found = {name: data.split(name).groups.tolist() for name in SPLITS}  # type: ignore[arg-type]
    assert found == {name: [0, 0, -1] * (len(each) // 3) for name, each in found.items()}
    assert data.notes == (
        f"{file}: column 'session': 16 of 24 images are in 1 group; images of one class and group are not "
        "compared",
    )
    cameras = build(file, group="camera")
    assert cameras.split("test").groups.tolist() == [0, 1, 2] * 2
    with pytest.raises(DataError, match=r"photos\.csv:1: group is 'kamera', but .*; did you mean 'camera'\?"):
        build(file, group="kamera")
    ungrouped = build(table(folder, "path,label", *(",".join(row.split(",")[:2]) for row in rows)))
    assert len({data.version, cameras.version, ungrouped.version}) == 3
    with pytest.raises(OptionError, match="group is 'session', but only a manifest has columns"):
        build(eight(tmp_path / "photos"), group="session")


def test_images_of_one_group_stay_together(tmp_path: Path) -> None:
    folder = fill(tmp_path, dict.fromkeys("abc", 12))
    rows = [f"{c}/{n}.png,{c},{n // 3}" for c in "abc" for n in range(12)]
    data = build(table(folder, "path,label,session", *rows), divide="images")
    places: dict[tuple[str, int], set[str]] = {}
    for name in SPLITS:
        split = data.split(name)  # type: ignore[arg-type]
        for i in range(len(split)):
            key = split.class_name(split.label(i)), int(split.groups[i])
            places.setdefault(key, set()).add(name)
    assert len(places) == 12
    assert all(len(each) == 1 for each in places.values())


def test_manifest_box_must_lie_in_the_upright_image(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # 40 x 30 as stored, 30 x 40 upright
    Image.new("RGB", (40, 30)).save(tmp_path / "a.jpg", exif=exif)
    file = table(tmp_path, "path,label,box", 'a.jpg,x,"0,0,30,40"', 'a.jpg,x,"0,0,40,30"')
    with pytest.raises(
        DataError, match=r"photos\.csv:3: box 0,0,40,30 is not inside the image, 30x40 pixels"
    ):
        build(file)


def test_manifest_reads_a_shared_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "a.png", size=(40, 30))
    rows = [
        f'a.png,{label},"{x},{y},{x + 9},{y + 9}"' for label, x in enumerate(range(0, 30, 5)) for y in (0, 9)
    ]
    seen = []
    inspect = index_module._inspect
    monkeypatch.setattr(
        index_module, "_inspect", lambda *args, **options: seen.append(args) or inspect(*args, **options)
    )
    data = build(table(tmp_path, "path,label,box", *rows))
    assert len(seen) == 1
    assert len(contents(data)) == 12
    assert data.notes == ()


def test_version_follows_content_alone(tmp_path: Path) -> None:
    folder = eight(tmp_path / "photos")
    version = build(folder).version
    for file in folder.rglob("*.png"):
        os.utime(file, (1_700_000_000, 1_700_000_000))
    assert build(folder).version == version
    moved = shutil.move(folder, tmp_path / "elsewhere")
    assert build(moved).version == version
    image = Image.open(moved / "class a" / "0.png")
    image.putpixel((3, 3), (1, 2, 3))
    image.save(moved / "class a" / "0.png")
    changed = build(moved).version
    assert changed != version
    (moved / "class a").rename(moved / "class A")
    assert build(moved).version not in (version, changed)


def test_splits_survive_pickling(tmp_path: Path) -> None:
    data = build(eight(tmp_path / "photos"))
    for name in SPLITS:
        split = data.split(name)  # type: ignore[arg-type]
        copy = pickle.loads(pickle.dumps(split))
        assert [copy.image(i).tobytes() for i in range(len(copy))] == [
            split.image(i).tobytes() for i in range(len(split))
        ]


def test_image_folder_is_the_same_in_another_process_and_needs_no_torch(tmp_path: Path) -> None:
    folder = eight(tmp_path / "photos")
    program = (
        "import sys, pathlib; from mlbench.plugin import DatasetContext; "
        "from mlbench_datasets.image_folder import ImageFolder; "
        "data = ImageFolder(path='photos').build(DatasetContext(pathlib.Path(sys.argv[1]), 32)); "
        "print(data.version, data.split('test').names); "
        "assert not {'torch', 'torchvision', 'timm'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    data = build(folder)
    assert done.stdout.strip() == f"{data.version} {data.split('test').names}"


def test_image_says_that_its_file_has_gone(tmp_path: Path) -> None:
    folder = eight(tmp_path / "photos")
    split = build(folder).split("train")
    shutil.rmtree(folder)
    with pytest.raises(DataError, match="cannot be read any more"):
        split.image(0)


def test_documentation_shows_a_manifest(tmp_path: Path) -> None:
    lines = [line.strip() for line in inspect.getdoc(ImageFolder).splitlines()]  # type: ignore[union-attr]
    header = lines.index("path,label,split")
    rows = read_manifest(table(tmp_path, *lines[header : header + 3])).rows
    assert [row.split for row in rows] == ["train", "test"]
