"""What the reference workload takes on this machine when nothing disturbs it.

One process may lie whole in a bad minute of a shared machine and cannot know it: the least seconds of all
processes are kept in the user's cache. The machine may become a slower one, too: a process that waited for
quiet in vain leaves a little more.
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

__all__ = ["DISTURBED", "Quiet"]

#: A machine counts as disturbed when the reference workload takes so many times what it takes in quiet.
DISTURBED = 1.15

#: So many times as much is left by a process that waited in vain: ten of them add a fifth.
_DOUBT = 1.02


class Quiet:
    """The least seconds of the reference workload; infinite where none are known. facts: what they depend on,
    as plain JSON data: the machine, its device, threads, version of the work."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        name = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
        self._path = cache_dir() / "reference" / f"{name}.json"
        self._facts = facts
        self.seconds = _read(self._path)

    def hear(self, seconds: float) -> None:
        """Keep a time, if it is the least."""
        if seconds < self.seconds:
            self.seconds = min(seconds, _read(self._path))  # which another process may have changed
            self._keep(self.seconds)

    def doubt(self) -> None:
        """Leave a little more to other processes; saying it again changes nothing."""
        if _read(self._path) == self.seconds:
            self._keep(self.seconds * _DOUBT)

    def _keep(self, seconds: float) -> None:
        # A cache that cannot be written keeps nothing.
        with contextlib.suppress(StoreError):
            write_atomically(self._path, json.dumps({**self._facts, "seconds": seconds}).encode())


def _read(path: Path) -> float:
    """Seconds that are kept in a file."""
    try:
        seconds = float(json.loads(path.read_bytes())["seconds"])
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return float("inf")
    return seconds if seconds > 0 else float("inf")
