from __future__ import annotations

import io
from importlib.util import find_spec

import pytest
from PIL import Image

from mlbench.images import formats
from mlbench.images.formats import HEIF_SUFFIXES, IMAGE_SUFFIXES, UnreadableImageError, open_image

HEIC = b"\0\0\0\x18ftypheic" + bytes(100)


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES - HEIF_SUFFIXES))
def test_every_suffix_belongs_to_a_format_that_is_read(suffix: str) -> None:
    Image.init()
    format = "MPO" if suffix == ".mpo" else Image.registered_extensions()[suffix]
    buffer = io.BytesIO()
    image = Image.new("1" if suffix == ".pbm" else "L" if suffix == ".pgm" else "RGB", (8, 8))
    image.save(buffer, format)
    assert open_image(buffer.getvalue()).size == (8, 8)


def test_heif_suffixes_are_included_if_the_reader_is_installed() -> None:
    assert bool(HEIF_SUFFIXES & IMAGE_SUFFIXES) == bool(find_spec("pillow_heif"))


def test_heic_without_its_reader_states_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "_heif", lambda: False)
    with pytest.raises(UnreadableImageError, match=r"HEIC needs pillow-heif; pip install 'mlbench\[heic\]'"):
        open_image(HEIC)


def test_damaged_heic_is_not_an_image() -> None:
    with pytest.raises(UnreadableImageError):
        open_image(HEIC)
