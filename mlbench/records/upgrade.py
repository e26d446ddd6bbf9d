"""Upgrades of stored records, each from one schema to the next. The names in them are history: never change
them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["upgraded"]


def upgraded(data: Mapping[str, Any], schema: int) -> Mapping[str, Any]:
    """Stored data of a past schema as data of the current one."""
    for upgrade in (_from_1, _from_2, _from_3, _from_4, _from_5, _from_6)[schema - 1 :]:
        data = upgrade(data)
    return data


def _from_1(data: Mapping[str, Any]) -> dict[str, Any]:
    """Schema 1 stored metrics as bare numbers, and the threshold by the name of the only policy."""
    metrics = {
        {"f1_threshold": "threshold"}.get(name, name): (
            {"value": value, "unit": "distance", "higher_is_better": None}
            if name.endswith("threshold")
            else {"value": value}
        )
        for name, value in data.get("metrics", {}).items()
    }
    return {**data, "metrics": metrics}


def _from_2(data: Mapping[str, Any]) -> dict[str, Any]:
    """Schema 2 stored one speed, together with how it was measured."""
    old = dict(data.get("speed", {}))
    speed = {}
    if "images_per_second" in old:
        speed["images_per_second"] = {
            "value": old.pop("images_per_second"),
            "rounds": old.pop("rounds", ()),
            "unit": "images/s",
            "note": old.pop("error", ""),
        }
    return {**data, "speed": speed, "measured": old}


def _from_3(data: Mapping[str, Any]) -> dict[str, Any]:
    """Schema 3 stored one reference for all speeds, as one of the speeds."""
    speed = dict(data.get("speed", {}))
    reference = speed.pop("reference", {}).get("rounds", ())
    on_cpu = str(data.get("environment", {}).get("device", "cpu")) == "cpu"
    # ONNX Runtime always runs on the CPU; the reference ran on the case's device.
    beside = {name: reference if on_cpu or not name.startswith("onnx") else () for name in speed}
    speed = {name: {**each, "reference": beside[name]} for name, each in speed.items()}
    return {**data, "speed": speed}


def _from_4(data: Mapping[str, Any]) -> dict[str, Any]:
    """Schema 4 had no field for conditions; those known are copied from other fields."""
    environment = data.get("environment", {})
    kind = str(environment.get("device", "")).partition(":")[0]
    found = {
        "data": data.get("data", {}).get("version"),
        "libraries": environment.get("libraries"),
        "device": f"{kind} {environment.get('device_product', '')}" if kind else None,
        "threads": environment.get("threads") if kind == "cpu" else None,
    }
    conditions = {name: value for name, value in found.items() if value is not None}
    return {**data, "conditions": conditions}


#: Heading of each metric that had a column up to schema 5, and whether it was a headline, in their order.
_HEADINGS_UNTIL_5 = {
    "pair_list_accuracy": ("accuracy (pair list)", True),
    "recall_at_1": ("Recall@1", True),
    "f1": ("F1", True),
    "threshold": ("at distance", False),
    "map_at_r": ("MAP@R", False),
    "precision": ("precision", False),
    "recall": ("recall", False),
    "f1_optimistic": ("F1 optimistic", False),
}


def _from_5(data: Mapping[str, Any]) -> dict[str, Any]:
    """Schema 5 stored no headings: the program had a list of them."""
    metrics = data.get("metrics", {})
    ordered = {name: metrics[name] for name in (*_HEADINGS_UNTIL_5, *metrics) if name in metrics}
    for name, (heading, headline) in _HEADINGS_UNTIL_5.items():
        if name in ordered:
            ordered[name] = {**ordered[name], "heading": heading, "headline": headline}
    return {**data, "metrics": ordered}


def _from_6(data: Mapping[str, Any]) -> dict[str, Any]:
    """Schema 6 had notes on disturbed measurements; they follow from the speeds."""
    measured = dict(data.get("measured", {}))
    if "quiet" in measured:
        measured["reference_minimum"] = measured.pop("quiet")
    notes = [
        each for each in data.get("notes", ()) if not each.startswith("measured on a disturbed machine: ")
    ]
    return {**data, "measured": measured, "notes": notes}
