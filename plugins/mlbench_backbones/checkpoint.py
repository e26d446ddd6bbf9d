"""Checkpoint files: reading them without running their code, and loading them into a network."""

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

__all__ = ["converted_by_timm", "fit_state", "read_state", "reason_of", "sha256"]


def read_state(file: Path, owner: str) -> dict[str, torch.Tensor]:
    """Tensors of a .pth, .safetensors or TorchScript file, by name.

    owner: start of an error message, such as "backbone timm". Raises WeightsError for a file that is not a
    checkpoint.
    """
    from timm.models import load_state_dict

    try:
        if is_torchscript(file):
            state = _read_torchscript(file)
        else:
            # timm finds the weights in the files of common training programs; weights_only runs no code.
            state = load_state_dict(str(file), weights_only=True)
    # Each format has errors of its own for a file that is not a checkpoint.
    except Exception as error:
        raise WeightsError(
            f"{owner}: {file} cannot be read as a checkpoint ({reason_of(error)}); "
            "expected the state dict of the model as .pth or .safetensors"
        ) from error
    import torch

    return {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}


def _read_torchscript(file: Path) -> dict[str, torch.Tensor]:
    """Tensors of a TorchScript archive. Its code is compiled but not run, and cannot call Python."""
    import torch

    with warnings.catch_warnings():
        # torch.jit.load is deprecated, but OpenAI publishes its files in this format only.
        warnings.filterwarnings("ignore", message=".*torch.jit.load")
        load: Any = torch.jit.load
        return dict(load(str(file), map_location="cpu").state_dict())


def converted_by_timm(network: nn.Module, state: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
    """The state dict after the conversions of timm's own loader: position embeddings resized for the network,
    keys of the authors' checkpoints renamed."""
    # timm has no public function for this: each module of models may define a `checkpoint_filter_fn`, which
    # only the loader of pretrained weights calls. Tried with timm 1.0.31.
    convert = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return state
    try:
        converted: Mapping[str, torch.Tensor] = convert(dict(state), network)
    # The state is of another model; `fit_state` reports its keys.
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
    """Load the state dict of a whole model into `network`, which may lack the model's last layers.

    timm's feature networks rename the model's `stages.3` to `stages_3`, so keys are compared with
    underscores for dots. Keys of layers that the network lacks, and keys that begin with one of `ignored`,
    are skipped. owner, what: for error messages.
    Raises WeightsError with the first keys that are missing, unexpected, of another shape or not finite.
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
    # The remaining keys must belong to layers that the network lacks. Otherwise the weights of a deeper model
    # would load without an error.
    own = tuple(f"{name}_" for name, _ in network.named_children())
    problems += [
        f"{key} is unexpected"
        for flat, (key, _) in given.items()
        if flat.startswith(own) and not flat.startswith(ignored)
    ]
    if problems:
        more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
        if 0 < len(state) == len(given):  # no key matches
            more += f"; the file has keys such as {next(iter(state))!r}"
        raise WeightsError(f"{owner}: cannot use {what}: {'; '.join(problems[:3])}{more}")
    network.load_state_dict(fitted)


def sha256(file: Path) -> str:
    """Hash of a file, as "sha256 HEX"."""
    with file.open("rb") as stream:
        return f"sha256 {hashlib.file_digest(stream, 'sha256').hexdigest()}"


def reason_of(error: BaseException) -> str:
    """First line of an error's message, or the name of its type without one."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__
