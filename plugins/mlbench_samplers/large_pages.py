"""Memory in large pages, for matrices of which a step reads and writes few, scattered rows.

Each row of a matrix of some gigabytes needs a lookup in the page tables, and with pages of 4 KiB the tables
do not fit in a CPU's caches. With pages of 2 MiB a step takes as long at 2,000,000 classes as at 400,000.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Sequence

import torch

__all__ = ["empty"]

#: Bytes from which large pages are requested.
_LARGE = 2**24


def empty(shape: Sequence[int], dtype: torch.dtype, device: torch.device | str = "cpu") -> torch.Tensor:
    """torch.empty, in large pages on the CPU where Linux provides them."""
    tensor = torch.empty(tuple(shape), dtype=dtype, device=device)
    advice = getattr(mmap, "MADV_HUGEPAGE", None)
    if tensor.device.type == "cpu" and tensor.nbytes >= _LARGE and advice is not None:
        # Only the whole pages of the tensor, before anything is written. A failure changes nothing.
        start = -(-tensor.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
        length = (tensor.data_ptr() + tensor.nbytes - start) // mmap.PAGESIZE * mmap.PAGESIZE
        ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), ctypes.c_int(advice))
    return tensor
