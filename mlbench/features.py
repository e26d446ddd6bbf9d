"""Inputs of the trained part: pixels or frozen features, kept on disk and shared by all cases that agree.

Pixels of a data set are drawn and decoded once, the frozen prefix runs over them once, and every case
with the same images and the same prefix reads the result. Where that would not fit the cache, or each
epoch is to see new augmentations, images are read anew each time and the prefix runs in every step.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from mlbench.contracts import SplitName
from mlbench.environment import cache_dir, library_versions
from mlbench.errors import MlbenchError, StoreError
from mlbench.model import EmbeddingModel, state_hash
from mlbench.plan import Case
from mlbench.reading import Reader, batched, describe

__all__ = ["InputSource", "Inputs"]

#: Images that go through the frozen prefix together. Fixed, because the batch size can change bits.
ENCODE_BATCH = 64

Progress = Callable[[str, int, int], None]


class Inputs:
    """Inputs for `EmbeddingModel.embed` of one split, for as many views as there are."""

    def __init__(
        self, reader: Reader, model: EmbeddingModel, fabric: Fabric, stored: Sequence[np.ndarray], views: int
    ) -> None:
        self._reader = reader
        self._model = model
        self._fabric = fabric
        self._stored = stored
        self._views = views
        self.count = len(reader.split)

    @property
    def stored(self) -> bool:
        """Whether the inputs come from the cache."""
        return bool(self._stored)

    @property
    def waited(self) -> float:
        """Seconds spent waiting for images to be read."""
        return self._reader.waited

    def batches(self, order: Iterable[Sequence[int]], epoch: int = 0) -> Iterator[torch.Tensor]:
        """Inputs on the device, a batch for each list of indices."""
        view = epoch % self._views if self._views else epoch
        if self._stored:
            array = self._stored[view]
            for indices in order:
                rows = array[indices.start : indices.stop] if isinstance(indices, range) else array[indices]
                yield torch.from_numpy(np.array(rows)).to(self._fabric.device)
        else:
            for images in self._reader.batches(list(order), view):
                yield _encode(self._model, images, self._fabric)


class InputSource:
    """Makes the inputs of a case, from the cache where it can.

    progress: called with (what, done, total).
    """

    def __init__(self, case: Case, model: EmbeddingModel, fabric: Fabric, progress: Progress) -> None:
        self.notes: list[str] = []
        self._case = case
        self._model = model
        self._fabric = fabric
        self._progress = progress
        self._root = cache_dir()
        self._prefix_hash = ""

    def get(self, split: SplitName) -> Inputs:
        """Inputs of one split; for train with augmented views as the recipe says."""
        case = self._case
        augmentation = None
        views = 1
        if split == "train" and "augmentation" in case.spec.parts:
            augmentation = case.spec.parts["augmentation"].build(image_size=case.spec.image.size)
            views = case.recipe.views
        # A pool of views belongs to the data, so that seeds share it; fresh views belong to the seed.
        seed = 0 if views else case.seed
        reader = Reader(case.dataset.split(split), case.spec.image, augmentation, seed, case.recipe.workers)
        stored: list[np.ndarray] = []
        if views and self._fits(split, len(reader.split), views):
            stored = [
                self._stored(split, reader, view, augmented=augmentation is not None) for view in range(views)
            ]
        return Inputs(reader, self._model, self._fabric, stored, views)

    def _fits(self, split: str, count: int, views: int) -> bool:
        side = self._case.spec.image.size
        pixels = 3 * side * side
        features = 0
        if self._model.has_prefix:
            sample = torch.zeros((1, 3, side, side), dtype=torch.uint8)
            features = 4 * _encode(self._model, sample, self._fabric).numel()
        need = count * views * (pixels + features)
        limit = cache_limit(self._root)
        if need <= limit:
            return True
        self.notes.append(
            f"{split}: inputs are not cached, {need / 1e6:,.0f} MB would be needed and {limit / 1e6:,.0f} MB "
            "may be used (MLBENCH_CACHE_LIMIT, or MLBENCH_CACHE on a larger disk)"
        )
        return False

    def _stored(self, split: SplitName, reader: Reader, view: int, *, augmented: bool) -> np.ndarray:
        parts = self._case.spec.parts
        pixel_key = [
            describe(parts["dataset"]),
            self._case.dataset.version,
            split,
            self._case.spec.image.model_dump(),
            [describe(parts["augmentation"]), view] if augmented else [],
            library_versions(),
        ]
        count = len(reader.split)

        def pixels() -> Iterator[np.ndarray]:
            for batch in reader.batches(batched(count, ENCODE_BATCH), view):
                yield batch.numpy()

        pixel_path = self._path("pixels", pixel_key)
        if not self._model.has_prefix:
            return self._array(pixel_path, count, pixels, f"reading {split} images")

        feature_key = [
            pixel_key,
            describe(parts["backbone"]),
            self._frozen_hash(),
            self._fabric.device.type,
            self._case.spec.precision,
        ]
        feature_path = self._path("features", feature_key)
        if not feature_path.exists():
            images = self._array(pixel_path, count, pixels, f"reading {split} images")

            def features() -> Iterator[np.ndarray]:
                for rows in batched(count, ENCODE_BATCH):
                    batch = torch.from_numpy(np.array(images[rows.start : rows.stop]))
                    yield _encode(self._model, batch, self._fabric).contiguous().cpu().numpy()

            return self._array(feature_path, count, features, f"frozen prefix over {split} images")
        return _load(feature_path)

    def _frozen_hash(self) -> str:
        if not self._prefix_hash:
            self._prefix_hash = state_hash(self._model.backbone.frozen.state_dict().values())
        return self._prefix_hash

    def _path(self, folder: str, key: Any) -> Path:
        name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
        return self._root / folder / f"{name}.npy"

    def _array(
        self, path: Path, count: int, make: Callable[[], Iterator[np.ndarray]], what: str
    ) -> np.ndarray:
        if not path.exists():
            _write(path, count, make(), lambda done: self._progress(what, done, count))
        return _load(path)


def _encode(model: EmbeddingModel, images: torch.Tensor, fabric: Fabric) -> torch.Tensor:
    """Inputs of the trained part: images as they are, or the frozen prefix's output in float32."""
    images = images.to(fabric.device)
    if not model.has_prefix:
        return images
    with fabric.autocast():
        return model.encode(images).float()


def cache_limit(root: Path) -> int:
    """Bytes that one split may take in the cache: MLBENCH_CACHE_LIMIT (such as "20G"), else half of what
    is free on its disk and at most 50 GB."""
    text = os.environ.get("MLBENCH_CACHE_LIMIT", "")
    if text:
        units = {"K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
        try:
            return int(float(text.rstrip("KMGTB")) * units.get(text.rstrip("B")[-1:], 1))
        except ValueError:
            raise MlbenchError(f"MLBENCH_CACHE_LIMIT={text!r} is not a size; expected such as 20G") from None
    folder = root
    while not folder.exists():
        folder = folder.parent
    return min(shutil.disk_usage(folder).free // 2, 50 * 10**9)


def _load(path: Path) -> np.ndarray:
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: cannot be read ({error}); delete it, it will be made again") from None
    return array


def _write(path: Path, count: int, chunks: Iterator[np.ndarray], advance: Callable[[int], None]) -> None:
    """Write an array chunk by chunk; the file appears under its name when it is whole.

    Plain writes rather than a writable memory map: on a full disk a map ends the process with a signal,
    a write ends with an error that can be told.
    """
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(path.parent)
        done = 0
        with temporary.open("wb") as file:
            for chunk in chunks:
                if done == 0:
                    header = {
                        "descr": chunk.dtype.str,
                        "fortran_order": False,
                        "shape": (count, *chunk.shape[1:]),
                    }
                    np.lib.format.write_array_header_1_0(file, header)
                file.write(np.ascontiguousarray(chunk).data)
                done += len(chunk)
                advance(done)
        os.replace(temporary, path)
    except OSError as error:
        raise StoreError(
            f"{path}: cannot be written ({error.strerror}); free space, or set MLBENCH_CACHE to another "
            "folder"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _remove_stale(folder: Path) -> None:
    """Remove half-written files of processes that are no more."""
    for file in folder.glob("*.tmp"):
        owner = file.suffixes[-2].lstrip(".")
        try:
            os.kill(int(owner), 0)
        except (ProcessLookupError, ValueError):
            file.unlink(missing_ok=True)
        except OSError:
            continue
