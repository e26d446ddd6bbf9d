"""Random words, names, dates and numbers: pronounceable text from syllables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from mlbench_datasets.fonts import Script

__all__ = ["Words"]

T = TypeVar("T")

_ONSETS: tuple[str, ...] = (
    *"bcdfghjklmnprstvwz",
    "br",
    "cr",
    "dr",
    "fl",
    "gr",
    "kl",
    "pl",
    "sk",
    "st",
    "tr",
    "th",
)
_VOWELS: tuple[str, ...] = (*"aeiouaeio", "ai", "au", "ea", "ei", "ia", "io", "oo", "ou")
_CODAS: tuple[str, ...] = (*"lmnrstx", "nd", "nt", "rk", "rn", "st", "ll", "ck")
# fmt: off
_ENDINGS = (
    "a", "o", "e", "en", "er", "in", "on", "el", "is", "us", "ia", "ano", "eau", "ine", "ett", "ard", "ova",
    "sen", "berg", "ström", "feld", "ton", "ley",
)
_TRADES = (
    "Bakery", "Books", "Brewery", "Chemist", "Cinema", "Clinic", "Coffee", "Dairy", "Diner", "Florist",
    "Garage", "Grill", "Hardware", "Hotel", "Jeweller", "Laundry", "Library", "Market", "Museum", "Optician",
    "Pharmacy", "Records", "Salon", "School", "Stationer", "Tailor", "Theatre", "Toys", "Tools", "Travel",
)
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
# fmt: on

_ARABIC = "ابتثجحخدذرزسشصضطظعغفقكلمنهوي"
_ARABIC_VOWELS = "اوي"
_DEVANAGARI = "कखगघचछजटडतथदधनपफबभमयरलवशसह"
_DEVANAGARI_SIGNS = ("", "", "ा", "ा", "ी", "ु", "ू", "े", "ै", "ो", "ौ", "ं")
_THAI = "กขคงจชซญดตถทธนบปผพมยรลวสหอ"
_THAI_SYLLABLES = ("{}า", "{}ี", "{}ิ", "{}ุ", "{}ู", "{}ะ", "เ{}", "แ{}", "โ{}", "{}่า", "{}้า", "{}อ")


class Words:
    """Random text and numbers, drawn from `generator` alone."""

    def __init__(self, generator: np.random.Generator) -> None:
        self._random = generator.random

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        return low + (high - low) * float(self._random())

    def below(self, limit: int) -> int:
        """An integer in [0, limit)."""
        return int(self._random() * limit)

    def between(self, low: int, high: int) -> int:
        """An integer in [low, high]."""
        return low + self.below(high - low + 1)

    def pick(self, options: Sequence[T]) -> T:
        return options[self.below(len(options))]

    def chance(self, probability: float) -> bool:
        return float(self._random()) < probability

    def word(self, script: Script = "latin", syllables: int | None = None) -> str:
        """A word of 2 or 3 syllables, or of `syllables`; Latin words start with a capital."""
        count = syllables or self.between(2, 3)
        if script == "arabic":
            return "".join(self.pick(_ARABIC) + self.pick(_ARABIC_VOWELS) for _ in range(count)) + self.pick(
                _ARABIC
            )
        if script == "devanagari":
            return "".join(self.pick(_DEVANAGARI) + self.pick(_DEVANAGARI_SIGNS) for _ in range(count))
        if script == "thai":
            return "".join(self.pick(_THAI_SYLLABLES).format(self.pick(_THAI)) for _ in range(count))
        start = "".join(self.pick(_ONSETS) + self.pick(_VOWELS) for _ in range(count - 1))
        coda = self.pick(_CODAS) if self.chance(0.6) else self.pick(_ONSETS)
        return (start + coda + self.pick(_ENDINGS)).capitalize()

    def phrase(self, count: int, script: Script = "latin") -> str:
        return " ".join(self.word(script) for _ in range(count))

    def sentence(self, count: int) -> str:
        """Lower-case words after a capital, with a full stop."""
        return self.phrase(count).capitalize() + "."

    def name(self) -> str:
        """A person's first and last name."""
        return f"{self.word(syllables=2)} {self.word()}"

    def trade(self) -> str:
        return self.pick(_TRADES)

    def digits(self, count: int) -> str:
        return "".join(str(self.below(10)) for _ in range(count))

    def code(self, pattern: str) -> str:
        """`pattern` with every 9 replaced by a digit and every A by a capital letter."""
        fill = {"9": "0123456789", "A": "ABCDEFGHJKLMNPRSTUVWXYZ"}
        return "".join(self.pick(fill[mark]) if mark in fill else mark for mark in pattern)

    def price(self, high: int = 90) -> str:
        return f"{self.between(1, high)}.{self.pick(('00', '20', '45', '50', '75', '90', '95', '99'))}"

    def year(self, low: int = 1950, high: int = 2024) -> int:
        return self.between(low, high)

    def date(self) -> str:
        return f"{self.between(1, 28):02d} {self.pick(_MONTHS)} {self.year()}"
