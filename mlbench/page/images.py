"""The images of a page: small copies, each embedded once, within a limit of bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["ImageSource", "Images"]

#: Pixels of the longer side by number of images: the first whose count is not exceeded. More images, smaller
#: ones, so that they stay within the limit of bytes.
_SIDES = ((700, 96), (1500, 72), (1 << 62, 48))

_QUALITY = 55  # of WebP

#: Bytes of all images as they are written in the page.
_LIMIT = 1_800_000


@dataclass(frozen=True)
class ImageSource:
    """Where images come from. key: equal for equal images, such as the data version and the split. read: the
    image at an index, of any size; it may raise."""

    key: str
    read: Callable[[int], Image.Image]


class Images:
    """Images by number, from 0. shown: False for a page without images. limit: of bytes."""

    def __init__(self, *, shown: bool = True, limit: int = _LIMIT) -> None:
        self.shown = shown
        self._limit = limit
        self._numbers: dict[tuple[str, int], int] = {}
        self._sources: dict[str, ImageSource] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def number(self, source: ImageSource | None, index: int) -> int | None:
        """The number of an image, None where there are no images."""
        if not self.shown or source is None or index < 0:
            return None
        self._sources.setdefault(source.key, source)
        return self._numbers.setdefault((source.key, index), len(self._numbers))

    def encoded(self) -> tuple[list[str], list[str]]:
        """The address "data:..." of every image by its number, "" for one left out; and a note on those."""
        side = next(side for count, side in _SIDES if len(self) <= count)
        found, total, unread, over = [], 0, 0, 0
        for key, index in self._numbers:
            text = ""
            if total >= self._limit:
                over += 1
            else:
                try:
                    text = _address(self._sources[key].read(index), side)
                # The data set is foreign code, and a file may be gone.
                except Exception:
                    unread += 1
            total += len(text)
            found.append(text)
        notes = [f"{unread:,} images cannot be read any more and are not shown"] if unread else []
        if over:
            notes.append(f"{over:,} of {len(self):,} images are left out, so that the page stays small")
        return found, notes


def _address(image: Image.Image, side: int) -> str:
    small = image.convert("RGB")
    small.thumbnail((side, side))
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=_QUALITY, method=2)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
