"""Margins that grow with the length of the embedding."""

from __future__ import annotations

import torch

from mlbench_losses.arcface import sines_of

__all__ = ["add_margins", "lengths_term"]


def add_margins(cosines: torch.Tensor, margins: torch.Tensor, *, easy: bool) -> torch.Tensor:
    """cos(t + margin) of cosines cos(t), float32 or float64, with a margin in [0, pi/2] for each; both (N,).

    easy: angles above pi/2 have no margin. Otherwise cos(t) - margin * sin(margin) where t + margin is above
    pi, as in `mlbench_losses.arcface.guarded`. The margins have gradients.
    """
    turned = cosines * margins.cos() - sines_of(cosines) * margins.sin()
    if easy:
        return torch.where(cosines > 0, turned, cosines)
    return torch.where(cosines >= -margins.cos(), turned, cosines - margins * margins.sin())


def lengths_term(lengths: torch.Tensor, longest: float) -> torch.Tensor:
    """The mean of a / longest^2 + 1 / a over lengths a (N,), positive; each is lowest at a = longest."""
    return (lengths / longest**2 + 1 / lengths).mean()
