"""Paths of options: "inner.margin" is the option `margin` of the component that the option `inner` is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["spelt_out", "with_value"]


def with_value(options: Any, keys: Sequence[str], value: Any) -> Any:
    """A copy of options, as a suite gives them, in which the option at a path of inner components has a
    value; None where the path leads to no component.

    A part of an option that a named component does not have here is left to it as a path (see `spelt_out`).
    """
    key, *rest = keys
    if isinstance(options, list | tuple) and key.isdigit() and int(key) < len(options):
        inner = with_value(options[int(key)], rest, value) if rest else value
        return None if inner is None else [*options[: int(key)], inner, *options[int(key) + 1 :]]
    options = {"name": options} if isinstance(options, str) else options
    if not isinstance(options, Mapping):
        return None
    if not rest:
        return {**options, key: value}
    inner = with_value(options.get(key), rest, value)
    if inner is not None:
        return {**options, key: inner}
    return {**options, ".".join(keys): value} if "name" in options else None


def spelt_out(options: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a component without paths: each that sets a part of an option becomes the whole option,
    or its default, with that part changed. A path that leads to no component stays.

    defaults: of all options that have one, by name."""
    found = {name: value for name, value in options.items() if "." not in name}
    for path in options.keys() - found.keys():
        name, *rest = path.split(".")
        whole = with_value(found.get(name, defaults.get(name)), rest, options[path])
        found |= {path: options[path]} if whole is None else {name: whole}
    return found
