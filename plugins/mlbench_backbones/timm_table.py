"""Sizes and tags of timm's models, from committed tables instead of building the models.

`timm_models.csv` has one line per model of the timm version in its first line, `timm_renamed.csv` one per
name that timm has replaced, and `timm_repositories.csv` one per model and tag whose weights are not in the
hub repository named after them. `make_table` writes all three.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from mlbench.plugin import (
    BackboneShape,
    CatalogueItem,
    FeatureShape,
    OptionError,
    TokensShape,
    close_match,
    hint,
)
from mlbench_backbones.bundled import BUNDLES

__all__ = [
    "RENAMED",
    "REPOSITORIES",
    "TABLE",
    "TimmModel",
    "hub_repository",
    "nearest_name",
    "plain_name",
    "predict_shape",
    "quick_gelu_name",
    "timm_catalogue",
    "trained_with_quick_gelu",
]

TABLE = Path(__file__).with_name("timm_models.csv")
RENAMED = Path(__file__).with_name("timm_renamed.csv")
REPOSITORIES = Path(__file__).with_name("timm_repositories.csv")

_OWNER = "backbone timm"


@dataclass(frozen=True, slots=True)
class TimmModel:
    """One model. The numbers for its map also hold for its tokens.

    size: the model's default image size. parameters: of the layers up to the map, without learnt positions.
    per_position: parameters for each position of the map, -1 if they are known only at `size`. channels,
    stride: of the map; stride in pixels. rounding: the map's side is image_size / stride, rounded "ceil" or
    "floor"; "exact" if the side is known only for multiples of the stride, "" if only at `size`, and "none"
    if the model has no map (the map's numbers are then 0). tokens: before those of the map.
    pooled_parameters, pooled: parameters and width of the pooled features, 0 without pooled features.
    drop_path: 1 with stochastic depth, else 0. tags: of the weights, default first.
    """

    size: int
    parameters: int
    per_position: int
    channels: int
    stride: int
    rounding: str
    tokens: int
    pooled_parameters: int
    pooled: int
    drop_path: int
    tags: tuple[str, ...] = ()

    def side(self, image_size: int) -> int | None:
        """Height and width of the map; None where they are known only after building the model."""
        if self.rounding == "ceil":
            return -(-image_size // self.stride)
        if self.rounding == "floor" or (self.rounding == "exact" and image_size % self.stride == 0):
            return image_size // self.stride
        return None

    def count(self, parameters: int, image_size: int) -> int | None:
        """Parameters at an image size; None where they are known only after building the model."""
        if self.per_position == 0:
            return parameters
        side = self.side(image_size)
        if self.per_position > 0 and side is not None:
            return parameters + self.per_position * side**2
        return parameters if self.per_position < 0 and image_size == self.size else None


def plain_name(model: str) -> str:
    """timm's name of a model, given as that or as on the hub: "timm/resnet50.a1_in1k", with or without
    "hf-hub:" before it.

    Raises OptionError for a model of another repository and for a name that timm has replaced.
    """
    source, colon, place = model.partition(":")
    owner, slash, name = (place if colon else model).rpartition("/")
    if (colon and source not in ("hf-hub", "hf_hub")) or (slash and owner != "timm") or (colon and not slash):
        raise OptionError(
            f"{_OWNER}: {model!r} is not a timm model; set model to its architecture and weights to the path "
            "of its checkpoint",
            "model",
        )
    version, rows = _read()
    current = _renamed().get(name.partition(".")[0])
    if current and name.partition(".")[0] not in rows and version == metadata.version("timm"):
        raise OptionError(f"{_OWNER}: timm has renamed {name}; set model to {current}", "model")
    return name


def hub_repository(model: str) -> str:
    """Hub repository of timm's weights of a model; "" if there is none."""
    version, rows = _read()
    name, _, tag = model.partition(".")
    if version != metadata.version("timm"):  # default tags may differ
        import timm

        try:
            configuration = timm.get_pretrained_cfg(model)
        except RuntimeError:
            return ""
        return (configuration and configuration.hf_hub_id) or ""
    tags = rows[name].tags if name in rows else ()
    if not tags:
        return ""
    full = f"{name}.{tag or tags[0]}"
    return _repositories().get(full, f"timm/{full}")


def quick_gelu_name(model: str) -> str:
    """Name of the same model with QuickGELU; "" if timm has none."""
    name, dot, tag = model.partition(".")
    other = name.replace("_clip_", "_clip_quickgelu_")
    return "" if other == name or other not in _read()[1] else other + dot + tag


def trained_with_quick_gelu(model: str) -> bool:
    """Whether timm's weights of a model need QuickGELU while the model has another activation."""
    name, _, tag = model.partition(".")
    _, rows = _read()
    if name not in rows or not quick_gelu_name(name):
        return False
    return (tag or rows[name].tags[0]) in rows[quick_gelu_name(name)].tags


def predict_shape(
    model: str, image_size: int, output: str = "map", *, drop_path: bool = False
) -> BackboneShape | None:
    """Parameters and output shape of a timm model; None if known only after building.

    model: timm's name, with or without a tag. Raises OptionError for an output or stochastic depth that the
    model does not have; with the timm version of the table, also for a model or tag that timm does not have.
    """
    version, rows = _read()
    name, _, tag = model.partition(".")
    row = rows.get(name)
    known = version == metadata.version("timm")
    if row is None or (tag and tag not in row.tags):
        if known:
            problem = f"timm {version} has no model {model!r} ({nearest_name(model)})"
            raise OptionError(f"{_OWNER}: {problem}", "model")
        if row is None:
            return None
    if drop_path and not row.drop_path:
        raise OptionError(f"{_OWNER}: {name} has no stochastic depth; leave drop_path out", "drop_path")
    side = row.side(image_size)
    if side == 0:
        raise OptionError(
            f"{_OWNER}: images of {image_size} px are smaller than the stride of {name}, "
            f"{row.stride} px; choose larger images",
            "model",
        )
    if output == "pooled":
        if not row.pooled:
            raise OptionError(
                f"{_OWNER}: {name} has no pooled features; set output to map or tokens", "output"
            )
        return BackboneShape(row.count(row.pooled_parameters, image_size), FeatureShape(row.pooled, 1, 1))
    if row.rounding == "none":
        raise OptionError(
            f"{_OWNER}: {name} has no {output} in spatial order; set output to pooled", "output"
        )
    if side is None and image_size != row.size:
        return None
    side = side or round(row.size / row.stride)
    shape: FeatureShape | TokensShape = FeatureShape(row.channels, side, side)
    if output == "tokens":
        shape = TokensShape(row.channels, side, side, row.tokens)
    return BackboneShape(row.count(row.parameters, image_size), shape)


def nearest_name(model: str) -> str:
    """Hint with the nearest name for an unknown model or tag; the name has a tag if `model` has one."""
    name, _, tag = model.partition(".")
    _, rows = _read()
    if name in rows:
        near = close_match(tag, rows[name].tags)
        full = [f"{name}.{each}" for each in rows[name].tags] or [name]
        return f"did you mean {name + '.' + near!r}?" if near else hint("", full)
    if tag:
        names = [f"{each}.{tag}" for each, row in rows.items() if tag in row.tags]
        near = close_match(f"{name}.{tag}", names)
        if near and close_match(name, [near.partition(".")[0]]):
            return f"did you mean {near!r}?"
    return hint(name, rows)


def timm_catalogue() -> Iterator[CatalogueItem]:
    """Every model of the table, with the weights that it can start from and an output that it has."""
    for name, row in _read()[1].items():
        tags = tuple(tag for tag in row.tags if _repositories().get(f"{name}.{tag}", name))
        options = {"model": name}
        if name not in BUNDLES:
            options["weights"] = "hub" if tags else "none"
        mapless = row.rounding == "none"
        if mapless:
            options["output"] = "pooled"
        parameters = row.count(row.pooled_parameters if mapless else row.parameters, row.size)
        yield CatalogueItem(name, options, "", parameters, row.size, tags)


@cache
def _renamed() -> dict[str, str]:
    """Current names by the names that timm has replaced."""
    with RENAMED.open(newline="", encoding="utf-8") as file:
        file.readline()
        return {line["name"]: line["current"] for line in csv.DictReader(file)}


@cache
def _repositories() -> dict[str, str]:
    """Repositories not named after their model and tag; "" if there are no weights."""
    with REPOSITORIES.open(newline="", encoding="utf-8") as file:
        file.readline()
        return {line["name"]: line["repository"] for line in csv.DictReader(file)}


@cache
def _read() -> tuple[str, dict[str, TimmModel]]:
    with TABLE.open(newline="", encoding="utf-8") as file:
        version = file.readline().split()[-1]
        lines = csv.DictReader(file)
        rows = {line.pop("model"): _row(line) for line in lines}
    return version, rows


def _row(line: dict[str, str]) -> TimmModel:
    rounding, tags = line.pop("rounding"), tuple(line.pop("tags").split())
    return TimmModel(**{name: int(value) for name, value in line.items()}, rounding=rounding, tags=tags)
