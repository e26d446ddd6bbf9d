"""The reference workload: a fixed amount of work that tells a slow machine from a slow model.

It depends on no model, no data and no library but torch. Its seconds are compared across runs, machines and
versions of mlbench: any change here needs a new `VERSION`, and makes older runs incomparable.
"""

from __future__ import annotations

import time

import torch
from torch.nn.functional import conv2d, hardswish

from mlbench.seeding import matmul_precision

__all__ = ["VERSION", "Reference", "synchronize"]

#: Version of the workload. Seconds of different versions cannot be compared.
VERSION = 4

#: Images of a batch, by device type: enough that computing takes longer than launching the kernels.
_IMAGES = {"cpu": 8}
_IMAGES_ELSEWHERE = 256

_IMAGE_SIZE = 96

#: Convolutions: channels, kernel size, stride, depthwise. An activation follows each.
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

#: Repeats per timing, and timings that warm up.
_REPEATS, _WARMUP = 3, 3


class Reference:
    """A small convolutional network with random weights on random images, in float32 for every case.

    Half of its time goes to dense convolutions, which are bound by compute, and half to depthwise and 1x1
    convolutions and activations, which are bound by memory. On the CPU its largest maps (2.4 MB) exceed a
    core's own cache and fit into the cache that the cores share, like those of most models; other processes
    on the machine take part of that cache. A workload within a core's cache would show too little of their
    load, and one in main memory too much.
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
            # This scale keeps activations near 1: subnormal numbers would be slower.
            weight = normal(channels, inputs, kernel, kernel) * (2 / (inputs * kernel**2)) ** 0.5
            self._layers.append((weight, stride, channels if depthwise else 1))
            before = channels
        for _ in range(_WARMUP):
            self.seconds()

    def seconds(self) -> float:
        """Seconds of the workload now."""
        with torch.inference_mode(), matmul_precision("highest"):
            synchronize(self._device)
            start = time.perf_counter()
            for _ in range(_REPEATS):
                self.work()
            synchronize(self._device)
            return time.perf_counter() - start

    def work(self) -> torch.Tensor:
        """Run the workload once and return the last maps."""
        maps = self._images
        for weight, stride, groups in self._layers:
            padding = weight.shape[-1] // 2
            maps = hardswish(conv2d(maps, weight, stride=stride, padding=padding, groups=groups))
        return maps


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished all queued work."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
