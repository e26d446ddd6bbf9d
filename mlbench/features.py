"""Inputs of the trained part: pixels or frozen features, kept on disk and shared by all cases that agree.

Pixels of a data set are drawn and decoded once, the frozen prefix runs over them once, and every case
with the same images and the same prefix reads the result. Where that would not fit the cache, or each
epoch is to see new augmentations, images are read anew each time and the prefix runs in every step.
Either way the inputs are the same, to the bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch.nn.functional import pad

from mlbench.cache import ArrayCache
from mlbench.contracts import SplitName
from mlbench.environment import cache_dir, library_versions
from mlbench.model import EmbeddingModel, state_hash
from mlbench.plan import Case, core_hash, labels_of
from mlbench.reading import Reader, batched, describe

__all__ = ["ENCODE_BATCH", "InputSource", "Inputs"]

#: Images that go through the frozen prefix together, always: their number can change the last bits.
ENCODE_BATCH = 64

Progress = Callable[[str, int, int], None]


class Inputs:
    """Inputs for `EmbeddingModel.embed` of one split, for as many views as there are.

    waited: seconds spent waiting for inputs to be read.
    """

    def __init__(
        self, reader: Reader, model: EmbeddingModel, fabric: Fabric, stored: Sequence[np.ndarray], views: int
    ) -> None:
        self.split = reader.split
        self.waited = 0.0
        self._reader = reader
        self._model = model
        self._fabric = fabric
        self._stored = stored
        self._views = views

    @property
    def stored(self) -> bool:
        """Whether the inputs come from the cache."""
        return bool(self._stored)

    @cached_property
    def labels(self) -> np.ndarray:
        """Labels of the split: (N,) int64."""
        return labels_of(self.split)

    @cached_property
    def roles(self) -> np.ndarray:
        """Roles of the images (see `Split.role`): (N,) int64."""
        return np.fromiter(map(self.split.role, range(len(self.split))), np.int64, len(self.split))

    def batches(self, order: Iterable[Sequence[int]], epoch: int = 0) -> Iterator[torch.Tensor]:
        """Inputs on the device, a batch for each list of indices."""
        view = epoch % self._views if self._views else epoch
        read = self._from_cache(order, view) if self._stored else self._reader.batches(list(order), view)
        while True:
            start = time.perf_counter()
            batch = next(read, None)
            self.waited += time.perf_counter() - start
            if batch is None:
                return
            batch = _to_device(batch, self._fabric.device)
            yield batch if self._stored else _encode(self._model, batch, self._fabric)

    def _from_cache(self, order: Iterable[Sequence[int]], view: int) -> Iterator[torch.Tensor]:
        array = self._stored[view]
        for indices in order:
            rows = array[indices.start : indices.stop] if isinstance(indices, range) else array[indices]
            yield torch.from_numpy(np.array(rows))


class InputSource:
    """Makes the inputs of a case, from the cache where it can.

    progress: called with (what, done, total). notes: why something was not cached.
    """

    def __init__(self, case: Case, model: EmbeddingModel, fabric: Fabric, progress: Progress) -> None:
        self.notes: list[str] = []
        self._case = case
        self._model = model
        self._fabric = fabric
        self._progress = progress
        self._cache = ArrayCache(cache_dir())

    def get(self, split: SplitName) -> Inputs:
        """Inputs of one split; for train with augmented views as the recipe says."""
        case = self._case
        augmentation = None
        views = 1
        if split == "train" and "augmentation" in case.spec.parts:
            augmentation = case.spec.parts["augmentation"].build(image_size=case.spec.image.size)
            views = case.recipe.views
        # A pool of views belongs to the data, so that seeds share it; fresh views belong to the seed.
        reader = Reader(
            case.dataset.split(split),
            case.spec.image,
            augmentation,
            seed=0 if views else case.seed,
            workers=case.recipe.workers,
            pin_memory=self._fabric.device.type == "cuda",
        )
        files = [self._files(split, view, augmented=augmentation is not None) for view in range(views)]
        stored: list[np.ndarray] = []
        if files and self._fits(split, len(reader.split), files):
            stored = [self._stored(reader, *paths, split, view) for view, paths in enumerate(files)]
        return Inputs(reader, self._model, self._fabric, stored, views)

    def _fits(self, split: str, count: int, files: list[tuple[Path, Path | None]]) -> bool:
        """Whether what is not in the cache yet may be added to it."""
        side = self._case.spec.image.size
        need = 0
        for pixels, features in files:
            if features is not None and not features.exists():
                sample = torch.zeros((1, 3, side, side), dtype=torch.uint8, device=self._fabric.device)
                need += 4 * _encode(self._model, sample, self._fabric).numel() * count
            if not (features or pixels).exists() and not pixels.exists():
                need += 3 * side * side * count
        limit = self._cache.limit() if need else 0
        if need <= limit:
            return True
        self.notes.append(
            f"{split}: inputs are not cached, {need / 1e6:,.0f} MB would be needed and {limit / 1e6:,.0f} MB "
            "may be used (MLBENCH_CACHE_LIMIT, or MLBENCH_CACHE on a larger disk)"
        )
        return False

    def _files(self, split: SplitName, view: int, *, augmented: bool) -> tuple[Path, Path | None]:
        """Cache files of the pixels of one view, and of their features where there is a frozen prefix."""
        spec = self._case.spec
        pixels = [
            describe(spec.parts["dataset"]),
            self._case.dataset.version,
            split,
            spec.image.model_dump(),
            [describe(spec.parts["augmentation"]), view] if augmented else [],
            library_versions(),
            core_hash("reading", "seeding"),
        ]
        if not self._model.has_prefix:
            return self._cache.path("pixels", pixels), None
        device = self._fabric.device
        features = [
            pixels,
            describe(spec.parts["backbone"]),
            self._frozen_hash,
            [device.type, torch.cuda.get_device_name(device) if device.type == "cuda" else ""],
            [spec.precision, self._case.recipe.matmul_precision],
            core_hash("features", "model"),
        ]
        return self._cache.path("pixels", pixels), self._cache.path("features", features)

    def _stored(
        self, reader: Reader, pixels: Path, features: Path | None, split: SplitName, view: int
    ) -> np.ndarray:
        count = len(reader.split)

        def read() -> Iterator[np.ndarray]:
            for batch in reader.batches(batched(count, ENCODE_BATCH), view):
                yield batch.numpy()

        def images() -> np.ndarray:
            what = f"reading {split} images"
            return self._cache.get(pixels, count, read, partial(self._advance, what, count))

        def encode() -> Iterator[np.ndarray]:
            array = images()
            for rows in batched(count, ENCODE_BATCH):
                batch = torch.from_numpy(np.array(array[rows.start : rows.stop])).to(self._fabric.device)
                yield _encode(self._model, batch, self._fabric).contiguous().cpu().numpy()

        if features is None:
            return images()
        what = f"frozen prefix over {split} images"
        return self._cache.get(features, count, encode, partial(self._advance, what, count))

    def _advance(self, what: str, total: int, done: int) -> None:
        self._progress(what, done, total)

    @cached_property
    def _frozen_hash(self) -> Any:
        return state_hash(self._model.backbone.frozen.state_dict().values())


def _to_device(batch: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The batch on the device; to a GPU without waiting for the copy."""
    if device.type != "cuda":
        return batch.to(device)
    return batch.pin_memory().to(device, non_blocking=True)


def _encode(model: EmbeddingModel, images: torch.Tensor, fabric: Fabric) -> torch.Tensor:
    """Inputs of the trained part: images as they are, or the frozen prefix's output in float32.

    images: (N, 3, S, S) uint8 on the device. They go through in runs of `ENCODE_BATCH`, the last filled up,
    so that an image's output does not depend on how many came with it.
    """
    if not model.has_prefix:
        return images
    outputs = []
    for run in torch.split(images, ENCODE_BATCH):
        filled = pad(run, (0, 0, 0, 0, 0, 0, 0, ENCODE_BATCH - len(run)))
        with fabric.autocast():
            outputs.append(model.encode(filled)[: len(run)].float())
    return torch.cat(outputs)
