"""A loss of pytorch-metric-learning, and a miner, as one loss on a batch."""

from __future__ import annotations

import traceback
from typing import Any

import torch
from torch import nn

from mlbench.errors import TrainingError
from mlbench_losses.labels import check_labels

__all__ = ["LibraryLoss"]

# What the library raises for a batch or a miner that a loss cannot take.
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
    """A loss of pytorch-metric-learning, fed by a miner if there is one.

    Computes in float32 at least, under autocast too. What the library draws at random it draws from torch's
    global generator. A batch in which it finds nothing to compare has the loss 0. On a GPU, finding the pairs
    makes each step wait for the device, as the library does it.

    num_classes: rows that the loss has for classes, for which labels are checked; None if it has none.
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

        Raises TrainingError for a batch that the loss cannot take."""
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
            self._let_go()
            # A loss that found nothing may be no function of the embeddings, or the mean of nothing.
            nothing = 0 * wide.sum()
            alone = (labels.sort().values.diff() != 0).all()
            return torch.where(alone & value.isnan(), nothing, value + nothing)

    def _let_go(self) -> None:
        """Cut running statistics off from this step: DynamicSoftMarginLoss keeps them with their graph, so
        that the next backward pass would go through this step again."""
        for module in self.loss.modules():
            for name, kept in list(vars(module).items()):
                if isinstance(kept, torch.Tensor):
                    setattr(module, name, kept.detach())


def _reason(error: BaseException) -> Any:
    """The message's first line; of an assertion without one, what it asserts."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else traceback.extract_tb(error.__traceback__)[-1].line
