"""Keys of cached arrays: everything that decides their bytes, and nothing else decides it.

Whatever `Reader` or `Encoder` comes to depend on belongs here. Settings are left out by name where they
change nothing, so that a new one counts until somebody says that it does not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from mlbench.contracts import SplitName
from mlbench.environment import find_device, library_versions
from mlbench.planning.plan import Case
from mlbench.planning.spec import ImageSettings, Part
from mlbench.provenance import core_hash
from mlbench.training.model import built_size

__all__ = ["Encoder", "Look", "features_key", "pixels_key", "prefix_hash"]

#: Image settings that say how large other looks are. `size` is that of the look.
_OF_OTHER_LOOKS = {"train_size", "teacher_size"}

#: Settings of how the trained part is computed.
_OF_TRAINING = {"checkpointing", "accumulate"}


class Encoder(Protocol):
    """A network that starts with a frozen prefix, or has none: an `EmbeddingModel` or a `Teacher`."""

    has_prefix: bool

    def encode(self, images: torch.Tensor) -> torch.Tensor: ...

    def prefix_tensors(self) -> Iterable[tuple[str, torch.Tensor]]:
        """Every tensor that `encode` depends on, by name."""
        ...


@dataclass(frozen=True)
class Look:
    """How the images of a split are looked at. views: how many augmented ones there are of each image, 0 for
    a new one every time; raw: as images, before any frozen prefix."""

    image: ImageSettings
    augmentation: Part | None = None
    views: int = 1
    raw: bool = False


def pixels_key(case: Case, split: SplitName, look: Look, view: int) -> list[Any]:
    """Of the pixels of one view of a split."""
    spec = case.spec
    # An augmentation sees the whole image; which views there are beside this one changes nothing.
    unused = _OF_OTHER_LOOKS | ({"crop_ratio"} if look.augmentation is not None else set())
    return [
        # Data sets may decode or draw images for the size that the suite names, whatever size the look has.
        _described(spec.parts["dataset"]),
        spec.image.size,
        case.dataset.version,
        split,
        look.image.model_dump(exclude=unused),
        _described(look.augmentation),
        view if look.augmentation is not None else None,
        library_versions(),
        core_hash("images", "training.reading", "seeding"),
    ]


def features_key(pixels: list[Any], case: Case, section: str, prefix: str, device: torch.device) -> list[Any]:
    """Of what the frozen prefix of a section's network gives for these pixels. prefix: see `prefix_hash`."""
    spec = case.spec
    size = built_size(spec, section)
    return [
        pixels,
        _described(spec.parts[section]),
        size,
        prefix,
        spec.precision,
        spec.compute.model_dump(exclude=_OF_TRAINING),
        _machine(device),
        core_hash("seeding", "training.features", "training.model"),
    ]


def prefix_hash(model: Encoder) -> str:
    """Hex SHA-256 of every tensor of a frozen prefix, by name."""
    digest = hashlib.sha256()
    for name, tensor in model.prefix_tensors():
        digest.update(repr((name, tensor.dtype, tuple(tensor.shape))).encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _described(part: Part | None) -> list[Any]:
    """Name, options and code of a component."""
    if part is None:
        return []
    return [part.entry.component.name, dict(part.options), part.entry.provenance]


def _machine(device: torch.device) -> list[Any]:
    """Hardware and software whose rounding the features have."""
    cudnn: Any = torch.backends.cudnn
    flags = [
        torch.__version__,
        torch.get_float32_matmul_precision(),
        cudnn.conv.fp32_precision,
        torch.are_deterministic_algorithms_enabled(),
    ]
    if device.type == "cuda":
        return [device.type, torch.cuda.get_device_name(device), cudnn.version(), *flags]
    # How many threads share a sum, and which instructions they have, changes its last bits.
    capability = torch.backends.cpu.get_cpu_capability()
    return [device.type, find_device("cpu").product, capability, torch.get_num_threads(), *flags]
