"""Seconds of the reference workload on an undisturbed machine: the minimum over all processes, in the cache.

The minimum of a single process is not enough: the machine may be disturbed during its whole run. Since a
machine may also become slower for good, a process that never gets near the stored minimum raises it by 2 %.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlbench.atomic_write import write_atomically
from mlbench.environment import cache_dir
from mlbench.errors import StoreError

__all__ = ["ReferenceMinimum"]

#: Factor by which a process raises the stored minimum; ten processes raise it by a fifth.
_RAISE = 1.02


class ReferenceMinimum:
    """The minimum of the seconds of the reference workload.

    facts: machine, device, threads and version of the workload, as plain JSON data; each combination has its
    own minimum. seconds: the minimum, infinite if unknown.
    """

    def __init__(self, facts: Mapping[str, Any]) -> None:
        name = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
        self._path = cache_dir() / "reference" / f"{name}.json"
        self._facts = facts
        self.seconds = _read(self._path)

    def observe(self, seconds: float) -> None:
        """Store a time if it is the minimum."""
        if seconds < self.seconds:
            self.seconds = min(seconds, _read(self._path))  # another process may have stored less
            self._store(self.seconds)

    def raise_slightly(self) -> None:
        """Raise the stored minimum by 2 %, once; `seconds` stays."""
        if _read(self._path) == self.seconds:
            self._store(self.seconds * _RAISE)

    def _store(self, seconds: float) -> None:
        # If the cache cannot be written, nothing is stored.
        with contextlib.suppress(StoreError):
            write_atomically(self._path, json.dumps({**self._facts, "seconds": seconds}).encode())


def _read(path: Path) -> float:
    """Seconds stored in a file; infinite if there are none."""
    try:
        seconds = float(json.loads(path.read_bytes())["seconds"])
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return float("inf")
    return seconds if seconds > 0 else float("inf")
