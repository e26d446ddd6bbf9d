"""Peak memory of some work: what torch allocates on its device, to the byte and without noise."""

from __future__ import annotations

from collections.abc import Callable

import torch

__all__ = ["OUT_OF_MEMORY", "is_out_of_memory", "peak_allocated"]

#: Messages of out-of-memory errors in libraries that have no error type for them.
OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "failed to allocate memory",
    "not enough memory",
    "bad_alloc",
)


def peak_allocated(device: torch.device, work: Callable[[], object]) -> int:
    """Highest number of bytes that torch has allocated on the device during the work, above those allocated
    before it. Memory that other libraries allocate is not counted.

    On a GPU the caching allocator counts; on the CPU the profiler reports every allocation.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    cpu = torch.profiler.ProfilerActivity.CPU
    with torch.profiler.profile(activities=[cpu], profile_memory=True, acc_events=False) as profile:
        work()
    # The public `events()` leaves out allocations within an operator.
    results = profile.profiler.kineto_results
    events = [(each.start_ns(), each.nbytes()) for each in results.events() if each.name() == "[memory]"]
    held = peak = 0
    for _, change in sorted(events, key=lambda each: each[0]):
        held += change
        peak = max(peak, held)
    return peak


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is an out-of-memory error of Python, torch or ONNX Runtime."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(text in str(error).lower() for text in OUT_OF_MEMORY)
