"""Memory in large pages, for matrices of which few and scattered rows are touched.

A row here and a row there of some gigabytes means a look into the page tables for each, and with pages of
4 KiB those tables themselves no longer fit a CPU's caches. Pages of 2 MiB make a step at 2,000,000 classes
cost what it costs at 400,000.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Sequence

import torch

__all__ = ["empty"]

#: Below this many bytes it is not worth asking.
_LARGE = 2**24


def empty(shape: Sequence[int], dtype: torch.dtype, device: torch.device | str = "cpu") -> torch.Tensor:
    """As torch.empty, on the CPU of a Linux machine in large pages if the system has them to give."""
    tensor = torch.empty(tuple(shape), dtype=dtype, device=device)
    advice = getattr(mmap, "MADV_HUGEPAGE", None)
    if tensor.device.type == "cpu" and tensor.nbytes >= _LARGE and advice is not None:
        # The whole pages within; nothing has been written yet. A system that declines changes nothing.
        start = -(-tensor.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
        length = (tensor.data_ptr() + tensor.nbytes - start) // mmap.PAGESIZE * mmap.PAGESIZE
        ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), ctypes.c_int(advice))
    return tensor
