"""The nested widths of a case: prefixes of its embeddings that are trained and evaluated too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlbench.errors import SuiteError

__all__ = ["Widths", "read_widths"]

_EXPECTED = (
    "expected at least two rising whole numbers from 2 on, the last the neck's dim, as in [32, 64, 256]"
)


@dataclass(frozen=True)
class Widths:
    """Numbers of leading components of an embedding that are used as embeddings themselves (Matryoshka
    representation learning, Kusupati et al., arXiv:2205.13147).

    values: rising, the last is the whole width; () for a case that only uses the whole. where: their place
    in the suite file.
    """

    values: tuple[int, ...] = ()
    where: str = ""

    @property
    def nested(self) -> tuple[int, ...]:
        """The widths below the whole one."""
        return self.values[:-1]

    def of(self, dim: int) -> tuple[int, ...]:
        """The widths of embeddings of `dim` numbers, the whole one last. Raises SuiteError where the widths
        end with another."""
        if self.values and self.values[-1] != dim:
            raise SuiteError(
                f"{self.where}: the last width is {self.values[-1]}, but the neck's dim is {dim}; end widths "
                "with the neck's dim, or change it"
            )
        return self.values or (dim,)


def read_widths(given: Any, where: str) -> Widths:
    """Widths from their value in a suite, None for none. Raises SuiteError for what cannot be widths."""
    if given is None:
        return Widths()
    numbers = isinstance(given, list) and all(type(each) is int and each >= 2 for each in given)
    if not numbers or len(given) < 2 or sorted(set(given)) != given:
        raise SuiteError(f"{where}: widths is {given!r}; {_EXPECTED}; null or no widths for the whole alone")
    return Widths(tuple(given), where)
