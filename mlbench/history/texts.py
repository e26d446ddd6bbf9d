"""Texts of a history: values, differences, names of quantities."""

from __future__ import annotations

from mlbench.history.moves import Move
from mlbench.history.runs import Run
from mlbench.history.series import Series
from mlbench.records.report import metric_text
from mlbench.regression.change import Verdict

__all__ = [
    "change_text",
    "counted",
    "day_text",
    "interval_text",
    "noise_text",
    "quantity_text",
    "run_text",
    "scaled",
    "unit_text",
    "value_text",
    "verdict_text",
]

#: Names of units that are divided for readers: the divisor and the new name.
_UNITS = {"bytes": (1e6, "MB")}


def quantity_text(series: Series) -> str:
    """A quantity by the name that suites and comparisons use, in words: "images per second"."""
    return series.heading or series.name.replace("_", " ")


def unit_text(series: Series) -> str:
    """The unit of the values of `value_text`; "" where there is none."""
    return _UNITS.get(series.unit, (1.0, series.unit))[1]


def scaled(series: Series, value: float) -> float:
    """The value in the unit of `unit_text`."""
    return value / _UNITS.get(series.unit, (1.0, ""))[0]


def value_text(series: Series, value: float) -> str:
    """A value without its unit."""
    if series.group == "metrics":
        return metric_text(value, 4)
    shown = scaled(series, value)
    return f"{shown:,.0f}" if shown >= 1000 or shown == int(shown) else f"{shown:.4g}"


def change_text(series: Series, move: Move) -> str:
    """The difference: of metrics in their unit, else as a share."""
    if series.group == "metrics" or move.relative is None:
        return _signed(series, move.step.after - move.step.before, move.step.before)
    return f"{move.relative:+.1%}"


def interval_text(series: Series, move: Move) -> str:
    """The interval of the difference in the same form; "" where it has no width."""
    if move.low == move.high:
        return ""
    before = move.step.before
    if series.group == "metrics" or move.relative is None:
        ends = [_signed(series, each, before) for each in (move.low, move.high)]
    else:
        ends = [f"{each / before:+.1%}" for each in (move.low, move.high)]
    return f"{ends[0]} to {ends[1]}"


def noise_text(series: Series) -> str:
    """The noise from run to run; "" where there is none to speak of."""
    if series.group == "size" or len(series.points) < 2:
        return ""
    if series.group == "metrics":
        return metric_text(series.noise, 4) if series.noise else "0"
    return f"{series.noise:.1%}"


def verdict_text(verdict: Verdict | None, tolerance: float) -> str:
    """The verdict on a move in words."""
    if verdict is None:
        return "changed"
    if verdict is Verdict.SAME:
        return "within the tolerance" if tolerance else "same"
    return "seeds do not agree" if verdict is Verdict.INCONCLUSIVE else verdict.value


def day_text(run: Run) -> str:
    """When a run was finished: "2026-01-04 13:05" (UTC)."""
    return run.finished[:16].replace("T", " ")


def run_text(run: Run) -> str:
    """A run by its revision, else by its time."""
    return run.label or day_text(run)


def _signed(series: Series, value: float, like: float) -> str:
    if series.group == "metrics":
        text = metric_text(abs(value), 4, like=like or None)
    else:
        text = value_text(series, abs(value))
    return f"{'-' if value < 0 else '+'}{text}"


def counted(count: int, noun: str) -> str:
    """A number with its noun: "1 case", "2 cases", "2 series"."""
    return f"{count} {noun}{'' if count == 1 or noun.endswith('s') else 's'}"
