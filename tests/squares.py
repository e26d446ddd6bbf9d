"""Work for `mlbench.jobs.Jobs` in tests, importable by its processes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from mlbench.errors import StoreError


def squared(item, device: str, send) -> tuple[int, str]:
    """A square. -1 ends the process, -2 is a full disk, -3 ends the parent."""
    send(("started", item))
    if item == -1:
        os.kill(os.getpid(), signal.SIGKILL)
    if item == -2:
        raise StoreError("disk full")
    if item == -3:
        Path(device).write_text(str(os.getpid()))
        os.kill(os.getppid(), signal.SIGKILL)
        signal.pause()
    return item**2, device
