"""Which GELU the weights in a file were trained with, where the file contains that. Needs no torch.

OpenAI's CLIP and some later models use QuickGELU, x * sigmoid(1.702 x). With the usual GELU their weights
give wrong embeddings without any error.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

__all__ = ["file_needs_quick_gelu", "is_torchscript"]

#: Entries of OpenAI's files beside the weights, tensors of one number each.
_ENTRIES = (b"input_resolution", b"context_length", b"vocab_size")

#: Bytes read from a file that is not an archive; the tensors' names come first.
_HEAD = 1 << 22


def is_torchscript(file: Path) -> bool:
    """Whether a file is a TorchScript archive, the format of OpenAI's CLIP files."""
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def file_needs_quick_gelu(file: Path) -> bool | None:
    """Whether a checkpoint's weights need QuickGELU; None where the file does not contain that."""
    if not zipfile.is_zipfile(file):  # .safetensors, or the format of torch before 1.6
        with file.open("rb") as stream:
            head = stream.read(_HEAD)
        return True if _is_openai(head) else None
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        code = b"".join(archive.read(name) for name in names if "/code/" in name and name.endswith(".py"))
        if b"QuickGELU" in code or b"1.702" in code:
            return True
        if b"gelu(" in code:
            return False
        keys = b"".join(archive.read(name) for name in names if name.endswith("/data.pkl"))
    return True if _is_openai(keys) else None


def _is_openai(keys: bytes) -> bool:
    return all(entry in keys for entry in _ENTRIES)
