"""The typefaces of rendered documents, from installed font packages.

An explicit table lists the faces, so a document looks the same on every machine that has the packages.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from PIL import ImageFont

from mlbench.plugin import DataError

__all__ = ["CHARACTERS", "FACES", "Face", "Role", "Script", "font", "shape", "versions"]

Script = Literal["latin", "arabic", "devanagari", "thai"]
Role = Literal[
    "heavy", "sans", "bold", "serif", "book", "italic", "hand", "mono", "tech", "arabic", "devanagari", "thai"
]


@dataclass(frozen=True, slots=True)
class Face:
    """One typeface. package: pip name. weight: value of the weight axis, None for a font without axes."""

    package: str
    file: str
    weight: int | None = None
    script: Script = "latin"


#: Every face, by its use: `serif` for titles, `book` for running text with serifs, `tech` for machine-like
#: lettering; one role for each other script.
FACES: Mapping[Role, tuple[Face, ...]] = MappingProxyType(
    {
        "heavy": (
            Face("fontpkg-anton", "Anton-Regular.ttf"),
            Face("fontpkg-bebas-neue", "BebasNeue-Regular.ttf"),
            Face("fontpkg-oswald", "Oswald[wght].ttf", 600),
            Face("fontpkg-montserrat", "Montserrat[wght].ttf", 800),
            Face("fontpkg-inter", "Inter[opsz,wght].ttf", 850),
        ),
        "sans": (
            Face("fontpkg-inter", "Inter[opsz,wght].ttf", 450),
            Face("fontpkg-open-sans", "OpenSans[wdth,wght].ttf", 450),
            Face("fontpkg-roboto", "Roboto[wdth,wght].ttf", 450),
            Face("fontpkg-montserrat", "Montserrat[wght].ttf", 500),
        ),
        "bold": (
            Face("fontpkg-inter", "Inter[opsz,wght].ttf", 700),
            Face("fontpkg-open-sans", "OpenSans[wdth,wght].ttf", 700),
            Face("fontpkg-roboto", "Roboto[wdth,wght].ttf", 800),
            Face("fontpkg-montserrat", "Montserrat[wght].ttf", 700),
        ),
        "serif": (
            Face("fontpkg-playfair-display", "PlayfairDisplay[wght].ttf", 700),
            Face("fontpkg-lora", "Lora[wght].ttf", 700),
            Face("fontpkg-merriweather", "Merriweather[opsz,wdth,wght].ttf", 800),
            Face("fontpkg-playfair-display", "PlayfairDisplay[wght].ttf", 500),
        ),
        "book": (
            Face("fontpkg-lora", "Lora[wght].ttf", 500),
            Face("fontpkg-merriweather", "Merriweather[opsz,wdth,wght].ttf", 400),
        ),
        "italic": (
            Face("fontpkg-lora", "Lora-Italic[wght].ttf", 500),
            Face("fontpkg-playfair-display", "PlayfairDisplay-Italic[wght].ttf", 600),
            Face("fontpkg-merriweather", "Merriweather-Italic[opsz,wdth,wght].ttf", 500),
        ),
        "hand": (
            Face("fontpkg-lobster", "Lobster-Regular.ttf"),
            Face("fontpkg-pacifico", "Pacifico-Regular.ttf"),
            Face("fontpkg-caveat", "Caveat[wght].ttf", 700),
        ),
        "mono": (
            Face("fontpkg-jetbrains-mono", "JetBrainsMono[wght].ttf", 500),
            Face("fontpkg-jetbrains-mono", "JetBrainsMono[wght].ttf", 800),
        ),
        "tech": (
            Face("fontpkg-orbitron", "Orbitron[wght].ttf", 800),
            Face("fontpkg-press-start-2p", "PressStart2P-Regular.ttf"),
        ),
        "arabic": (
            Face("fontpkg-noto-sans-arabic", "NotoSansArabic[wdth,wght].ttf", 700, "arabic"),
            Face("fontpkg-noto-sans-arabic", "NotoSansArabic[wdth,wght].ttf", 400, "arabic"),
        ),
        "devanagari": (
            Face("fontpkg-noto-sans-devanagari", "NotoSansDevanagari[wdth,wght].ttf", 700, "devanagari"),
            Face("fontpkg-noto-sans-devanagari", "NotoSansDevanagari[wdth,wght].ttf", 450, "devanagari"),
        ),
        "thai": (
            Face("fontpkg-noto-sans-thai", "NotoSansThai[wdth,wght].ttf", 700, "thai"),
            Face("fontpkg-noto-sans-thai", "NotoSansThai[wdth,wght].ttf", 450, "thai"),
        ),
    }
)

#: The characters used in each script, besides the space; every face of the script has them. Characters that
#: Pillow's basic layout engine draws wrongly are left out: Devanagari conjuncts and the vowel sign that is
#: drawn before its consonant, and stacked Thai marks.
CHARACTERS: Mapping[Script, str] = MappingProxyType(
    {
        "latin": "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
        ".,:;-/&'#%+*()°•€$£áåäéèíñóöúüÁÅÄÉÈÍÑÓÖÚÜ",
        "arabic": "ابتثجحخدذرزسشصضطظعغفقكلمنهوي",
        "devanagari": "कखगघचछजटडतथदधनपफबभमयरलवशसहाीुूेैोौं",
        "thai": "กขคงจชซญดตถทธนบปผพมยรลวสหอะาิีุูเแโ่้",
    }
)


@lru_cache(maxsize=1024)
def font(face: Face, size: int) -> ImageFont.FreeTypeFont:
    """`face` at `size` pixels per em.

    The layout engine is Pillow's basic one, so that results do not depend on libraqm.
    Raises DataError if the font's package is not installed.
    """
    loaded = ImageFont.truetype(_path(face), size, layout_engine=ImageFont.Layout.BASIC)
    if face.weight is not None:
        axes = loaded.get_variation_axes()
        loaded.set_variation_by_axes(
            [face.weight if axis["name"] == b"Weight" else axis["default"] or 0 for axis in axes]
        )
    return loaded


@lru_cache(maxsize=4096)
def shape(text: str, script: Script) -> str:
    """`text` with its letters in the forms and the order in which they are drawn, from left to right."""
    if script != "arabic":
        return text
    import arabic_reshaper

    # The text is purely Arabic, so right to left is plain reversal.
    return str(arabic_reshaper.reshape(text))[::-1]


@lru_cache(maxsize=1)
def versions() -> str:
    """Names and versions of all font packages, for the version of data drawn with them.

    Raises DataError if one is not installed.
    """
    packages = sorted({face.package for faces in FACES.values() for face in faces})
    return ", ".join(f"{package} {_version(package)}" for package in packages)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        raise _missing(package) from None


@lru_cache(maxsize=256)
def _path(face: Face) -> Path:
    spec = importlib.util.find_spec(face.package.replace("-", "_"))
    for location in (spec and spec.submodule_search_locations) or ():
        path = Path(location, "files", face.file)
        if path.is_file():
            return path
    raise _missing(face.package)


def _missing(package: str) -> DataError:
    return DataError(
        f"the fonts of {package} are needed to render documents and are not installed: pip install {package}"
    )
