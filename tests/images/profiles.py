"""Small ICC profiles (ICC.1:2001-04), generated so that tests need no files."""

from __future__ import annotations

import struct
from collections.abc import Iterable

import numpy as np

#: Columns: red, green and blue in XYZ under D50.
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
DISPLAY_P3 = np.array(
    [[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]]
)

_D50 = (0.9642, 1.0, 0.8249)


def rgb_profile(primaries: np.ndarray, gamma: float) -> bytes:
    tags = {b"wtpt": _xyz(_D50)}
    for number, name in enumerate("rgb"):
        tags[f"{name}XYZ".encode()] = _xyz(primaries[:, number])
        tags[f"{name}TRC".encode()] = _curve(gamma)
    return _profile(b"RGB ", b"XYZ ", tags)


def grey_profile(gamma: float) -> bytes:
    return _profile(b"GRAY", b"XYZ ", {b"wtpt": _xyz(_D50), b"kTRC": _curve(gamma)})


def cmyk_profile(ink: tuple[int, int, int], paper: tuple[int, int, int] = (255, 128, 128)) -> bytes:
    """A CMYK profile that maps pixels with any full ink to `ink` and pixels without ink to `paper` (Lab, 8
    bits)."""
    corners = [paper if corner == 0 else ink for corner in range(16)]
    straight = bytes(range(256))
    table = struct.pack(">4s4xBBBx", b"mft1", 4, 3, 2)
    table += struct.pack(">9i", *(65536 * (place in (0, 4, 8)) for place in range(9)))
    table += straight * 4 + bytes(value for corner in corners for value in corner) + straight * 3
    return _profile(b"CMYK", b"Lab ", {b"wtpt": _xyz(_D50), b"A2B0": table})


def converted(pixels: np.ndarray, primaries: np.ndarray, gamma: float) -> np.ndarray:
    """Pixels (..., 3) uint8 of an RGB profile converted to sRGB by the formulas."""
    linear = (pixels / 255.0) ** gamma @ (np.linalg.inv(SRGB) @ primaries).T
    linear = np.clip(linear, 0, 1)
    shown = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(255 * shown).astype(np.uint8)


def _xyz(values: Iterable[float]) -> bytes:
    return b"XYZ " + bytes(4) + _numbers(values)


def _numbers(values: Iterable[float]) -> bytes:
    return b"".join(struct.pack(">i", round(65536 * float(value))) for value in values)


def _curve(gamma: float) -> bytes:
    return struct.pack(">4s4xIHxx", b"curv", 1, round(256 * gamma))


def _profile(space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    text = b"test\0"
    described = struct.pack(">4s4xI", b"desc", len(text)) + text + bytes(79)
    tags = {b"desc": described, b"cprt": struct.pack(">4s4x", b"text") + b"none\0", **tags}
    at, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += struct.pack(">4sII", name, at + len(body), len(content))
        body += content
    device = b"prtr" if space == b"CMYK" else b"mntr"
    header = struct.pack(">I4sI4s4s4s", at + len(body), b"test", 0x02400000, device, space, connection)
    header += bytes(12) + b"acsp" + bytes(28) + _numbers(_D50) + bytes(48)
    return header + struct.pack(">I", len(tags)) + table + body
