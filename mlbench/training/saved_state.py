"""The state of an unfinished training in a file, from which another process goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mlbench.atomic_write import write_atomically
from mlbench.errors import StoreError, first_line
from mlbench.records.store import UNFINISHED

__all__ = ["SavedState"]

#: Version of the form of the file. A state of another version is not used.
_VERSION = 1


class SavedState:
    """The file of a case's unfinished training, written every few minutes.

    fingerprint: of the case; a state of another one is not used. minutes: between two saves, 0 for none.
    notes: on states that could not be used or written."""

    def __init__(
        self, folder: Path, fingerprint: str, minutes: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.path = folder / UNFINISHED
        self.notes: list[str] = []
        self._fingerprint = fingerprint
        self._minutes = minutes
        self._clock = clock
        self._saved = clock()

    def read(self) -> Mapping[str, Any] | None:
        """The state, its tensors on the CPU; None where there is none that can be used."""
        if not self.path.is_file():
            return None
        try:
            # Only tensors and plain data are read: a file cannot run code.
            found = torch.load(self.path, map_location="cpu", weights_only=True)
            if (found["version"], found["fingerprint"]) != (_VERSION, self._fingerprint):
                return None
            state: Mapping[str, Any] = found["state"]
        # torch raises errors of many types for damaged files.
        except Exception as error:
            self.notes.append(
                f"{self.path}: cannot be read ({first_line(error)}); the case was trained from the start"
            )
            return None
        return state

    def due(self) -> bool:
        """Whether the state is to be saved now."""
        return bool(self._minutes) and self._clock() - self._saved >= 60 * self._minutes

    def write(self, state: Mapping[str, Any]) -> None:
        """Replace the file, atomically. A full disk ends the saving, with a note, and not the training."""
        data = {"version": _VERSION, "fingerprint": self._fingerprint, "state": state}
        try:
            # Saved without a copy in memory, as class centres may be large.
            write_atomically(self.path, partial(torch.save, data))
        except StoreError as error:
            self._minutes = 0
            self.notes.append(f"the state of training is no longer saved: {error}")
        self._saved = self._clock()
