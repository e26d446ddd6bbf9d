"""The procedures A1, A2 and A3 of "ResNet strikes back" (Wightman et al., arXiv:2110.00476)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlbench.contracts import Recipe
from mlbench_recipes.preset import preset

__all__ = ["a1", "a2", "a3", "sections"]

_TEXT = """
    Procedure {name} of "ResNet strikes back" (arXiv:2110.00476), {epochs} epochs.

    The warm-up is {warmup_epochs} of these epochs; change epochs, and it keeps its share of all steps. The
    procedure clips no gradients, so clip_norm is 0; but timm's LAMB, with which it was published, limits the
    norm of the gradient to 1 by itself (optimizer_options: {{max_grad_norm: null}} lifts that). The table
    does not say where the rate ends; 1e-6 is what reproductions take. Nothing is selected: the last weights
    are kept.

    What is no part of a recipe comes along as settings of other sections, where a suite does not say
    otherwise: image sizes, augmentation, mixing, repeated augmentation, the binary cross entropy, stochastic
    depth. A mixed image counts as one of both classes, as the paper puts it: targets above 0.2 become 1, the
    threshold of reproductions with timm. Label smoothing hardly shows in such targets; under
    loss.target_threshold: null they are the shares.
"""
_WARMUP_EPOCHS = 5


def _procedure(name: str, *, epochs: int, lr: float, weight_decay: float) -> Callable[..., Recipe]:
    return preset(
        name,
        _TEXT.format(name=name.upper(), epochs=epochs, warmup_epochs=_WARMUP_EPOCHS),
        epochs=epochs,
        batch_size=2048,
        optimizer="lamb",
        lr=lr,
        weight_decay=weight_decay,
        schedule="cosine",
        min_lr=1e-6,
        warmup=_WARMUP_EPOCHS / epochs,
        clip_norm=0.0,
        select="last",
    )


a1 = _procedure("a1", epochs=600, lr=5e-3, weight_decay=0.01)
a2 = _procedure("a2", epochs=300, lr=5e-3, weight_decay=0.02)
a3 = _procedure("a3", epochs=100, lr=8e-3, weight_decay=0.02)


def sections(
    *, train_size: int, magnitude: int, mixup_alpha: float, smoothing: float, drop_path: float, repeats: int
) -> dict[str, Any]:
    """What a procedure sets beside its recipe."""
    sampler = {"name": "repeated", "repeats": repeats} if repeats > 1 else {"name": "shuffle"}
    return {
        "image": {"size": 224, "train_size": train_size, "crop_ratio": 0.95, "resize": "crop"},
        "augmentation": {
            "name": "crop_randaugment",
            "scale": [0.08, 1.0],
            "flip": 0.5,
            "magnitude": magnitude,
            "magnitude_std": 0.5,
            "layers": 2,
            "increasing": True,
        },
        "mixing": {"name": "mixup_cutmix", "mixup_alpha": mixup_alpha, "cutmix_alpha": 1.0},
        "batch_sampler": sampler,
        "loss": {"name": "bce", "smoothing": smoothing, "target_threshold": 0.2},
        "backbone": {"drop_path": drop_path},
    }
