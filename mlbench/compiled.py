"""Functions compiled by Numba, whose code is kept from one process to the next where that can be."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from numba import njit

__all__ = ["compiled"]


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorator: compile a function without the interpreter lock; options: of `numba.njit`.

    A process compiles for itself where the code cannot be kept, as on a full disk.
    """

    def compile_(function: Callable[..., Any]) -> Any:
        try:
            dispatcher = njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:  # no folder to keep it in
            return njit(nogil=True, **options)(function)
        cache = dispatcher._cache
        save = cache.save_overload

        def save_if_possible(*arguments: Any) -> None:
            with contextlib.suppress(OSError):  # which Numba would raise out of the function's first call
                save(*arguments)

        cache.save_overload = save_if_possible
        return dispatcher

    return compile_
