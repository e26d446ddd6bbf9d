"""Reading images of a split as square uint8 tensors, by worker processes, in a given order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2 import functional as F

from mlbench.contracts import Augmentation, Split
from mlbench.environment import usable_cores
from mlbench.errors import DataError, MlbenchError
from mlbench.images.preprocess import centre_crop, to_square
from mlbench.planning.spec import ImageSettings
from mlbench.seeding import numpy_generator
from mlbench.training.contract_checks import shown

__all__ = ["ImageReader", "ImageView", "batched"]


class ImageView(NamedTuple):
    """One view of an image. image: its index; view: number of the augmented view; copy: how often the image
    came before in the epoch, where every time is augmented anew."""

    image: int
    view: int = 0
    copy: int = 0


class ImageReader:
    """Reads images of one split.

    augmentation: its draws depend on the seed and the `ImageView` alone, so that neither workers nor order
    change a bit. workers: processes; None for one per core. pin_memory: for a GPU. source: the data set and
    its plugin, for messages.
    """

    def __init__(
        self,
        split: Split,
        settings: ImageSettings,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        workers: int | None = None,
        pin_memory: bool = False,
        source: str = "",
    ) -> None:
        self.split = split
        self._images = _Images(split, settings, augmentation, seed, source)
        self._workers = usable_cores() if workers is None else workers
        self._pin_memory = pin_memory
        self._plan: list[list[ImageView]] = []
        self._parallel: DataLoader[torch.Tensor] | None = None

    def batches(self, plan: Sequence[Sequence[ImageView]]) -> Iterator[torch.Tensor]:
        """Batches of images (N, 3, S, S) uint8, one for each list in `plan`.

        Raises DataError for an image that cannot be read.
        """
        # Starting a worker process takes longer than reading a few images.
        workers = self._workers if sum(map(len, plan)) >= 64 * self._workers else 0
        # Workers stay alive between calls and read the current plan.
        self._plan[:] = map(list, plan)
        if not workers:
            loader = self._loader(0)
        elif self._parallel is None:
            loader = self._parallel = self._loader(workers)
        else:
            loader = self._parallel
        iterator = iter(loader)
        while True:
            try:
                batch = next(iterator, None)
            except MlbenchError as error:
                if not workers:
                    raise
                # A worker's message comes after its traceback, as "module.Type: message".
                raise type(error)(error.args[0].strip().splitlines()[-1].partition(": ")[2]) from None
            if batch is None:
                return
            yield batch

    def _loader(self, workers: int) -> DataLoader[torch.Tensor]:
        return DataLoader(
            self._images,
            batch_sampler=self._plan,
            num_workers=workers,
            persistent_workers=workers > 0,
            collate_fn=torch.stack,
            pin_memory=self._pin_memory,
            generator=torch.Generator(),  # without it, draws from the global one would change dropout
        )


class _Images(Dataset[torch.Tensor]):
    """Maps an `ImageView` to a uint8 tensor (3, S, S)."""

    def __init__(
        self, split: Split, settings: ImageSettings, augmentation: Augmentation | None, seed: int, source: str
    ) -> None:
        self._split = split
        self._settings = settings
        self._augmentation = augmentation
        self._seed = seed
        self._source = source

    def __getitem__(self, view_of: ImageView) -> torch.Tensor:
        index, view, copy = view_of
        try:
            image: Any = self._split.image(index)
            if not isinstance(image, Image.Image) or image.mode != "RGB":
                raise TypeError(f"{shown(image)}; expected an RGB PIL image")
            if self._augmentation is not None:
                path = ("augment", view, index, copy) if copy else ("augment", view, index)
                image = self._augmentation(image, numpy_generator(self._seed, *path))
            else:
                image = centre_crop(image, self._settings.crop_ratio)
            settings = self._settings
            pixels: torch.Tensor = F.pil_to_tensor(to_square(image, settings.size, settings.resize))
            return pixels
        except MlbenchError:
            raise
        # A data set or augmentation may raise anything; the message names the image.
        except Exception as error:
            name = self._split.class_name(self._split.label(index))
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            reason += f", from {self._source}" if self._source else ""
            raise DataError(f"image {index} of class {name} cannot be read ({reason})") from error


def batched(count: int, size: int) -> list[range]:
    """0 .. count - 1 in ranges of `size`, the last one shorter."""
    return [range(start, min(start + size, count)) for start in range(0, count, size)]
