"""A loss of pytorch-metric-learning and an optional miner as one loss on a batch."""

from __future__ import annotations

import traceback
from typing import Any

import torch
from torch import nn

from mlbench.plugin import TrainingError
from mlbench_losses.labels import check_labels

__all__ = ["LibraryLoss"]

# Errors of the library for a batch or a miner that a loss cannot use.
_REFUSALS = (
    ArithmeticError,
    AssertionError,
    IndexError,
    KeyError,
    NotImplementedError,
    TypeError,
    ValueError,
)


class LibraryLoss(nn.Module):
    """A loss of pytorch-metric-learning on the pairs or triplets of a miner, or on all.

    Computes in float32 at least, under autocast too. The library's random draws come from torch's global
    generator. A batch without anything to compare has the loss 0. On a GPU, the library's search for pairs
    makes each step wait for the device.

    num_classes: number of classes that the loss has weights for, against which labels are checked; None if
    it has none.
    """

    def __init__(
        self, loss: nn.Module, miner: nn.Module | None = None, num_classes: int | None = None
    ) -> None:
        super().__init__()
        self.loss = loss
        self.miner = miner
        self.num_classes = num_classes

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """embeddings: (N, D) float, any length; labels: (N,) int64. Returns a scalar.

        Raises TrainingError for a batch that the loss cannot use."""
        if self.num_classes is not None:
            check_labels(labels, self.num_classes)
        with torch.autocast(embeddings.device.type, enabled=False):
            wide = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
            try:
                mined = self.miner(wide, labels) if self.miner is not None else None
                value: torch.Tensor = self.loss(wide, labels, mined)
            except _REFUSALS as error:
                name = type(self.loss).__name__
                raise TrainingError(
                    f"pytorch-metric-learning's {name} cannot take this batch: {_reason(error)}"
                ) from None
            self._detach_statistics()
            # Without pairs, the library's loss may not depend on the embeddings, or be the mean of no values.
            nothing = 0 * wide.sum()
            alone = (labels.sort().values.diff() != 0).all()
            return torch.where(alone & value.isnan(), nothing, value + nothing)

    def _detach_statistics(self) -> None:
        """Detach running statistics from this step's graph: DynamicSoftMarginLoss keeps them attached, and
        the next backward pass would go through this step again."""
        for module in self.loss.modules():
            for name, kept in list(vars(module).items()):
                if isinstance(kept, torch.Tensor):
                    setattr(module, name, kept.detach())


def _reason(error: BaseException) -> Any:
    """First line of the message, or the asserted expression of an assertion without a message."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else traceback.extract_tb(error.__traceback__)[-1].line
