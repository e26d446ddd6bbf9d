"""Checkpoint files: read without running their code, and loaded into a network."""

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

__all__ = ["convert_as_timm", "fit_state", "read_state", "reason_of", "sha256"]


def read_state(file: Path, owner: str) -> dict[str, torch.Tensor]:
    """Tensors of a .pth, .safetensors or TorchScript file, by name.

    owner: first words of an error, such as "backbone timm".
    Raises WeightsError for a file that is not a checkpoint.
    """
    from timm.models import load_state_dict

    try:
        if is_torchscript(file):
            state = _read_torchscript(file)
        else:
            # timm knows the keys under which training programs store a state dict; weights_only forbids code.
            state = load_state_dict(str(file), weights_only=True)
    # Each format has its own exceptions for a file that is not a checkpoint.
    except Exception as error:
        raise WeightsError(
            f"{owner}: {file} cannot be read as a checkpoint ({reason_of(error)}); "
            "expected the state dict of the model as .pth or .safetensors"
        ) from error
    import torch

    return {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}


def _read_torchscript(file: Path) -> dict[str, torch.Tensor]:
    """Tensors of a TorchScript archive. Its code is compiled but not run, and has no access to Python."""
    import torch

    with warnings.catch_warnings():
        # torch.jit.load is deprecated, but it is the only reader of the format that OpenAI publishes.
        warnings.filterwarnings("ignore", message=".*torch.jit.load")
        load: Any = torch.jit.load
        return dict(load(str(file), map_location="cpu").state_dict())


def convert_as_timm(network: nn.Module, state: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
    """The state dict, converted as timm's own loader does: position embeddings resized, and keys of the
    authors' checkpoints renamed."""
    # timm has no public function for this: a model's module may define `checkpoint_filter_fn`, which only the
    # loader of pretrained weights calls. Tested with timm 1.0.31.
    convert = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return state
    try:
        converted: Mapping[str, torch.Tensor] = convert(dict(state), network)
    # The state dict is not of this model; `fit_state` then names the keys that do not fit.
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
    underscores for dots. The state dict may contain layers that the network lacks, and keys that begin with
    one of `ignored`. owner, what: words for an error.
    Raises WeightsError with the first keys that are missing, unexpected, not finite or of another shape.
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
    # Keys left over belong to layers after the network's last one, which is fine. Those under one of the
    # network's own layers are an error: the file is of a deeper model.
    own = tuple(f"{name}_" for name, _ in network.named_children())
    problems += [
        f"{key} is not in the model"
        for flat, (key, _) in given.items()
        if flat.startswith(own) and not flat.startswith(ignored)
    ]
    if problems:
        more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
        if 0 < len(state) == len(given):  # no key matched
            more += f"; the file has keys such as {next(iter(state))!r}"
        raise WeightsError(f"{owner}: cannot use {what}: {'; '.join(problems[:3])}{more}")
    network.load_state_dict(fitted)


def sha256(file: Path) -> str:
    """Hash of a file, as "sha256 ..." in hexadecimal."""
    with file.open("rb") as stream:
        return f"sha256 {hashlib.file_digest(stream, 'sha256').hexdigest()}"


def reason_of(error: BaseException) -> str:
    """First line of an error's message, else its type."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__
