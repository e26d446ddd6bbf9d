"""The augmentation that photographs a flat image."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from mlbench.plugin import AugmentationOptions

if TYPE_CHECKING:
    from mlbench.plugin import Augmentation

__all__ = ["Camera"]


class Camera(AugmentationOptions):
    """Photographs the image as a flat sheet, for scans, labels and graphics that users photograph."""

    strength: Annotated[float, Field(ge=0, le=4)] = 1.0
    """Strength of all effects: 0 only makes the image square, 1 is an ordinary snapshot, above 1 a careless
    one."""

    def build(self, image_size: int) -> Augmentation:
        from mlbench_datasets.camera import photograph

        return partial(photograph, size=image_size, strength=self.strength)
