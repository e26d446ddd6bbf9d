"""Inputs from the array cache, which all cases with the same images and the same frozen prefix share.

Images are decoded once and the frozen prefix runs over them once. Inputs that would not fit into the cache,
and augmentations that are new in every epoch, are read anew each time, and the prefix runs in every step.
The inputs are the same bits either way.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric

from mlbench.contracts import SplitName
from mlbench.environment import cache_dir
from mlbench.errors import StoreError
from mlbench.planning.plan import Case
from mlbench.training.array_cache import ArrayCache
from mlbench.training.contract_checks import CheckedAugmentation
from mlbench.training.image_reader import ImageReader, ImageView, batched
from mlbench.training.input_keys import features_key, pixels_key, prefix_hash
from mlbench.training.inputs import ENCODE_BATCH, InputSpec, SplitInputs, encode
from mlbench.training.model import Encoder, Section

__all__ = ["InputCache"]

Progress = Callable[[str, int, int], None]


class InputCache:
    """Inputs of a case for one of its networks.

    section: the network's section of the suite. progress: called with (what, done, total). notes: why inputs
    are not cached, one line each.
    """

    def __init__(
        self, case: Case, section: Section, network: Encoder, fabric: Fabric, progress: Progress
    ) -> None:
        self.notes: list[str] = []
        self._case = case
        self._section = section
        self._network = network
        self._fabric = fabric
        self._progress = progress
        self._cache = ArrayCache(cache_dir())
        self._writable = True

    def get(self, split: SplitName, spec: InputSpec) -> SplitInputs:
        """Inputs of one split, cached first where they fit."""
        case = self._case
        augmentation = None
        if spec.augmentation is not None:
            part = spec.augmentation
            augmentation = CheckedAugmentation.of(part, part.component.build(spec.image.size))
        # All seeds share a fixed number of views; new views depend on the seed.
        reader = ImageReader(
            case.dataset.split(split),
            spec.image,
            augmentation,
            seed=0 if spec.views else case.seed,
            workers=case.recipe.workers,
            pin_memory=self._fabric.device.type == "cuda",
            source=str(case.spec.parts["dataset"]),
        )
        files = [self._files(split, spec, view) for view in range(spec.views)]
        cached: list[np.ndarray] = []
        if files and self._fits(split, len(reader.split), spec.image.size, files):
            try:
                cached = [self._array(reader, *paths, split, view) for view, paths in enumerate(files)]
            except StoreError as error:  # the inputs are the same without a cache, only slower
                self._writable = False
                self.notes.append(f"{split}: inputs are not cached: {error}")
        return SplitInputs(reader, self._network, self._fabric, cached, spec)

    def _fits(self, split: str, count: int, side: int, files: list[tuple[Path, Path | None]]) -> bool:
        """Whether the arrays that are missing from the cache may be added to it."""
        need = 0
        for pixels, features in files:
            if features is not None and not os.path.exists(features):
                sample = torch.zeros((1, 3, side, side), dtype=torch.uint8, device=self._fabric.device)
                need += 4 * encode(self._network, sample, self._fabric).numel() * count
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

    def _files(self, split: SplitName, spec: InputSpec, view: int) -> tuple[Path, Path | None]:
        """Cache files of the pixels of one view, and of their features where there is a frozen prefix."""
        key = pixels_key(self._case, split, spec, view)
        pixels = self._cache.path("pixels", key)
        if spec.raw or not self._network.has_prefix:
            return pixels, None
        features = features_key(key, self._case, self._section, self._prefix, self._fabric.device)
        return pixels, self._cache.path("features", features)

    @cached_property
    def _prefix(self) -> str:
        return prefix_hash(self._network)

    def _array(
        self, reader: ImageReader, pixels: Path, features: Path | None, split: SplitName, view: int
    ) -> np.ndarray:
        """The inputs of one view, from the cache or written to it now."""
        count = len(reader.split)

        def read() -> Iterator[np.ndarray]:
            plan = [[ImageView(index, view) for index in indices] for indices in batched(count, ENCODE_BATCH)]
            for batch in reader.batches(plan):
                yield batch.numpy()

        def images() -> np.ndarray:
            what = f"reading {split} images"
            return self._cache.get(pixels, count, read, partial(self._advance, what, count))

        def encoded() -> Iterator[np.ndarray]:
            array = images()
            for rows in batched(count, ENCODE_BATCH):
                batch = torch.from_numpy(np.array(array[rows.start : rows.stop])).to(self._fabric.device)
                yield encode(self._network, batch, self._fabric).contiguous().cpu().numpy()

        if features is None:
            return images()
        what = f"{'teacher' if self._section == 'teacher' else 'frozen prefix'} over {split} images"
        return self._cache.get(features, count, encoded, partial(self._advance, what, count))

    def _advance(self, what: str, total: int, done: int) -> None:
        self._progress(what, done, total)
