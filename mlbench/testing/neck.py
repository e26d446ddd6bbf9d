"""Checks of necks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import SkipTest

import torch
from torch import nn

from mlbench.contracts import FeatureShape, NeckShape, TokensShape
from mlbench.errors import MlbenchError, first_line
from mlbench.seeding import torch_generator, torch_seed
from mlbench.testing.check import Subject, expect
from mlbench.testing.network import expect_number

__all__ = ["CHECKS", "made_features", "shapes"]

_MAP, _TOKENS = FeatureShape(8, 4, 4), TokensShape(8, 4, 4, 1)


def _neck(subject: Subject, shape: FeatureShape | TokensShape) -> Any:
    """A neck that accepts features of this shape, or the MlbenchError that it raises for them."""
    with torch_seed(0, "neck"):
        try:
            neck = subject.attempt(features=shape)
            if isinstance(neck, MlbenchError):
                return neck
            expect(isinstance(neck, nn.Module), f"build returns {neck!r}; return a torch.nn.Module")
            dim = getattr(neck, "dim", None)
            expect(
                isinstance(dim, int),
                f"the attribute `dim` of the neck is {dim!r}; set it to the width of the embeddings, an int",
            )
            neck.eval()(made_features(shape))
        except (SkipTest, AssertionError):
            raise
        # A neck may raise anything for a shape that its author did not consider.
        except Exception as error:
            raise AssertionError(
                f"features of {shape} raise {first_line(error)}; accept them, or raise an OptionError for "
                "them in build (pass features to checks() to check one shape alone)"
            ) from error
    return neck


def shapes(subject: Subject) -> list[FeatureShape | TokensShape]:
    """Shapes to check a neck with: a map, and a sequence if `takes_tokens`."""
    if "features" in subject.arguments:
        return [subject.arguments["features"]]
    return [_MAP, _TOKENS] if subject.entry.options_class.takes_tokens else [_MAP]


def made_features(shape: FeatureShape | TokensShape, count: int = 6) -> torch.Tensor:
    """Features of `count` images."""
    size: tuple[int, ...] = (count, *shape)
    if isinstance(shape, TokensShape):
        size = (count, shape.tokens + shape.height * shape.width, shape.channels)
    return torch.randn(size, generator=torch_generator(0, "features"))


def _necks(subject: Subject) -> list[tuple[Any, torch.Tensor]]:
    """A neck for each shape that it accepts, with features of that shape."""
    made = []
    for shape in shapes(subject):
        neck = _neck(subject, shape)
        if not isinstance(neck, MlbenchError):
            made.append((neck, made_features(shape)))
    expect(made, f"the neck accepts neither maps nor sequences: {neck}; accept one of them, or pass features")
    return made


def embeddings_have_its_dim(subject: Subject) -> None:
    for neck, features in _necks(subject):
        embeddings = neck.eval()(features)
        wanted = (len(features), neck.dim)
        expect(
            tuple(embeddings.shape) == wanted,
            f"embeddings have shape {tuple(embeddings.shape)} and by `dim` {wanted}; set dim to their width",
        )
        expect(
            torch.isfinite(embeddings).all(),
            "embeddings are not finite; add a small constant below roots and divisions",
        )


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
                expect(
                    tensor.grad is not None,
                    f"{name} has no gradient; use it in forward without detach(), or remove it",
                )
                expect(
                    torch.isfinite(tensor.grad).all(),
                    f"the gradient of {name} is not finite; clamp before roots, powers and divisions",
                )


def neck_predict_is_what_is_built(subject: Subject) -> None:
    for shape in shapes(subject):
        neck = _neck(subject, shape)
        if subject.refuses(features=shape):
            expect(
                isinstance(neck, MlbenchError),
                f"predict refuses {shape} and build accepts it; make both raise the OptionError, or neither",
            )
            continue
        predicted = subject.predict(features=shape)
        if predicted is None:
            continue
        expect(
            not isinstance(neck, MlbenchError),
            f"build refuses {shape} and predict accepts it; predict must refuse {shape} too: raise the same "
            "OptionError",
        )
        assert not isinstance(neck, MlbenchError)
        expect(isinstance(predicted, NeckShape), f"predict returns {predicted!r}; return a NeckShape or None")
        expect_number(predicted.parameters, neck)
        expect(
            predicted.dim == neck.dim,
            f"predict returns dim {predicted.dim}, but the neck has {neck.dim}; correct predict",
        )


CHECKS: dict[str, tuple[Callable[[Subject], object], ...]] = {
    "neck": (embeddings_have_its_dim, neck_has_finite_gradients, neck_predict_is_what_is_built)
}
