"""Mixing of the images of a batch: mixup and CutMix.

Every image is mixed with the image at the same position of the reversed batch, as in timm; in a batch of odd
size the middle image is its own partner. One draw holds for the whole batch.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from mlbench.plugin import Mixed, MixingOptions

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["CutMix", "Mixup", "MixupCutMix"]

_Probability = Annotated[float, Field(ge=0, le=1)]
_Alpha = Annotated[float, Field(gt=0)]


class _Mixing(MixingOptions):
    """Mixup (Zhang et al., arXiv:1710.09412) or CutMix (Yun et al., arXiv:1905.04899), batch by batch."""

    probability: _Probability = 1.0
    """Probability that a batch is mixed."""

    @abstractmethod
    def alphas(self) -> tuple[float, float]:
        """Parameters of the beta distribution of the share, of mixup and of CutMix."""

    @abstractmethod
    def cutmix_share(self) -> float:
        """Probability that a mixed batch is mixed by CutMix."""

    def build(self) -> _Mixing:
        return self

    def __call__(self, images: torch.Tensor, generator: np.random.Generator) -> Mixed | None:
        """images: (N, 3, S, S) uint8 on any device."""
        import torch

        mix, cut = generator.random(2) < (self.probability, self.cutmix_share())
        if not mix:
            return None
        alpha = self.alphas()[int(cut)]
        share = float(generator.beta(alpha, alpha))
        mixed_images = images.to(torch.float32, copy=True)
        if cut:
            box, share = _box(images.shape, share, generator)
            mixed_images[box] = images[box].flip(0).to(torch.float32)
        else:
            mixed_images.mul_(share).add_(images.flip(0).to(torch.float32).mul_(1 - share))
        return Mixed(mixed_images, torch.arange(len(images) - 1, -1, -1), share)


class Mixup(_Mixing):
    """Mixup (arXiv:1710.09412): the weighted mean of two images, with a share that is drawn for every
    batch."""

    alpha: _Alpha = 1.0
    """Parameter of the beta distribution of the share; small values leave most images nearly unchanged."""

    def alphas(self) -> tuple[float, float]:
        return self.alpha, self.alpha

    def cutmix_share(self) -> float:
        return 0.0


class CutMix(Mixup):
    """CutMix (arXiv:1905.04899): a box of another image, with an area that is drawn for every batch."""

    alpha: _Alpha = 1.0
    """Parameter of the beta distribution of the share; with 1 all areas are equally likely."""

    def cutmix_share(self) -> float:
        return 1.0


class MixupCutMix(_Mixing):
    """Mixup or CutMix, drawn for every batch, as in "ResNet strikes back" (arXiv:2110.00476)."""

    mixup_alpha: _Alpha = 0.1
    """Parameter of the beta distribution of mixup's share."""
    cutmix_alpha: _Alpha = 1.0
    """Parameter of the beta distribution of CutMix's share."""
    cutmix_probability: _Probability = 0.5
    """Probability that a mixed batch is mixed by CutMix."""

    def alphas(self) -> tuple[float, float]:
        return self.mixup_alpha, self.cutmix_alpha

    def cutmix_share(self) -> float:
        return self.cutmix_probability


def _box(shape: torch.Size, share: float, generator: np.random.Generator) -> tuple[tuple[slice, ...], float]:
    """A random box that leaves the image about its `share`, and the exact share: a box is cut off at the edge
    and has whole pixels."""
    from timm.data.mixup import cutmix_bbox_and_lam

    from mlbench_augmentations.global_generators import global_generators

    with global_generators(generator):
        (top, bottom, left, right), left_over = cutmix_bbox_and_lam(shape, share)
    rows, columns = slice(int(top), int(bottom)), slice(int(left), int(right))
    return (slice(None), slice(None), rows, columns), float(left_over)
