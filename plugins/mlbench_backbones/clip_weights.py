"""Initial weights of an open_clip tower: from an open_clip tag, from a file, or random."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mlbench.plugin import OptionError, WeightsError, hint
from mlbench_backbones.checkpoint import convert_as_timm, fit_state, read_state, reason_of, sha256
from mlbench_backbones.clip_config import has_model, read_config
from mlbench_backbones.clip_tags import clean_tag, tags_of
from mlbench_backbones.hub import cached_file, cached_version, reachable
from mlbench_backbones.quick_gelu import file_needs_quick_gelu

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Tower", "check_clip_weights", "clip_weights_version", "load_tower"]

_OWNER = "backbone open_clip"
_ADVICE = "set weights to none or the path of a checkpoint"

#: File names of weights in a hub repository, in the order in which open_clip tries them.
_HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")

#: Suffixes of weights files; a value of `weights` with one of them is a path.
_SUFFIXES = (".pt", ".pth", ".bin", ".safetensors")

#: Prefix of a state dict's keys if the tower is a timm model.
_TRUNK = "visual.trunk."


class Tower(NamedTuple):
    """An image tower, the mean and std of its images, and a description of its weights' origin."""

    network: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]
    origin: str


def check_clip_weights(model: str, weights: str, quick_gelu: bool | None) -> None:
    """Raise WeightsError for a missing file, a tag that the model does not have, and a file whose activation
    is unknown. Loads nothing."""
    name = model.replace("/", "-")
    if weights.endswith(_SUFFIXES) and not Path(weights).is_file():
        raise WeightsError(
            f"{_OWNER}: weights {weights!r} is not a file under {Path.cwd()}; expected a tag of {model}, "
            "none or the path of a checkpoint"
        )
    if weights.endswith(_SUFFIXES):
        _file_has_quick_gelu(name, weights, quick_gelu)
        return
    tags = tags_of(name)
    if weights != "none" and tags is not None and clean_tag(weights) not in tags:
        raise _no_tag(name, weights, tags)


def _file_has_quick_gelu(name: str, weights: str, stated: bool | None) -> bool:
    """Whether the weights in a file need QuickGELU: stated in the suite, the file or the model's name."""
    if stated is not None:
        return stated
    found = file_needs_quick_gelu(Path(weights))
    if found is not None:
        return found
    configuration = read_config(name)
    if configuration.get("quick_gelu", False):
        return True
    vision = configuration["vision_cfg"]
    # The setting quick_gelu does not apply to ResNets and timm models.
    has_gelu = "timm_model_name" not in vision and not isinstance(vision.get("layers"), list)
    if has_gelu and has_model(f"{name}-quickgelu"):
        raise WeightsError(
            f"{_OWNER}: {weights} does not record whether it was trained with GELU or QuickGELU (as OpenAI's "
            f"weights of {name}); set quick_gelu to true or false"
        )
    return False


def _no_tag(name: str, weights: str, tags: Iterable[str]) -> WeightsError:
    return WeightsError(
        f"{_OWNER}: {name} has no weights {weights!r} ({hint(weights, ['none', *tags])}); "
        "expected a tag, none or the path of a checkpoint"
    )


def clip_weights_version(model: str, weights: str) -> str:
    """Hash of the weights file; "" where it is unknown, such as before a download."""
    if weights.endswith(_SUFFIXES):
        return sha256(Path(weights))
    tag = (tags_of(model.replace("/", "-")) or {}).get(clean_tag(weights), {})
    repository, names = _on_hub(tag)
    return cached_version(repository, names) if repository else ""


def load_tower(model: str, weights: str, image_size: int, quick_gelu: bool | None = None) -> Tower:
    """The image tower of open_clip's `model` with its weights, for images of that size.

    quick_gelu: whether the activation is QuickGELU; None for the activation of the weights' training.

    Raises OptionError for a model that open_clip does not have or whose tower does not accept such images,
    WeightsError for weights that cannot be loaded or do not fit.
    """
    configuration = read_config(model)
    name = model.replace("/", "-")
    tag: dict[str, Any] = {}
    file: Path | None = None
    origin = "random"
    if weights.endswith(_SUFFIXES):
        file = Path(weights)
        origin = f"{weights}, {sha256(file)}"
    elif weights != "none":
        tag = _tag(name, weights)
        file = _file(f"{name} {weights}", tag)
        origin = f"{name} {weights} of open_clip, {sha256(file)}"
    # Tags and files state the GELU of their own weights; a configuration only the model's default.
    quick = bool(tag.get("quick_gelu", configuration.get("quick_gelu", False)))
    if weights.endswith(_SUFFIXES):
        quick = _file_has_quick_gelu(name, weights, quick_gelu)
    elif quick_gelu is not None:
        quick = quick_gelu
    network = _build(model, configuration, image_size, quick)
    _resize(model, network, image_size)
    if file is not None:
        _load(network, file, f"{weights} as weights of {model}")
    mean, std = _normalisation(name, tag)
    return Tower(network, mean, std, origin)


def _build(model: str, configuration: dict[str, Any], image_size: int, quick: bool) -> nn.Module:
    from open_clip.model import _build_vision_tower

    vision = dict(configuration["vision_cfg"], output_tokens=False)
    if "timm_model_name" in vision:
        vision["timm_model_pretrained"] = False
    else:
        vision["image_size"] = image_size
    try:
        network: nn.Module = _build_vision_tower(configuration["embed_dim"], vision, quick)
    # open_clip validates little, so a wrong size can fail anywhere in a model.
    except Exception as error:
        raise OptionError(
            f"{_OWNER}: open_clip cannot build {model} for images of {image_size} px ({reason_of(error)})",
            "model",
        ) from error
    return network


def _resize(model: str, network: Any, image_size: int) -> None:
    """Set the image size of a tower that is a timm model; other towers are built for their size."""
    native = network.image_size if isinstance(network.image_size, int) else network.image_size[0]
    if native == image_size:
        return
    try:
        network.set_input_size(image_size)
    # timm's models raise various exceptions.
    except Exception as error:
        raise OptionError(
            f"{_OWNER}: {model} cannot take images of {image_size} px ({reason_of(error)})", "model"
        ) from error


def _load(network: Any, file: Path, what: str) -> None:
    from open_clip.convert import convert_state_dict
    from open_clip.model import resize_pos_embed
    from torch import nn

    model = nn.Module()
    model.visual = network
    state = convert_state_dict(model, read_state(file, _OWNER))
    resize_pos_embed(state, model)
    if hasattr(network, "trunk"):
        trunk = {key.removeprefix(_TRUNK): state.pop(key) for key in list(state) if key.startswith(_TRUNK)}
        state |= {f"{_TRUNK}{key}": value for key, value in convert_as_timm(network.trunk, trunk).items()}
    fit_state(model, state, _OWNER, what)


def _tag(name: str, weights: str) -> dict[str, Any]:
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    tag: dict[str, Any] = get_pretrained_cfg(name, weights)
    if not tag:
        raise _no_tag(name, weights, list_pretrained_tags_by_model(name))
    return tag


def _on_hub(tag: Mapping[str, Any]) -> tuple[str, Sequence[str]]:
    """Hub repository of a tag's weights ("" where there is none), and possible names of their file."""
    repository, _, filename = tag.get("hf_hub", "").rpartition("/")
    return repository, (f"{Path(filename).stem}.safetensors", filename) if filename else _HUB_FILES


def _file(what: str, tag: dict[str, Any]) -> Path:
    """Weights file of a tag, from the cache or else downloaded."""
    from huggingface_hub import constants
    from open_clip.pretrained import download_pretrained

    repository, names = _on_hub(tag)
    if repository:
        # Return a cached file directly: the hub's client would query the hub first.
        file = cached_file(repository, names)
        if file is not None:
            return file
        if not reachable(constants.ENDPOINT):
            raise WeightsError(
                f"{_OWNER}: weights {what} are not in the local cache and {constants.ENDPOINT} does not "
                f"answer; {_ADVICE}"
            )
    try:
        return Path(download_pretrained(tag))
    # The clients raise many kinds of network and disk errors.
    except Exception as error:
        raise WeightsError(
            f"{_OWNER}: weights {what} cannot be loaded ({reason_of(error)}); {_ADVICE}"
        ) from error


def _normalisation(name: str, tag: dict[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std of the tag's images; without a tag, those of the model's tags if they agree, else
    OpenAI's."""
    from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    usual = (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD)
    tags = [tag] if tag else [get_pretrained_cfg(name, t) for t in list_pretrained_tags_by_model(name)]
    found = {(tuple(t.get("mean") or usual[0]), tuple(t.get("std") or usual[1])) for t in tags}
    return found.pop() if len(found) == 1 else usual
