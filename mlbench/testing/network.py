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
from mlbench.training.model import Teacher, state_hash

__all__ = ["CHECKS"]

_IMAGE_SIZE = 32
_MAP, _TOKENS = FeatureShape(8, 4, 4), TokensShape(8, 4, 4, 1)


def _backbone(subject: Subject, seed: int = 0) -> Any:
    with torch_seed(seed, "backbone"):
        return subject.build(image_size=_IMAGE_SIZE)


def _images(subject: Subject, count: int = 2) -> torch.Tensor:
    side = subject.provided.get("image_size", _IMAGE_SIZE)
    return torch.rand((count, 3, side, side), generator=torch_generator(0, "images"))


def has_a_frozen_and_a_trained_part(subject: Subject) -> None:
    backbone = _backbone(subject)
    expect(isinstance(backbone, nn.Module), "a backbone is a torch.nn.Module")
    for name in ("frozen", "trained"):
        part = getattr(backbone, name, None)
        expect(isinstance(part, nn.Module), f"`{name}` of a backbone is a torch.nn.Module")
    parts = [*backbone.frozen.parameters(), *backbone.trained.parameters()]
    outside = {id(p) for p in backbone.parameters()} - {id(p) for p in parts}
    expect(not outside, "every parameter belongs to `frozen` or to `trained`")


def forward_is_trained_after_frozen(subject: Subject) -> None:
    backbone, images = _backbone(subject).eval(), _images(subject)
    with torch.no_grad():
        whole, parts = backbone(images), backbone.trained(backbone.frozen(images))
    expect(torch.allclose(whole, parts, rtol=1e-4, atol=1e-5), "forward(x) == trained(frozen(x))")
    expect(torch.isfinite(whole).all(), "features are finite")


def feature_shape_is_true(subject: Subject) -> None:
    backbone = _backbone(subject).eval()
    shape = backbone.feature_shape
    expect(isinstance(shape, FeatureShape | TokensShape), "feature_shape is a FeatureShape or a TokensShape")
    with torch.no_grad():
        given = tuple(backbone(_images(subject)).shape)
    if isinstance(shape, TokensShape):
        wanted: tuple[int, ...] = (2, shape.tokens + shape.height * shape.width, shape.channels)
    else:
        wanted = (2, *shape)
    expect(given == wanted, f"features of two images have shape {wanted}, as in `feature_shape`, not {given}")


def normalisation_and_weights_are_given(subject: Subject) -> None:
    backbone = _backbone(subject)
    for name in ("mean", "std"):
        values = getattr(backbone, name, None)
        numbers = isinstance(values, tuple | list) and len(values) == 3 and all(map(math.isfinite, values))
        expect(numbers, f"`{name}` is three numbers, for images in [0, 1], not {values!r}")
    expect(min(backbone.std) > 0, "`std` is above 0")
    expect(
        isinstance(backbone.weights, str) and backbone.weights,
        "`weights` is a text with the origin of the weights",
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
        expect(gradients, "parameters of `trained` have gradients")
        expect(all(torch.isfinite(each).all() for each in gradients), "gradients are finite")
    after = state_hash(backbone.frozen.state_dict().values())
    expect(before == after, "the state of `frozen` does not change in evaluation mode")


def predict_is_what_is_built(subject: Subject) -> None:
    shape = subject.predict(image_size=_IMAGE_SIZE)
    if shape is None:
        return
    expect(isinstance(shape, BackboneShape), "predict returns a BackboneShape or None")
    backbone = _backbone(subject)
    _same_number(shape.parameters, backbone)
    if shape.feature_shape is not None:
        expect(
            shape.feature_shape == backbone.feature_shape,
            f"predict returns {shape.feature_shape}; the backbone has {backbone.feature_shape}",
        )


def same_seed_gives_the_same_weights(subject: Subject) -> None:
    first, second = (state_hash(_backbone(subject).state_dict().values()) for _ in range(2))
    expect(
        first == second,
        "random weights are drawn from torch's global generator, so equal seeds give equal weights",
    )


def works_as_a_teacher(subject: Subject) -> None:
    backbone = _backbone(subject)
    side = subject.provided.get("image_size", _IMAGE_SIZE)
    teacher = Teacher(backbone, side, ComputeSettings())
    images = (_images(subject, 3) * 255).to(torch.uint8)
    vectors = teacher.encode(images)
    wanted = (3, backbone.feature_shape.channels)
    expect(tuple(vectors.shape) == wanted, f"vectors of a teacher have shape {wanted}")
    expect(torch.isfinite(vectors).all(), "vectors of a teacher are finite")
    expect(
        torch.equal(vectors, teacher.encode(images)), "in evaluation mode a backbone draws no random numbers"
    )


def backbone_runs_in_bfloat16(subject: Subject) -> None:
    backbone = _backbone(subject).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        features = backbone(_images(subject))
    expect(torch.isfinite(features).all(), "features are finite under bfloat16 autocast")


def _neck(subject: Subject, shape: FeatureShape | TokensShape) -> Any:
    """The neck after a forward pass on features of this shape, or the MlbenchError of a neck that refuses
    them."""
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
        # Features of an unexpected shape may raise anything.
        except Exception as error:
            raise AssertionError(
                f"a neck takes features of {shape}, or `build` raises OptionError: {first_line(error)}; pass "
                "checks() the features that the neck takes, to check these only"
            ) from error
    return neck


def _shapes(subject: Subject) -> list[FeatureShape | TokensShape]:
    """Shapes to check the neck with: a map, and a sequence for a neck with `takes_tokens`."""
    if "features" in subject.provided:
        return [subject.provided["features"]]
    return [_MAP, _TOKENS] if subject.entry.options_class.takes_tokens else [_MAP]


def _features(shape: FeatureShape | TokensShape) -> torch.Tensor:
    size: tuple[int, ...] = (6, *shape)
    if isinstance(shape, TokensShape):
        size = (6, shape.tokens + shape.height * shape.width, shape.channels)
    return torch.randn(size, generator=torch_generator(0, "features"))


def _necks(subject: Subject) -> list[tuple[Any, torch.Tensor]]:
    """The necks for each shape that the neck takes, with features."""
    made = []
    for shape in _shapes(subject):
        neck = _neck(subject, shape)
        if not isinstance(neck, MlbenchError):
            made.append((neck, _features(shape)))
    expect(made, f"a neck takes maps or sequences; this one takes neither: {neck}")
    return made


def embeddings_have_its_dim(subject: Subject) -> None:
    for neck, features in _necks(subject):
        expect(isinstance(neck, nn.Module), "a neck is a torch.nn.Module")
        embeddings = neck.eval()(features)
        wanted = (len(features), neck.dim)
        expect(tuple(embeddings.shape) == wanted, f"embeddings have shape {wanted}, as `dim` says")
        expect(torch.isfinite(embeddings).all(), "embeddings are finite")
        single = neck(features[:1])
        close = torch.allclose(single, embeddings[:1], rtol=1e-4, atol=1e-5)
        expect(close, "in evaluation mode an embedding depends on the features of its image only")


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
                expect(tensor.grad is not None, f"{name} has a gradient")
                expect(torch.isfinite(tensor.grad).all(), f"the gradient of {name} is finite")


def neck_predict_is_what_is_built(subject: Subject) -> None:
    for shape in _shapes(subject):
        neck = _neck(subject, shape)
        if subject.refuses(features=shape):
            expect(isinstance(neck, MlbenchError), f"predict refuses {shape} only where build does")
            continue
        predicted = subject.predict(features=shape)
        if predicted is None:
            continue
        expect(not isinstance(neck, MlbenchError), f"predict refuses {shape} as build does")
        assert not isinstance(neck, MlbenchError)
        expect(isinstance(predicted, NeckShape), "predict returns a NeckShape or None")
        _same_number(predicted.parameters, neck)
        expect(predicted.dim == neck.dim, f"predict returns dim {predicted.dim}; the neck has {neck.dim}")


def neck_runs_in_bfloat16(subject: Subject) -> None:
    for neck, features in _necks(subject):
        with torch.autocast("cpu", torch.bfloat16):
            embeddings = neck.train()(features.to(torch.bfloat16))
        expect(torch.isfinite(embeddings).all(), "embeddings are finite under bfloat16 autocast")


def _same_number(predicted: int | None, module: nn.Module) -> None:
    count = sum(parameter.numel() for parameter in module.parameters())
    expect(predicted in (None, count), f"predict returns {predicted} parameters; there are {count}")


CHECKS: dict[str, tuple[Callable[[Subject], None], ...]] = {
    "backbone": (
        has_a_frozen_and_a_trained_part,
        forward_is_trained_after_frozen,
        feature_shape_is_true,
        normalisation_and_weights_are_given,
        only_the_trained_part_is_trained,
        predict_is_what_is_built,
        same_seed_gives_the_same_weights,
        works_as_a_teacher,
        backbone_runs_in_bfloat16,
    ),
    "neck": (
        embeddings_have_its_dim,
        neck_has_finite_gradients,
        neck_predict_is_what_is_built,
        neck_runs_in_bfloat16,
    ),
}
