"""Functions compiled by Numba, with the machine code cached on disk where possible."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from numba import njit

__all__ = ["compiled"]


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorator: compile a function without the interpreter lock; options: of `numba.njit`.

    Where the code cannot be cached, for example on a full disk, each process compiles again.
    """

    def compile_(function: Callable[..., Any]) -> Any:
        try:
            dispatcher = njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:  # no writable folder for the cache
            return njit(nogil=True, **options)(function)
        cache = dispatcher._cache
        save = cache.save_overload

        def save_if_possible(*arguments: Any) -> None:
            with contextlib.suppress(OSError):  # Numba would raise it from the function's first call
                save(*arguments)

        cache.save_overload = save_if_possible
        return dispatcher

    return compile_
