from __future__ import annotations

from pathlib import Path

import pytest

from mlbench.errors import DataError
from mlbench.images.image_list import ImageList, list_images


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def pairs(found: ImageList) -> list[tuple[str, str]]:
    return [(image.path, image.label) for image in found.images]


def test_a_folder_has_its_class_folders_as_labels(tmp_path: Path) -> None:
    folder = touch(tmp_path / "photos", "b/2.JPG", "b/1.png", "a/x/1.webp", "a/notes.txt", ".cache/3.jpg")
    found = list_images([folder])
    assert found.root == folder
    assert pairs(found) == [("a/x/1.webp", "a"), ("b/1.png", "b"), ("b/2.JPG", "b")]
    assert pairs(list_images([folder], level=2))[0] == ("a/x/1.webp", "a/x")
    assert found.labelled == 3
    assert [note.split(":")[0] for note in found.notes] == [
        "1 of 4 files not read",
        "hidden folders, not searched",
    ]


def test_images_without_class_folders_have_no_labels(tmp_path: Path) -> None:
    found = list_images([touch(tmp_path, "1.jpg", "2.jpg")])
    assert pairs(found) == [("1.jpg", ""), ("2.jpg", "")]
    assert not found.notes
    mixed = list_images([touch(tmp_path, "a/3.jpg")])
    assert mixed.notes == ("2 of 3 images have no label, such as 1.jpg; mlbench evaluate needs one for each",)


def test_folders_of_splits_count_together_and_those_beside_are_left_out(tmp_path: Path) -> None:
    folder = touch(tmp_path, "train/a/1.jpg", "test/b/2.jpg", "raw/c/3.jpg")
    found = list_images([folder])
    assert pairs(found) == [("test/b/2.jpg", "b"), ("train/a/1.jpg", "a")]
    assert found.notes == (
        f"{folder}: the images of test/, train/ together; name one of these folders for its images alone",
        f"{folder}: 1 images in raw/, beside the folders of the splits, are left out",
    )
    assert pairs(list_images([folder / "test"])) == [("b/2.jpg", "b")]


def test_a_manifest_has_paths_labels_and_boxes(tmp_path: Path) -> None:
    manifest = tmp_path / "photos.csv"
    manifest.write_text(
        'path,label,split,box\na.jpg,cat,test,"0,0,9,9"\na.jpg,dog,test,"9,0,18,9"\nb.jpg,cat,test,\n'
    )
    found = list_images([manifest])
    assert found.root == tmp_path
    assert pairs(found) == [("a.jpg", "cat"), ("a.jpg", "dog"), ("b.jpg", "cat")]
    assert [image.box_text for image in found.images] == ["0,0,9,9", "9,0,18,9", ""]
    assert str(found.images[1]) == "a.jpg [9,0,18,9]"


def test_an_image_that_splits_share_is_listed_once(tmp_path: Path) -> None:
    manifest = tmp_path / "photos.csv"
    manifest.write_text(
        "path,label,split,is_query\na.jpg,cat,train,\na.jpg,cat,test,false\nb.jpg,cat,test,\n"
    )
    assert pairs(list_images([manifest])) == [("a.jpg", "cat"), ("b.jpg", "cat")]


def test_several_places_have_paths_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "one/a/1.jpg", "2.jpg")
    monkeypatch.chdir(tmp_path)
    found = list_images([Path("one"), Path("2.jpg"), Path("one/a/1.jpg")])
    assert found.root == Path()
    assert pairs(found) == [("one/a/1.jpg", "a"), ("2.jpg", "")]
    assert pairs(list_images([tmp_path / "2.jpg"])) == [(str(tmp_path / "2.jpg"), "")]


def test_what_is_missing_or_empty_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent: no such file or folder"):
        list_images([tmp_path / "absent"])
    with pytest.raises(
        DataError, match=r"no images; expected a folder, a manifest or files that end in .*jpg"
    ):
        list_images([touch(tmp_path, "a.txt")])
