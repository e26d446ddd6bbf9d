"""What timm's models would be, without building them: a committed table.

`timm_models.csv` has one line per model of the timm version in its first line. `make_table` makes it.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from mlbench.contracts import BackboneShape, FeatureShape, TokensShape
from mlbench.errors import OptionError, hint

__all__ = ["TABLE", "Row", "predict_shape"]

TABLE = Path(__file__).with_name("timm_models.csv")


@dataclass(frozen=True, slots=True)
class Row:
    """One model. The map's numbers are those of its tokens too.

    size: image size that it is made for. parameters: of what gives the map; of one with learnt positions,
    without them. per_position: parameters for each position of the map, -1 where only `size` is known.
    channels, stride: of the map; stride in pixels. rounding: the map's side is image_size / stride, rounded
    "ceil" or "floor"; "exact" where neither holds for sizes that the stride does not divide, "" where none of
    this holds, so that it is known at `size` alone, and "none" where the model has no map (its numbers are
    0). tokens: in front of the map's. pooled_parameters, pooled: parameters and width of the pooled features,
    0 where it has none. drop_path: 1 where it has stochastic depth.
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

    def side(self, image_size: int) -> int | None:
        """Height and width of the map, or None where only building the model can tell."""
        if self.rounding == "ceil":
            return -(-image_size // self.stride)
        if self.rounding == "floor" or (self.rounding == "exact" and image_size % self.stride == 0):
            return image_size // self.stride
        return None

    def count(self, parameters: int, image_size: int) -> int | None:
        """Parameters at an image size, or None where only building the model can tell."""
        if self.per_position == 0:
            return parameters
        side = self.side(image_size)
        if self.per_position > 0 and side is not None:
            return parameters + self.per_position * side**2
        return parameters if self.per_position < 0 and image_size == self.size else None


def predict_shape(
    model: str, image_size: int, output: str = "map", *, drop_path: bool = False
) -> BackboneShape | None:
    """Parameters and output of a timm model, or None where only building it can tell.

    Raises OptionError for an output or stochastic depth that it does not have, and for a model that timm does
    not have; the latter only under the timm version that the table was made with.
    """
    version, rows = _read()
    name = model.partition(".")[0]
    row = rows.get(name)
    if row is None:
        if version != metadata.version("timm"):
            return None
        problem = f"timm {version} has no model {name!r} ({hint(name, rows)})"
        raise OptionError(f"backbone timm: {problem}", "model")
    if drop_path and not row.drop_path:
        raise OptionError(f"backbone timm: {name} has no stochastic depth; leave drop_path out", "drop_path")
    side = row.side(image_size)
    if side == 0:
        raise OptionError(
            f"backbone timm: images of {image_size} px are smaller than the stride of {name}, "
            f"{row.stride} px; choose larger images",
            "model",
        )
    if output == "pooled":
        if not row.pooled:
            raise OptionError(
                f"backbone timm: {name} has no pooled features; set output to map or tokens", "output"
            )
        return BackboneShape(row.count(row.pooled_parameters, image_size), FeatureShape(row.pooled, 1, 1))
    if row.rounding == "none":
        raise OptionError(
            f"backbone timm: {name} has no {output} in the order of the image; set output to pooled", "output"
        )
    if side is None and image_size != row.size:
        return None
    side = side or round(row.size / row.stride)
    shape: FeatureShape | TokensShape = FeatureShape(row.channels, side, side)
    if output == "tokens":
        shape = TokensShape(row.channels, side, side, row.tokens)
    return BackboneShape(row.count(row.parameters, image_size), shape)


@cache
def _read() -> tuple[str, dict[str, Row]]:
    with TABLE.open(newline="", encoding="utf-8") as file:
        version = file.readline().split()[-1]
        lines = csv.DictReader(file)
        rows = {line.pop("model"): _row(line) for line in lines}
    return version, rows


def _row(line: dict[str, str]) -> Row:
    rounding = line.pop("rounding")
    return Row(**{name: int(value) for name, value in line.items()}, rounding=rounding)
