"""The training schedules of three published studies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from mlbench.plugin import Recipe

__all__ = ["Cifar", "DocClassifier", "Triplet"]

_Schedule = Literal["cosine", "linear", "step", "constant"]


class DocClassifier(Recipe):
    """The schedule of DocClassifier (https://github.com/DocsaidLab/DocClassifier): 100,000 steps of 512
    images.

    An epoch there is 5,000 steps of images drawn with replacement, and training takes 20 epochs. The matching
    batch sampler, the study's augmentation and its float32 products of medium precision apply where the suite
    does not say otherwise. Under batch_sampler: shuffle, 51,200,000 / N epochs of N images are the same
    number of steps. Warm-up and decay are shares of all steps. Betas are AdamW's usual 0.9 and 0.999. The
    study chose its checkpoint on the test data; here the calibration split chooses."""

    epochs: int = 20
    batch_size: int = 512

    @classmethod
    def settings(cls) -> Mapping[str, Any]:
        return {
            "augmentation": {"name": "document"},
            "batch_sampler": {"name": "uniform", "steps": 5000},
            "compute": {"matmul_precision": "medium"},
        }


class Triplet(Recipe):
    """Fine-tuning with triplets until 20 evaluations bring no better score, as a study of label images did.

    The study states the patience, and 4,000 mined triplets an epoch, at most 5 of an anchor; the batch
    sampler that mines them applies where the suite does not name another. Its durations (110 s an epoch, just
    under 1 s a step) fit 32 triplets in a step, which are 96 images. The study does not state the rest: Adam
    at a constant 1e-4 without decay or warm-up is from the Keras example of triplet learning, whose layer
    names the study uses. It states no last epoch either; training reaches 100 only where the score still
    improves."""

    epochs: int = 100
    batch_size: int = 96
    optimizer: str = "adam"
    lr: float = 1e-4
    weight_decay: float = 0.0
    schedule: _Schedule = "constant"
    warmup: float = 0.0
    clip_norm: float = 0.0
    patience: int = 20

    @classmethod
    def settings(cls) -> Mapping[str, Any]:
        return {"batch_sampler": {"name": "hard_triplets", "triplets": 4000, "per_anchor": 5}}


class Cifar(Recipe):
    """The usual schedule of residual networks on CIFAR: 160 epochs, a rate of 0.1 cut tenfold at 80 and at
    120.

    The study states epochs, rates and weight decay. It does not state the rest: momentum 0.9 without Nesterov
    and batches of 128 are from the paper on residual networks (arXiv:1512.03385). Biases and norms are not
    decayed, as in every recipe of mlbench. The last weights are kept, as in the study. Images of 32 pixels,
    cropped after padding by 4 and flipped, apply where the suite does not say otherwise."""

    epochs: int = 160
    batch_size: int = 128
    optimizer: str = "momentum"
    lr: float = 0.1
    weight_decay: float = 1e-4
    momentum: float | None = 0.9
    schedule: _Schedule = "step"
    milestones: tuple[float, ...] = (0.5, 0.75)
    decay_rate: float = 0.1
    warmup: float = 0.0
    clip_norm: float = 0.0
    select: Literal["best", "last"] = "last"

    @classmethod
    def settings(cls) -> Mapping[str, Any]:
        return {"image": {"size": 32}, "augmentation": {"name": "flip_crop", "pad": 4, "flip": 0.5}}
