"""Mixes of the images of a batch: mixup and CutMix.

Every image is mixed with the one at its place in the reversed batch, as timm does it; in a batch of odd
size the middle one is its own partner. One draw holds for the whole batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from mlbench.contracts import Mixed

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["MixupCutMix", "cutmix", "mixup", "mixup_cutmix"]

_Probability = Annotated[float, Field(ge=0, le=1)]
_Alpha = Annotated[float, Field(gt=0)]


@dataclass(frozen=True, slots=True)
class MixupCutMix:
    """Mixup (Zhang et al., arXiv:1710.09412) or CutMix (Yun et al., arXiv:1905.04899), batch by batch.

    mixup_alpha, cutmix_alpha: of the beta distribution of the share, > 0. probability: of a batch to be
    mixed. cutmix_probability: of a mixed batch to be mixed by CutMix.
    """

    mixup_alpha: float
    cutmix_alpha: float
    probability: float
    cutmix_probability: float

    def __call__(self, images: torch.Tensor, generator: np.random.Generator) -> Mixed | None:
        """images: (N, 3, S, S) uint8 on any device."""
        import torch

        mix, cut = generator.random(2) < (self.probability, self.cutmix_probability)
        if not mix:
            return None
        alpha = self.cutmix_alpha if cut else self.mixup_alpha
        share = float(generator.beta(alpha, alpha))
        mixed_images = images.to(torch.float32, copy=True)
        if cut:
            box, share = _box(images.shape, share, generator)
            mixed_images[box] = images[box].flip(0).to(torch.float32)
        else:
            mixed_images.mul_(share).add_(images.flip(0).to(torch.float32).mul_(1 - share))
        return Mixed(mixed_images, torch.arange(len(images) - 1, -1, -1), share)


def _box(shape: torch.Size, share: float, generator: np.random.Generator) -> tuple[tuple[slice, ...], float]:
    """A random box that leaves an image its `share`, and the share that it really leaves: a box may reach
    over the edge, and is counted in whole pixels."""
    from timm.data.mixup import cutmix_bbox_and_lam

    from mlbench_augmentations.randomness import global_generators

    with global_generators(generator):
        (top, bottom, left, right), left_over = cutmix_bbox_and_lam(shape, share)
    rows, columns = slice(int(top), int(bottom)), slice(int(left), int(right))
    return (slice(None), slice(None), rows, columns), float(left_over)


def mixup(*, alpha: _Alpha = 1.0, probability: _Probability = 1.0) -> MixupCutMix:
    """Mixup (arXiv:1710.09412): the mean of two images, weighted by a share that is drawn for every batch.

    Options
    -------
    alpha: of the beta distribution of the share; small values leave most images nearly as they are.
    probability: of a batch to be mixed.
    """
    return MixupCutMix(alpha, alpha, probability, cutmix_probability=0.0)


def cutmix(*, alpha: _Alpha = 1.0, probability: _Probability = 1.0) -> MixupCutMix:
    """CutMix (arXiv:1905.04899): a box of another image, whose area a share decides, drawn for every batch.

    Options
    -------
    alpha: of the beta distribution of the share; 1 makes all areas equally likely.
    probability: of a batch to be mixed.
    """
    return MixupCutMix(alpha, alpha, probability, cutmix_probability=1.0)


def mixup_cutmix(
    *,
    mixup_alpha: _Alpha = 0.1,
    cutmix_alpha: _Alpha = 1.0,
    probability: _Probability = 1.0,
    cutmix_probability: _Probability = 0.5,
) -> MixupCutMix:
    """Mixup or CutMix, drawn for every batch, as in "ResNet strikes back" (arXiv:2110.00476).

    Options
    -------
    mixup_alpha: of the beta distribution of mixup's share.
    cutmix_alpha: of the beta distribution of CutMix's share.
    probability: of a batch to be mixed.
    cutmix_probability: of a mixed batch to be mixed by CutMix.
    """
    return MixupCutMix(mixup_alpha, cutmix_alpha, probability, cutmix_probability)
