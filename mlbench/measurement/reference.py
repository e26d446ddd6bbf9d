"""The reference workload: a fixed amount of work, to tell a slow machine from a slow model.

It depends on no model, no data and no library but torch. Its seconds are compared across runs, machines and
versions of mlbench: whoever changes anything here must count `VERSION` up, and breaks every comparison with
older runs.
"""

from __future__ import annotations

import time

import torch
from torch.nn.functional import conv2d

from mlbench.seeding import matmul_precision

__all__ = ["VERSION", "Reference"]

#: Version of the work that is done. Seconds of different versions have nothing to say to each other.
VERSION = 2

#: Images, by the type of the device: as many as keep it busy for longer than it takes to ask it.
_IMAGES = {"cpu": 2}
_IMAGES_ELSEWHERE = 64

#: How often the work is done for one reading of the clock, and for the first idea of how long it takes.
_REPEATS, _FIRST = 3, 3


class Reference:
    """A dense convolution, a depthwise one and a matrix product in float32, as models are made of.

    Each takes about a third of the time, and works on more numbers than a core has in a cache of its own:
    what cores take from each other on a busy machine is mostly the way to memory, which a product of small
    matrices would never notice.
    """

    def __init__(self, device: torch.device) -> None:
        generator = torch.Generator().manual_seed(0)
        self._device = device
        count = _IMAGES.get(device.type, _IMAGES_ELSEWHERE)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=generator).to(device)

        self._images, self._dense = normal(count, 64, 56, 56), normal(64, 64, 3, 3)
        self._maps = normal(16 * count, 64, 48, 48).contiguous(memory_format=torch.channels_last)
        self._depthwise = normal(64, 1, 3, 3)
        self._rows, self._weights = normal(384 * count, 192), normal(192, 768)
        self.fastest = float("inf")
        for _ in range(_FIRST):
            self.seconds()

    def seconds(self) -> float:
        """Seconds that the work takes now. `fastest` is the least that this gave so far."""
        with torch.inference_mode(), matmul_precision("highest"):
            synchronize(self._device)
            start = time.perf_counter()
            for _ in range(_REPEATS):
                conv2d(self._images, self._dense, padding=1)
                conv2d(self._maps, self._depthwise, padding=1, groups=64)
                self._rows @ self._weights
            synchronize(self._device)
            seconds = time.perf_counter() - start
        self.fastest = min(self.fastest, seconds)
        return seconds


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all it was told."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
