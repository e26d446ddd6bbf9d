"""Moving inputs to a device without making it wait."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

__all__ = ["copied_ahead", "resident", "resident_batches", "stacked", "to_device"]

#: Share of the GPU's free memory that the inputs of one split may take. A case has three splits, perhaps
#: with a teacher's inputs too, and training needs the rest.
RESIDENT_SHARE = 1 / 8

#: Rows that are copied to a GPU at a time.
_ROWS = 1024


def to_device(batch: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor in the CPU's memory on the device; to a GPU without waiting for the copy."""
    if device.type != "cuda":
        return batch.to(device)
    return batch.pin_memory().to(device, non_blocking=True)


def copied_ahead(batches: Iterator[torch.Tensor], device: torch.device) -> Iterator[torch.Tensor]:
    """The batches on a GPU, each copied on a stream of its own while the one before is in use."""
    copying = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    ahead: torch.Tensor | None = None
    for batch in batches:
        with torch.cuda.stream(copying):
            coming = to_device(batch, device)
        if ahead is not None:
            yield ahead
        torch.cuda.current_stream(device).wait_stream(copying)
        # Its memory must not be used again before the stream that reads it is done.
        coming.record_stream(torch.cuda.current_stream(device))
        ahead = coming
    if ahead is not None:
        yield ahead


def resident(arrays: Sequence[np.ndarray], device: torch.device) -> torch.Tensor | None:
    """Arrays of one shape, one after the other, on a GPU; None on a CPU, which reads them where they are, and
    where they would take too much of the GPU's memory."""
    if device.type != "cuda" or not arrays:
        return None
    if sum(array.nbytes for array in arrays) > RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]:
        return None
    return stacked(arrays, device)


def stacked(arrays: Sequence[np.ndarray], device: torch.device) -> torch.Tensor:
    """Arrays of one shape (N, ...), one after the other on the device: (len(arrays) * N, ...)."""
    count, *shape = arrays[0].shape
    kind = torch.from_numpy(np.empty(0, arrays[0].dtype)).dtype
    together = torch.empty((len(arrays) * count, *shape), dtype=kind, device=device)
    for number, array in enumerate(arrays):
        for start in range(0, count, _ROWS):
            rows = torch.from_numpy(np.array(array[start : start + _ROWS]))
            first = number * count + start
            together[first : first + len(rows)] = to_device(rows, device)
    return together


def resident_batches(inputs: torch.Tensor, rows: Sequence[Sequence[int]]) -> Iterator[torch.Tensor]:
    """Batches of inputs on a device, one for each list of rows. All row numbers are copied there at once."""
    together = to_device(torch.tensor([row for batch in rows for row in batch]), inputs.device)
    start = 0
    for batch in rows:
        yield inputs.index_select(0, together[start : start + len(batch)])
        start += len(batch)
