"""Inputs of the trained part: pixels or frozen features, kept on disk and shared by all cases that agree.

Pixels of a data set are drawn and decoded once, the frozen prefix runs over them once, and every case
with the same images and the same prefix reads the result. Where that would not fit the cache, or each
epoch is to see new augmentations, images are read anew each time and the prefix runs in every step.
Either way the inputs are the same, to the bit.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch.nn.functional import pad

from mlbench.contracts import GroupedSplit, SplitName
from mlbench.environment import cache_dir
from mlbench.errors import StoreError
from mlbench.planning.plan import Case, labels_of
from mlbench.training.cache import ArrayCache
from mlbench.training.keys import Encoder, Look, features_key, pixels_key, prefix_hash
from mlbench.training.reading import Draw, Reader, batched

__all__ = ["ENCODE_BATCH", "Encoder", "InputSource", "Inputs", "Look", "encode"]

#: Images that go through the frozen prefix together, always: their number can change the last bits.
ENCODE_BATCH = 64

Progress = Callable[[str, int, int], None]


class Inputs:
    """Inputs of one split for `EmbeddingModel.embed`, for as many views as there are; images where the look
    is raw.

    waited: seconds spent waiting for inputs to be read.
    """

    def __init__(
        self, reader: Reader, model: Encoder, fabric: Fabric, stored: Sequence[np.ndarray], look: Look
    ) -> None:
        self.split = reader.split
        self.waited = 0.0
        self._reader = reader
        self._model = model
        self._fabric = fabric
        self._stored = stored
        self._look = look

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

    @property
    def groups(self) -> np.ndarray | None:
        """Groups of the images (see `GroupedSplit`): (N,) int64, None where there are none."""
        return self.split.groups if isinstance(self.split, GroupedSplit) else None

    def batches(self, order: Iterable[Sequence[int]], epoch: int = 0) -> Iterator[torch.Tensor]:
        """Inputs on the device, a batch for each list of indices."""
        plan = self._plan(order, epoch)
        read = self._from_cache(plan) if self._stored else self._reader.batches(plan)
        while True:
            start = time.perf_counter()
            batch = next(read, None)
            self.waited += time.perf_counter() - start
            if batch is None:
                return
            batch = _to_device(batch, self._fabric.device)
            yield batch if self._stored or self._look.raw else encode(self._model, batch, self._fabric)

    def _plan(self, order: Iterable[Sequence[int]], epoch: int) -> list[list[Draw]]:
        """What to read: of a number of views that of the epoch, of endless ones a new one.

        An image that comes again in the epoch shows the view after that.
        """
        views = self._look.views
        if views == 1:
            return [[Draw(index) for index in indices] for indices in order]
        seen: Counter[int] = Counter()
        plan = []
        for indices in order:
            draws = []
            for index in indices:
                copy = seen[index]
                draws.append(Draw(index, (epoch + copy) % views) if views else Draw(index, epoch, copy))
                seen[index] += 1
            plan.append(draws)
        return plan

    def _from_cache(self, plan: Iterable[Sequence[Draw]]) -> Iterator[torch.Tensor]:
        for draws in plan:
            first, view, _ = draws[0]
            last = first + len(draws)
            if draws[-1].image == last - 1 and all(
                draw[:2] == (first + n, view) for n, draw in enumerate(draws)
            ):
                rows = np.array(self._stored[view][first:last])
            else:
                rows = np.stack([self._stored[draw.view][draw.image] for draw in draws])
            yield torch.from_numpy(rows)


class InputSource:
    """Makes the inputs of a case for one network, from the cache where it can.

    section: of the suite, in which the network's backbone stands. progress: called with (what, done, total).
    notes: why something was not cached.
    """

    def __init__(
        self, case: Case, model: Encoder, fabric: Fabric, progress: Progress, section: str = "backbone"
    ) -> None:
        self.notes: list[str] = []
        self._case = case
        self._model = model
        self._section = section
        self._fabric = fabric
        self._progress = progress
        self._cache = ArrayCache(cache_dir())
        self._writable = True

    def get(self, split: SplitName, look: Look) -> Inputs:
        """Inputs of one split."""
        case = self._case
        augmentation = None
        if look.augmentation is not None:
            augmentation = look.augmentation.component.build(look.image.size)
        # A pool of views belongs to the data, so that seeds share it; fresh views belong to the seed.
        reader = Reader(
            case.dataset.split(split),
            look.image,
            augmentation,
            seed=0 if look.views else case.seed,
            workers=case.recipe.workers,
            pin_memory=self._fabric.device.type == "cuda",
        )
        files = [self._files(split, look, view) for view in range(look.views)]
        stored: list[np.ndarray] = []
        if files and self._fits(split, len(reader.split), look.image.size, files):
            try:
                stored = [self._stored(reader, *paths, split, view) for view, paths in enumerate(files)]
            except StoreError as error:  # the inputs are the same without a cache, only slower
                self._writable = False
                self.notes.append(f"{split}: inputs are not cached: {error}")
        return Inputs(reader, self._model, self._fabric, stored, look)

    def _fits(self, split: str, count: int, side: int, files: list[tuple[Path, Path | None]]) -> bool:
        """Whether what is not in the cache yet may be added to it."""
        need = 0
        for pixels, features in files:
            if features is not None and not os.path.exists(features):
                sample = torch.zeros((1, 3, side, side), dtype=torch.uint8, device=self._fabric.device)
                need += 4 * encode(self._model, sample, self._fabric).numel() * count
            if not os.path.exists(features or pixels) and not os.path.exists(pixels):
                need += 3 * side * side * count
        if need and not self._writable:
            return False
        limit = self._cache.limit() if need else 0
        if need <= limit:
            return True
        self.notes.append(
            f"{split}: inputs are not cached, {need / 1e6:,.0f} MB would be needed and {limit / 1e6:,.0f} MB "
            "may be used (MLBENCH_CACHE_LIMIT, or MLBENCH_CACHE on a larger disk)"
        )
        return False

    def _files(self, split: SplitName, look: Look, view: int) -> tuple[Path, Path | None]:
        """Cache files of the pixels of one view, and of their features where there is a frozen prefix."""
        key = pixels_key(self._case, split, look, view)
        pixels = self._cache.path("pixels", key)
        if look.raw or not self._model.has_prefix:
            return pixels, None
        features = features_key(key, self._case, self._section, self._prefix, self._fabric.device)
        return pixels, self._cache.path("features", features)

    @cached_property
    def _prefix(self) -> str:
        return prefix_hash(self._model)

    def _stored(
        self, reader: Reader, pixels: Path, features: Path | None, split: SplitName, view: int
    ) -> np.ndarray:
        count = len(reader.split)

        def read() -> Iterator[np.ndarray]:
            plan = [[Draw(index, view) for index in indices] for indices in batched(count, ENCODE_BATCH)]
            for batch in reader.batches(plan):
                yield batch.numpy()

        def images() -> np.ndarray:
            what = f"reading {split} images"
            return self._cache.get(pixels, count, read, partial(self._advance, what, count))

        def features_of_all() -> Iterator[np.ndarray]:
            array = images()
            for rows in batched(count, ENCODE_BATCH):
                batch = torch.from_numpy(np.array(array[rows.start : rows.stop])).to(self._fabric.device)
                yield encode(self._model, batch, self._fabric).contiguous().cpu().numpy()

        if features is None:
            return images()
        what = f"{'teacher' if self._section == 'teacher' else 'frozen prefix'} over {split} images"
        return self._cache.get(features, count, features_of_all, partial(self._advance, what, count))

    def _advance(self, what: str, total: int, done: int) -> None:
        self._progress(what, done, total)


def _to_device(batch: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The batch on the device; to a GPU without waiting for the copy."""
    if device.type != "cuda":
        return batch.to(device)
    return batch.pin_memory().to(device, non_blocking=True)


def encode(model: Encoder, images: torch.Tensor, fabric: Fabric) -> torch.Tensor:
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
