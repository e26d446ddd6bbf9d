"""The losses of an epoch, step by step."""

from __future__ import annotations

from collections.abc import Mapping

import torch

__all__ = ["EpochLosses"]


class EpochLosses:
    """The losses of the steps of one epoch. They are read once, as a GPU would have to wait for every value
    that is read."""

    def __init__(self) -> None:
        self._steps: dict[str, list[torch.Tensor]] = {"loss": []}

    def add(self, loss: torch.Tensor, values: Mapping[str, torch.Tensor]) -> None:
        """Add a step: what was minimised, and its parts (see `Objective.values`); detached scalars."""
        # One part is the loss itself, up to its weight.
        for name, value in {"loss": loss, **(values if len(values) > 1 else {})}.items():
            self._steps.setdefault(name, []).append(value)

    def read(self) -> dict[str, torch.Tensor]:
        """ "loss", and each part by name: (steps,) float32 on the CPU."""
        together = torch.cat([torch.stack(values).float() for values in self._steps.values()]).cpu()
        parts = torch.split(together, [len(values) for values in self._steps.values()])
        return dict(zip(self._steps, parts, strict=True))
