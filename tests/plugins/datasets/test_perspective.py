import math

import numpy as np
import pytest

from mlbench_datasets.perspective import CORNERS, inside, inverse, mapped, product, scaled, sheet

FLAT = (0.0, 0.0)


def test_sheet_seen_from_above_keeps_its_size():
    corners = [mapped(sheet(0.8, 0.4, 0.0, FLAT), *corner) for corner in CORNERS]
    assert corners == [(-0.4, -0.2), (0.4, -0.2), (0.4, 0.2), (-0.4, 0.2)]


def test_sheet_turned_by_a_quarter_exchanges_width_and_height():
    x, y = mapped(sheet(0.8, 0.4, math.pi / 2, FLAT), 0.5, 0.5)
    assert (x, y) == pytest.approx((-0.2, 0.4))


def test_sheet_shows_the_nearer_side_larger():
    left_top, right_top, right_bottom, left_bottom = (
        mapped(sheet(1.0, 1.0, 0.0, (0.3, 0.0)), *corner) for corner in CORNERS
    )
    assert left_bottom[1] - left_top[1] > 1 > right_bottom[1] - right_top[1]
    # By similar triangles: x cos t at the depth x sin t, seen at the focal length 2.2.
    assert right_top[0] == pytest.approx(0.5 * math.cos(0.3) * 2.2 / (2.2 + 0.5 * math.sin(0.3)))


def test_product_maps_by_the_second_factor_first():
    first, second = scaled(2, 3, 1, 0), sheet(0.7, 0.5, 0.2, (0.1, -0.2))
    assert mapped(product(second, first), 0.1, 0.2) == pytest.approx(mapped(second, *mapped(first, 0.1, 0.2)))


@pytest.mark.parametrize("seed", range(5))
def test_inverse_maps_back(seed):
    turn, *tilts = np.random.default_rng(seed).uniform(-0.5, 0.5, 3)
    matrix = product(scaled(128, 128, 64, 60), sheet(0.9, 0.6, turn, tuple(tilts)))
    for corner in CORNERS:
        assert mapped(inverse(matrix), *mapped(matrix, *corner)) == pytest.approx(corner)


@pytest.mark.parametrize("margin", [0, 3])
def test_inside_is_the_distance_to_the_nearest_edge(margin):
    corners = [(3.0, 2.0), (14.0, 4.0), (13.0, 13.5), (1.0, 12.0)]
    distance = inside(corners, 16, margin)
    assert distance.shape == (16 + 2 * margin,) * 2
    for row, column in ((0, 0), (5, 7), (margin + 8, margin + 8), (12, 3)):
        x, y = column + 0.5 - margin, row + 0.5 - margin
        edges = zip(corners, corners[1:] + corners[:1], strict=True)
        signed = [
            ((x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)) / math.hypot(x1 - x0, y1 - y0)
            for (x0, y0), (x1, y1) in edges
        ]
        assert distance[row, column] == pytest.approx(min(signed), abs=1e-4)
