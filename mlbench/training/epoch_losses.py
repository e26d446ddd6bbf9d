"""The losses of an epoch, step by step."""

from __future__ import annotations

from collections.abc import Mapping

import torch

__all__ = ["EpochLosses"]


class EpochLosses:
    """The losses of the steps of one epoch. They are read once, as a GPU would have to wait for every value
    that is read."""

    def __init__(self, so_far: Mapping[str, torch.Tensor] | None = None) -> None:
        """so_far: the steps before, as `read` returned them."""
        self._so_far = dict(so_far or {})
        self._steps: dict[str, list[torch.Tensor]] = {}

    def add(self, loss: torch.Tensor, values: Mapping[str, torch.Tensor]) -> None:
        """Add a step: what was minimised, and its parts (see `Objective.values`); detached scalars."""
        # One part is the loss itself, up to its weight.
        for name, value in {"loss": loss, **(values if len(values) > 1 else {})}.items():
            self._steps.setdefault(name, []).append(value)

    def read(self) -> dict[str, torch.Tensor]:
        """ "loss", and each part by name: (steps,) float32 on the CPU; empty before the first step."""
        if not self._steps:
            return dict(self._so_far)
        together = torch.cat([torch.stack(values).float() for values in self._steps.values()]).cpu()
        parts = torch.split(together, [len(values) for values in self._steps.values()])
        found = dict(zip(self._steps, parts, strict=True))
        if not self._so_far:
            return found
        return {name: torch.cat([self._so_far[name], values]) for name, values in found.items()}
