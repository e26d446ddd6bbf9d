"""Necks of one form: gather the map into a vector, then Linear, norm, Linear, norm.

The linear layers have no biases. They differ in how they gather: `flatten` keeps every position, `gap`
takes the mean, `squeeze` keeps every position of fewer channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from mlbench.contracts import FeatureShape, NeckShape
from mlbench.errors import OptionError

if TYPE_CHECKING:
    from mlbench_necks.projection_neck import ProjectionNeck

__all__ = ["Norm", "flatten", "gap", "predict_flatten", "predict_gap", "predict_squeeze", "squeeze"]

#: What follows each linear layer: nothing, batch norm, layer norm, or two of them in the order written.
Norm = Literal["none", "bn", "ln", "ln_bn", "bn_ln"]


def flatten(
    feature_shape: FeatureShape, *, dim: Annotated[int, Field(ge=1)] = 256, norm: Norm = "ln"
) -> ProjectionNeck:
    """Every position of the map in one vector of C * h * w numbers, then the two linear layers.

    Options
    -------
    dim: width of the embeddings.
    norm: what follows each linear layer: none, bn (batch norm), ln (layer norm), ln_bn or bn_ln (both, in
        that order; ln_bn is published as "LBN").
    """
    from mlbench_necks.projection_neck import Flatten, ProjectionNeck

    channels, height, width = feature_shape
    return ProjectionNeck(Flatten(), channels * height * width, dim, norm)


def gap(
    feature_shape: FeatureShape, *, dim: Annotated[int, Field(ge=1)] = 256, norm: Norm = "ln"
) -> ProjectionNeck:
    """The mean of each channel over the map, then the two linear layers (arXiv:1312.4400).

    Options
    -------
    dim: width of the embeddings.
    norm: what follows each linear layer: none, bn, ln, ln_bn or bn_ln.
    """
    from mlbench_necks.projection_neck import GlobalAveragePool, ProjectionNeck

    return ProjectionNeck(GlobalAveragePool(), feature_shape.channels, dim, norm)


def squeeze(
    feature_shape: FeatureShape,
    *,
    dim: Annotated[int, Field(ge=1)] = 256,
    norm: Norm = "ln",
    ratio: Annotated[int, Field(ge=1)] = 4,
) -> ProjectionNeck:
    """A 1x1 convolution to C // ratio channels, without bias, then as `flatten`.

    Options
    -------
    dim: width of the embeddings.
    norm: what follows each linear layer: none, bn, ln, ln_bn or bn_ln.
    ratio: the channels are divided by this, rounded down.

    Raises OptionError if `ratio` leaves no channel.
    """
    from mlbench_necks.projection_neck import ProjectionNeck, Squeeze

    channels, height, width = feature_shape
    kept = _squeezed(channels, ratio)
    return ProjectionNeck(Squeeze(channels, kept), kept * height * width, dim, norm)


def predict_flatten(feature_shape: FeatureShape, *, dim: int = 256, norm: Norm = "ln") -> NeckShape:
    """Size of what `flatten` would build."""
    channels, height, width = feature_shape
    return NeckShape(_projection_parameters(channels * height * width, dim, norm), dim)


def predict_gap(feature_shape: FeatureShape, *, dim: int = 256, norm: Norm = "ln") -> NeckShape:
    """Size of what `gap` would build."""
    return NeckShape(_projection_parameters(feature_shape.channels, dim, norm), dim)


def predict_squeeze(
    feature_shape: FeatureShape, *, dim: int = 256, norm: Norm = "ln", ratio: int = 4
) -> NeckShape:
    """Size of what `squeeze` would build. Raises OptionError as it does."""
    channels, height, width = feature_shape
    kept = _squeezed(channels, ratio)
    return NeckShape(channels * kept + _projection_parameters(kept * height * width, dim, norm), dim)


def _projection_parameters(inputs: int, dim: int, norm: Norm) -> int:
    # Every norm has a weight and a bias per feature.
    norms = 0 if norm == "none" else len(norm.split("_"))
    return inputs * dim + dim * dim + 2 * norms * 2 * dim


def _squeezed(channels: int, ratio: int) -> int:
    if ratio > channels:
        raise OptionError(
            f"neck squeeze: ratio {ratio} leaves none of the backbone's {channels} channels; "
            f"expected at most {channels}",
            "ratio",
        )
    return channels // ratio
