"""The procedures A1, A2 and A3 of "ResNet strikes back" (Wightman et al., arXiv:2110.00476)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from mlbench.plugin import Recipe

__all__ = ["A1", "A2", "A3"]


class _Procedure(Recipe):
    """Procedure of "ResNet strikes back" (arXiv:2110.00476).

    The warm-up is 5 of the published epochs; with other epochs it keeps its share of all steps. The procedure
    clips no gradients, so clip_norm is 0; but timm's LAMB, with which it was published, limits the norm of
    the gradient to 1 by itself (optimizer_options: {max_grad_norm: null} lifts that). The paper does not
    state the last learning rate; 1e-6 is what reproductions use. Nothing is selected: the last weights are
    kept.

    Image sizes, augmentation, mixing, repeated augmentation, the binary cross entropy and stochastic depth
    are settings of other sections, which apply where the suite does not say otherwise. A mixed image counts
    as one of both classes, as in the paper: targets above 0.2 become 1, the threshold of reproductions with
    timm. Label smoothing has almost no effect on such targets; under loss.target_threshold: null they are the
    shares."""

    epochs: int
    batch_size: int = 2048
    optimizer: str = "lamb"
    schedule: Literal["cosine", "linear", "step", "constant"] = "cosine"
    min_lr: float = 1e-6
    clip_norm: float = 0.0
    select: Literal["best", "last"] = "last"

    train_size: ClassVar[int] = 224
    magnitude: ClassVar[int] = 7
    mixup_alpha: ClassVar[float] = 0.1
    smoothing: ClassVar[float] = 0.0
    drop_path: ClassVar[float] = 0.05
    repeats: ClassVar[int] = 3

    @classmethod
    def settings(cls) -> Mapping[str, Any]:
        sampler = {"name": "repeated", "repeats": cls.repeats} if cls.repeats > 1 else {"name": "shuffle"}
        return {
            "image": {"size": 224, "train_size": cls.train_size, "crop_ratio": 0.95, "resize": "crop"},
            "augmentation": {
                "name": "crop_randaugment",
                "scale": [0.08, 1.0],
                "flip": 0.5,
                "magnitude": cls.magnitude,
                "magnitude_std": 0.5,
                "layers": 2,
                "increasing": True,
            },
            "mixing": {"name": "mixup_cutmix", "mixup_alpha": cls.mixup_alpha, "cutmix_alpha": 1.0},
            "batch_sampler": sampler,
            "loss": {"name": "bce", "smoothing": cls.smoothing, "target_threshold": 0.2},
            "backbone": {"drop_path": cls.drop_path},
        }


class A1(_Procedure):
    epochs: int = 600
    lr: float = 5e-3
    weight_decay: float = 0.01
    warmup: float = 5 / 600

    mixup_alpha: ClassVar[float] = 0.2
    smoothing: ClassVar[float] = 0.1


class A2(_Procedure):
    epochs: int = 300
    lr: float = 5e-3
    weight_decay: float = 0.02
    warmup: float = 5 / 300


class A3(_Procedure):
    epochs: int = 100
    lr: float = 8e-3
    weight_decay: float = 0.02
    warmup: float = 5 / 100

    train_size: ClassVar[int] = 160
    magnitude: ClassVar[int] = 6
    drop_path: ClassVar[float] = 0.0
    repeats: ClassVar[int] = 1
