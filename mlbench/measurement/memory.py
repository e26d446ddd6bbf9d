"""Peak memory of this process and of a GPU, above what was in use before."""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path

import torch

__all__ = ["OUT_OF_MEMORY", "Peak", "is_out_of_memory"]

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")

#: How libraries that have no type of error for it say that memory ran out.
OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "failed to allocate memory",
    "not enough memory",
    "bad_alloc",
)


class Peak:
    """The highest use of memory since this was made, or since `restart`, above the use when it was made."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device if device.type == "cuda" else None
        self._host = _resident("VmRSS")
        self._device = torch.cuda.memory_allocated(device) if self._cuda is not None else 0
        self.restart()

    def restart(self) -> None:
        """Forget higher use so far."""
        if self._cuda is not None:
            torch.cuda.reset_peak_memory_stats(self._cuda)
        # Sets the kernel's high-water mark back. Where it is not Linux, or is not allowed, what came before
        # counts too.
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
    """Whether an error says that memory ran out. Of those without a type for it, ONNX Runtime has its own."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(text in str(error).lower() for text in OUT_OF_MEMORY)


def _resident(field: str) -> int | None:
    """Bytes of this process in memory, now ("VmRSS") or at most ("VmHWM"); None where it is not known."""
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
