"""The measuring process: measures speed, memory and sizes of the cases of a run, one round at a time.

`mlbench.measurement.process` starts it and writes pickled requests to its stdin. Each answer is one line of
JSON after a record separator (RFC 7464), which tells it from output of libraries. The process has no cached
kernels, no fragmented memory and no worker processes of an earlier training.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, TextIO

import torch

from mlbench.environment import threads
from mlbench.measurement.process import MARK
from mlbench.measurement.reference import VERSION
from mlbench.measurement.reference_clock import ReferenceClock
from mlbench.measurement.stopwatch import Stopwatch

__all__ = ["serve"]


def serve(requests: Iterator[Mapping[str, Any]], answer: Callable[[Mapping[str, Any]], None]) -> None:
    """Answer requests to a device: `load` a subject under a number, measure a round of some `stages` of it,
    and `clear` all subjects. Each stage is announced before it starts."""
    clock: ReferenceClock | None = None  # made by the first request, as it occupies the device
    watches: dict[int, Stopwatch] = {}

    def announce(stage: str) -> None:
        answer({"stage": stage})

    for request in requests:
        device = request["device"]
        clock = clock or ReferenceClock(device)
        if "load" in request:
            watch = Stopwatch(request["load"], device, clock, request["unwanted"], announce)
            watches[request["number"]] = watch
            facts = {"threads": torch.get_num_threads(), "reference_version": VERSION}
            answer({"failed": watch.failed, "memory": watch.memory, "size": watch.size, **facts})
        elif "stages" in request:
            watch = watches[request["number"]]
            answer({"found": watch.round(request["stages"]), "failed": watch.failed})
        else:  # clear
            watches.clear()
            gc.collect()
            if device.startswith("cuda"):
                torch.cuda.empty_cache()
            clock.close()
            answer({"reference_minimum": clock.minimum if clock.minimum < float("inf") else None})


class _Watchdog:
    """Ends the process, with the stack of every thread on stderr, where a stage of a request does not end
    within the request's limit. Code that holds the interpreter's lock is stopped too."""

    def __init__(self) -> None:
        self._limit = 0.0

    def requests(self, stream: BinaryIO) -> Iterator[Mapping[str, Any]]:
        """The requests of a stream; the first stage of each starts when it is read."""
        while True:
            try:
                request = pickle.load(stream)  # noqa: S301 -- from the process that started this one
            except EOFError:
                return
            self._limit = request["limit"]
            self._start()
            yield request

    def answered(self, data: Mapping[str, Any]) -> None:
        """An answer was sent: another stage starts, or the request is answered."""
        if "stage" in data:
            self._start()
        else:
            faulthandler.cancel_dump_traceback_later()

    def _start(self) -> None:
        faulthandler.dump_traceback_later(self._limit, exit=True)


def _main() -> None:
    # Output of libraries goes to stderr, away from the answers.
    stdout: TextIO = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    watchdog = _Watchdog()

    def answer(data: Mapping[str, Any]) -> None:
        print(MARK + json.dumps(data), file=stdout, flush=True)
        watchdog.answered(data)

    torch.set_num_threads(threads())
    serve(watchdog.requests(sys.stdin.buffer), answer)


if __name__ == "__main__":
    _main()
