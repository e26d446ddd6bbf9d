"""Checks of an assembled case before it is trained: the model embeds two images, the losses give logits."""

from __future__ import annotations

from typing import Any

import torch

from mlbench.contracts import Features, TokensShape
from mlbench.planning.plan import Case
from mlbench.planning.spec import Part
from mlbench.seeding import torch_seed
from mlbench.training.assembly import Assembly
from mlbench.training.contract_checks import check_logits, shown
from mlbench.training.objective import Objective

__all__ = ["check_losses", "check_model"]

#: Images that a model is tried on: with one, a mean over the batch would go unseen.
_IMAGES = 2


def check_model(assembly: Assembly) -> None:
    """Embed images, and check the shapes of features and embeddings."""
    case, model = assembly.case, assembly.model
    side, device = case.spec.image.size, assembly.fabric.device
    images = torch.zeros((_IMAGES, 3, side, side), dtype=torch.uint8, device=device)
    backbone, neck = case.spec.parts["backbone"], case.spec.parts["neck"]
    network: Any = model.neck

    def check_features(_: Any, given: tuple[Any, ...]) -> None:
        shape: Features = model.backbone.feature_shape
        each: tuple[int, ...] = (shape.channels, shape.height, shape.width)
        if isinstance(shape, TokensShape):
            each = (shape.tokens + shape.height * shape.width, shape.channels)
        _expect_shape(backbone, given[0], each, f"its feature_shape is {shape}")

    before = network.register_forward_pre_hook(check_features)
    model.eval()
    # The case's neck is the first to see the backbone's output.
    try:
        with (
            neck.located(),
            torch_seed(case.seed, "preflight", device=device),
            torch.no_grad(),
            assembly.fabric.autocast(),
        ):
            embeddings = model(images)
    finally:
        before.remove()
    _expect_shape(neck, embeddings, (model.neck.dim,), f"its dim is {model.neck.dim}")
    model.train()


def _expect_shape(part: Part, found: Any, each: tuple[int, ...], reason: str) -> None:
    """Raise PluginError unless an output has the shape `each` for every image."""
    expected = (_IMAGES, *each)
    if not isinstance(found, torch.Tensor) or tuple(found.shape) != expected or not found.is_floating_point():
        raise part.mistake(
            f"it gave {shown(found)} for {_IMAGES} images; expected floats of shape {expected}, as {reason}"
        )


def check_losses(case: Case, objective: Objective, device: torch.device) -> None:
    """Check the shape of the logits of the losses with class centres."""
    terms: Any = objective.terms
    for term in terms:
        if term.centres is not None:
            with torch_seed(case.seed, "preflight", device=device):
                check_logits(term.part, term.loss, case.forecast.classes, device)
