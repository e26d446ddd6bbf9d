"""Losses on pairs and triplets of embeddings, and on proxies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from mlbench.contracts import LossShape
from mlbench_losses.needs import PAIRS

if TYPE_CHECKING:
    from mlbench_losses.library import LibraryLoss
    from mlbench_losses.triplet import TripletPair

__all__ = [
    "contrastive",
    "multi_similarity",
    "predict_contrastive",
    "predict_multi_similarity",
    "predict_proxy_anchor",
    "predict_supcon",
    "predict_triplet_pair",
    "proxy_anchor",
    "supcon",
    "triplet_pair",
]

_Positive = Annotated[float, Field(gt=0)]
_NotNegative = Annotated[float, Field(ge=0)]
_Triplets = Literal["rows", "all", "hard"]


def triplet_pair(
    *, margin: _NotNegative = 0.38, pair_weight: _NotNegative = 0.25, triplets: _Triplets = "all"
) -> TripletPair:
    """Triplet loss with a term that draws positive pairs together:
    mean max(0, d_ap - d_an + margin) + pair_weight * mean d_ap, with d = 1 - cosine (arXiv:1503.03832 has the
    first term).

    Options
    -------
    margin: by how much a negative must be farther than a positive, in units of 1 - cosine.
    pair_weight: weight of the second term; 0 leaves the triplet loss alone.
    triplets: all of the batch, hard (farthest positive, nearest negative), or rows (a, p, n, a, p, n, ...).
    """
    from mlbench_losses.triplet import TripletPair

    return TripletPair(margin=margin, pair_weight=pair_weight, triplets=triplets)


def multi_similarity(
    *,
    alpha: _Positive = 2.0,
    beta: _Positive = 50.0,
    base: float = 0.5,
    epsilon: _NotNegative | None = 0.1,
) -> LibraryLoss:
    """The multi-similarity loss with its pair mining (arXiv:1904.06627), of pytorch-metric-learning.

    Options
    -------
    alpha: sharpness for positive pairs.
    beta: sharpness for negative pairs.
    base: cosine that separates the two (lambda in the paper).
    epsilon: pairs count that are within so much of the other kind's hardest cosine; null takes all pairs.
    """
    from pytorch_metric_learning.losses import MultiSimilarityLoss
    from pytorch_metric_learning.miners import MultiSimilarityMiner

    from mlbench_losses.library import LibraryLoss

    return LibraryLoss(
        MultiSimilarityLoss(alpha=alpha, beta=beta, base=base),
        MultiSimilarityMiner(epsilon=epsilon) if epsilon is not None else None,
    )


def contrastive(*, pos_margin: _NotNegative = 0.0, neg_margin: _NotNegative = 1.0) -> LibraryLoss:
    """The contrastive loss (Hadsell et al., 2006) on Euclidean distances of unit vectors, not squared, of
    pytorch-metric-learning: mean of the positive pairs' max(0, d - pos_margin) that are above 0, plus that of
    the negative pairs' max(0, neg_margin - d).

    Options
    -------
    pos_margin: distance below which a positive pair costs nothing.
    neg_margin: distance above which a negative pair costs nothing; unit vectors are at most 2 apart.
    """
    from pytorch_metric_learning.losses import ContrastiveLoss

    from mlbench_losses.library import LibraryLoss

    return LibraryLoss(ContrastiveLoss(pos_margin=pos_margin, neg_margin=neg_margin))


def supcon(*, temperature: _Positive = 0.1) -> LibraryLoss:
    """The supervised contrastive loss (arXiv:2004.11362, its L_out), of pytorch-metric-learning.

    Options
    -------
    temperature: what the cosines are divided by, > 0.
    """
    from pytorch_metric_learning.losses import SupConLoss

    from mlbench_losses.library import LibraryLoss

    return LibraryLoss(SupConLoss(temperature=temperature))


def proxy_anchor(
    num_classes: int, dim: int, *, margin: _NotNegative = 0.1, alpha: _Positive = 32.0
) -> LibraryLoss:
    """The proxy anchor loss (arXiv:2003.13911), of pytorch-metric-learning. It has a proxy for each class,
    which the paper trains at 100 times the rate (the recipe's centre_lr).

    Options
    -------
    margin: of the cosine, to both sides.
    alpha: sharpness.
    """
    from pytorch_metric_learning.losses import ProxyAnchorLoss

    from mlbench_losses.library import LibraryLoss

    loss = ProxyAnchorLoss(num_classes, dim, margin=margin, alpha=alpha)
    return LibraryLoss(loss, num_classes=num_classes)


def predict_triplet_pair(
    *, margin: float = 0.38, pair_weight: float = 0.25, triplets: _Triplets = "all"
) -> LossShape:
    """What `triplet_pair` would be."""
    return LossShape(needs=(*PAIRS, "triplets") if triplets == "rows" else PAIRS)


def predict_multi_similarity(
    *, alpha: float = 2.0, beta: float = 50.0, base: float = 0.5, epsilon: float | None = 0.1
) -> LossShape:
    """What `multi_similarity` would be."""
    return LossShape(needs=PAIRS)


def predict_contrastive(*, pos_margin: float = 0.0, neg_margin: float = 1.0) -> LossShape:
    """What `contrastive` would be."""
    return LossShape(needs=PAIRS)


def predict_supcon(*, temperature: float = 0.1) -> LossShape:
    """What `supcon` would be."""
    return LossShape(needs=PAIRS)


def predict_proxy_anchor(
    num_classes: int, dim: int, *, margin: float = 0.1, alpha: float = 32.0
) -> LossShape:
    """What `proxy_anchor` would be."""
    return LossShape(parameters=num_classes * dim)
