"""Evaluation: metrics and threshold policies."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from mlbench.errors import ComponentError

if TYPE_CHECKING:
    import numpy as np

    from mlbench.evaluation.curve import Curve
    from mlbench.evaluation.embeddings import Embeddings
    from mlbench.evaluation.ranks import Ranks

__all__ = [
    "ACCEPT_NOTHING",
    "CurveMetric",
    "EmbeddingMetric",
    "Quantity",
    "RankMetric",
    "Target",
    "ThresholdPolicy",
]


#: The threshold of a policy that accepts no pair at all: no cosine similarity is as high.
ACCEPT_NOTHING = 2.0


@dataclass(frozen=True, slots=True)
class Quantity:
    """What a metric announces of one of its values.

    summary: what it is. unit: "" for a share or another plain number. higher_is_better: None where neither
    direction is better. heading: of its column in tables of results; "" for no column, unless the suite
    states a tolerance for it. headline: its column is printed on the narrowest terminal too, with its
    interval, and the progress line, the ranking of cases and `mlbench export` show it; without a heading,
    under its name. pair_list_headline: the same value over a data set's list of pairs (see `PairedDataset`)
    is a headline. tolerance: the largest loss, in the value's unit, that still counts as the same, where the
    suite states none; `mlbench check` then watches the value. None for no default.

    Columns stand in the order in which the suite's metrics announce them, headlines first. Raises
    ComponentError for a tolerance below 0, or of a value without a better direction.
    """

    summary: str
    unit: str = ""
    higher_is_better: bool | None = True
    heading: str = ""
    headline: bool = False
    pair_list_headline: bool = False
    tolerance: float | None = None

    def __post_init__(self) -> None:
        if self.tolerance is None:
            return
        if not 0 <= self.tolerance < math.inf:
            raise ComponentError(
                f"quantity {self.summary!r}: tolerance {self.tolerance!r}; expected a number >= 0"
            )
        if self.higher_is_better is None:
            raise ComponentError(
                f"quantity {self.summary!r} has a tolerance but no better direction; set higher_is_better"
            )


@runtime_checkable
class RankMetric(Protocol):
    """A metric of each query's ranking. mlbench computes means over queries, means by class and intervals."""

    def per_query(self, ranks: Ranks) -> Mapping[str, np.ndarray]:
        """Name to (Q,) finite float. May be called with a part of the queries at a time.

        Every query has at least one positive. A value that is not finite fails the case."""
        ...


@runtime_checkable
class CurveMetric(Protocol):
    """A metric of the verification curve over all pairs."""

    def of_curve(self, curve: Curve, threshold: float | None) -> Mapping[str, np.ndarray | float | str]:
        """Name to finite value, or to a text with the reason why there is no value. A value that is not
        finite is left out of the record, with a note.

        threshold: cosine similarity that the threshold policy found on the calibration split, None where it
        found none, `ACCEPT_NOTHING` where it accepts no pair: precision then has no value. For
        intervals the curve has a leading axis with one curve for each resample; values then have that axis
        too."""
        ...


@runtime_checkable
class EmbeddingMetric(Protocol):
    """A metric of the embeddings themselves.

    A metric whose values are no means over images may have a method `resampled(embeddings, weights)`, from
    which mlbench computes their intervals; without it they have none. weights: (R, N) float64, how often each
    image counts in each of R resamples of the classes, 0 for an image without a role. Returns name to (R,)
    values; NaN for a resample without a value."""

    def of_embeddings(self, embeddings: Embeddings) -> Mapping[str, np.ndarray | float | str]:
        """Name to finite value, to (N,) values of the images, or to a text with the reason why there is no
        value. A value that is not finite is left out of the record, with a note.

        Of values of the images, mlbench computes the mean over queries and its interval; that of a query must
        be finite, else the case fails. The vectors are a
        NumPy array on every device."""
        ...


@dataclass(frozen=True, slots=True)
class Target:
    """Target of a threshold policy: a property of `Curve` must be at least `value`, or at most where
    `at_most`."""

    quantity: Literal["precision", "tpr", "fpr", "accuracy"]
    value: float
    at_most: bool = False

    def met(self, value: float) -> bool:
        """Whether this value of the quantity meets the target."""
        return value <= self.value if self.at_most else value >= self.value


class ThresholdPolicy(Protocol):
    """Chooses the threshold to deploy.

    A policy may have an attribute `target`, a `Target`: a run then reports where the test pairs miss it. It
    may have an attribute `notes`, lines with warnings about its options."""

    def __call__(self, curve: Curve | None) -> float:
        """The cosine similarity in [-1, 1] at and above which two images are accepted as the same, or
        `ACCEPT_NOTHING`, which is deployed as it is: then no two images are the same.

        curve: of the calibration split, None where there is none. Called again with resamples of the curve,
        whose counts need not be whole numbers, for the interval of the threshold. Raises ThresholdError when
        no threshold fits, with the nearest value that the curve reaches: then there is none to deploy."""
        ...
