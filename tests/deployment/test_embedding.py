from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_card import CARD

from mlbench.deployment import embedding as embedding_module
from mlbench.deployment.embed_files import write_embeddings
from mlbench.deployment.embedding import embed_images
from mlbench.deployment.match import load_image
from mlbench.deployment.search import Gallery
from mlbench.errors import DataError
from mlbench.images.image_list import list_images


class Means:
    """Mean red, green and blue as a unit vector."""

    def __init__(self, precision: str = "float32") -> None:
        self.card = replace(CARD, precision=precision)
        self.sizes: list[int] = []

    def embed(self, images: np.ndarray) -> np.ndarray:
        self.sizes.append(len(images))
        means = images.mean((2, 3)) + 1
        return (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)


def paint(folder: Path, count: int) -> Path:
    folder.mkdir()
    for at in range(count):
        Image.new("RGB", (20, 30), (at, 100, 200 - at)).save(folder / f"{at:03}.png")
    return folder


def silent(what: str, done: int, total: int) -> None:
    pass


def test_images_are_embedded_in_their_order_and_batches(tmp_path: Path) -> None:
    listed, model, told = list_images([paint(tmp_path / "photos", 23)]), Means(), []
    found = embed_images(model, listed, lambda *progress: told.append(progress), batch_size=5)
    assert model.sizes == [5, 5, 5, 5, 3]
    assert told == [("embedding", done, 23) for done in (0, 5, 10, 15, 20, 23)]
    expected = [Means().embed(load_image(listed.root / each.path, CARD)[None])[0] for each in listed.images]
    assert (found.vectors == np.stack(expected)).all()
    assert found.images == listed.images


def test_a_model_with_8_bit_weights_gets_one_image_at_a_time(tmp_path: Path) -> None:
    model = Means("int8")
    embed_images(model, list_images([paint(tmp_path / "photos", 4)]), silent, batch_size=3)
    assert model.sizes == [1] * 4


def test_at_most_one_batch_is_read_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, ahead = [], []
    real = embedding_module._read
    monkeypatch.setattr(embedding_module, "_read", lambda *given: (read.append(1), real(*given))[1])
    model = Means()
    embed = model.embed

    def watched(images: np.ndarray) -> np.ndarray:
        done = sum(model.sizes)
        ahead.append(len(read) - done)
        return embed(images)

    model.embed = watched  # type: ignore[method-assign]
    embed_images(model, list_images([paint(tmp_path / "photos", 40)]), silent, batch_size=4)
    assert len(read) == 40
    assert max(ahead) <= 8


def test_equal_files_have_equal_digests(tmp_path: Path) -> None:
    folder = paint(tmp_path / "photos", 2)
    (folder / "copy.png").write_bytes((folder / "000.png").read_bytes())
    digests = embed_images(Means(), list_images([folder]), silent).digests
    assert digests[0] == digests[2] != digests[1]


@pytest.mark.skipif(os.name != "posix", reason="names of other systems are Unicode")
def test_a_name_that_is_not_utf8_is_left_out(tmp_path: Path) -> None:
    folder = paint(tmp_path / "photos", 1)
    try:
        os.rename(folder / "000.png", os.path.join(os.fsencode(folder), b"\xff.png"))
    except OSError:
        pytest.skip("the file system takes only UTF-8")
    with pytest.raises(DataError, match="its name is not UTF-8; rename it"):
        embed_images(Means(), list_images([folder]), silent)


@pytest.mark.parametrize("name", ["x.npz", "x.parquet"])
def test_a_gallery_is_read_as_it_was_written(tmp_path: Path, name: str) -> None:
    folder = paint(tmp_path / "photos", 3)
    (folder / "b").mkdir()
    (folder / "002.png").rename(folder / "b" / "ü.png")
    found = embed_images(Means(), list_images([folder]), silent)
    write_embeddings(tmp_path / name, found)
    read, made = Gallery.read(tmp_path / name), Gallery.of(folder, found)
    assert read.images == made.images == ["000.png", "001.png", "b/ü.png"]
    assert read.labels == made.labels == ["", "", "b"]
    assert (read.vectors == made.vectors).all()
    assert read.card == made.card == CARD
    assert read.root == made.root == folder
    assert read.row("b/u\u0308.png") == 2  # in another Unicode form
