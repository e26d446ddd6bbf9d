"""Mutations of files that mlbench reads: what is wrong in them must be refused in one line."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from copy import deepcopy
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

#: Values that a reader may not expect.
ODD: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        "",
        " ",
        "null",
        "\0",
        "\ufeff",
        "é",
        "e\u0301",
        "שלום",
        "x" * 5000,
        "a\nb",
        "../../etc/passwd",
    ),
    *(
        0,
        -1,
        1,
        2**63,
        -(2**63),
        10**400,
        0.0,
        -0.0,
        1e-320,
        1e308,
        float("inf"),
        float("-inf"),
        float("nan"),
    ),
    *([], {}, [[]], [None], {"": ""}, {"name": None}, {"name": []}, [[[[[[1]]]]]], {"a": {"b": {"c": {}}}}),
    *(
        "1e5",
        "1_000",
        "0x10",
        "010",
        "1:30",
        "2026-01-01",
        "yes",
        "~",
        "!!python/object/apply:os.system [true]",
    ),
)

#: Texts that mean something to a YAML reader.
TOKENS = (
    *(
        "&a ",
        "*a",
        "<<: *a\n",
        "? ",
        "- ",
        ": ",
        ":",
        "#",
        "'",
        '"',
        "|\n",
        ">\n",
        "\t",
        "---\n",
        "...\n",
        "%YAML 9\n",
    ),
    *("{", "}", "[", "]", ",", "!!binary ", "!x ", "\x00", "\x85", "\u2028", "\r", "@", "`"),
)


def nodes(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in nested lists and mappings."""
    if path:
        yield path
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield from nodes(value, (*path, key))


def at(data: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        data = data[key]
    return data


def mutate_tree(data: Any, draw: random.Random) -> Any:
    """Change one value of nested data in place."""
    places = list(nodes(data))
    if not places:
        return data
    path = draw.choice(places)
    parent, key = at(data, path[:-1]), path[-1]
    way = draw.randrange(7)
    if way == 0:
        parent[key] = deepcopy(draw.choice(ODD))
    elif way == 1:
        del parent[key]
    elif way == 2:
        parent[key] = [parent[key]]
    elif way == 3:
        parent[key] = {"name": parent[key]}
    elif way == 4:
        parent[key] = deepcopy(at(data, draw.choice(list(nodes(data)))))
    elif way == 5 and isinstance(parent, dict) and isinstance(key, str):
        where = draw.randrange(len(key) + 1)
        parent[key[:where] + draw.choice("ab_.-é ") + key[where + draw.randrange(2) :]] = parent.pop(key)
    elif isinstance(parent, dict):
        odd = draw.choice(ODD)
        parent[odd if isinstance(odd, str | int | float | bool | None) else "odd"] = deepcopy(
            draw.choice(ODD)
        )
    else:
        parent.insert(key, deepcopy(draw.choice(ODD)))
    return data


def mutate_bytes(data: bytes, draw: random.Random) -> bytes:
    """Change some bytes: other values, pieces cut out, repeated, moved or cut off."""
    found = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 5, 20))):
        start = draw.randrange(len(found) + 1)
        length = min(draw.choice((1, 1, 2, 4, 16, 200)), len(found) - start)
        way = draw.randrange(6)
        if way == 0 and length:
            found[start] = draw.randrange(256)
        elif way == 1 and length:
            found[start] ^= 1 << draw.randrange(8)
        elif way == 2:
            del found[start : start + length]
        elif way == 3:
            found[start:start] = found[start : start + length]
        elif way == 4:
            found[start : start + length] = draw.choice((b"\0", b"\xff")) * length
        elif draw.random() < 0.3:
            del found[start:]
    return bytes(found)


def suite_text(text: str, draw: random.Random) -> bytes:
    """A suite with some mistakes: in its values, in its YAML, or in its bytes."""
    way = draw.random()
    if way < 0.6:
        data = yaml.safe_load(text)
        for _ in range(draw.choice((1, 1, 1, 2, 4))):
            data = mutate_tree(data, draw)
        try:
            return yaml.safe_dump(data, allow_unicode=draw.random() < 0.5).encode(errors="surrogatepass")
        except (RecursionError, yaml.YAMLError):
            return b"suite: [*a]"
    if way < 0.85:
        for _ in range(draw.choice((1, 1, 2, 4))):
            where = draw.randrange(len(text))
            text = text[:where] + draw.choice(TOKENS) + text[where + draw.randrange(2) :]
        return text.encode()
    return mutate_bytes(text.encode(), draw)


def record_text(record: dict[str, Any], draw: random.Random) -> bytes:
    """A record with some mistakes."""
    text = json.dumps(record)
    if draw.random() < 0.3:
        return mutate_bytes(text.encode(), draw)
    data = json.loads(text)
    for _ in range(draw.choice((1, 1, 2, 4))):
        mutate_tree(data, draw)
    return json.dumps(data).encode()


def rows_text(text: str, draw: random.Random) -> bytes:
    """A table of comma-separated values with some mistakes."""
    rows = [line.split(",") for line in text.splitlines()]
    for _ in range(draw.choice((1, 1, 2, 5))):
        row = draw.choice(rows)
        way = draw.randrange(6)
        if way == 0 and row:
            row[draw.randrange(len(row))] = str(draw.choice(ODD))
        elif way == 1 and row:
            del row[draw.randrange(len(row))]
        elif way == 2:
            row.insert(draw.randrange(len(row) + 1), draw.choice(('"', "", "x", "'", "\r", "\0")))
        elif way == 3 and len(rows) > 1:
            rows.remove(row)
        elif way == 4:
            rows.insert(draw.randrange(len(rows)), list(row))
        else:
            rows[draw.randrange(len(rows))] = []
    made = "\n".join(map(",".join, rows)).encode(errors="surrogatepass")
    return mutate_bytes(made, draw) if draw.random() < 0.2 else made


def images(folder: Path) -> list[bytes]:
    """Small files of every format that Pillow writes and mlbench reads."""
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 4), np.uint8)
    made = []
    for mode, kind, options in (
        ("RGB", "JPEG", {"quality": 80}),
        ("L", "JPEG", {}),
        ("CMYK", "JPEG", {}),
        ("RGB", "PNG", {}),
        ("RGBA", "PNG", {}),
        ("P", "PNG", {}),
        ("I;16", "PNG", {}),
        ("P", "GIF", {}),
        ("RGB", "WEBP", {}),
        ("RGBA", "WEBP", {"lossless": True}),
        ("RGB", "TIFF", {}),
        ("L", "TIFF", {"compression": "tiff_lzw"}),
        ("RGB", "BMP", {}),
        ("RGB", "PPM", {}),
    ):
        picture = Image.fromarray(noise, "RGBA")
        if mode == "I;16":
            picture = Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
        else:
            picture = picture.convert("RGB").convert(mode) if mode != "RGBA" else picture
        stream = BytesIO()
        exif = Image.Exif()
        exif[0x0112] = 6
        picture.save(stream, kind, **options, **({"exif": exif} if kind in ("JPEG", "WEBP") else {}))
        made.append(stream.getvalue())
    return made
