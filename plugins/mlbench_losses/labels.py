"""Check of labels for losses with weights for each class."""

from __future__ import annotations

import torch

from mlbench.plugin import TrainingError

__all__ = ["check_labels"]


def check_labels(labels: torch.Tensor, num_classes: int) -> None:
    """Raise TrainingError unless labels, (N,) integers, are in [0, num_classes).

    Only labels on the CPU are checked: reading them from a GPU would make every step wait for it.
    """
    if labels.device.type != "cpu" or not labels.numel():
        return
    low, high = (int(value) for value in labels.aminmax())
    if low < 0 or high >= num_classes:
        raise TrainingError(
            f"labels run from {low} to {high}; expected 0 to {num_classes - 1}, "
            f"as there are {num_classes} classes"
        )
