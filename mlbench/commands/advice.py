"""Advice: the predicted cost of a class-centre sampler on this machine, as a table and as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mlbench.contracts import Advice
from mlbench.contracts.options import HeadContext
from mlbench.errors import ComponentError
from mlbench.table import Table

if TYPE_CHECKING:
    from mlbench.registry import Registry

__all__ = ["advice_json", "advice_table", "advise"]


def advise(
    registry: Registry, name: str, *, num_classes: int, dim: int, batch_size: int, rate: float | None
) -> Advice:
    """The advice of the sampler with that name; a dash is read as an underscore.

    Raises ComponentError when there is no such sampler or it has no advice, OptionError for a wrong rate.
    """
    entry = registry.get("sampler", name.replace("-", "_"))
    options = {} if rate is None else {"rate": rate}
    advice: Advice | None = entry.make(options).advise(HeadContext(num_classes, dim, batch_size))
    if advice is None:
        raise ComponentError(f"{entry} has no advice; it is for samplers of class centres such as partial_fc")
    return advice


def advice_table(advice: Advice) -> Table:
    """One row per choice, with its speed relative to the first."""
    first = advice.choices[0]
    rows = [
        (
            choice.name,
            f"{choice.sampled:,}",
            f"{choice.bytes / 1e9:.2f}",
            f"{1000 * choice.seconds:.1f}",
            f"{first.seconds / choice.seconds:.1f} x",
        )
        for choice in advice.choices
    ]
    headings = ("head", "centres in a step", "GB", "ms a step", "speed")
    return Table(headings, rows, numbers=headings[1:])


def advice_json(advice: Advice) -> str:
    """The advice as JSON."""
    data = {**advice._asdict(), "choices": [choice._asdict() for choice in advice.choices]}
    return json.dumps(data, indent=1)
