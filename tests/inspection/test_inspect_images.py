"""Findings on real files: folders, manifests, splits, and damaged images."""

from __future__ import annotations

import tracemalloc
import unicodedata
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mlbench.contracts import GALLERY, QUERY, SplitName
from mlbench.errors import DataError
from mlbench.inspection.facts import gini
from mlbench.inspection.findings import DataFindings, Finding
from mlbench.inspection.inspect_images import NearSearch, inspect_images
from mlbench.inspection.scan import Squares, scan
from mlbench.inspection.subject import Subject, of_dataset, of_folder, of_manifest
from mlbench.registry import Registry


def picture(seed: int, width: int = 40, height: int = 30) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def save(path: Path, image: Image.Image, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Two classes of three images, below train and test."""
    root = tmp_path / "shop"
    for number, place in enumerate(("train/a", "train/b", "test/c", "test/d")):
        for index in range(3):
            save(root / place / f"{index}.png", picture(10 * number + index))
    return root


def inspected(subject: Subject) -> DataFindings:
    return inspect_images(subject, None, lambda what, done, total: None, workers=0)


def by_name(found: DataFindings) -> dict[str, Finding]:
    return {finding.name: finding for finding in found.findings}


def test_a_sound_folder_has_facts_and_no_findings(shop: Path) -> None:
    found = inspected(of_folder(shop))
    assert found.findings == ()
    assert [(part.split, part.images, part.classes) for part in found.parts] == [
        ("train", 6, 2),
        ("test", 6, 2),
    ]
    assert found.parts[0].class_sizes == (3, 3, 3)
    assert found.parts[0].short_sides == (30, 30, 30)
    assert found.parts[0].aspects == (1.33, 1.33, 1.33)


def test_copies_are_found_by_pixels_whatever_the_file(shop: Path) -> None:
    picture(0).save(shop / "test/c/other.bmp")  # as train/a/0.png
    picture(21).save(shop / "test/c/again.tif")  # as test/c/1.png
    found = by_name(inspected(of_folder(shop)))
    assert found["copies_across_splits"].text == "the same image is in two splits: 1 of test in train"
    assert [image.file for image in found["copies_across_splits"].groups[0].images] == [
        "train/a/0.png",
        "test/c/other.bmp",
    ]
    assert [image.label for image in found["copies_across_classes"].groups[0].images] == ["a", "c"]
    assert [image.file for image in found["copies_within_class"].groups[0].images] == [
        "test/c/1.png",
        "test/c/again.tif",
    ]


def test_damaged_and_unread_files_are_named(shop: Path) -> None:
    whole = BytesIO()
    picture(0).save(whole, "JPEG")
    (shop / "train/a/half.jpg").write_bytes(whole.getvalue()[:200])
    (shop / "train/a/none.png").write_bytes(b"")
    (shop / "train/a/text.png").write_bytes(b"hello")
    (shop / "train/a/list.txt").write_text("x")
    found = inspected(of_folder(shop))
    unreadable = by_name(found)["unreadable"]
    assert unreadable.level == "error"
    assert unreadable.text == "images that cannot be read: 3 of 15"
    assert [name.split(" ")[0] for name in unreadable.names] == [
        "train/a/half.jpg", "train/a/none.png", "train/a/text.png",
    ]  # fmt: skip
    assert unreadable.names[1] == "train/a/none.png (empty file)"
    assert found.notes == ("1 of 16 files not read: 1 .txt; such as train/a/list.txt",)
    assert found.parts[0].images == 6


def test_pages_and_deep_pixels_are_remarked(shop: Path) -> None:
    save(shop / "train/a/pages.tif", picture(50), save_all=True, append_images=[picture(51)])
    save(shop / "train/a/moves.gif", picture(52), save_all=True, append_images=[picture(53)])
    deep = np.random.default_rng(0).integers(0, 4000, (30, 40)).astype(np.uint16)
    save(shop / "train/b/deep.png", Image.fromarray(deep))
    remarks = [each for each in inspected(of_folder(shop)).findings if each.name == "remarks"]
    assert [(each.level, each.names) for each in remarks] == [
        ("note", ("train/b/deep.png",)),
        ("note", ("train/a/moves.gif", "train/a/pages.tif")),
    ]


def test_classes_are_compared_by_name_and_size(tmp_path: Path) -> None:
    root = tmp_path / "classes"
    for index in range(20):
        save(root / "large" / f"{index}.png", picture(index))
    for number, name in enumerate(("Oat milk", "oat_milk", "single")):
        save(root / name / "1.png", picture(100 + number))
    save(root / "Oat milk" / "2.png", picture(110))
    for form in ("NFC", "NFD"):
        save(root / unicodedata.normalize(form, "Müller") / f"{form}.png", picture(len(form)))  # a copy, too
    (root / "void").mkdir()
    subject = of_folder(root)
    found = by_name(inspected(subject))
    assert found["similar_names"].names == ("Oat milk", "oat_milk")
    assert found["single_images"].names == ("oat_milk", "single")
    assert found["empty_classes"].names == ("void",)
    assert found["empty_classes"].level == "error"
    assert len(subject.look_alike) == 1
    assert found["unicode_forms"].count == 2
    assert "20 in the largest" in found["imbalance"].text


def test_gini_of_known_counts() -> None:
    assert gini(np.array([5, 5, 5])) == 0
    assert gini(np.array([0, 0, 9])) == pytest.approx(2 / 3)
    assert gini(np.array([1, 3])) == pytest.approx(0.25)
    assert gini(np.zeros(0, int)) == 0


def test_classes_of_train_in_test_are_a_warning(shop: Path) -> None:
    save(shop / "test/a/9.png", picture(99))
    shared = by_name(inspected(of_folder(shop)))["shared_classes"]
    assert (shared.level, shared.names) == ("warning", ("a",))


def test_levels_and_flat_folders(tmp_path: Path) -> None:
    save(tmp_path / "deep/fruit/apple/1.png", picture(1))
    save(tmp_path / "deep/fruit/pear/1.png", picture(2))
    assert of_folder(tmp_path / "deep").parts[0].classes == ["fruit/apple", "fruit/pear"]
    assert of_folder(tmp_path / "deep", 1).parts[0].classes == ["fruit"]
    with pytest.raises(DataError, match="no class folders at level 3"):
        of_folder(tmp_path / "deep", 3)
    save(tmp_path / "flat/1.png", picture(1))
    save(tmp_path / "flat/2.png", picture(1))
    found = inspected(of_folder(tmp_path / "flat"))
    assert found.parts[0].classes == 0
    assert [each.name for each in found.findings] == ["copies_within_class"]
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match="no images"):
        of_folder(tmp_path / "nothing")


def test_manifests_have_boxes_groups_and_missing_files(tmp_path: Path) -> None:
    save(tmp_path / "1.png", picture(1))
    save(tmp_path / "2.png", picture(1))
    table = tmp_path / "m.csv"
    table.write_text(
        "path,label,split,session,box\n"
        "1.png,a,train,,\n2.png,a,test,,\n"  # a leak
        '1.png,b,train,x,"0,0,10,10"\n2.png,b,train,x,"0,0,10,10"\n'  # of one session: never compared
        "gone.png,c,test,,\n"
    )
    found = by_name(inspected(of_manifest(table)))
    assert [image.file for image in found["copies_across_splits"].groups[0].images] == ["1.png", "2.png"]
    assert found["unreadable"].names == ("gone.png (No such file or directory)",)
    assert "copies_within_class" not in found
    assert found["shared_classes"].names == ("a",)


def test_an_image_with_a_row_for_each_of_its_splits_is_no_leak(tmp_path: Path) -> None:
    for number in range(2):
        save(tmp_path / f"{number}.png", picture(number))
    table = tmp_path / "m.csv"
    table.write_text("path,label,split\n0.png,a,train\n0.png,a,gallery\n1.png,a,query\n")
    assert "copies_across_splits" not in by_name(inspected(of_manifest(table)))


class Drawn:
    """A third party's split: drawn, so without files."""

    num_classes = 2

    def __init__(self, split: str, images: int, broken: int = -1, role: int = QUERY | GALLERY) -> None:
        self.split, self.images, self.broken, self._role = split, images, broken, role

    def __len__(self) -> int:
        return self.images

    def label(self, index: int) -> int:
        return index % 2

    def image(self, index: int) -> Image.Image:
        if index == self.broken:
            raise RuntimeError("the pen\nbroke")
        return picture(index, 200, 50)

    def class_name(self, label: int) -> str:
        return f"{self.split} {label}"

    def role(self, index: int) -> int:
        return self._role


class DrawnSet:
    version, disjoint, notes = "v1", True, ("drawn by hand",)

    def __init__(self, **splits: Drawn) -> None:
        self.splits = splits

    def split(self, name: SplitName) -> Drawn:
        return self.splits[name]


def test_splits_of_any_data_set_are_read_by_their_contract() -> None:
    drawn: Any = DrawnSet(
        train=Drawn("train", 5), calibration=Drawn("calibration", 3), test=Drawn("test", 4, broken=1)
    )
    found = inspected(of_dataset(drawn, "suite", {"name": "drawn"}, 64, shared=False))
    assert (found.version, found.notes, found.full_size) == ("v1", ("drawn by hand",), False)
    findings = by_name(found)
    assert findings["copies_across_splits"].text == (
        "the same image is in two splits: 3 of calibration in train, 3 of test in train, "
        "2 of test in calibration"
    )
    assert findings["unreadable"].names == ("test image 1 (RuntimeError: the pen)",)
    assert findings["small_images"].names[0] == "calibration image 0 (200x50)"
    assert findings["long_images"].count == 11


class Located(Drawn):
    """A split that knows its files."""

    def where(self, index: int) -> str:
        return f"{self.split}/{index}.png"


def test_a_split_that_knows_its_files_names_them() -> None:
    splits = {name: Located(name, 2, broken=1) for name in ("train", "calibration", "test")}
    drawn: Any = DrawnSet(**splits)
    found = by_name(inspected(of_dataset(drawn, "suite", {"name": "drawn"}, 64, shared=False)))
    (group,) = found["copies_across_splits"].groups
    assert [image.file for image in group.images] == ["train/0.png", "calibration/0.png", "test/0.png"]
    assert found["unreadable"].names[2] == "train/1.png (RuntimeError: the pen)"


def test_images_without_labels_have_no_label_conflict() -> None:
    test = Drawn("test", 4, role=0)
    drawn: Any = DrawnSet(train=Drawn("train", 4), calibration=Drawn("calibration", 4), test=test)
    found = by_name(inspected(of_dataset(drawn, "suite", {"name": "drawn"}, 64, shared=False)))
    labels = {image.label for group in found["copies_across_classes"].groups for image in group.images}
    assert labels == {"train 0", "train 1", "calibration 0", "calibration 1", ""}


def test_worker_processes_find_the_same(shop: Path) -> None:
    for index in range(130):
        save(shop / "train/b" / f"more{index}.png", picture(1000 + index % 100, 16, 12))
    (shop / "train/b/none.png").write_bytes(b"")
    subject = of_folder(shop)
    alone, together = (inspect_images(subject, None, lambda *_: None, workers=count) for count in (0, 2))
    assert alone == together
    assert by_name(alone)["copies_within_class"].count == 30


class Endless:
    """Images that are made when they are read."""

    def read(self, index: int) -> Any:
        from mlbench.inspection.subject import Shown

        image = Image.frombytes("RGB", (160, 120), index.to_bytes(4, "big") * (160 * 120 * 3 // 4))
        return Shown(image, image.size)

    def name(self, index: int) -> str:
        return str(index)


def test_memory_does_not_grow_with_the_images() -> None:
    from mlbench.inspection.subject import Part

    def peak(count: int) -> int:
        part = Part("", Endless(), np.zeros(count, np.int64), ["a"])
        taken = []
        tracemalloc.start()
        scan([part], 32, lambda squares: taken.append(len(squares.positions)), lambda *_: None, workers=0)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert sum(taken) == count
        return most

    peak(64)
    small, large = peak(128), peak(1280)
    assert large < small + 1_000_000  # all pixels would be 66 MB, the squares 3.5 MB


def test_squares_come_in_order_without_unreadable_images(shop: Path) -> None:
    (shop / "train/a/1.png").write_bytes(b"")
    seen: list[Squares] = []
    scan(of_folder(shop).parts, 8, seen.append, lambda *_: None, workers=0)
    assert np.concatenate([each.positions for each in seen]).tolist() == [0, *range(2, 12)]
    assert seen[0].pixels.shape == (11, 8, 8, 3)


def test_near_duplicates_are_resized_and_saved_again(shop: Path, registry: Registry) -> None:
    photo = picture(77, 128, 96)
    save(shop / "train/a/photo.png", photo)
    save(shop / "test/c/photo.jpg", photo.resize((112, 84)), quality=80)
    stages: list[str] = []
    found = inspect_images(
        of_folder(shop), NearSearch(registry), lambda what, done, total: stages.append(what), workers=0
    )
    near = by_name(found)["near_across_splits"]
    assert near.level == "warning"
    assert [image.file for image in near.groups[0].images] == ["train/a/photo.png", "test/c/photo.jpg"]
    assert near.groups[0].similarity is not None
    assert found.near is not None
    assert (found.near["images"], found.near["pairs"]) == (14, 1)
    assert list(dict.fromkeys(stages)) == ["reading images", "comparing images"]


def test_a_folder_without_a_readable_image_has_findings(tmp_path: Path, registry: Registry) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1.png").write_bytes(b"x")
    found = inspect_images(of_folder(tmp_path), NearSearch(registry), lambda *_: None, workers=0)
    assert [each.name for each in found.findings] == ["unreadable"]
    assert (found.parts[0].images, found.parts[0].short_sides) == (0, (0, 0, 0))
