"""Peak memory of this process and of a GPU, above the use at the start."""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path

import torch

__all__ = ["OUT_OF_MEMORY", "Peak", "is_out_of_memory"]

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")

#: Messages of out-of-memory errors in libraries that have no error type for them.
OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "failed to allocate memory",
    "not enough memory",
    "bad_alloc",
)


class Peak:
    """Peak memory since `restart`, or since the object was made, above the use at the time it was made."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device if device.type == "cuda" else None
        self._host = _resident("VmRSS")
        self._device = torch.cuda.memory_allocated(device) if self._cuda is not None else 0
        self.restart()

    def restart(self) -> None:
        """Reset the peak."""
        if self._cuda is not None:
            torch.cuda.reset_peak_memory_stats(self._cuda)
        # Resets the kernel's high-water mark. On other systems, or without permission, the peak includes
        # earlier use.
        with contextlib.suppress(OSError):
            _CLEAR.write_text("5")

    def bytes(self) -> dict[str, int]:
        """Peaks by name: "peak_host", and "peak_cuda" on a GPU."""
        found = {}
        high = _resident("VmHWM")
        if high is not None and self._host is not None:
            found["peak_host"] = max(high - self._host, 0)
        if self._cuda is not None:
            found["peak_cuda"] = torch.cuda.max_memory_allocated(self._cuda) - self._device
        return found


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is an out-of-memory error of Python, torch or ONNX Runtime."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(text in str(error).lower() for text in OUT_OF_MEMORY)


def _resident(field: str) -> int | None:
    """Resident bytes of this process, now ("VmRSS") or at their peak ("VmHWM"); None if unknown."""
    try:
        found = re.search(rf"^{field}:\s*(\d+) kB", _STATUS.read_text(), re.MULTILINE)
    except OSError:
        found = None
    if found:
        return int(found[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
