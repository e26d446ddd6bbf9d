from __future__ import annotations

from pathlib import Path

import pytest
from emoji_files import write_emoji
from published_files import (
    classes,
    load,
    refused,
    sizes,
)


def test_emoji_leave_flags_out_of_the_second_half(tmp_path: Path) -> None:
    write_emoji(tmp_path / "emoji", count=21, flags=3)
    data = load("emoji", tmp_path)
    # The halves are made of all 21; an emoji that a vendor lacks is in neither.
    assert classes(data, "test") == [f"1f{number:03} face-{number}" for number in range(10, 18)]
    held_in = sorted(classes(data, "train") + classes(data, "calibration"))
    assert held_in == [f"1f{number:03} face-{number}" for number in range(10)]
    assert sizes(data) == [(8, 32), (2, 8), (8, 32)]
    test = data.split("test")
    assert [test.label(index) for index in range(8)] == [0] * 4 + [1] * 4
    vendors = [test.paths[index].decode().split("/")[3] for index in range(4)]
    assert vendors == ["apple", "google", "twitter", "facebook"]
    image = test.image(0)
    assert image.getpixel((0, 0)) == (255, 255, 255)
    assert image.getpixel((32, 32)) == (10, 100, 200)


def test_emoji_of_another_release_are_refused(tmp_path: Path) -> None:
    write_emoji(tmp_path / "emoji")
    file = tmp_path / "emoji/node_modules/emoji-datasource-google/package.json"
    file.write_text('{"version": "15.1.2"}')
    line = refused("emoji", tmp_path)
    assert line.startswith(f"{file}: version 15.1.2; the splits need 16.0.0; run: npm install ")
    for content, message in (("[]", "version None"), ("{", "not JSON; install the package again")):
        file.write_text(content)
        assert message in refused("emoji", tmp_path)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("{}", "no emoji that all vendors have drawn"),
        ("[]", "no emoji that all vendors have drawn"),
        ('[{"image": 1}]', "expected emoji with image, short_name, category, sort_order"),
        ("[1]", "expected emoji with image"),
    ],
)
def test_emoji_tables_that_are_damaged_are_named(tmp_path: Path, table: str, message: str) -> None:
    write_emoji(tmp_path / "emoji")
    (tmp_path / "emoji/node_modules/emoji-datasource-apple/emoji.json").write_text(table)
    assert message in refused("emoji", tmp_path)


def test_too_few_classes_to_hold_any_out_are_an_error(tmp_path: Path) -> None:
    write_emoji(tmp_path / "emoji", count=7, flags=0)
    message = "training classes with two images or more: 3; at least 4 are needed"
    assert refused("emoji", tmp_path).endswith(message)
