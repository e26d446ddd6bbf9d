"""The measuring process as its parent sees it: requests and answers, and the reason when it ends."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from mlbench.errors import MlbenchError

__all__ = ["KEEP_MEMORY", "LIMIT", "MARK", "MeasuringProcess", "ProcessEndedError"]

#: Seconds after which a stage that has not ended is given up.
LIMIT = 600.0

#: The timed process keeps freed memory. By default glibc returns it and requests it again, in every batch or
#: never, depending on the layout of the heap: the speeds of two such processes differ by a third.
KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(1 << 40), "MALLOC_MMAP_MAX_": "0"}

#: Start of an answer of the process (RFC 7464); the other lines are output of libraries.
MARK = "\x1e"


class ProcessEndedError(MlbenchError):
    """The measuring process has ended. stage: what it was doing, "" if it was idle. hung: where it was when
    its time was over: file, line and function of each call, the innermost first; empty where it ended
    otherwise."""

    def __init__(self, reason: str, stage: str, hung: Sequence[tuple[str, int, str]] = ()) -> None:
        super().__init__(reason)
        self.stage = stage
        self.hung = tuple(hung)


class MeasuringProcess:
    """A process that runs `mlbench.measurement.server` on a device, a torch name; started by `prepare` or the
    first request."""

    def __init__(self, device: str) -> None:
        self.device = device
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> MeasuringProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._end()

    def prepare(self) -> None:
        """Start the process, which imports its libraries and waits. `ask` raises what goes wrong."""
        with contextlib.suppress(OSError):
            self._start()

    def ask(self, *, limit: float = LIMIT, **request: Any) -> Mapping[str, Any]:
        """The answer to a request. Raises ProcessEndedError where the process has ended instead, and OSError
        where none can be started; the next request starts another process. limit: seconds after which a stage
        ends the process."""
        message = pickle.dumps({"device": self.device, "limit": limit, **request})
        if self._process is not None and self._process.poll() is not None:  # killed while it was idle
            self._end()
        if self._process is None:
            self._start()
        self._send(message)
        stage = ""
        while (answer := self._line()) is not None:
            if "stage" not in answer:
                return answer
            stage = answer["stage"]
        reason, hung = self._end()
        raise ProcessEndedError(reason, stage, hung)

    def _start(self) -> None:
        errors = tempfile.TemporaryFile()  # noqa: SIM115 -- closed in _end
        try:
            self._process = subprocess.Popen(
                # -P: a queue.py in the working folder must not replace Python's.
                [sys.executable, "-P", "-m", "mlbench.measurement.server"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**KEEP_MEMORY, **os.environ},
            )
        except BaseException:
            errors.close()
            raise
        self._errors = errors

    def _send(self, message: bytes) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the process has ended; `ask` handles that
            self._process.stdin.write(message)
            self._process.stdin.flush()

    def _line(self) -> Mapping[str, Any] | None:
        """The next answer; None if the process has ended."""
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            text = line.decode(errors="replace")
            if text.startswith(MARK):
                found: dict[str, Any] = json.loads(text.removeprefix(MARK))
                return found
        return None

    def _end(self) -> tuple[str, list[tuple[str, int, str]]]:
        """Why the process ended, and where it hung."""
        assert self._process is not None
        process, self._process = self._process, None
        code = process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        self._errors.seek(0)
        text = self._errors.read().decode(errors="replace").strip()
        self._errors.close()
        if code < 0:
            return f"killed by signal {-code}{' (out of memory?)' if code == -9 else ''}", []
        _, over, stacks = text.rpartition("\nTimeout (" if "\nTimeout (" in text else "Timeout (")
        if over:
            # The stack of every thread; that of the main one is the last.
            stack = stacks.rpartition("Thread ")[2]
            calls = re.findall(r'^  File "(.*)", line (\d+) in (.*)$', stack, re.MULTILINE)
            return "its time is over", [(file, int(line), function) for file, line, function in calls]
        return f"measuring failed: {(text.splitlines() or ['no message'])[-1]}", []
