"""The neck without parameters: the mean of the backbone's features, with dropout in training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from mlbench.plugin import Features, NeckOptions, NeckShape

if TYPE_CHECKING:
    from mlbench_necks.pooled_neck import PooledNeck

__all__ = ["Pooled"]


class Pooled(NeckOptions):
    """The mean of each channel over the map, dropout (arXiv:1207.0580), then unit length. Nothing is learnt.

        embedding = x / |x|
        x_c = dropout(mean over the map of f_c)

    f: the features (C, h, w). Without normalise: x.

    The embeddings are as wide as the features. Tokens that belong to no position of the image are ignored.
    """

    takes_tokens: ClassVar[bool] = True

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.15
    """Probability of setting a number to 0 in training."""
    normalise: bool = True
    """Whether the loss gets unit vectors. false for a linear classifier on the mean itself (losses
    cross_entropy and bce); embeddings are compared by cosine either way."""

    def predict(self, features: Features) -> NeckShape:
        return NeckShape(0, features.channels)

    def build(self, features: Features) -> PooledNeck:
        from mlbench_necks.pooled_neck import PooledNeck

        return PooledNeck(features, self.dropout, normalise=self.normalise)
