from __future__ import annotations

from dataclasses import replace

import pytest

from mlbench.deployment.card import Card
from mlbench.errors import StoreError

CARD = Card(
    suite="toy",
    case="gap",
    seed=3,
    fingerprint="abc",
    version="0.1.0",
    weights="random",
    precision="float32",
    size=16,
    resize="pad",
    crop_ratio=0.875,
    similarity=0.1 + 0.2,
)


@pytest.mark.parametrize(
    "card",
    [
        CARD,
        replace(CARD, similarity=None, note="no threshold does"),
        replace(CARD, white=4095.0),
        replace(CARD, width=64, widths=(16, 32)),
    ],
)
def test_card_reads_what_it_wrote(card: Card) -> None:
    metadata = card.metadata()
    assert all(isinstance(value, str) for value in metadata.values())
    assert Card.read(metadata, "a.onnx") == card


def test_card_tells_deployers_the_threshold_both_ways_and_the_colours() -> None:
    metadata = CARD.metadata()
    assert float(metadata["threshold_distance"]) == 1 - float(metadata["threshold_similarity"])
    assert (metadata["colour_order"], metadata["image_size"]) == ("RGB", "16")


@pytest.mark.parametrize("change", [{"image_size": "large"}, {"case": None}])
def test_card_of_a_file_from_elsewhere_is_refused(change: dict[str, str | None]) -> None:
    metadata = {key: value for key, value in (CARD.metadata() | change).items() if value is not None}
    with pytest.raises(StoreError, match=r"^a\.onnx: was not written by mlbench export"):
        Card.read(metadata, "a.onnx")


@pytest.mark.parametrize(
    "change",
    [
        {"resize": "letterbox"},
        {"pad_value": "0"},
        {"colour_order": "BGR"},
        {"crop_ratio": "0.0"},
        {"image_size": "0"},
        {"white": "-1.0"},
        {"width": "0"},
        {"threshold_similarity": "nan"},
    ],
)
def test_card_that_asks_for_what_is_not_done_is_refused(change: dict[str, str]) -> None:
    (name,) = change
    with pytest.raises(StoreError, match=rf"cannot be used with mlbench .* \({name}: "):
        Card.read(CARD.metadata() | change, "a.onnx")


def test_card_of_8_bits_says_that_images_are_embedded_one_at_a_time() -> None:
    assert "one image at a time" in replace(CARD, precision="int8").metadata()["batch"]
    assert "batch" not in CARD.metadata()
