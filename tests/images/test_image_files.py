from __future__ import annotations

import os
from pathlib import Path

import pytest

from mlbench.errors import DataError
from mlbench.images.image_files import IMAGE_SUFFIXES, walk_images


def touch(folder: Path, *paths: str) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()


def test_walk_finds_images_in_order(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.jpg", "b/10.JPG", "a/deep/er/x.PNG", "z.webp", "a/readme.txt", "a/no_suffix", "jpg")
    assert walk_images(tmp_path) == ["a/deep/er/x.PNG", "b/10.JPG", "b/2.jpg", "z.webp"]


def test_walk_leaves_out_hidden_names(tmp_path: Path) -> None:
    touch(tmp_path, ".hidden.png", ".thumbs/a.png", "a/.b/c.png", "a/b.png", "a/._b.png")
    assert walk_images(tmp_path) == ["a/b.png"]


def test_walk_knows_every_suffix(tmp_path: Path) -> None:
    touch(tmp_path, *(f"x{suffix}" for suffix in IMAGE_SUFFIXES), "x.heic", "x.svg", "x.jpg.txt")
    assert walk_images(tmp_path) == sorted(f"x{suffix}" for suffix in IMAGE_SUFFIXES)


def test_walk_follows_links_but_not_in_circles(tmp_path: Path) -> None:
    touch(tmp_path, "photos/a/1.png", "store/2.png")
    (tmp_path / "photos" / "b").symlink_to(tmp_path / "store")
    (tmp_path / "photos" / "a" / "up").symlink_to("..")
    (tmp_path / "photos" / "a" / "self").symlink_to(".")
    (tmp_path / "store" / "back").symlink_to(tmp_path / "photos" / "a")
    (tmp_path / "photos" / "broken").symlink_to("nowhere")
    (tmp_path / "photos" / "a" / "gone.png").symlink_to("nowhere")
    assert walk_images(tmp_path / "photos") == [
        "a/1.png",
        "a/gone.png",
        "b/2.png",
        "b/back/1.png",
        "b/back/gone.png",
    ]


def test_walk_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "file")
    with pytest.raises(DataError, match="file: not a folder"):
        walk_images(tmp_path / "file")
    message = rf"x/y: no such folder \(there is {tmp_path}\); relative paths .* \$MLBENCH_DATA"
    with pytest.raises(DataError, match=message):
        walk_images(tmp_path / "x" / "y")

    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=f"^{tmp_path}: Permission denied$"):
        walk_images(tmp_path)
