"""Necks of one form: gather the features into a vector, then Linear, norm, Linear, norm.

They differ in how they gather: `Flatten` keeps every position, `Gap` takes the mean, `Gem` a generalised
mean, `Squeeze` keeps every position of fewer channels, `Token` takes the class token. All but `Token` ignore
the tokens of a sequence that belong to no position of the image.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from mlbench.plugin import Features, FeatureShape, NeckOptions, NeckShape, OptionError, TokensShape

if TYPE_CHECKING:
    from torch import nn

    from mlbench_necks.projection_neck import ProjectionNeck

__all__ = ["Flatten", "Gap", "Gem", "Norm", "Projection", "Squeeze", "Token"]

#: Norms after each linear layer: none, batch norm, layer norm, or both in the order written.
Norm = Literal["none", "bn", "ln", "ln_bn", "bn_ln"]


class Projection(NeckOptions):
    """Options that all necks of this form share."""

    takes_tokens: ClassVar[bool] = True

    dim: Annotated[int, Field(ge=1)] = 256
    """Width of the embeddings."""
    norm: Norm = "ln"
    """What follows each linear layer: none, bn (batch norm), ln (layer norm), ln_bn or bn_ln (both, in that
    order; ln_bn is published as "LBN")."""
    layers: Literal[1, 2] = 2
    """Number of linear layers."""
    bias: bool = False
    """Whether the linear layers have biases."""

    def predict(self, features: Features) -> NeckShape:
        # Every norm has a weight and a bias per feature.
        norms = 0 if self.norm == "none" else len(self.norm.split("_"))
        first = self.inputs(features) * self.dim
        others = (self.layers - 1) * self.dim * self.dim + self.layers * self.dim * (2 * norms + self.bias)
        return NeckShape(self.gather_parameters(features) + first + others, self.dim)

    def build(self, features: Features) -> ProjectionNeck:
        from mlbench_necks.projection_neck import ProjectionNeck

        inputs = self.inputs(features)
        return ProjectionNeck(self.gather(features), inputs, self.dim, self.norm, self.layers, bias=self.bias)

    def inputs(self, features: Features) -> int:
        """Length of the gathered vector. Raises OptionError for features that the neck cannot take."""
        return features.channels

    def gather_parameters(self, features: Features) -> int:
        """Number of parameters of `gather`."""
        return 0

    @abstractmethod
    def gather(self, features: Features) -> nn.Module:
        """The module from features to vectors (N, inputs)."""


class Flatten(Projection):
    """Every position of the map in one vector, then the linear layers, as in ArcFace (arXiv:1801.07698).

        embedding = norm(W2 norm(W1 x))
        x = all C * h * w numbers of the map

    With layers 1: norm(W1 x).
    """

    def inputs(self, features: Features) -> int:
        return features.channels * features.height * features.width

    def gather(self, features: Features) -> nn.Module:
        from mlbench_necks.projection_neck import FlattenPositions, on_map

        return on_map(FlattenPositions(), features)


class Gap(Projection):
    """The mean of each channel over the map, then the linear layers (arXiv:1312.4400).

        embedding = norm(W2 norm(W1 x))
        x_c = mean over the map of f_c

    f: the features (C, h, w). With layers 1: norm(W1 x).
    """

    def gather(self, features: Features) -> nn.Module:
        from mlbench_necks.projection_neck import GlobalAveragePool, on_map

        return on_map(GlobalAveragePool(), features)


class Gem(Projection):
    """Generalised mean of each channel over the map, then the linear layers (arXiv:1711.02512).

        embedding = norm(W2 norm(W1 x))
        x_c = (mean over the map of max(f_c, 1e-6)^p)^(1 / p)

    f: the features (C, h, w). p: one learnt number; 1 gives the mean, large p the maximum. As values below
    1e-6 count as 1e-6, it is meant for features that are mostly positive, such as those behind a ReLU. With
    layers 1: norm(W1 x).
    """

    power: Annotated[float, Field(gt=0)] = 3.0
    """p before training."""

    def gather_parameters(self, features: Features) -> int:
        return 1

    def gather(self, features: Features) -> nn.Module:
        from mlbench_necks.projection_neck import GeneralisedMean, on_map

        return on_map(GeneralisedMean(self.power), features)


class Squeeze(Projection):
    """A 1x1 convolution without bias to C // ratio channels, then as `flatten` (arXiv:1312.4400).

        embedding = norm(W2 norm(W1 x))
        x = all numbers of K f

    f: the features (C, h, w); K: weights of the convolution, (C // ratio, C). With layers 1: norm(W1 x).

    Raises OptionError if `ratio` leaves no channel.
    """

    ratio: Annotated[int, Field(ge=1)] = 4
    """The channels are divided by this, rounded down."""

    def inputs(self, features: Features) -> int:
        return self._kept(features) * features.height * features.width

    def gather_parameters(self, features: Features) -> int:
        return features.channels * self._kept(features)

    def gather(self, features: Features) -> nn.Module:
        from mlbench_necks.projection_neck import SqueezeChannels, on_map

        return on_map(SqueezeChannels(features.channels, self._kept(features)), features)

    def _kept(self, features: Features) -> int:
        if self.ratio > features.channels:
            raise OptionError(
                f"neck squeeze: ratio {self.ratio} leaves none of the backbone's {features.channels} "
                f"channels; expected at most {features.channels}",
                "ratio",
            )
        return features.channels // self.ratio


class Token(Projection):
    """The class token, then the linear layers (arXiv:2010.11929).

        embedding = norm(W2 norm(W1 x))
        x = the first token (C)

    With layers 1: norm(W1 x).

    Raises OptionError if the backbone gives no class token.
    """

    def inputs(self, features: Features) -> int:
        if not isinstance(features, TokensShape) or not features.tokens:
            given = "a map" if isinstance(features, FeatureShape) else "a sequence without a class token"
            raise OptionError(
                f"neck token: the backbone gives {given}; set output: tokens on a transformer that has a "
                "class token, or choose another neck, such as gap"
            )
        return features.channels

    def gather(self, features: Features) -> nn.Module:
        from mlbench_necks.projection_neck import ClassToken

        return ClassToken()
