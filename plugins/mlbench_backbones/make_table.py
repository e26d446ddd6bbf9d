"""Write the tables of timm's models: run ``python -m mlbench_backbones.make_table`` after an upgrade of timm.

It builds every model on torch's meta device, without memory for weights, and takes at least 15 minutes on two
cores. Models that cannot be built with any output are listed on standard error.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import astuple, fields, replace
from functools import cache
from multiprocessing import Pool
from typing import Any

import timm
import torch
import torch.nn.functional as F
from timm.layers import DropPath
from timm.models import get_deprecated_models
from torch import nn
from torch.overrides import TorchFunctionMode

from mlbench_backbones.timm_network import has_feature_map, split_model, token_layout
from mlbench_backbones.timm_table import RENAMED, REPOSITORIES, TABLE, TimmModel

__all__ = ["row_of", "tags_of"]

_HEAD = f"# made by python -m mlbench_backbones.make_table with timm {timm.__version__}\n"

#: Image sizes at which a rounding rule must hold; some leave a remainder at every stride.
SIZES = (64, 75, 97, 128, 150, 224, 299)

#: The same for models that are built for one size; these are built once per size.
FIXED_SIZES = (64, 75, 97, 150, 160)

#: Strides to try if the model's image size over its map's side, which may be rounded, fits no rule.
STRIDES = (16, 32, 64)

#: Functions that change no shape, and take most of the time on the meta device.
SHAPELESS = {
    *(F.batch_norm, F.layer_norm, F.group_norm, F.dropout, F.softmax),
    *(F.relu, F.relu6, F.gelu, F.silu, F.hardswish, F.hardsigmoid, F.elu, F.leaky_relu, F.mish),
    *(torch.batch_norm, torch.layer_norm, torch.relu, torch.relu_, torch.sigmoid, torch.tanh),
    *(getattr(torch.Tensor, name) for name in ("relu", "sigmoid", "tanh", "softmax", "sigmoid_", "relu_")),
    *(getattr(torch.Tensor, name) for name in ("clamp_", "normal_", "uniform_", "erfinv_", "mul_", "add_")),
    *(getattr(torch.Tensor, name) for name in ("fill_", "zero_", "copy_", "sub_", "div_")),
    *(
        getattr(torch.nn.init, name)
        for name in ("kaiming_normal_", "kaiming_uniform_", "normal_", "uniform_")
    ),
    *(getattr(torch.nn.init, name) for name in ("constant_", "ones_", "zeros_", "xavier_uniform_")),
}


class ShapesOnly(TorchFunctionMode):
    """Skips functions that change no shape."""

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        if function in SHAPELESS and arguments and arguments[0].is_meta:
            return arguments[0]
        return function(*arguments, **(keywords or {}))


def row_of(name: str) -> TimmModel:
    """The table's row of one model."""
    with ShapesOnly():
        return replace(_row_of(name), tags=tags_of(name))


def tags_of(name: str) -> tuple[str, ...]:
    """Tags of a model's weights, default first."""
    default = timm.get_pretrained_cfg(name).tag
    tags = [full.partition(".")[2] for full in _full_names() if full.partition(".")[0] == name]
    return tuple(filter(None, dict.fromkeys([default, *tags])))


@cache
def _full_names() -> list[str]:
    names: list[str] = timm.list_models(include_tags=True)
    return names


def _row_of(name: str) -> TimmModel:
    whole = _build(name, num_classes=0)
    native = whole.pretrained_cfg["input_size"][-1]
    fixed = bool(whole.pretrained_cfg.get("fixed_input_size"))
    parts = split_model(whole, _images(native))
    pooled = parts.vectors.shape[1] if parts.vectors is not None else 0
    pooled_parameters = _count(whole) if pooled else 0
    drop_path = int(_has_drop_path(name))
    measured: dict[int, tuple[int, int]] = {}  # by image size: parameters, side
    if has_feature_map(name):
        channels, tokens = 0, 0
        for size in {native, *(FIXED_SIZES if fixed else SIZES)}:
            if fixed or not measured:
                network = _try_build(name, size, native, fixed=fixed, features_only=True)
            features = _run(network, size, lambda network, images: network(images)[-1])
            if features is not None:
                measured[size] = (_count(network), features.shape[2])
                channels = features.shape[1]
    else:
        place = token_layout(whole, parts.features)
        if place is None:
            per_position = -1 if fixed else 0
            return TimmModel(native, 0, per_position, 0, 0, "none", 0, pooled_parameters, pooled, drop_path)
        channels, tokens = place.channels, place.tokens
        measured[native] = (_count(parts.body), place.height)
        for size in FIXED_SIZES if fixed else SIZES:
            network = _try_build(name, size, native, fixed=fixed, num_classes=0) if fixed else whole
            features = _run(network, size, lambda network, images: network.forward_features(images))
            found = token_layout(network, features)
            if found is not None:
                other = _count(network) - _count(whole) + measured[native][0]
                measured[size] = (other, found.height)
    parameters, side = measured[native]
    per_position = _per_position(measured, native)
    at_positions = max(per_position, 0) * side**2
    row = TimmModel(
        native,
        parameters - at_positions,
        per_position,
        channels,
        round(native / side),
        "",
        tokens,
        pooled_parameters - at_positions if pooled else 0,
        pooled,
        drop_path,
    )
    return _with_rounding(row, measured, FIXED_SIZES if fixed else SIZES)


def _build(name: str, **arguments: Any) -> Any:
    with torch.device("meta"):
        return timm.create_model(name, **arguments).eval()


def _try_build(name: str, size: int, native: int, *, fixed: bool, **arguments: Any) -> Any:
    if fixed and size != native:
        arguments["img_size"] = size
    try:
        return _build(name, **arguments)
    # The model does not accept this size.
    except Exception:
        return None


def _run(network: Any, size: int, run: Any) -> Any:
    try:
        with torch.no_grad():
            return run(network, _images(size))
    # The model does not accept this size, or could not be built.
    except Exception:
        return None


def _images(size: int) -> torch.Tensor:
    return torch.empty(1, 3, size, size, device="meta")


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _has_drop_path(name: str) -> bool:
    try:
        network = _build(name, num_classes=0, drop_path_rate=0.1)
    # timm's models raise various exceptions for an unknown argument.
    except Exception:
        return False
    return any(isinstance(module, DropPath) and module.drop_prob for module in network.modules())


def _per_position(measured: dict[int, tuple[int, int]], native: int) -> int:
    """Parameters per position of the map, consistent with all measurements; -1 if there is no such number."""
    parameters, side = measured[native]
    slopes = {
        (other - parameters) / (there**2 - side**2) if there != side else float(other != parameters)
        for other, there in measured.values()
        if (other, there) != (parameters, side)
    }
    if not slopes:
        return 0 if len(measured) > 1 else -1
    slope = slopes.pop()
    return int(slope) if not slopes and slope >= 0 and slope == int(slope) else -1


def _with_rounding(row: TimmModel, measured: dict[int, tuple[int, int]], sizes: tuple[int, ...]) -> TimmModel:
    """The row with the first rounding rule and stride that predict no wrong side and at least two sides."""
    for rule in ("ceil", "floor", "exact"):
        for stride in (row.stride, *STRIDES):
            ruled = replace(row, rounding=rule, stride=stride)
            predicted = {size: ruled.side(size) for size in {row.size, *sizes}}
            known = {size: side for size, side in predicted.items() if side is not None}
            true = all(size in measured and measured[size][1] == side for size, side in known.items())
            if true and row.size in known and len(known) > 1:
                return ruled
    assert round(row.size / row.stride) == measured[row.size][1]
    return row


def _line(name: str) -> tuple[Any, ...] | str:
    torch.set_num_threads(1)
    try:
        return (name, *_cells(row_of(name)))
    except Exception as error:
        return f"{name}: {type(error).__name__}: {error}"


def _cells(row: TimmModel) -> tuple[Any, ...]:
    return (*astuple(row)[:-1], " ".join(row.tags))


def write_renamed() -> None:
    """Write the table of names that timm has replaced."""
    with RENAMED.open("w", newline="", encoding="utf-8") as file:
        file.write(_HEAD)
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("name", "current"))
        table.writerows(sorted((old, new) for old, new in get_deprecated_models().items() if new))


def write_repositories() -> None:
    """Write the table of models and tags whose weights are not in the repository named after them."""
    found = {full: timm.get_pretrained_cfg(full) for full in _full_names() if "." in full}
    ids = {full: configuration.hf_hub_id or "" for full, configuration in found.items()}
    for full, configuration in found.items():
        if configuration.hf_hub_filename:
            print(f"{full}: its weights file has a non-standard name", file=sys.stderr)
    with REPOSITORIES.open("w", newline="", encoding="utf-8") as file:
        file.write(_HEAD)
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("name", "repository"))
        table.writerows(sorted((full, each) for full, each in ids.items() if each != f"timm/{full}"))


def write_table() -> None:
    """Build every timm model and write the table."""
    with Pool() as pool, TABLE.open("w", newline="", encoding="utf-8") as file:
        file.write(_HEAD)
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("model", *(field.name for field in fields(TimmModel))))
        for line in pool.imap(_line, sorted(timm.list_models()), chunksize=4):
            if isinstance(line, str):
                print(line, file=sys.stderr)
            else:
                table.writerow(line)


if __name__ == "__main__":
    write_renamed()
    write_repositories()
    write_table()
