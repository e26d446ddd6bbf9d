"""Inputs of the trained part of a network: images, or the output of its frozen prefix, batch by batch."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from lightning_fabric import Fabric
from torch.nn.functional import pad

from mlbench.contracts import GroupedSplit, SplitName
from mlbench.planning.plan import labels_of
from mlbench.planning.spec import ImageSettings, Part
from mlbench.training.device_inputs import copied_ahead, resident, resident_batches
from mlbench.training.image_reader import ImageReader, ImageView
from mlbench.training.model import Encoder

__all__ = ["ENCODE_BATCH", "InputSource", "InputSpec", "Inputs", "SplitInputs", "encode"]

#: Images in a run of the frozen prefix. It is constant, as the number can change the last bits of the output.
ENCODE_BATCH = 64


@dataclass(frozen=True)
class InputSpec:
    """Which inputs of a split are wanted.

    views: augmented views of each image, 0 for a new one every time. raw: images, even where the network has
    a frozen prefix.
    """

    image: ImageSettings
    augmentation: Part | None = None
    views: int = 1
    raw: bool = False


class Inputs(Protocol):
    """Inputs of a network by index of the image. waited: seconds spent waiting for them to be read."""

    waited: float

    @property
    def labels(self) -> np.ndarray:
        """Labels of the images: (N,) int64."""
        ...

    def batches(
        self, order: Iterable[Sequence[int]], epoch: int = 0, start: int = 0
    ) -> Iterator[torch.Tensor]:
        """Inputs on the device, one batch for each list of indices, without the first `start` lists."""
        ...


class InputSource(Protocol):
    """Makes the inputs of one network."""

    def get(self, split: SplitName, spec: InputSpec) -> Inputs: ...


class SplitInputs:
    """Inputs of one split, from cached arrays (one for each view) or read anew where there are none."""

    def __init__(
        self,
        reader: ImageReader,
        network: Encoder,
        fabric: Fabric,
        cached: Sequence[np.ndarray],
        spec: InputSpec,
    ) -> None:
        self.split = reader.split
        self.waited = 0.0
        self._reader = reader
        self._network = network
        self._fabric = fabric
        self._cached = cached
        self._spec = spec

    @property
    def cached(self) -> bool:
        """Whether the inputs are stored in the cache."""
        return bool(self._cached)

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
        """Groups of the images (see `GroupedSplit`): (N,) int64, None for a split without groups."""
        return self.split.groups if isinstance(self.split, GroupedSplit) else None

    def batches(
        self, order: Iterable[Sequence[int]], epoch: int = 0, start: int = 0
    ) -> Iterator[torch.Tensor]:
        """Inputs on the device, one batch for each list of indices, without the first `start` lists."""
        plan = self._plan(order, epoch)[start:]
        if self._resident is not None:
            images = len(self.split)
            yield from resident_batches(
                self._resident, [[each.view * images + each.image for each in batch] for batch in plan]
            )
            return
        read = self._from_cache(plan) if self._cached else self._reader.batches(plan)
        if self._fabric.device.type == "cuda":
            read = copied_ahead(read, self._fabric.device)
        while True:
            before = time.perf_counter()
            batch = next(read, None)
            self.waited += time.perf_counter() - before
            if batch is None:
                return
            yield batch if self._cached or self._spec.raw else encode(self._network, batch, self._fabric)

    def _plan(self, order: Iterable[Sequence[int]], epoch: int) -> list[list[ImageView]]:
        """Views to read. A fixed number of views is shown in turn by epoch; without one every view is new.

        An image that is repeated within the epoch shows its next view.
        """
        views = self._spec.views
        if views == 1:
            return [[ImageView(index) for index in indices] for indices in order]
        seen: Counter[int] = Counter()
        plan = []
        for indices in order:
            batch = []
            for index in indices:
                copy = seen[index]
                batch.append(
                    ImageView(index, (epoch + copy) % views) if views else ImageView(index, epoch, copy)
                )
                seen[index] += 1
            plan.append(batch)
        return plan

    def _from_cache(self, plan: Iterable[Sequence[ImageView]]) -> Iterator[torch.Tensor]:
        for batch in plan:
            views = {each.view for each in batch}
            images = [each.image for each in batch]
            first, last = images[0], images[0] + len(images)
            if len(views) > 1:
                rows = np.stack([self._cached[each.view][each.image] for each in batch])
            elif images == list(range(first, last)):
                rows = np.array(self._cached[views.pop()][first:last])
            else:
                rows = np.take(self._cached[views.pop()], images, axis=0)
            yield torch.from_numpy(rows)

    @cached_property
    def _resident(self) -> torch.Tensor | None:
        """All cached inputs on the GPU, view after view, where they fit."""
        return resident(self._cached, self._fabric.device)


def encode(network: Encoder, images: torch.Tensor, fabric: Fabric) -> torch.Tensor:
    """Inputs of the trained part: the frozen prefix's output in float32, or the images without a prefix.

    images: (N, 3, S, S) uint8 on the device. The prefix takes runs of `ENCODE_BATCH`, the last one padded, so
    that the output for an image does not depend on the number of images.
    """
    if not network.has_prefix:
        return images
    outputs = []
    for run in torch.split(images, ENCODE_BATCH):
        padded = pad(run, (0, 0, 0, 0, 0, 0, 0, ENCODE_BATCH - len(run)))
        with fabric.autocast():
            outputs.append(network.encode(padded)[: len(run)].float())
    return torch.cat(outputs)
