"""The perspective in which a camera sees a flat sheet, as matrices of homogeneous coordinates.

Plain floats, as NumPy takes several times as long for matrices of this size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

__all__ = ["CORNERS", "Matrix", "Point", "inside", "inverse", "mapped", "product", "scaled", "sheet"]

Point = tuple[float, float]

#: Three rows of three.
Matrix = tuple[tuple[float, ...], ...]

#: Corners of a sheet in its own coordinates, clockwise from the top left.
CORNERS: tuple[Point, ...] = ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5))

_FOCAL_LENGTH = 2.2  # in sides of the frame; that of a phone's main camera


def sheet(width: float, height: float, turn: float, tilts: tuple[float, float]) -> Matrix:
    """Maps a sheet to the photograph, in which the centre of the sheet is at 0 and the frame has sides of 1.

    width, height: of the sheet, in sides of the frame. turn: clockwise. tilts: about the vertical and the
    horizontal axis. All angles are in radians.
    """
    turned = (
        (width * math.cos(turn), -height * math.sin(turn), 0.0),
        (width * math.sin(turn), height * math.cos(turn), 0.0),
        (0.0, 0.0, 1.0),
    )
    depths = (math.sin(tilts[0]) / _FOCAL_LENGTH, math.sin(tilts[1]) / _FOCAL_LENGTH, 1.0)
    return product(((math.cos(tilts[0]), 0.0, 0.0), (0.0, math.cos(tilts[1]), 0.0), depths), turned)


def scaled(x: float, y: float, right: float, down: float) -> Matrix:
    """Multiplies coordinates by x and y, then adds `right` and `down`."""
    return ((x, 0.0, right), (0.0, y, down), (0.0, 0.0, 1.0))


def product(second: Matrix, first: Matrix) -> Matrix:
    """The map `first`, then the map `second`."""
    columns = tuple(zip(*first, strict=True))
    return tuple(tuple(a * x + b * y + c * z for x, y, z in columns) for a, b, c in second)


def inverse(matrix: Matrix) -> Matrix:
    """The inverse up to a factor, which changes nothing in homogeneous coordinates."""
    (a, b, c), (d, e, f), (g, h, i) = matrix
    return (
        (e * i - f * h, c * h - b * i, b * f - c * e),
        (f * g - d * i, a * i - c * g, c * d - a * f),
        (d * h - e * g, b * g - a * h, a * e - b * d),
    )


def mapped(matrix: Matrix, x: float, y: float) -> Point:
    """The point to which (x, y) is mapped."""
    u, v, depth = (a * x + b * y + c for a, b, c in matrix)
    return u / depth, v / depth


def inside(corners: Sequence[Point], size: int, margin: int = 0) -> np.ndarray:
    """Distance of each pixel's centre to the nearest edge of a convex shape, < 0 outside: (side, side)
    float32, where side is that of a frame of `size` pixels with `margin` pixels more on all sides.

    corners: of the shape, clockwise, in pixels of the frame.
    """
    axis = np.arange(size + 2 * margin, dtype=np.float32) + np.float32(0.5 - margin)
    edges = []
    for (x0, y0), (x1, y1) in zip(corners, (*corners[1:], corners[0]), strict=True):
        length = max(math.hypot(x1 - x0, y1 - y0), 1e-6)
        dx, dy = (x1 - x0) / length, (y1 - y0) / length
        edges.append(((dx * axis)[:, None], dy * axis + (dx * y0 - dy * x0)))
    distance, other = np.subtract(*edges[0]), np.empty((len(axis), len(axis)), dtype=np.float32)
    for rows, columns in edges[1:]:
        np.minimum(distance, np.subtract(rows, columns, out=other), out=distance)
    return distance
