"""Checkpoint files: tensors by name, read without running code, and fitted to a network."""

from __future__ import annotations

import hashlib
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlbench.plugin import WeightsError
from mlbench_backbones.quick_gelu import is_torchscript

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["as_timm_loads", "fit_state", "read_state", "reason_of", "sha256"]


def read_state(file: Path, owner: str) -> dict[str, torch.Tensor]:
    """Tensors of a .pth, .safetensors or TorchScript file. owner: what an error starts with, as in "backbone
    timm".

    Raises WeightsError for a file that is no checkpoint.
    """
    from timm.models import load_state_dict

    try:
        if is_torchscript(file):
            state = _read_torchscript(file)
        else:
            # timm knows where training programs put the weights, and loads tensors only, no code.
            state = load_state_dict(str(file), weights_only=True)
    # A file that is no checkpoint fails in as many ways as there are formats.
    except Exception as error:
        raise WeightsError(
            f"{owner}: {file} cannot be read as a checkpoint ({reason_of(error)}); "
            "expected the state dict of the model as .pth or .safetensors"
        ) from error
    import torch

    return {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}


def _read_torchscript(file: Path) -> dict[str, torch.Tensor]:
    """Tensors of an archive. Its program is compiled, not run; it could not reach Python."""
    import torch

    with warnings.catch_warnings():
        # Until OpenAI's files can be had in another format there is no other reader.
        warnings.filterwarnings("ignore", message=".*torch.jit.load")
        load: Any = torch.jit.load
        return dict(load(str(file), map_location="cpu").state_dict())


def as_timm_loads(network: nn.Module, state: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
    """The state as timm's own loader hands it to a whole model: position embeddings resized to it, keys of
    the authors' checkpoints renamed."""
    # timm has no public function for this: each module of models may define a `checkpoint_filter_fn`, which
    # only the loader of pretrained weights calls. Tried with timm 1.0.31.
    convert = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return state
    try:
        converted: Mapping[str, torch.Tensor] = convert(dict(state), network)
    # The state is not in a format that `convert` reads; the check of its keys gives the clearer error.
    except Exception:
        return state
    return converted


def fit_state(
    network: nn.Module,
    state: Mapping[str, torch.Tensor],
    owner: str,
    what: str,
    *,
    ignored: tuple[str, ...] = (),
) -> None:
    """Load the state dict of a whole model into `network`, which may be without the model's last layers.

    timm's feature networks rename the model's `stages.3` to `stages_3`, so keys are compared with
    underscores for dots. Layers that the network does not have may be there or not, and those whose keys
    begin with one of `ignored`. owner, what: for an error.
    Raises WeightsError with the first keys that are missing, too many, of another shape, or not finite.
    """
    given = {key.replace(".", "_"): (key, value) for key, value in state.items()}
    fitted, problems = {}, []
    for key, target in network.state_dict().items():
        original, value = given.pop(key.replace(".", "_"), (key, None))
        if value is None:
            problems.append(f"{key} is missing")
        elif value.shape != target.shape:
            problems.append(f"{original} is {tuple(value.shape)}, expected {tuple(target.shape)}")
        elif value.is_floating_point() and not value.isfinite().all():
            problems.append(f"{original} has values that are not finite")
        else:
            fitted[key] = value
    # What is left lies behind the last layer, unless it belongs to a layer that the network has: a deeper
    # model's weights would load without a sign of it.
    own = tuple(f"{name}_" for name, _ in network.named_children())
    problems += [
        f"{key} has no place"
        for flat, (key, _) in given.items()
        if flat.startswith(own) and not flat.startswith(ignored)
    ]
    if problems:
        more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
        if 0 < len(state) == len(given):  # none was found
            more += f"; the keys of the file are such as {next(iter(state))!r}"
        raise WeightsError(f"{owner}: cannot use {what}: {'; '.join(problems[:3])}{more}")
    network.load_state_dict(fitted)


def sha256(file: Path) -> str:
    """Hash of a file, named as such."""
    with file.open("rb") as stream:
        return f"sha256 {hashlib.file_digest(stream, 'sha256').hexdigest()}"


def reason_of(error: BaseException) -> str:
    """First line of an error's message, else its type."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__
