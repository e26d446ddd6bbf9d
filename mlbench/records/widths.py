"""Metrics of nested widths in records: their names, and the record of a model that is cut to a width."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mlbench.contracts import Quantity
from mlbench.records.record import Estimate, Record

__all__ = ["at_width", "cut_record", "nested_estimates", "nested_quantities", "widths_of"]


def at_width(name: str, width: int) -> str:
    """Name of a metric, or of a loss, of the first `width` numbers of the embeddings: "recall_at_1@32"."""
    return f"{name}@{width}"


def nested_quantities(quantities: Mapping[str, Quantity], width: int) -> dict[str, Quantity]:
    """The quantities at a nested width: without columns of their own, and without a tolerance by default."""
    return {
        at_width(name, width): replace(each, heading="", headline=False, tolerance=None)
        for name, each in quantities.items()
    }


def nested_estimates(estimates: Mapping[str, Estimate], width: int) -> dict[str, Estimate]:
    """The estimates at a nested width, with the fields of `nested_quantities`."""
    return {
        at_width(name, width): replace(each, heading="", headline=False, tolerance=None)
        for name, each in estimates.items()
    }


def widths_of(record: Record) -> tuple[int, ...]:
    """The widths of a record's case, rising, the whole one last; () without nested widths."""
    return tuple(record.settings.get("widths") or ())


def cut_record(record: Record, width: int) -> Record:
    """The record with the metrics and the threshold of a nested width in place of those of the whole."""
    metrics = {}
    for name, whole in record.metrics.items():
        if (found := record.metrics.get(at_width(name, width))) is not None:
            announced = {each: getattr(whole, each) for each in ("heading", "headline", "tolerance")}
            metrics[name] = replace(found, **announced)
    inner = record.evaluation.get("widths", {}).get(str(width), {})
    return replace(record, metrics=metrics, evaluation={**record.evaluation, **inner})
