"""The neck without parameters: the backbone's mean features themselves, dropped out while training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from mlbench.contracts import FeatureShape, NeckShape, TokensShape

if TYPE_CHECKING:
    from mlbench_necks.pooled_neck import PooledNeck

__all__ = ["pooled", "predict_pooled"]


def pooled(
    feature_shape: FeatureShape | TokensShape, *, dropout: Annotated[float, Field(ge=0, lt=1)] = 0.15
) -> PooledNeck:
    """The mean of each channel over the map, dropout (arXiv:1207.0580), then unit length. Nothing is learnt.

    The embeddings are as wide as the features. Tokens that stand for no place in the image are left out.

    Options
    -------
    dropout: probability with which a number is set to 0 while training.
    """
    from mlbench_necks.pooled_neck import PooledNeck

    return PooledNeck(feature_shape, dropout)


def predict_pooled(feature_shape: FeatureShape | TokensShape, *, dropout: float = 0.15) -> NeckShape:
    """Size of what `pooled` would build."""
    return NeckShape(0, feature_shape.channels)
