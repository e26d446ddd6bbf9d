from __future__ import annotations

import os

import numpy as np
import pytest
import torch
import toys
from PIL import Image

from mlbench.errors import DataError
from mlbench.planning.spec import ImageSettings
from mlbench.training.image_reader import ImageReader, ImageView


def draws(images, view: int = 0) -> list[ImageView]:
    return [ImageView(image, view) for image in images]


@pytest.mark.parametrize("workers", [0, 2])
def test_reader_gives_the_same_bits_in_any_order_and_process(workers: int) -> None:
    split = toys.ToySplit("train", 40, 4, -1)
    settings = ImageSettings(size=16)
    reader = ImageReader(split, settings, toys.Jitter(), seed=1, workers=workers)
    forward = torch.cat(list(reader.batches([draws(range(100), 2), draws(range(100, 160), 2)])))
    backward = torch.cat(list(reader.batches([draws(range(159, -1, -1), 2)])))
    alone = ImageReader(split, settings, toys.Jitter(), 1, 0)
    single = torch.cat(list(alone.batches([draws(range(160), 2)])))
    assert forward.dtype == torch.uint8
    assert torch.equal(forward, backward.flip(0))
    assert torch.equal(forward, single)


def test_reader_draws_a_new_augmentation_for_each_view_and_seed() -> None:
    split = toys.ToySplit("train", 4, 4, -1)
    seen = []
    for seed, view in ((0, 0), (0, 1), (1, 0)):
        reader = ImageReader(split, ImageSettings(size=16), toys.Jitter(), seed, 0)
        seen.append(torch.cat(list(reader.batches([draws(range(16), view)]))))
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])


@pytest.mark.parametrize("workers", [0, 2])
def test_reader_passes_on_a_data_error_in_one_line(workers: int) -> None:
    reader = ImageReader(toys.ToySplit("train", 40, 4, 3), ImageSettings(size=16), workers=workers)
    with pytest.raises(DataError) as caught:
        list(reader.batches([draws(range(160))]))
    assert str(caught.value) == "toy.png: truncated"


def test_reader_names_the_image_that_a_plugin_failed_on() -> None:
    class Broken(toys.ToySplit):
        def image(self, index: int) -> Image.Image:
            raise ValueError("bad\nnews")

    reader = ImageReader(Broken("train", 4, 4, -1), ImageSettings(size=16), workers=0)
    with pytest.raises(DataError, match="image 5 of class train/1 cannot be read"):
        list(reader.batches([draws([5])]))


def test_crop_ratio_keeps_the_middle_of_what_is_not_augmented() -> None:
    class Framed(toys.ToySplit):
        def image(self, index: int) -> Image.Image:
            pixels = np.zeros((20, 40, 3), np.uint8)
            pixels[5:15, 10:30] = 200
            return Image.fromarray(pixels)

    split, settings = Framed("train", 4, 4, -1), ImageSettings(size=16, crop_ratio=0.5)
    (plain,) = ImageReader(split, settings, workers=0).batches([draws([0])])
    assert (plain == 200).all()
    unchanged = ImageReader(split, settings, lambda image, generator: image, workers=0)
    (augmented,) = unchanged.batches([draws([0])])
    assert augmented.min() == 0


def test_workers_stay_and_read_another_plan() -> None:
    class Named(toys.ToySplit):
        def image(self, index: int) -> Image.Image:
            return Image.fromarray(np.full((16, 16, 3), os.getpid() % 251, np.uint8))

    reader = ImageReader(Named("train", 40, 4, -1), ImageSettings(size=16), workers=1)
    first = list(reader.batches([draws(range(100)), draws(range(10))]))
    second = list(reader.batches([draws(range(70))]))
    assert [len(batch) for batch in first + second] == [100, 10, 70]
    seen = {int(batch[0, 0, 0, 0]) for batch in first + second}
    assert len(seen) == 1
    assert seen != {os.getpid() % 251}


def test_a_reading_that_was_given_up_leaves_nothing_to_the_next() -> None:
    reader = ImageReader(toys.ToySplit("train", 40, 4, -1), ImageSettings(size=16), workers=2)
    whole = [draws(range(start, start + 20)) for start in range(0, 160, 20)]
    next(reader.batches(whole))
    backward = torch.cat(list(reader.batches(whole[::-1])))
    assert torch.equal(
        backward,
        torch.cat(list(ImageReader(reader.split, ImageSettings(size=16), workers=0).batches(whole[::-1]))),
    )
