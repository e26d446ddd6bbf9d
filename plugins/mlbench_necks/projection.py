"""Necks of one form: gather the features into a vector, then Linear, norm, Linear, norm.

They differ in how they gather: `flatten` keeps every position, `gap` takes the mean, `gem` a mean that leans
to the largest, `squeeze` keeps every position of fewer channels, `token` takes the class token. All but
`token` leave out the tokens of a sequence that stand for no place in the image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from mlbench.contracts import FeatureShape, NeckShape, TokensShape
from mlbench.errors import OptionError

if TYPE_CHECKING:
    from mlbench_necks.projection_neck import ProjectionNeck

__all__ = [
    "Features",
    "Norm",
    "flatten",
    "gap",
    "gem",
    "predict_flatten",
    "predict_gap",
    "predict_gem",
    "predict_squeeze",
    "predict_token",
    "squeeze",
    "token",
]

Features = FeatureShape | TokensShape

#: What follows each linear layer: nothing, batch norm, layer norm, or two of them in the order written.
Norm = Literal["none", "bn", "ln", "ln_bn", "bn_ln"]

Dim = Annotated[int, Field(ge=1)]
LinearLayers = Literal[1, 2]
Ratio = Annotated[int, Field(ge=1)]


def flatten(
    feature_shape: Features,
    *,
    dim: Dim = 256,
    norm: Norm = "ln",
    layers: LinearLayers = 2,
    bias: bool = False,
) -> ProjectionNeck:
    """Every position of the map in one vector of C * h * w numbers, then the linear layers.

    As in ArcFace (arXiv:1801.07698).

    Options
    -------
    dim: width of the embeddings.
    norm: what follows each linear layer: none, bn (batch norm), ln (layer norm), ln_bn or bn_ln (both, in
        that order; ln_bn is published as "LBN").
    layers: linear layers, 1 or 2.
    bias: whether the linear layers have biases.
    """
    from mlbench_necks.projection_neck import Flatten, ProjectionNeck, on_map

    gather = on_map(Flatten(), feature_shape)
    return ProjectionNeck(gather, _positions(feature_shape), dim, norm, layers, bias=bias)


def gap(
    feature_shape: Features,
    *,
    dim: Dim = 256,
    norm: Norm = "ln",
    layers: LinearLayers = 2,
    bias: bool = False,
) -> ProjectionNeck:
    """The mean of each channel over the map, then the linear layers (arXiv:1312.4400).

    Options
    -------
    dim: width of the embeddings.
    norm: what follows each linear layer: none, bn (batch norm), ln (layer norm), ln_bn or bn_ln (both, in
        that order; ln_bn is published as "LBN").
    layers: linear layers, 1 or 2.
    bias: whether the linear layers have biases.
    """
    from mlbench_necks.projection_neck import GlobalAveragePool, ProjectionNeck, on_map

    gather = on_map(GlobalAveragePool(), feature_shape)
    return ProjectionNeck(gather, feature_shape.channels, dim, norm, layers, bias=bias)


def gem(
    feature_shape: Features,
    *,
    dim: Dim = 256,
    norm: Norm = "ln",
    layers: LinearLayers = 2,
    bias: bool = False,
    power: Annotated[float, Field(gt=0)] = 3.0,
) -> ProjectionNeck:
    """Generalised mean of each channel over the map, then the linear layers (arXiv:1711.02512).

    (mean of x^p)^(1/p) with one p that is learnt: 1 is the mean, large p the maximum. What is negative counts
    as 1e-6, so it is meant for features that are mostly positive, as those behind a ReLU.

    Options
    -------
    dim: width of the embeddings.
    norm: what follows each linear layer: none, bn (batch norm), ln (layer norm), ln_bn or bn_ln (both, in
        that order; ln_bn is published as "LBN").
    layers: linear layers, 1 or 2.
    bias: whether the linear layers have biases.
    power: p before training.
    """
    from mlbench_necks.projection_neck import GeneralisedMean, ProjectionNeck, on_map

    gather = on_map(GeneralisedMean(power), feature_shape)
    return ProjectionNeck(gather, feature_shape.channels, dim, norm, layers, bias=bias)


def squeeze(
    feature_shape: Features,
    *,
    dim: Dim = 256,
    norm: Norm = "ln",
    layers: LinearLayers = 2,
    bias: bool = False,
    ratio: Ratio = 4,
) -> ProjectionNeck:
    """A 1x1 convolution to C // ratio channels, without bias, then as `flatten`.

    Options
    -------
    dim: width of the embeddings.
    norm: what follows each linear layer: none, bn (batch norm), ln (layer norm), ln_bn or bn_ln (both, in
        that order; ln_bn is published as "LBN").
    layers: linear layers, 1 or 2.
    bias: whether the linear layers have biases.
    ratio: the channels are divided by this, rounded down.

    Raises OptionError if `ratio` leaves no channel.
    """
    from mlbench_necks.projection_neck import ProjectionNeck, Squeeze, on_map

    channels = feature_shape.channels
    kept = _squeezed(channels, ratio)
    inputs = _positions(feature_shape) // channels * kept
    gather = on_map(Squeeze(channels, kept), feature_shape)
    return ProjectionNeck(gather, inputs, dim, norm, layers, bias=bias)


def token(
    feature_shape: Features,
    *,
    dim: Dim = 256,
    norm: Norm = "ln",
    layers: LinearLayers = 2,
    bias: bool = False,
) -> ProjectionNeck:
    """The class token, then the linear layers (arXiv:2010.11929).

    It needs a backbone that gives tokens.

    Options
    -------
    dim: width of the embeddings.
    norm: what follows each linear layer: none, bn (batch norm), ln (layer norm), ln_bn or bn_ln (both, in
        that order; ln_bn is published as "LBN").
    layers: linear layers, 1 or 2.
    bias: whether the linear layers have biases.

    Raises OptionError if the backbone gives no class token.
    """
    from mlbench_necks.projection_neck import ClassToken, ProjectionNeck

    _check_token(feature_shape)
    gather = ClassToken()
    return ProjectionNeck(gather, feature_shape.channels, dim, norm, layers, bias=bias)


def predict_flatten(
    feature_shape: Features,
    *,
    dim: int = 256,
    norm: Norm = "ln",
    layers: LinearLayers = 2,
    bias: bool = False,
) -> NeckShape:
    """Size of what `flatten` would build."""
    return NeckShape(_parameters(_positions(feature_shape), dim, norm, layers, bias), dim)


def predict_gap(
    feature_shape: Features,
    *,
    dim: int = 256,
    norm: Norm = "ln",
    layers: LinearLayers = 2,
    bias: bool = False,
) -> NeckShape:
    """Size of what `gap` would build."""
    return NeckShape(_parameters(feature_shape.channels, dim, norm, layers, bias), dim)


def predict_gem(
    feature_shape: Features,
    *,
    dim: int = 256,
    norm: Norm = "ln",
    layers: LinearLayers = 2,
    bias: bool = False,
    power: float = 3.0,
) -> NeckShape:
    """Size of what `gem` would build."""
    return NeckShape(1 + _parameters(feature_shape.channels, dim, norm, layers, bias), dim)


def predict_squeeze(
    feature_shape: Features,
    *,
    dim: int = 256,
    norm: Norm = "ln",
    layers: LinearLayers = 2,
    bias: bool = False,
    ratio: int = 4,
) -> NeckShape:
    """Size of what `squeeze` would build. Raises OptionError as it does."""
    channels = feature_shape.channels
    kept = _squeezed(channels, ratio)
    inputs = _positions(feature_shape) // channels * kept
    return NeckShape(channels * kept + _parameters(inputs, dim, norm, layers, bias), dim)


def predict_token(
    feature_shape: Features,
    *,
    dim: int = 256,
    norm: Norm = "ln",
    layers: LinearLayers = 2,
    bias: bool = False,
) -> NeckShape:
    """Size of what `token` would build. Raises OptionError as it does."""
    _check_token(feature_shape)
    return NeckShape(_parameters(feature_shape.channels, dim, norm, layers, bias), dim)


def _parameters(inputs: int, dim: int, norm: Norm, layers: int, bias: bool) -> int:
    # Every norm has a weight and a bias per feature.
    norms = 0 if norm == "none" else len(norm.split("_"))
    return inputs * dim + (layers - 1) * dim * dim + layers * dim * (2 * norms + bias)


def _positions(shape: Features) -> int:
    return shape.channels * shape.height * shape.width


def _squeezed(channels: int, ratio: int) -> int:
    if ratio > channels:
        raise OptionError(
            f"neck squeeze: ratio {ratio} leaves none of the backbone's {channels} channels; "
            f"expected at most {channels}",
            "ratio",
        )
    return channels // ratio


def _check_token(shape: Features) -> None:
    if not isinstance(shape, TokensShape) or not shape.tokens:
        given = "a map" if isinstance(shape, FeatureShape) else "a sequence of places alone"
        raise OptionError(
            f"neck token: the backbone gives {given}, which has no class token; set output to tokens of a "
            "transformer that has one, or choose another neck, such as gap"
        )
