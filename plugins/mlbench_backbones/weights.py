"""Where a timm model's first weights come from: the hub, a pip package, a file, or chance."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mlbench.errors import OptionError, WeightsError, hint
from mlbench_backbones import bundled

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["check_weights", "load_network", "weights_version"]

_CHOICES = "expected hub, bundled, none or the path of a checkpoint"

#: The names under which timm looks for a model's weights in its hub repository, in its order.
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")

#: Seconds in which the hub must answer once before a download begins. Its client would try for minutes.
_HUB_TIMEOUT = 5.0


def check_weights(model: str, weights: str) -> None:
    """Raise WeightsError if no weights of that name can fit the model. Loads nothing."""
    name = model.partition(".")[0]
    if weights == "bundled":
        if name not in bundled.MODELS:
            raise WeightsError(
                f"backbone timm: {name} has no bundled weights (only {', '.join(bundled.MODELS)}); "
                "set weights to hub, none or the path of a checkpoint"
            )
        bundled.bundled_file()
    elif weights not in ("hub", "none") and not Path(weights).is_file():
        raise WeightsError(
            f"backbone timm: weights {weights!r} is not a file under {Path.cwd()} "
            f"({hint(weights, ['hub', 'bundled', 'none'])}); {_CHOICES}"
        )


def weights_version(weights: str) -> str:
    """What the weights are beyond their name: a package's version, a file's hash; "" where not known."""
    if weights == "bundled":
        return f"{bundled.PACKAGE} {bundled.bundled_version()}"
    return "" if weights in ("hub", "none") else _sha256(Path(weights))


def load_network(model: str, weights: str) -> tuple[nn.Module, str]:
    """timm's feature network of `model` with its weights, and where these come from, in words.

    Raises OptionError for a model that timm does not have or that has no feature maps, WeightsError for
    weights that cannot be had or do not fit.
    """
    check_weights(model, weights)
    if weights == "hub":
        return _from_hub(model)
    network = _create(model)
    if weights == "none":
        return network, "random"
    if weights == "bundled":
        _fit(network, bundled.bundled_state_dict(), f"the bundled weights of {model}")
        file = bundled.bundled_file()
        return network, f"{bundled.PACKAGE} {bundled.bundled_version()} (ImageNet-1k), {_sha256(file)}"
    _fit(network, _read(Path(weights)), f"{weights} as weights of {model}")
    return network, f"{weights}, {_sha256(Path(weights))}"


def _check_model(model: str) -> None:
    import timm

    name = model.partition(".")[0]
    if not timm.is_model(name):
        problem = f"timm {timm.__version__} has no model {name!r} ({hint(name, timm.list_models())})"
        raise OptionError(f"backbone timm: {problem}", "model")


def _create(model: str) -> nn.Module:
    import timm

    _check_model(model)
    try:
        network: nn.Module = timm.create_model(model, features_only=True)
    except (RuntimeError, AssertionError, AttributeError, TypeError) as error:
        raise OptionError(
            f"backbone timm: timm cannot build {model} as a feature network ({_reason(error)})", "model"
        ) from error
    return network


def _from_hub(model: str) -> tuple[nn.Module, str]:
    import timm
    from huggingface_hub import constants

    _check_model(model)
    try:
        configuration = timm.get_pretrained_cfg(model)
    except RuntimeError as error:
        raise OptionError(f"backbone timm: timm knows no {model} ({_reason(error)})", "model") from error
    if configuration is None or not configuration.hf_hub_id:
        raise WeightsError(f"backbone timm: timm knows no weights of {model} on the hub; {_CHOICES}")
    repository = configuration.hf_hub_id
    bundled_too = "bundled, " if model.partition(".")[0] in bundled.MODELS else ""
    advice = f"set weights to {bundled_too}none or the path of a checkpoint"
    file = _cached(repository, configuration.hf_hub_filename)
    if file is None and not _reachable(constants.ENDPOINT):
        raise WeightsError(
            f"backbone timm: weights of {model} are not in the local cache and {constants.ENDPOINT} does not "
            f"answer; {advice}"
        )
    # A cached file is named, because for cached weights too the hub's client would try the hub first.
    overlay = {"file": str(file)} if file else None
    try:
        network = timm.create_model(
            model, features_only=True, pretrained=True, pretrained_cfg_overlay=overlay
        )
    # Network, disk and format errors come as whatever the hub's client and timm raise.
    except Exception as error:
        raise WeightsError(
            f"backbone timm: {model}'s weights {repository} cannot be loaded from the hub "
            f"({_reason(error)}); {advice}"
        ) from error
    file = file or _cached(repository, configuration.hf_hub_filename)
    return network, f"{repository} of {constants.ENDPOINT}" + (f", {_sha256(file)}" if file else "")


def _cached(repository: str, filename: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    for name in [filename] if filename else _HUB_FILES:
        file = try_to_load_from_cache(repository, name)
        if isinstance(file, str):
            return Path(file)
    return None


def _reachable(endpoint: str) -> bool:
    from huggingface_hub import get_session

    try:
        get_session().head(endpoint, timeout=_HUB_TIMEOUT)
    # Any answer will do, and whatever the HTTP client raises means that there was none.
    except Exception:
        return False
    return True


def _read(file: Path) -> dict[str, torch.Tensor]:
    from timm.models import load_state_dict

    try:
        # timm knows where training programs put the weights, and loads tensors only, no code.
        state = load_state_dict(str(file), weights_only=True)
    # A file that is no checkpoint fails in as many ways as there are formats.
    except Exception as error:
        raise WeightsError(
            f"backbone timm: {file} cannot be read as a checkpoint ({_reason(error)}); "
            "expected the state dict of the timm model as .pth or .safetensors"
        ) from error
    import torch

    return {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}


def _fit(network: nn.Module, state: Mapping[str, torch.Tensor], what: str) -> None:
    """Load the state dict of a whole timm classifier into its feature network.

    Feature networks rename the model's `stages.3` to `stages_3`, so keys are compared with underscores for
    dots. Layers behind the last feature map may be absent, or of any shape. Raises WeightsError with the
    first keys that are missing, too many, or of another shape.
    """
    given = {key.replace(".", "_"): (key, value) for key, value in state.items()}
    fitted, problems = {}, []
    for key, target in network.state_dict().items():
        original, value = given.pop(key.replace(".", "_"), (key, None))
        if value is None:
            problems.append(f"{key} is missing")
        elif value.shape != target.shape:
            problems.append(f"{original} is {tuple(value.shape)}, expected {tuple(target.shape)}")
        else:
            fitted[key] = value
    # What is left lies behind the map, unless it belongs to a layer that the network has: a deeper
    # model's weights would load without a sign of it.
    own = tuple(f"{name}_" for name, _ in network.named_children())
    problems += [f"{key} has no place" for flat, (key, _) in given.items() if flat.startswith(own)]
    if problems:
        more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise WeightsError(f"backbone timm: cannot use {what}: {'; '.join(problems[:3])}{more}")
    network.load_state_dict(fitted)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return f"sha256 {hashlib.file_digest(stream, 'sha256').hexdigest()}"


def _reason(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
