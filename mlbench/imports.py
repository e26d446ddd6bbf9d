"""Imports of plugins' code: timed, with its output kept away from stdout, and interrupts named."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from time import perf_counter

__all__ = ["Import", "guarded_import"]


@dataclass(slots=True)
class Import:
    """What an import was like. seconds: its duration. printed: the text that it wrote to stdout."""

    seconds: float = 0.0
    printed: str = ""


@contextmanager
def guarded_import(what: str) -> Iterator[Import]:
    """Foreign code may be imported and called inside the block; `Import` is complete after it.

    The code may not write to stdout, which is for results: what it prints is collected, and what its
    libraries in C and its processes write goes to stderr. Raises what the code raises; KeyboardInterrupt with
    a message that names `what`.
    """
    found, output = Import(), _Output()
    start = perf_counter()
    try:
        with redirect_stdout(output), _descriptor_of_stderr():
            yield found
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted while importing {what}") from None
    finally:
        found.seconds = perf_counter() - start
        found.printed = output.finish()


class _Output(io.TextIOWrapper):
    """Collects text until it is finished, and passes later text on to stderr: a log may keep this stream.

    It has the members of the usual stdout, such as `buffer` and `reconfigure`, which code may use."""

    def __init__(self) -> None:
        self._bytes = io.BytesIO()
        super().__init__(self._bytes, encoding="utf-8", write_through=True)
        self._parts: list[str] | None = []

    def write(self, text: str) -> int:
        if self._parts is None:
            return sys.stderr.write(text)
        self._parts.append(text)
        return len(text)

    def finish(self) -> str:
        """The text so far."""
        written = self._bytes.getvalue().decode(errors="replace")
        text = "".join(self._parts or ()) + written
        self._parts = None
        return text


@contextmanager
def _descriptor_of_stderr() -> Iterator[None]:
    """File descriptor 1 is that of stderr inside the block."""
    try:
        kept = os.dup(1)
    except OSError:  # stdout is closed
        yield
        return
    try:
        with suppress(OSError):
            os.dup2(2, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
