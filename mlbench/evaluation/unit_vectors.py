"""Unit vectors on a device, in the order of the score matrix and rounded for the products."""

from __future__ import annotations

from typing import NamedTuple

import torch

from mlbench.evaluation.all_pairs import OrderedImages
from mlbench.evaluation.products import Products

__all__ = ["UnitRows", "UnitVectors", "padded_width"]

#: Rows that are divided by their norms at a time, in float64.
_ROWS = 8192

#: Dimensions are padded with zeros to a multiple of this, so that every row starts at a multiple of 16 bytes
#: and the product of two tiles does not depend on where they start.
_ALIGNED = 8


def padded_width(dim: int) -> int:
    """Number of columns of the unit vectors of `dim` dimensions."""
    return -(-dim // _ALIGNED) * _ALIGNED


class UnitRows(NamedTuple):
    """Rows of one tile, (side, D). scales: (side,) float32, the inverse of their norms, if rounding below
    float32 has changed the norms; else None."""

    vectors: torch.Tensor
    scales: torch.Tensor | None


class UnitVectors:
    """Unit vectors of the queries or of the gallery, in tiles of `side` rows.

    Vectors are float32, or bfloat16 on a GPU if they are rounded to it. held: whether to make all of them
    once; else those of a tile are made each time.
    """

    def __init__(self, ordered: OrderedImages, products: Products, side: int, *, held: bool) -> None:
        vectors = ordered.vectors
        self._vectors, self._products, self._side = vectors, products, side
        self._images = torch.from_numpy(ordered.images).to(vectors.device)
        self._norms = torch.from_numpy(ordered.norms).to(vectors.device)
        self._all = self._make(0, len(ordered) + side) if held else None

    def tile(self, start: int) -> UnitRows:
        """Rows [start, start + side); rows past the last image are zero."""
        if self._all is None:
            return self._make(start, start + self._side)
        vectors, scales = self._all
        end = start + self._side
        return UnitRows(vectors[start:end], None if scales is None else scales[start:end])

    def _make(self, start: int, end: int) -> UnitRows:
        device, dim = self._vectors.device, self._vectors.shape[1]
        kind = torch.bfloat16 if self._products == "bf16" and device.type == "cuda" else torch.float32
        rows = torch.zeros((end - start, padded_width(dim)), dtype=kind, device=device)
        scales = None if self._products == "float32" else torch.ones(end - start, device=device)
        for top in range(start, min(end, len(self._images)), _ROWS):
            bottom = min(top + _ROWS, end, len(self._images))
            wide = self._vectors[self._images[top:bottom]].double()
            unit = _rounded((wide / self._norms[top:bottom, None]).float(), self._products)
            rows[top - start : bottom - start, :dim] = unit
            if scales is not None:
                squares = unit.double().square().sum(1)
                # A vector of subnormal numbers may round to zero.
                squares = torch.where(squares > 0, squares, 1)
                scales[top - start : bottom - start] = squares.sqrt().reciprocal().float()
        return UnitRows(rows, scales)


def _rounded(values: torch.Tensor, products: Products) -> torch.Tensor:
    """`mlbench.evaluation.products.round_for_products` for a tensor."""
    if products == "bf16":
        return values.bfloat16().float()
    if products == "tf32":
        bits = values.view(torch.int32)
        bits = bits + ((bits >> 13) & 1) + 0xFFF
        return (bits & ~0x1FFF).view(torch.float32)
    return values
