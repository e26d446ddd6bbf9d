"""Configurations of open_clip's models, read from the package's files without torch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mlbench.plugin import (
    BackboneShape,
    CatalogueItem,
    FeatureShape,
    OptionError,
    TokensShape,
    close_match,
    hint,
)
from mlbench_backbones.clip_tags import model_on_hub, tags_of

__all__ = ["clip_catalogue", "has_model", "predict_tower", "read_config"]

#: Settings of a transformer tower whose parameters `predict_tower` does not count.
_UNUSUAL = (
    *("attentional_pool", "block_type", "qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner"),
    *("scale_attn", "scale_fc"),
)


def read_config(model: str) -> dict[str, Any]:
    """open_clip's configuration of a model, with keys such as embed_dim and vision_cfg.

    Raises OptionError if open_clip does not have the model or is not installed.
    """
    files = _files()
    name = model.replace("/", "-")
    if name not in files:
        problem = (
            _unknown_model(model)
            if files
            else "the package is not installed; run: pip install open_clip_torch"
        )
        raise OptionError(f"backbone open_clip: {problem}", "model")
    configuration: dict[str, Any] = json.loads(files[name].read_text(encoding="utf-8"))
    return configuration


def has_model(model: str) -> bool:
    """Whether open_clip has a model of that name."""
    return model in _files()


def _unknown_model(model: str) -> str:
    """Why open_clip has no model of that name, and which name to use instead."""
    _, colon, place = model.partition(":")
    repository = place if colon else model
    if found := model_on_hub(repository):
        name, tag = found
        return f"{repository} is open_clip's {name} with the weights {tag}; set model and weights to these"
    name = model.replace("/", "-")
    if "/" in model and not close_match(name, _files()):
        return (
            f"{model!r} is not an open_clip model; set model to its architecture and weights to the path of "
            "its checkpoint"
        )
    return f"open_clip has no model {model!r} ({hint(name, _files())})"


def predict_tower(configuration: dict[str, Any], image_size: int, output: str) -> BackboneShape:
    """Parameters and output shape of the image tower; None where they are known only after building.

    Raises OptionError for images smaller than a patch.
    """
    width = configuration["embed_dim"]
    vision = {"layers": 12, "width": 768, "patch_size": 16, "mlp_ratio": 4.0, **configuration["vision_cfg"]}
    pooled = FeatureShape(width, 1, 1) if output == "pooled" else None
    if "timm_model_name" in vision or isinstance(vision["layers"], list):
        return BackboneShape(None, pooled)
    channels, patch = vision["width"], vision["patch_size"]
    side = image_size // patch
    if side == 0:
        raise OptionError(
            f"backbone open_clip: images of {image_size} px are smaller than a patch, {patch} px; "
            "choose larger images",
            "model",
        )
    parameters: int | None = None
    if not any(vision.get(name) for name in _UNUSUAL):
        hidden = int(channels * vision["mlp_ratio"])
        scales = 2 * channels if vision.get("ls_init_value") is not None else 0
        attention = 4 * channels * (channels + 1)
        block = 4 * channels + attention + 2 * channels * hidden + hidden + channels + scales
        stem = 3 * channels * patch**2 + channels * (side**2 + 2)
        norms = (2 if vision.get("no_ln_pre") else 4) * channels
        projection = channels * width if output == "pooled" else 0
        parameters = stem + norms + vision["layers"] * block + projection
    if output == "tokens":
        return BackboneShape(parameters, TokensShape(channels, side, side, 1))
    return BackboneShape(parameters, pooled or FeatureShape(channels, side, side))


def clip_catalogue() -> Iterator[CatalogueItem]:
    """Every model that open_clip has a configuration of; parameters where they are known without building."""
    for name in sorted(_files()):
        configuration = read_config(name)
        size = configuration["vision_cfg"].get("image_size", 224)
        side = size if isinstance(size, int) else max(size)
        tags = tuple(tags_of(name) or ())
        options = {"model": name}
        if "openai" not in tags:
            options["weights"] = tags[0] if tags else "none"
        parameters = predict_tower(configuration, side, "pooled").parameters
        yield CatalogueItem(name, options, "", parameters, side, tags)


@cache
def _files() -> dict[str, Path]:
    """The configuration file of each model, located without importing open_clip, which imports torch."""
    package = find_spec("open_clip")
    if package is None or not package.submodule_search_locations:
        return {}
    folder = Path(package.submodule_search_locations[0], "model_configs")
    return {file.stem: file for file in sorted(folder.glob("*.json"))}
