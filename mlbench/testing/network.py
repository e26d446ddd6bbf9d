"""Checks of backbones."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from mlbench.contracts import BackboneShape, FeatureShape, TokensShape
from mlbench.planning.spec import ComputeSettings
from mlbench.seeding import torch_generator, torch_seed
from mlbench.testing.check import Subject, expect
from mlbench.training.model import Teacher, state_hash

__all__ = ["CHECKS", "IMAGE_SIZE", "expect_number"]

#: Pixels of a side of the images of backbones, and the `image_size` of `build`.
IMAGE_SIZE = 32


def _backbone(subject: Subject, seed: int = 0) -> Any:
    with torch_seed(seed, "backbone"):
        return subject.build(image_size=IMAGE_SIZE)


def _images(subject: Subject, count: int = 2) -> torch.Tensor:
    side = subject.arguments.get("image_size", IMAGE_SIZE)
    return torch.rand((count, 3, side, side), generator=torch_generator(0, "images"))


def has_a_frozen_and_a_trained_part(subject: Subject) -> None:
    backbone = _backbone(subject)
    expect(isinstance(backbone, nn.Module), f"build returns {backbone!r}; return a torch.nn.Module")
    for name in ("frozen", "trained"):
        part = getattr(backbone, name, None)
        expect(
            isinstance(part, nn.Module),
            f"the backbone has no part `{name}`; set it to a torch.nn.Module (nn.Sequential() for none)",
        )
    parts = {id(p) for part in (backbone.frozen, backbone.trained) for p in part.parameters()}
    outside = [name for name, p in backbone.named_parameters() if id(p) not in parts]
    expect(
        not outside,
        f"parameters outside `frozen` and `trained`: {', '.join(outside[:3])}; move them into one of the two",
    )


def forward_is_trained_after_frozen(subject: Subject) -> None:
    backbone, images = _backbone(subject).eval(), _images(subject)
    with torch.no_grad():
        whole, parts = backbone(images), backbone.trained(backbone.frozen(images))
    expect(
        torch.isfinite(whole).all(),
        "features are not finite for images in [0, 1]; check the initialisation of the weights",
    )
    expect(
        torch.allclose(whole, parts, rtol=1e-4, atol=1e-5),
        "forward(x) differs from trained(frozen(x)); write forward as `return self.trained(self.frozen(x))`, "
        "because mlbench caches the output of frozen",
    )


def feature_shape_matches_features(subject: Subject) -> None:
    backbone = _backbone(subject).eval()
    shape = backbone.feature_shape
    expect(
        isinstance(shape, FeatureShape | TokensShape),
        f"feature_shape is {shape!r}; set it to a FeatureShape or a TokensShape",
    )
    with torch.no_grad():
        given = tuple(backbone(_images(subject)).shape)
    if isinstance(shape, TokensShape):
        wanted: tuple[int, ...] = (2, shape.tokens + shape.height * shape.width, shape.channels)
    else:
        wanted = (2, *shape)
    expect(
        given == wanted,
        f"features of two images have shape {given}, and by feature_shape {wanted}; correct feature_shape",
    )


def has_normalisation_and_weights_origin(subject: Subject) -> None:
    backbone = _backbone(subject)
    for name in ("mean", "std"):
        values = getattr(backbone, name, None)
        numbers = isinstance(values, tuple | list) and len(values) == 3 and all(map(math.isfinite, values))
        expect(numbers, f"`{name}` is {values!r}; set it to three numbers, for images in [0, 1]")
    expect(min(backbone.std) > 0, f"`std` is {backbone.std!r}; set three numbers above 0")
    weights = getattr(backbone, "weights", None)
    expect(
        isinstance(weights, str) and weights,
        f'`weights` is {weights!r}; describe the origin of the weights, such as "random"',
    )


def only_the_trained_part_is_trained(subject: Subject) -> None:
    backbone = _backbone(subject).train()
    backbone.frozen.requires_grad_(False)
    backbone.frozen.eval()
    before = state_hash(backbone.frozen.state_dict().values())
    features = backbone(_images(subject))
    trained = [p for p in backbone.trained.parameters() if p.requires_grad]
    if trained:
        features.square().sum().backward()
        gradients = [p.grad for p in trained if p.grad is not None]
        expect(
            gradients,
            "no parameter of the trained part has a gradient; compute its output without detach() or no_grad",
        )
        expect(
            all(torch.isfinite(each).all() for each in gradients),
            "gradients of the trained part are not finite; check the initialisation of the weights",
        )
    after = state_hash(backbone.frozen.state_dict().values())
    expect(
        before == after,
        "the frozen part changes in evaluation mode; it must keep its state: update buffers only if "
        "self.training",
    )


def predict_is_what_is_built(subject: Subject) -> None:
    shape = subject.predict(image_size=IMAGE_SIZE)
    if shape is None:
        return
    expect(isinstance(shape, BackboneShape), f"predict returns {shape!r}; return a BackboneShape or None")
    backbone = _backbone(subject)
    expect_number(shape.parameters, backbone)
    if shape.feature_shape is not None:
        expect(
            shape.feature_shape == backbone.feature_shape,
            f"predict returns {shape.feature_shape}, but the backbone has {backbone.feature_shape}; correct "
            "predict",
        )


def same_seed_gives_the_same_weights(subject: Subject) -> None:
    first, second = (state_hash(_backbone(subject).state_dict().values()) for _ in range(2))
    expect(
        first == second,
        "the same seed gives different weights; draw them from torch's global generator, which mlbench "
        "seeds, not from a generator of your own",
    )


def works_as_a_teacher(subject: Subject) -> None:
    backbone = _backbone(subject)
    side = subject.arguments.get("image_size", IMAGE_SIZE)
    teacher = Teacher(backbone, side, ComputeSettings())
    images = (_images(subject, 3) * 255).to(torch.uint8)
    vectors = teacher.encode(images)
    wanted = (3, backbone.feature_shape.channels)
    expect(
        tuple(vectors.shape) == wanted,
        f"as a teacher, it gives vectors of shape {tuple(vectors.shape)} for 3 images; return features with "
        f"feature_shape.channels channels, {wanted}",
    )
    expect(
        torch.isfinite(vectors).all(),
        "as a teacher, it gives vectors that are not finite; check mean, std and the weights",
    )
    expect(
        torch.equal(vectors, teacher.encode(images)),
        "the output differs between two passes in evaluation mode; make it deterministic: apply dropout only "
        "if self.training",
    )


def expect_number(predicted: int | None, module: nn.Module) -> None:
    """Raise AssertionError unless `predicted` is None or the number of the module's parameters."""
    count = sum(parameter.numel() for parameter in module.parameters())
    expect(
        predicted in (None, count),
        f"predict returns {predicted} parameters, but there are {count}; correct predict, or return None for "
        "what only building can tell",
    )


CHECKS: dict[str, tuple[Callable[[Subject], object], ...]] = {
    "backbone": (
        has_a_frozen_and_a_trained_part,
        forward_is_trained_after_frozen,
        feature_shape_matches_features,
        has_normalisation_and_weights_origin,
        only_the_trained_part_is_trained,
        predict_is_what_is_built,
        same_seed_gives_the_same_weights,
        works_as_a_teacher,
    ),
}
