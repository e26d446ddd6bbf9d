"""Losses on pairs and triplets of embeddings, and on proxies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from mlbench.plugin import LossContext, LossOptions, LossShape
from mlbench_losses.needs import PAIRS

if TYPE_CHECKING:
    import torch

    from mlbench_losses.library import LibraryLoss

__all__ = ["Contrastive", "MultiSimilarity", "ProxyAnchor", "SupCon", "TripletPair"]

_Positive = Annotated[float, Field(gt=0)]
_NotNegative = Annotated[float, Field(ge=0)]


class _OnPairs(LossOptions):
    """Options of a loss on the pairs of a batch."""

    def predict(self, context: LossContext) -> LossShape:
        return LossShape(needs=PAIRS)


class TripletPair(_OnPairs):
    """Triplet loss with a term that pulls positive pairs together (arXiv:1503.03832 has the first term).

        loss = mean of max(0, d_ap - d_an + margin) + pair_weight * mean of d_ap

    d = 1 - cosine, in [0, 2], between an anchor a and its positive p (same label) or negative n (another
    label).

    A batch without a triplet has the loss 0. Computes in float32 at least, under autocast too."""

    margin: _NotNegative = 0.38
    """How much farther than the positive the negative must be, in units of 1 - cosine."""
    pair_weight: _NotNegative = 0.25
    """Weight of the second term; 0 for the triplet loss alone."""
    triplets: Literal["rows", "all", "hard"] = "all"
    """all: every triplet of the batch, both means are over triplets; hard: farthest positive and nearest
    negative of each image that has both (Hermans et al., arXiv:1703.07737); rows: rows 3i, 3i + 1 and 3i + 2
    are anchor, positive and negative."""

    def predict(self, context: LossContext) -> LossShape:
        return LossShape(needs=(*PAIRS, "triplets") if self.triplets == "rows" else PAIRS)

    def build(self, context: LossContext) -> TripletPair:
        return self

    def __call__(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """embeddings: (N, D) float, any length; labels: (N,) int64. Returns a scalar.

        Raises TrainingError for rows that are not triplets. Their labels are checked on the CPU only, because
        reading them from a GPU would make every step wait for it."""
        from mlbench_losses.triplet import triplet_pair_loss

        return triplet_pair_loss(embeddings, labels, self.margin, self.pair_weight, self.triplets)


class MultiSimilarity(_OnPairs):
    """The multi-similarity loss with its pair mining (Wang et al., arXiv:1904.06627), of
    pytorch-metric-learning.

        loss = 1 / alpha * log(1 + sum over p of exp(-alpha * (s_p - base)))
             + 1 / beta  * log(1 + sum over n of exp(beta * (s_n - base)))

    s_p, s_n: cosines of an image to its positives and negatives. Those count with s_p below the largest
    s_n + epsilon, and with s_n above the smallest s_p - epsilon. A mean over the batch.
    """

    alpha: _Positive = 2.0
    """Sharpness for positive pairs."""
    beta: _Positive = 50.0
    """Sharpness for negative pairs."""
    base: float = 0.5
    """Cosine that separates positive from negative pairs (lambda in the paper)."""
    epsilon: _NotNegative | None = 0.1
    """Pairs count that are less than this beyond the hardest cosine of the other kind; null for all pairs."""

    def build(self, context: LossContext) -> LibraryLoss:
        from pytorch_metric_learning.losses import MultiSimilarityLoss
        from pytorch_metric_learning.miners import MultiSimilarityMiner

        from mlbench_losses.library import LibraryLoss

        return LibraryLoss(
            MultiSimilarityLoss(alpha=self.alpha, beta=self.beta, base=self.base),
            MultiSimilarityMiner(epsilon=self.epsilon) if self.epsilon is not None else None,
        )


class Contrastive(_OnPairs):
    """The contrastive loss (Hadsell et al., 2006) of pytorch-metric-learning, on distances that are not
    squared.

        loss = mean of max(0, d_p - pos_margin) + mean of max(0, neg_margin - d_n)

    d_p, d_n: Euclidean distances of the unit vectors of positive and of negative pairs. Each mean is over the
    pairs for which it is above 0.
    """

    pos_margin: _NotNegative = 0.0
    """Distance below which a positive pair has the loss 0."""
    neg_margin: _NotNegative = 1.0
    """Distance above which a negative pair has the loss 0; unit vectors are at most 2 apart."""

    def build(self, context: LossContext) -> LibraryLoss:
        from pytorch_metric_learning.losses import ContrastiveLoss

        from mlbench_losses.library import LibraryLoss

        return LibraryLoss(ContrastiveLoss(pos_margin=self.pos_margin, neg_margin=self.neg_margin))


class SupCon(_OnPairs):
    """The supervised contrastive loss (Khosla et al., arXiv:2004.11362, its L_out), of
    pytorch-metric-learning.

        loss = -mean over p of log(exp(s_p / T) / sum over a of exp(s_a / T))

    s_p: cosines of an image to its positives; s_a: to all other images of the batch; T: temperature. A mean
    over the images for which it is above 0.
    """

    temperature: _Positive = 0.1
    """Divisor of the cosines."""

    def build(self, context: LossContext) -> LibraryLoss:
        from pytorch_metric_learning.losses import SupConLoss

        from mlbench_losses.library import LibraryLoss

        return LibraryLoss(SupConLoss(temperature=self.temperature))


class ProxyAnchor(LossOptions):
    """The proxy anchor loss (Kim et al., arXiv:2003.13911), of pytorch-metric-learning. It has a proxy for
    each class, which the paper trains at 100 times the learning rate (the recipe's centre_lr).

        loss = mean over B of log(1 + sum over P of exp(-alpha * (s - margin)))
             + mean over C of log(1 + sum over N of exp(alpha * (s + margin)))

    s: cosine of an embedding to the proxy of a class. C: all classes; B: those in the batch; P: images of the
    class; N: of other classes.
    """

    margin: _NotNegative = 0.1
    """Margin of the cosine, for positive and for negative pairs."""
    alpha: _Positive = 32.0
    """Sharpness."""

    def predict(self, context: LossContext) -> LossShape:
        return LossShape(parameters=context.num_classes * context.dim)

    def build(self, context: LossContext) -> LibraryLoss:
        from pytorch_metric_learning.losses import ProxyAnchorLoss

        from mlbench_losses.library import LibraryLoss

        loss = ProxyAnchorLoss(context.num_classes, context.dim, margin=self.margin, alpha=self.alpha)
        return LibraryLoss(loss, num_classes=context.num_classes)
