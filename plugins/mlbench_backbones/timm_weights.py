"""Initial weights of a timm model: from the hub, a pip package or a file, or random."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlbench.plugin import OptionError, WeightsError, close_match
from mlbench_backbones import bundled
from mlbench_backbones.checkpoint import convert_as_timm, fit_state, read_state, reason_of, sha256
from mlbench_backbones.hub import cached_file, cached_version, reachable
from mlbench_backbones.quick_gelu import file_needs_quick_gelu
from mlbench_backbones.timm_table import (
    hub_repository,
    nearest_name,
    quick_gelu_name,
    trained_with_quick_gelu,
)

if TYPE_CHECKING:
    from torch import nn

__all__ = ["check_model", "check_weights", "load_network", "weights_licence", "weights_version"]

_OWNER = "backbone timm"
_CHOICES = "expected hub, bundled, none or the path of a checkpoint"

#: File names of weights in a hub repository, in the order in which timm tries them.
_HUB_FILES = ("model.safetensors", "pytorch_model.safetensors", "pytorch_model.bin")


def check_weights(model: str, weights: str) -> None:
    """Raise WeightsError if the model has no such weights, or if they were trained with another activation.
    Loads nothing."""
    name = model.partition(".")[0]
    if weights == "bundled":
        if name not in bundled.BUNDLES:
            raise WeightsError(
                f"backbone timm: {name} has no bundled weights (only {', '.join(bundled.BUNDLES)}); "
                "set weights to hub, none or the path of a checkpoint"
            )
        bundled.bundled_file(name)
    elif weights not in ("hub", "none") and not Path(weights).is_file():
        near = close_match(weights, ["hub", "bundled", "none"])
        raise WeightsError(
            f"backbone timm: weights {weights!r} is not a file under {Path.cwd()}"
            f"{f' (did you mean {near!r}?)' if near else ''}; {_CHOICES}"
        )
    _check_activation(model, weights)


def _check_activation(model: str, weights: str) -> None:
    other = quick_gelu_name(model)
    if weights in ("bundled", "none") or not other:
        return
    if trained_with_quick_gelu(model) if weights == "hub" else file_needs_quick_gelu(Path(weights)):
        source = f"timm's weights of {model}" if weights == "hub" else weights
        raise WeightsError(
            f"backbone timm: {source} were trained with QuickGELU, and {model} has GELU; set model to {other}"
        )


def weights_version(model: str, weights: str) -> str:
    """Version of the weights: of their package, or the hash of their file; "" where it is unknown, such as
    before a download."""
    if weights == "bundled":
        return bundled.bundled_version(model.partition(".")[0])
    if weights == "hub":
        repository = hub_repository(model)
        return cached_version(repository, _HUB_FILES) if repository else ""
    return "" if weights == "none" else sha256(Path(weights))


def weights_licence(weights: str, configuration: Mapping[str, Any]) -> str:
    """The licence of the weights as Hugging Face writes it, from timm's configuration of the loaded model; ""
    where it is not known."""
    if weights == "bundled":
        return bundled.LICENCE
    return str(configuration.get("license") or "") if weights == "hub" else ""


def load_network(model: str, weights: str, **arguments: Any) -> tuple[nn.Module, str]:
    """timm's `model` with its weights, and a description of their origin.

    arguments: for timm.create_model.
    Raises OptionError for a model that timm does not have or cannot build with these arguments, WeightsError
    for weights that cannot be loaded or do not fit.
    """
    check_model(model)
    check_weights(model, weights)
    if weights == "hub":
        return _from_hub(model, arguments)
    network = _create(model, arguments)
    if weights == "none":
        return network, "random"
    if weights == "bundled":
        name, what = model.partition(".")[0], f"the bundled weights of {model}"
        fit_state(network, bundled.bundled_state_dict(name), _OWNER, what, ignored=_classifier(network))
        origin = f"{bundled.bundled_version(name)} (ImageNet-1k)"
        return network, f"{origin}, {sha256(bundled.bundled_file(name))}"
    state = convert_as_timm(network, read_state(Path(weights), _OWNER))
    fit_state(network, state, _OWNER, f"{weights} as weights of {model}", ignored=_classifier(network))
    return network, f"{weights}, {sha256(Path(weights))}"


def check_model(model: str) -> None:
    """Raise OptionError for a model that timm does not have."""
    import timm

    name = model.partition(".")[0]
    if not timm.is_model(name):
        problem = f"timm {timm.__version__} has no model {model!r} ({nearest_name(model)})"
        raise OptionError(f"backbone timm: {problem}", "model")


def _create(model: str, arguments: dict[str, Any]) -> nn.Module:
    import timm

    try:
        network: nn.Module = timm.create_model(model, **arguments)
    # timm validates little, so a wrong argument can fail anywhere in a model.
    except Exception as error:
        raise _build_error(model, arguments, error) from error
    return network


def _build_error(model: str, arguments: dict[str, Any], error: Exception) -> OptionError:
    reason = reason_of(error)
    if "drop_path" in reason and "drop_path_rate" in arguments:
        return OptionError(
            f"backbone timm: {model} has no stochastic depth; leave drop_path out", "drop_path"
        )
    if "img_size" in arguments:
        size = arguments["img_size"]
        return OptionError(f"backbone timm: {model} cannot take images of {size} px ({reason})", "model")
    return OptionError(f"backbone timm: timm cannot build {model} ({reason})", "model")


def _from_hub(model: str, arguments: dict[str, Any]) -> tuple[nn.Module, str]:
    import timm
    from huggingface_hub import constants

    try:
        configuration = timm.get_pretrained_cfg(model)
    except RuntimeError as error:
        raise OptionError(f"backbone timm: timm has no {model} ({reason_of(error)})", "model") from error
    if configuration is None or not configuration.hf_hub_id:
        raise WeightsError(f"backbone timm: timm has no weights of {model} on the hub; {_CHOICES}")
    repository = configuration.hf_hub_id
    names = [configuration.hf_hub_filename] if configuration.hf_hub_filename else _HUB_FILES
    bundled_too = "bundled, " if model.partition(".")[0] in bundled.BUNDLES else ""
    advice = f"set weights to {bundled_too}none or the path of a checkpoint"
    file = cached_file(repository, names)
    if file is None and not reachable(constants.ENDPOINT):
        raise WeightsError(
            f"backbone timm: weights of {model} are not in the local cache and {constants.ENDPOINT} does not "
            f"answer; {advice}"
        )
    # Pass the path of a cached file: given only a repository, the hub's client would query the hub first.
    overlay = {"file": str(file)} if file else None
    try:
        network = timm.create_model(model, pretrained=True, pretrained_cfg_overlay=overlay, **arguments)
    except TypeError as error:
        raise _build_error(model, arguments, error) from error
    # The hub's client and timm raise many kinds of network, disk and format errors.
    except Exception as error:
        raise WeightsError(
            f"backbone timm: {model}'s weights {repository} cannot be loaded from the hub "
            f"({reason_of(error)}); {advice}"
        ) from error
    file = file or cached_file(repository, names)
    return network, f"{repository} of {constants.ENDPOINT}" + (f", {sha256(file)}" if file else "")


def _classifier(network: nn.Module) -> tuple[str, ...]:
    """Prefixes of the classifier's keys, with underscores for dots."""
    names: Any = getattr(network, "pretrained_cfg", {}).get("classifier") or ()
    names = (names,) if isinstance(names, str) else names
    return tuple(f"{name.replace('.', '_')}_" for name in names)
