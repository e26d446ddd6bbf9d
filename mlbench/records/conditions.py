"""Conditions: what can change a result besides settings and seed, and their differences between records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["condition_changes"]

#: Names of conditions whose values are hashes and not shown.
_HASHES = {"weights": "initial weights", "core": "code of mlbench", "code": "code of components"}


def condition_changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Each condition that differs, as text (see `mlbench.records.record.Record`).

    A condition that one side lacks, as in records of an old schema, counts as equal. Versions of data are
    left out, as results on different data cannot be compared.
    """
    for name, was in then.items():
        value = now.get(name)
        if name == "data" or value is None or was is None or value == was:
            continue
        if name in ("libraries", "component_libraries"):
            for library in sorted(was.keys() & value.keys()):
                if was[library] != value[library]:
                    yield f"{library} ({was[library]} then, {value[library]} now)"
        elif name == "code" and then.get("core") != now.get("core"):
            continue  # the hash of the components' code covers the core's
        elif name == "weights" and not value:
            yield "initial weights (the current ones are not on this machine)"
        elif name in _HASHES:
            yield _HASHES[name]
        else:
            advice = "; see OMP_NUM_THREADS" if name == "threads" else ""
            yield f"{name} ({was} then, {value} now{advice})"
