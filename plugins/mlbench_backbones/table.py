"""What timm's models would be, without building them: a committed table, and how to make it.

`timm_models.csv` has one line per model of the timm version in its first line. To make it anew after an
upgrade of timm: ``python -m mlbench_backbones.table``. It builds every model without memory for its
weights (torch's meta device) and takes some minutes.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlbench.contracts import BackboneShape, FeatureShape
from mlbench.errors import OptionError, hint

if TYPE_CHECKING:
    from torch import nn

__all__ = ["predict_shape"]

TABLE = Path(__file__).with_name("timm_models.csv")
FIELDS = ("model", "parameters", "channels", "stride", "rounding")

#: Image sizes that a rounding rule must hold for; some leave a remainder at every stride.
SIZES = (64, 75, 96, 97, 100, 128, 150, 160, 224, 299)


@dataclass(frozen=True, slots=True)
class Row:
    """One model's feature network: its parameters, and its last map's channels and stride in pixels.

    rounding: the map's side is image_size / stride, rounded "ceil" or "floor"; "exact" where neither holds
    for sizes that the stride does not divide, "" where none of this holds, and "none" where the model
    has no feature map of its own at all (its other fields are 0).
    """

    parameters: int
    channels: int
    stride: int
    rounding: str

    def side(self, image_size: int) -> int | None:
        """Height and width of the last map, or None where only building the model can tell."""
        if self.rounding == "ceil":
            return -(-image_size // self.stride)
        if self.rounding == "floor" or (self.rounding == "exact" and image_size % self.stride == 0):
            return image_size // self.stride
        return None


def predict_shape(model: str, image_size: int) -> BackboneShape | None:
    """Parameters and output of a timm model, or None where only building it can tell.

    Raises OptionError for a model that has no feature map, and for one that timm does not have; the
    latter only under the timm version that the table was made with.
    """
    version, rows = _read()
    name = model.partition(".")[0]
    row = rows.get(name)
    if row is None:
        if version != metadata.version("timm"):
            return None
        problem = f"timm {version} has no model {name!r} ({hint(name, rows)})"
        raise OptionError(f"backbone timm: {problem}", "model")
    if row.rounding == "none":
        raise OptionError(
            f"backbone timm: {name} has no convolutional feature map that mlbench can take; "
            "choose a convolutional model",
            "model",
        )
    side = row.side(image_size)
    if side is None:
        return None
    if side == 0:
        raise OptionError(
            f"backbone timm: images of {image_size} px are smaller than the stride of {name}, "
            f"{row.stride} px; choose larger images",
            "model",
        )
    return BackboneShape(row.parameters, FeatureShape(row.channels, side, side))


@cache
def _read() -> tuple[str, dict[str, Row]]:
    with TABLE.open(newline="", encoding="utf-8") as file:
        version = file.readline().split()[-1]
        lines = csv.reader(file)
        next(lines)
        rows = {name: Row(int(p), int(c), int(s), rounding) for name, p, c, s, rounding in lines}
    return version, rows


def write_table() -> None:
    """Build every timm model and write the table."""
    import timm

    rows = {name: _row(name) for name in sorted(timm.list_models())}
    with TABLE.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# made by python -m mlbench_backbones.table with timm {timm.__version__}\n")
        table = csv.writer(file, lineterminator="\n")
        table.writerow(FIELDS)
        for name, row in rows.items():
            table.writerow((name, row.parameters, row.channels, row.stride, row.rounding))


def _row(name: str) -> Row:
    import timm
    import torch
    from timm.models import FeatureHookNet

    from mlbench_backbones.network import last_map, layers_of

    nothing = Row(0, 0, 0, "none")
    try:
        with torch.device("meta"):
            network = timm.create_model(name, features_only=True).eval()
    # timm says in many ways that a model has no feature maps.
    except Exception:
        return nothing
    if isinstance(network, FeatureHookNet):
        return nothing
    layers = torch.nn.Sequential(*(layer for _, layer in layers_of(network)))
    channels, stride = last_map(network)
    configuration: Any = network.pretrained_cfg
    native = configuration["input_size"][-1]
    side = _side(layers, native, channels)
    if side is None or side != _side(network, native, channels):
        return nothing
    sides = {size: _side(layers, size, channels) for size in SIZES}
    parameters = sum(parameter.numel() for parameter in layers.parameters())
    rounding = ""
    for rule in ("exact", "floor", "ceil"):
        row = Row(parameters, channels, stride, rule)
        if all(row.side(size) in (None, side) for size, side in sides.items()):
            rounding = rule
    return Row(parameters, channels, stride, rounding)


def _side(module: nn.Module, image_size: int, channels: int) -> int | None:
    """Side of the square map that `module` makes, or None if it makes none with these channels."""
    import torch

    try:
        with torch.inference_mode():
            output = module(torch.empty(1, 3, image_size, image_size, device="meta"))
    # A size that the model cannot take, or layers that are not meant to run one after another.
    except Exception:
        return None
    shape = (output[-1] if isinstance(output, list) else output).shape
    return shape[2] if len(shape) == 4 and shape == (1, channels, shape[2], shape[2]) else None


if __name__ == "__main__":
    write_table()
