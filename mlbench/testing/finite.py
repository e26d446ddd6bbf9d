"""The check that values are finite, before other checks compare them."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from mlbench.testing.check import expect

__all__ = ["expect_finite"]


def expect_finite(what: str, values: torch.Tensor | Iterable[torch.Tensor | None]) -> None:
    """Raise AssertionError unless all values are finite: NaN differs from itself, so that a comparison would
    find a fault that is not there. what: the values in the singular, such as "the output"."""
    tensors = [values] if isinstance(values, torch.Tensor) else [each for each in values if each is not None]
    expect(
        all(torch.isfinite(each).all() for each in tensors),
        f"{what} is not finite; clamp before divisions, roots, logarithms and exponentials",
    )
