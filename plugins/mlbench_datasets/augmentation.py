"""Random changes to a training image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from mlbench_datasets.camera import photograph

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

__all__ = ["Camera", "camera"]


@dataclass(frozen=True, slots=True)
class Camera:
    """Photographs the image as a flat sheet: see `mlbench_datasets.camera.photograph`.

    At strength 0 the image is only made square.
    """

    image_size: int
    strength: float

    def __call__(self, image: Image.Image, generator: np.random.Generator) -> Image.Image:
        return photograph(image, generator, size=self.image_size, strength=self.strength)


def camera(image_size: int, *, strength: Annotated[float, Field(ge=0, le=4)] = 1.0) -> Camera:
    """Photographs of flat images: for scans, labels and graphics that will be met as snapshots.

    Options
    -------
    strength: how far everything goes: 0 not at all, 1 an ordinary snapshot, above 1 a careless one.
    """
    return Camera(image_size, strength)
