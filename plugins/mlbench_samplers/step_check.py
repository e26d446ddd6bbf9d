"""Refusal of a step whose labels or numbers cannot be used."""

from __future__ import annotations

from typing import NamedTuple, NoReturn

import torch

from mlbench.plugin import TrainingError

__all__ = ["StepCheck"]


class StepCheck(NamedTuple):
    """What the messages say of a step. counts: number of each rank's examples."""

    step: int
    num_classes: int
    sampled: int
    counts: list[int]

    def where(self, rank: int) -> str:
        return f"step {self.step}{f', rank {rank}' if len(self.counts) > 1 else ''}"

    def refuse(
        self, usable: torch.Tensor, embeddings: torch.Tensor, labels: torch.Tensor, *numbers: torch.Tensor
    ) -> None:
        """Raise TrainingError unless `usable`, a boolean scalar, is true and `numbers`, the loss and others
        that follow from it, are finite. Waits once for a GPU.

        embeddings, labels: of all ranks; looked at for the message. Labels are not usable where one of them
        is not among the sampled classes, or the ranks sampled different classes.
        """
        if not bool(torch.stack(numbers).isfinite().all() & usable):
            self._raise(usable, embeddings, labels, numbers[0])

    def _raise(
        self, usable: torch.Tensor, embeddings: torch.Tensor, labels: torch.Tensor, loss: torch.Tensor
    ) -> NoReturn:
        for rank, own in enumerate(torch.split(labels, self.counts)):
            low, high = (int(end) for end in own.aminmax()) if len(own) else (0, 0)
            if low < 0 or high >= self.num_classes:
                raise TrainingError(
                    f"{self.where(rank)}: labels run from {low} to {high}; expected 0 to "
                    f"{self.num_classes - 1}, as there are {self.num_classes} classes"
                )
        if (different := len(set(labels.tolist()))) > self.sampled:
            raise TrainingError(
                f"step {self.step}: the batch holds {different} different labels, more than the "
                f"{self.sampled} centres of a step; raise the sampler's rate (or centres), or use sampler all"
            )
        if not bool(usable):
            raise TrainingError(
                f"step {self.step}: the ranks chose different classes; they need one seed and GPU model"
            )
        what = "gradient of the centres is" if loss.isfinite() else f"loss is {loss.item()}:"
        if not bool(embeddings.isfinite().all()):
            what = "embeddings are"
        raise TrainingError(
            f"step {self.step}: the {what} not finite; the weights are those of the step before; "
            "lower recipe.lr, or set recipe.clip_norm"
        )
