"""Evaluation: metrics and threshold policies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np

    from mlbench.evaluation.curve import Curve
    from mlbench.evaluation.embeddings import Embeddings
    from mlbench.evaluation.ranks import Ranks

__all__ = ["CurveMetric", "EmbeddingMetric", "Quantity", "RankMetric", "ThresholdPolicy"]


@dataclass(frozen=True, slots=True)
class Quantity:
    """A named value in a record: what it is, its unit, and which direction is better (None: neither)."""

    summary: str
    unit: str = ""
    higher_is_better: bool | None = True


@runtime_checkable
class RankMetric(Protocol):
    """A metric of every query's ranking. Its values are means over queries; by class and with an interval
    they come of themselves."""

    def per_query(self, ranks: Ranks) -> Mapping[str, np.ndarray]:
        """Name to (Q,) float. Called with some queries at a time when memory is short."""
        ...


@runtime_checkable
class CurveMetric(Protocol):
    """A metric of the verification curve over all pairs."""

    def of_curve(self, curve: Curve, threshold: float | None) -> Mapping[str, np.ndarray | float | str]:
        """Name to value; a text says why there is no value.

        threshold: the cosine similarity that the threshold policy found on the calibration split, None where
        it found none. The curve may have leading axes, one curve a resample, from which the interval comes:
        values have those axes then.
        """
        ...


@runtime_checkable
class EmbeddingMetric(Protocol):
    """A metric of the embeddings themselves; it has no interval."""

    def of_embeddings(self, embeddings: Embeddings) -> Mapping[str, float | str]:
        """Name to value; a text says why there is no value."""
        ...


class ThresholdPolicy(Protocol):
    """Chooses the threshold to deploy."""

    def __call__(self, curve: Curve | None) -> float:
        """The cosine similarity at and above which two images are the same.

        curve: of the calibration split, None where there is none. Raises ThresholdError when no threshold
        does what is asked, with what the curve can reach.
        """
        ...
