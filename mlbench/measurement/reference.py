"""The reference workload: a fixed amount of work, to tell a slow machine from a slow model.

It depends on no model, no data and no library but torch. Its seconds are compared across runs, machines and
versions of mlbench: whoever changes anything here must count `VERSION` up, and breaks every comparison with
older runs.
"""

from __future__ import annotations

import time

import torch
from torch.nn.functional import conv2d, hardswish

from mlbench.seeding import matmul_precision

__all__ = ["VERSION", "Reference", "synchronize"]

#: Version of the work that is done. Seconds of different versions have nothing to say to each other.
VERSION = 4

#: Images, by the type of the device: as many as keep it busy for longer than it takes to ask it.
_IMAGES = {"cpu": 8}
_IMAGES_ELSEWHERE = 256

_IMAGE_SIZE = 96

#: Convolutions: channels, kernel size, stride; and whether they are depthwise. An activation follows each.
_LAYERS = (
    (32, 3, 2, False),
    (32, 3, 1, True),
    (32, 1, 1, False),
    (32, 3, 2, True),
    (64, 1, 1, False),
    (64, 3, 1, False),
    (64, 3, 1, False),
    (64, 3, 2, True),
    (128, 1, 1, False),
    (128, 3, 1, True),
    (128, 1, 1, False),
    (128, 3, 2, True),
    (256, 1, 1, False),
)

#: How often the work is done for one reading of the clock, and readings before the first that counts.
_REPEATS, _WARMUP = 3, 3


class Reference:
    """A small convolutional network in float32, with random weights on random images, whatever precision the
    case beside it has.

    Half of its time goes to dense convolutions, which wait for a core, and half to others and to activations,
    which wait for memory. On the CPU its largest maps (2.4 MB) have no room in a core's own cache and fit
    into the one that cores share, as those of most models do: that is what a machine's other users take away.
    Work that never leaves a core's cache notices too little of them, and work that always goes to memory too
    much.
    """

    def __init__(self, device: torch.device) -> None:
        generator = torch.Generator().manual_seed(0)
        self._device = device

        def normal(*shape: int) -> torch.Tensor:
            numbers = torch.randn(shape, generator=generator)
            return numbers.to(device, memory_format=torch.channels_last)

        count = _IMAGES.get(device.type, _IMAGES_ELSEWHERE)
        self._images = normal(count, 3, _IMAGE_SIZE, _IMAGE_SIZE)
        self._layers = []
        before = 3
        for channels, kernel, stride, depthwise in _LAYERS:
            inputs = 1 if depthwise else before
            # Weights that keep the numbers of a common size: tiny ones would be computed more slowly.
            weight = normal(channels, inputs, kernel, kernel) * (2 / (inputs * kernel**2)) ** 0.5
            self._layers.append((weight, stride, channels if depthwise else 1))
            before = channels
        for _ in range(_WARMUP):
            self.seconds()

    def seconds(self) -> float:
        """Seconds that the work takes now."""
        with torch.inference_mode(), matmul_precision("highest"):
            synchronize(self._device)
            start = time.perf_counter()
            for _ in range(_REPEATS):
                self.work()
            synchronize(self._device)
            return time.perf_counter() - start

    def work(self) -> torch.Tensor:
        """The work, once. Returns the last maps."""
        maps = self._images
        for weight, stride, groups in self._layers:
            padding = weight.shape[-1] // 2
            maps = hardswish(conv2d(maps, weight, stride=stride, padding=padding, groups=groups))
        return maps


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all it was told."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
