"""What npm installs of the emoji of four vendors, but few and plain."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

__all__ = ["VENDORS", "write_emoji"]

VENDORS = ("apple", "google", "twitter", "facebook")


def write_emoji(folder: Path, *, count: int = 20, flags: int = 3) -> None:
    """`count` emoji, the last `flags` of which are flags, and one more, which facebook has not drawn."""
    table = [
        {
            "image": f"1f{number:03}.png",
            "short_name": f"face-{number}",
            "category": "Flags" if number >= count - flags else "Symbols",
            "sort_order": number + 1,
            **{f"has_img_{vendor}": number < count or vendor != "facebook" for vendor in VENDORS},
        }
        for number in range(count + 1)
    ]
    for vendor in VENDORS:
        package = folder / "node_modules" / f"emoji-datasource-{vendor}"
        (package / "img" / vendor / "64").mkdir(parents=True)
        (package / "package.json").write_text(json.dumps({"version": "16.0.0"}))
        (package / "emoji.json").write_text(json.dumps(table[::-1]))
        for number in range(count):
            picture = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
            picture.paste((number, 100, 200, 255), (16, 16, 48, 48))
            picture.save(package / "img" / vendor / "64" / f"1f{number:03}.png")
