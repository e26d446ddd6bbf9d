"""Keys of cached arrays: everything that decides their bytes.

Whatever `ImageReader` or `Encoder` comes to depend on belongs here. Settings that change nothing are left
out by name, so that a new setting counts until it is left out on purpose.
"""

from __future__ import annotations

import hashlib
from typing import Any

import torch

from mlbench.contracts import SplitName
from mlbench.environment import find_device, library_versions
from mlbench.planning.plan import Case
from mlbench.planning.spec import Part
from mlbench.provenance import core_hash
from mlbench.training.inputs import InputSpec
from mlbench.training.model import Encoder, Section, built_size

__all__ = ["features_key", "pixels_key", "prefix_hash"]

#: Sizes of other images than those of the key, whose own size is `size`.
_OTHER_SIZES = {"train_size", "teacher_size"}

#: Settings of how the trained part is computed.
_TRAINED_PART = {"checkpointing", "accumulate", "save_every"}


def pixels_key(case: Case, split: SplitName, inputs: InputSpec, view: int) -> list[Any]:
    """Key of the pixels of one view of a split."""
    spec = case.spec
    # An augmentation sees the whole image. The number of views does not change one of them.
    unused = _OTHER_SIZES | ({"crop_ratio"} if inputs.augmentation is not None else set())
    return [
        # Data sets may decode or draw images for the size that the suite names, whatever size is wanted.
        _described(spec.parts["dataset"]),
        spec.image.size,
        case.dataset.version,
        split,
        inputs.image.model_dump(exclude=unused),
        _described(inputs.augmentation),
        view if inputs.augmentation is not None else None,
        library_versions(),
        core_hash("images", "training.image_reader", "seeding"),
    ]


def features_key(
    pixels: list[Any], case: Case, section: Section, prefix: str, device: torch.device
) -> list[Any]:
    """Key of the frozen prefix's output for these pixels. prefix: see `prefix_hash`."""
    spec = case.spec
    size = built_size(spec, section)
    return [
        pixels,
        _described(spec.parts[section]),
        size,
        prefix,
        spec.precision,
        spec.compute.model_dump(exclude=_TRAINED_PART),
        _machine(device),
        core_hash("seeding", "training.inputs", "training.input_cache", "training.model"),
    ]


def prefix_hash(network: Encoder) -> str:
    """Hex SHA-256 of every tensor of a frozen prefix, by name."""
    digest = hashlib.sha256()
    for name, tensor in network.prefix_tensors():
        digest.update(repr((name, tensor.dtype, tuple(tensor.shape))).encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _described(part: Part | None) -> list[Any]:
    """Name, options and code of a component."""
    if part is None:
        return []
    return [part.entry.component.name, dict(part.options), part.entry.provenance]


def _machine(device: torch.device) -> list[Any]:
    """The hardware and software that decide how features are rounded."""
    cudnn: Any = torch.backends.cudnn
    flags = [
        torch.__version__,
        torch.get_float32_matmul_precision(),
        cudnn.conv.fp32_precision,
        torch.are_deterministic_algorithms_enabled(),
    ]
    if device.type == "cuda":
        return [device.type, torch.cuda.get_device_name(device), cudnn.version(), *flags]
    # The number of threads that share a sum, and their instructions, change its last bits.
    capability = torch.backends.cpu.get_cpu_capability()
    return [device.type, find_device("cpu").product, capability, torch.get_num_threads(), *flags]
