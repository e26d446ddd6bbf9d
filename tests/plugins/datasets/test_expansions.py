from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mlbench_datasets.documents.catalogue import LAYOUTS, draw_document, layout_of
from mlbench_datasets.expansions import EXPANSIONS, expansion, expansion_name, repeated_expansions


def card(seed: int, width: int = 60, height: int = 40) -> Image.Image:
    """A picture of large random patches that differs from its rotations as from any other picture."""
    patches = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(patches).resize((width, height), Image.Resampling.BICUBIC)


def test_expansions_are_the_24_of_the_study() -> None:
    assert len(set(EXPANSIONS)) == 24
    assert [part for _, _, part in EXPANSIONS] == ["whole"] * 8 + ["top"] * 8 + ["bottom"] * 8
    assert EXPANSIONS[0] == (0, False, "whole")


@pytest.mark.parametrize("number", range(24))
def test_expansion_turns_then_flips_then_halves(number: int) -> None:
    square = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    turns, flip, part = EXPANSIONS[number]
    expected = np.rot90(square, turns)
    if flip:
        expected = np.flipud(expected)
    if part != "whole":
        half = expected[:4] if part == "top" else expected[4:]
        expected = np.asarray(
            Image.fromarray(np.ascontiguousarray(half)).resize((8, 8), Image.Resampling.BILINEAR)
        )
    assert np.array_equal(np.asarray(expansion(Image.fromarray(square), number)), expected)


def test_expansions_of_a_document_are_distinct() -> None:
    document = card(3, 64, 64)
    shown = {expansion(document, number).tobytes() for number in range(24)}
    assert len(shown) == 24
    assert repeated_expansions(document) == 0


def test_third_flip_would_repeat() -> None:
    """Four rotations times three flips give 8 images, not 12, so there are no more expansions."""
    square = np.asarray(card(3, 64, 64))
    turned = [np.rot90(square, turns) for turns in range(4)]
    flipped = [flip(image) for image in turned for flip in (lambda a: a, np.flipud, np.fliplr)]
    assert len({image.tobytes() for image in flipped}) == 8


def bits(number: int) -> list[int]:
    return [bit for bit in range(24) if number >> bit & 1]


def test_repeated_expansions_finds_symmetry() -> None:
    blank = Image.new("RGB", (40, 40), "white")
    assert bits(repeated_expansions(blank)) == list(range(1, 24))
    # Left-right symmetric: rotation by 180 degrees equals the flip, and so for 90 and 270 degrees.
    half = np.asarray(card(1, 32, 64))
    mirrored = Image.fromarray(np.concatenate([half, half[:, ::-1]], axis=1))
    shown = [np.asarray(expansion(mirrored, number), float) for number in range(8)]
    naive = [k for k in range(8) if any(np.abs(shown[k] - shown[j]).mean() < 2 for j in range(k))]
    assert bits(repeated_expansions(mirrored) & 0xFF) == naive == [4, 5, 6, 7]


def test_expansion_names_are_unique() -> None:
    assert len({expansion_name(number) for number in range(24)}) == 24
    assert [expansion_name(number) for number in (0, 1, 7, 8, 21)] == [
        "0",
        "90",
        "270-flipped",
        "0-top",
        "90-flipped-bottom",
    ]


def test_expansion_of_an_oblong_image_keeps_its_size_or_exchanges_the_sides() -> None:
    image = card(0, 60, 40)
    for number, (turns, _, _) in enumerate(EXPANSIONS):
        assert expansion(image, number).size == ((40, 60) if turns % 2 else (60, 40))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rendered_documents_look_different_in_every_expansion(layout: str) -> None:
    families = [family for family in range(60) if layout_of(0, "train", family) == layout]
    for family in families[:3]:
        document = draw_document(0, "train", 4 * family, family_size=4, pixels=64)
        assert repeated_expansions(document) == 0
