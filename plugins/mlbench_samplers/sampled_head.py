"""The loss of a batch and its gradients, by the products that suit the loss."""

from __future__ import annotations

import torch

from mlbench.plugin import CentreLoss
from mlbench_samplers.centre_products import CentreProducts
from mlbench_samplers.cross_entropy import cross_entropy
from mlbench_samplers.process_ranks import ProcessRanks
from mlbench_samplers.target_entropy import HeadGradients, changes_targets_only, target_entropy

__all__ = ["sampled_head"]


def sampled_head(
    products: CentreProducts,
    centres: torch.Tensor,
    units: torch.Tensor,
    norms: torch.Tensor,
    rows: torch.Tensor,
    targets: torch.Tensor,
    loss: CentreLoss,
    *,
    trained: tuple[torch.Tensor, ...],
    ranks: ProcessRanks,
    wanted: bool,
) -> HeadGradients:
    """Mean cross entropy over the examples of all ranks and, if `wanted`, its gradients.

    centres: (C, centres_per_class, dim). units: (N, dim), embeddings of unit length, and norms: (N,), their
    lengths. rows: (K,) int64, sampled classes. targets: (N,) int64 in [0, K), or -1. trained: parameters of
    the loss.
    """
    each, flat = centres.shape[1], centres.flatten(0, 1)
    if changes_targets_only(loss):
        return target_entropy(
            products, flat, units, norms, rows, targets, loss, trained=trained, ranks=ranks, wanted=wanted
        )
    if each > 1:
        rows = (rows.unsqueeze(1) * each + torch.arange(each, device=rows.device)).flatten()
    cosines, inverse = products.cosines(flat, units, rows)
    # Overwritten with the gradient by the cosines.
    value, by_norms, by_trained = cross_entropy(
        cosines.view(len(units), -1, each), targets, norms, loss, trained=trained, ranks=ranks, wanted=wanted
    )
    if not wanted:
        return HeadGradients(value)
    by_units = products.pull(flat, cosines, rows)
    by_centres, square = products.gradient(flat, units, rows, cosines, inverse)
    return HeadGradients(value, by_centres, square, by_units, by_norms, tuple(by_trained))
