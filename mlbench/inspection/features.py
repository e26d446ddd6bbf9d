"""Features of images by a pretrained network, and small grey copies, for near duplicates."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn.functional import normalize

from mlbench.inspection.scan import Squares
from mlbench.registry import Registry

__all__ = ["MODEL", "SIDE", "Features"]

#: Pooled features of ImageNet weights that come with mlbench.
MODEL = {"model": "tf_efficientnet_lite0", "weights": "bundled", "output": "pooled", "trainable_from": "none"}

#: Pixels of the square images.
SIDE = 128


_LUMA = np.array([0.299, 0.587, 0.114], np.float32)

#: Pixels of a side of a thumbnail.
_THUMBNAIL = 32


class Features:
    """Features of unit length, computed batch by batch; as float16 they take 2.5 kB for each image.

    vectors: (N, 1280) float16. thumbnails: (N, 1024) uint8, grey levels of 32x32 pixels.

    registry: of the components, of which the backbone timm is used. total: number of images.
    """

    def __init__(self, registry: Registry, total: int, device: str = "cpu") -> None:
        self._device = torch.device(device)
        backbone: Any = registry.get("backbone", "timm").make(dict(MODEL)).build(SIDE)
        self._network = backbone.to(self._device, memory_format=torch.channels_last).eval()
        shape = (1, 3, 1, 1)
        self._mean = torch.tensor(backbone.mean, device=self._device).view(shape) * 255
        self._std = torch.tensor(backbone.std, device=self._device).view(shape) * 255
        self.vectors = np.zeros((total, backbone.feature_shape.channels), np.float16)
        self.thumbnails = np.zeros((total, _THUMBNAIL**2), np.uint8)

    def take(self, squares: Squares) -> None:
        """Compute the features of some images; those of images that are never taken stay 0."""
        pixels = torch.from_numpy(squares.pixels).permute(0, 3, 1, 2).to(self._device)
        with torch.inference_mode():
            inputs = pixels.float().sub_(self._mean).div_(self._std)
            vectors = normalize(self._network(inputs).flatten(1))
        self.vectors[squares.positions] = vectors.cpu().numpy()
        grey = squares.pixels @ _LUMA
        cells = grey.reshape(len(grey), _THUMBNAIL, SIDE // _THUMBNAIL, _THUMBNAIL, SIDE // _THUMBNAIL)
        self.thumbnails[squares.positions] = cells.mean((2, 4)).reshape(len(grey), -1)
