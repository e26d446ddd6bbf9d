"""The reference workload: a fixed amount of work, to tell a slow machine from a slow model.

It depends on no model, no data and no library but torch. Its seconds are compared across runs, machines and
versions of mlbench: whoever changes anything here must count `VERSION` up, and breaks every comparison with
older runs.
"""

from __future__ import annotations

import time

import torch

from mlbench.seeding import matmul_precision

__all__ = ["VERSION", "Reference"]

#: Version of the work that is done. Seconds of different versions have nothing to say to each other.
VERSION = 1

#: How often the products are repeated: enough for a clock, on a processor and on what is far faster.
_REPEATS = {"cpu": 6}
_REPEATS_ELSEWHERE = 200


class Reference:
    """A convolution and a matrix product in float32, as most models are made of."""

    def __init__(self, device: torch.device) -> None:
        generator = torch.Generator().manual_seed(0)
        self._device = device
        self._repeats = _REPEATS.get(device.type, _REPEATS_ELSEWHERE)
        self._images, self._kernel, self._left, self._right = (
            torch.randn(shape, generator=generator).to(device)
            for shape in ((1, 64, 56, 56), (64, 64, 3, 3), (512, 512), (512, 512))
        )
        self.seconds()

    def seconds(self) -> float:
        """Seconds that the work takes now."""
        with torch.inference_mode(), matmul_precision("highest"):
            synchronize(self._device)
            start = time.perf_counter()
            for _ in range(self._repeats):
                torch.nn.functional.conv2d(self._images, self._kernel, padding=1)
                self._left @ self._right
            synchronize(self._device)
            return time.perf_counter() - start


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all it was told."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
