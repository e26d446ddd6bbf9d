from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlbench.errors import DataError
from mlbench.images import image_files
from mlbench.images.image_files import IMAGE_SUFFIXES, find_images, split_of


def touch(folder: Path, *paths: str) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()


def test_find_images_finds_images_in_order(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.jpg", "b/10.JPG", "a/deep/er/x.PNG", "z.webp", "a/readme.txt", "a/no_suffix", "jpg")
    assert find_images(tmp_path).paths == ["a/deep/er/x.PNG", "b/10.JPG", "b/2.jpg", "z.webp"]


def test_find_images_skips_hidden_names(tmp_path: Path) -> None:
    touch(tmp_path, ".hidden.png", ".thumbs/a.png", "a/.b/c.png", "a/b.png", "a/._b.png")
    assert find_images(tmp_path).paths == ["a/b.png"]


def test_find_images_knows_every_suffix(tmp_path: Path) -> None:
    touch(tmp_path, *(f"x{suffix}" for suffix in IMAGE_SUFFIXES), "x.svg", "x.jpg.txt")
    assert find_images(tmp_path).paths == sorted(f"x{suffix}" for suffix in IMAGE_SUFFIXES)


def test_find_images_follows_links_but_not_in_circles(tmp_path: Path) -> None:
    touch(tmp_path, "photos/a/1.png", "store/2.png")
    (tmp_path / "photos" / "b").symlink_to(tmp_path / "store")
    (tmp_path / "photos" / "a" / "up").symlink_to("..")
    (tmp_path / "photos" / "a" / "self").symlink_to(".")
    (tmp_path / "store" / "back").symlink_to(tmp_path / "photos" / "a")
    (tmp_path / "photos" / "broken").symlink_to("nowhere")
    (tmp_path / "photos" / "a" / "gone.png").symlink_to("nowhere")
    assert find_images(tmp_path / "photos").paths == [
        "a/1.png",
        "a/gone.png",
        "b/2.png",
        "b/back/1.png",
        "b/back/gone.png",
    ]


def test_find_images_reports_a_missing_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "file")
    with pytest.raises(DataError, match="file: not a folder"):
        find_images(tmp_path / "file")
    message = rf"x/y: no such folder \(there is {tmp_path}\); relative paths .* \$MLBENCH_DATA"
    with pytest.raises(DataError, match=message):
        find_images(tmp_path / "x" / "y")

    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=f"^{tmp_path}: Permission denied$"):
        find_images(tmp_path)


def test_other_files_are_counted_by_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files, "IMAGE_SUFFIXES", IMAGE_SUFFIXES - {".heic"})
    touch(tmp_path, "a/1.jpg", "a/2.avif", "a/3.JFIF", "a/4.jpe", "a/5.jp2")
    touch(tmp_path, "a/x.HEIC", "a/y.heic", "a/z.jpg_large", "b/noext", "b/.DS_Store", "Thumbs.db")
    touch(tmp_path, ".git/objects/1", "b/@eaDir/1.jpg/thumb.jpg", "b/x.what\nis", "__MACOSX/b/._1.jpg")
    found = find_images(tmp_path)
    assert len(found.paths) == 5
    assert found.notes() == [
        "7 of 12 files not read: 2 .heic (pip install 'mlbench[heic]'), 2 hidden or of the system, "
        "1 .jpg_large, 1 with an odd suffix, 1 without a suffix; such as a/x.HEIC",
        "hidden folders, not searched: .git, __MACOSX, b/@eaDir",
    ]
    assert find_images(tmp_path / "a", tmp_path / "a" / "z.jpg_large").notes()[0].startswith("2 of 7 files")


def test_links_to_their_parents_are_noted(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg")
    for number in range(7):
        (tmp_path / "a" / f"self{number}").symlink_to(".")
    (tmp_path / "round").symlink_to("round")
    assert find_images(tmp_path).notes() == [
        "1 of 2 files not read: 1 without a suffix; such as round",
        "links to a folder that contains them, not followed: a/self0, a/self1, a/self2, a/self3, a/self4, "
        "and 2 more",
    ]


def test_splits_have_several_names() -> None:
    names = [
        "Train",
        "TRAINING",
        "val",
        "Valid",
        "validation",
        "dev",
        "Calibration",
        "Test",
        "testing",
        "trains",
    ]
    found = [split_of(name) for name in names]
    assert found == ["train"] * 2 + ["calibration"] * 5 + ["test"] * 2 + [None]


KINDS = (".jpg", ".PNG", ".avif", ".jp2", ".heic", ".txt", ".jpg_large", "", ".tar.gz", ".", ".x y")


@settings(max_examples=40, derandomize=True, deadline=None)
@given(
    names=st.lists(
        st.tuples(st.sampled_from(["", "a/", "a/b/", ".h/", "Train/"]), st.sampled_from(["n", "é", ".n"]),
                  st.sampled_from(KINDS)),
        max_size=12,
        unique=True,
    )
)  # fmt: skip
def test_every_file_is_read_or_counted(
    tmp_path_factory: pytest.TempPathFactory, names: list[tuple[str, str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("files")
    touch(folder, *("".join(parts) for parts in names))
    found = find_images(folder)
    inside = [parts for parts in names if parts[0] != ".h/"]
    assert len(found.paths) + found.others.total() == len(inside)
    assert bool(found.hidden) == (len(inside) < len(names))
    counted = sum(int(number) for note in found.notes()[:1] for number in re.findall(r"(?<=[:,] )\d+", note))
    if found.others:
        assert counted == found.others.total()
