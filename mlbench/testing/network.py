"""Checks of backbones and necks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any
from unittest import SkipTest

import torch
from torch import nn

from mlbench.contracts import BackboneShape, FeatureShape, NeckShape, TokensShape
from mlbench.errors import MlbenchError, first_line
from mlbench.planning.spec import ComputeSettings
from mlbench.seeding import torch_generator, torch_seed
from mlbench.testing.check import Subject, expect
from mlbench.testing.lr_factors import lr_factors_match_parameters
from mlbench.training.model import Teacher, state_hash

__all__ = ["CHECKS"]

_IMAGE_SIZE = 32
_MAP, _TOKENS = FeatureShape(8, 4, 4), TokensShape(8, 4, 4, 1)


def _backbone(subject: Subject, seed: int = 0) -> Any:
    with torch_seed(seed, "backbone"):
        return subject.build(image_size=_IMAGE_SIZE)


def _images(subject: Subject, count: int = 2) -> torch.Tensor:
    side = subject.arguments.get("image_size", _IMAGE_SIZE)
    return torch.rand((count, 3, side, side), generator=torch_generator(0, "images"))


def has_a_frozen_and_a_trained_part(subject: Subject) -> None:
    backbone = _backbone(subject)
    expect(isinstance(backbone, nn.Module), "a backbone must be a torch.nn.Module")
    for name in ("frozen", "trained"):
        part = getattr(backbone, name, None)
        expect(isinstance(part, nn.Module), f"a backbone must have the part `{name}`, a torch.nn.Module")
    parts = [*backbone.frozen.parameters(), *backbone.trained.parameters()]
    outside = {id(p) for p in backbone.parameters()} - {id(p) for p in parts}
    expect(not outside, "every parameter must belong to `frozen` or `trained`")


def forward_is_trained_after_frozen(subject: Subject) -> None:
    backbone, images = _backbone(subject).eval(), _images(subject)
    with torch.no_grad():
        whole, parts = backbone(images), backbone.trained(backbone.frozen(images))
    expect(torch.allclose(whole, parts, rtol=1e-4, atol=1e-5), "forward(x) must equal trained(frozen(x))")
    expect(torch.isfinite(whole).all(), "features must be finite")


def feature_shape_matches_features(subject: Subject) -> None:
    backbone = _backbone(subject).eval()
    shape = backbone.feature_shape
    expect(
        isinstance(shape, FeatureShape | TokensShape), "feature_shape must be a FeatureShape or a TokensShape"
    )
    with torch.no_grad():
        given = tuple(backbone(_images(subject)).shape)
    if isinstance(shape, TokensShape):
        wanted: tuple[int, ...] = (2, shape.tokens + shape.height * shape.width, shape.channels)
    else:
        wanted = (2, *shape)
    expect(
        given == wanted, f"features of two images must have the shape of feature_shape, {wanted}, not {given}"
    )


def has_normalisation_and_weights_origin(subject: Subject) -> None:
    backbone = _backbone(subject)
    for name in ("mean", "std"):
        values = getattr(backbone, name, None)
        numbers = isinstance(values, tuple | list) and len(values) == 3 and all(map(math.isfinite, values))
        expect(numbers, f"`{name}` must be three numbers, for images in [0, 1], not {values!r}")
    expect(min(backbone.std) > 0, "`std` must be above 0")
    expect(isinstance(backbone.weights, str) and backbone.weights, "`weights` must describe their origin")


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
        expect(gradients, "the trained part must have a gradient")
        expect(all(torch.isfinite(each).all() for each in gradients), "gradients must be finite")
    after = state_hash(backbone.frozen.state_dict().values())
    expect(before == after, "the frozen part must keep its state in evaluation mode")


def predict_is_what_is_built(subject: Subject) -> None:
    shape = subject.predict(image_size=_IMAGE_SIZE)
    if shape is None:
        return
    expect(isinstance(shape, BackboneShape), "predict must return a BackboneShape")
    backbone = _backbone(subject)
    _same_number(shape.parameters, backbone)
    if shape.feature_shape is not None:
        expect(
            shape.feature_shape == backbone.feature_shape,
            f"predict returns {shape.feature_shape}, but the backbone has {backbone.feature_shape}",
        )


def same_seed_gives_the_same_weights(subject: Subject) -> None:
    first, second = (state_hash(_backbone(subject).state_dict().values()) for _ in range(2))
    expect(first == second, "random weights must come from a global generator, preferably torch's")


def works_as_a_teacher(subject: Subject) -> None:
    backbone = _backbone(subject)
    side = subject.arguments.get("image_size", _IMAGE_SIZE)
    teacher = Teacher(backbone, side, ComputeSettings())
    images = (_images(subject, 3) * 255).to(torch.uint8)
    vectors = teacher.encode(images)
    wanted = (3, backbone.feature_shape.channels)
    expect(tuple(vectors.shape) == wanted, f"a teacher's vectors must have shape {wanted}")
    expect(torch.isfinite(vectors).all(), "a teacher's vectors must be finite")
    expect(torch.equal(vectors, teacher.encode(images)), "a teacher must be deterministic in evaluation mode")


def backbone_runs_in_bfloat16(subject: Subject) -> None:
    backbone = _backbone(subject).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        features = backbone(_images(subject))
    expect(torch.isfinite(features).all(), "features must be finite under bfloat16 autocast")


def _neck(subject: Subject, shape: FeatureShape | TokensShape) -> Any:
    """A neck that accepts features of this shape, or the MlbenchError that it raises for them."""
    with torch_seed(0, "neck"):
        try:
            neck = subject.attempt(features=shape)
            if isinstance(neck, MlbenchError):
                return neck
            expect(isinstance(neck, nn.Module), f"build returns a torch.nn.Module, not {neck!r}")
            expect(isinstance(getattr(neck, "dim", None), int), "a neck has the attribute `dim`, an int")
            neck.eval()(_features(shape))
        except (SkipTest, AssertionError):
            raise
        # A neck may raise anything for a shape that its author did not consider.
        except Exception as error:
            raise AssertionError(
                f"a neck must accept features of {shape}, or raise an OptionError for them when it is built: "
                f"{first_line(error)}; pass features to checks() to check one shape alone"
            ) from error
    return neck


def _shapes(subject: Subject) -> list[FeatureShape | TokensShape]:
    """Shapes to check the neck with: a map, and a sequence if `takes_tokens`."""
    if "features" in subject.arguments:
        return [subject.arguments["features"]]
    return [_MAP, _TOKENS] if subject.entry.options_class.takes_tokens else [_MAP]


def _features(shape: FeatureShape | TokensShape) -> torch.Tensor:
    size: tuple[int, ...] = (6, *shape)
    if isinstance(shape, TokensShape):
        size = (6, shape.tokens + shape.height * shape.width, shape.channels)
    return torch.randn(size, generator=torch_generator(0, "features"))


def _necks(subject: Subject) -> list[tuple[Any, torch.Tensor]]:
    """A neck for each shape that it accepts, with features of that shape."""
    made = []
    for shape in _shapes(subject):
        neck = _neck(subject, shape)
        if not isinstance(neck, MlbenchError):
            made.append((neck, _features(shape)))
    expect(made, f"a neck must accept maps or sequences; this one accepts neither: {neck}")
    return made


def embeddings_have_its_dim(subject: Subject) -> None:
    for neck, features in _necks(subject):
        expect(isinstance(neck, nn.Module), "a neck must be a torch.nn.Module")
        embeddings = neck.eval()(features)
        wanted = (len(features), neck.dim)
        expect(
            tuple(embeddings.shape) == wanted, f"embeddings must have shape {wanted}, with the width `dim`"
        )
        expect(torch.isfinite(embeddings).all(), "embeddings must be finite")
        single = neck(features[:1])
        close = torch.allclose(single, embeddings[:1], rtol=1e-4, atol=1e-5)
        expect(close, "an embedding must depend only on its own features in evaluation mode")


def neck_has_finite_gradients(subject: Subject) -> None:
    for neck, features in _necks(subject):
        features.requires_grad_()
        embeddings = neck.train()(features)
        # Random weights, because the sum of squares is constant after a norm.
        weights = torch.randn(embeddings.shape, generator=torch_generator(0, "weights"))
        (embeddings * weights).sum().backward()
        tensors = {"its input": features, **dict(neck.named_parameters())}
        for name, tensor in tensors.items():
            if tensor.requires_grad:
                expect(tensor.grad is not None, f"{name} must have a gradient")
                expect(torch.isfinite(tensor.grad).all(), f"the gradient of {name} must be finite")


def neck_predict_is_what_is_built(subject: Subject) -> None:
    for shape in _shapes(subject):
        neck = _neck(subject, shape)
        if subject.refuses(features=shape):
            expect(isinstance(neck, MlbenchError), f"predict must refuse {shape} only if build does")
            continue
        predicted = subject.predict(features=shape)
        if predicted is None:
            continue
        expect(not isinstance(neck, MlbenchError), f"predict must refuse {shape}, as build does")
        assert not isinstance(neck, MlbenchError)
        expect(isinstance(predicted, NeckShape), "predict must return a NeckShape")
        _same_number(predicted.parameters, neck)
        expect(predicted.dim == neck.dim, f"predict returns dim {predicted.dim}, but the neck has {neck.dim}")


def neck_runs_in_bfloat16(subject: Subject) -> None:
    for neck, features in _necks(subject):
        with torch.autocast("cpu", torch.bfloat16):
            embeddings = neck.train()(features.to(torch.bfloat16))
        expect(torch.isfinite(embeddings).all(), "embeddings must be finite under bfloat16 autocast")


def _same_number(predicted: int | None, module: nn.Module) -> None:
    count = sum(parameter.numel() for parameter in module.parameters())
    expect(predicted in (None, count), f"predict returns {predicted} parameters, but there are {count}")


CHECKS: dict[str, tuple[Callable[[Subject], None], ...]] = {
    "backbone": (
        has_a_frozen_and_a_trained_part,
        forward_is_trained_after_frozen,
        feature_shape_matches_features,
        has_normalisation_and_weights_origin,
        only_the_trained_part_is_trained,
        predict_is_what_is_built,
        same_seed_gives_the_same_weights,
        works_as_a_teacher,
        lr_factors_match_parameters,
        backbone_runs_in_bfloat16,
    ),
    "neck": (
        embeddings_have_its_dim,
        neck_has_finite_gradients,
        neck_predict_is_what_is_built,
        lr_factors_match_parameters,
        neck_runs_in_bfloat16,
    ),
}
