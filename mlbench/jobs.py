"""Jobs: several processes that train cases at once, each on a device of its own or sharing one."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from types import TracebackType
from typing import Any

from mlbench.errors import MlbenchError, first_line

__all__ = ["Ended", "Jobs", "Work"]

#: What a process does with an item on a device, a torch name. Pickled, as its arguments and result. It calls
#: its last argument with events, plain tuples, while it works.
Work = Callable[[Any, str, Callable[[tuple[Any, ...]], None]], Any]


@dataclass(frozen=True)
class Ended:
    """The end of the work on an item. result: of `Work`; None where its process ended instead, with `reason`.
    events: in their order. error: that `Work` raised and that ends all jobs."""

    item: Any
    result: Any = None
    reason: str = ""
    events: Sequence[tuple[Any, ...]] = ()
    error: MlbenchError | None = None


@dataclass
class _Process:
    device: str
    process: Any = None
    connection: Connection | None = None
    item: Any = None
    events: list[tuple[Any, ...]] = field(default_factory=list)


class Jobs:
    """Processes that work on items, one item at a time each. Use as a context manager.

    devices: torch names, one for each process. A process is started with its first item, and again where it
    has ended. All end with this process, however that ends.
    """

    def __init__(self, work: Work, devices: Sequence[str]) -> None:
        self._work = work
        # Afresh: a forked process may not use CUDA, nor the threads that torch has started.
        self._context = multiprocessing.get_context("spawn")
        self._processes = [_Process(device) for device in devices]

    def __enter__(self) -> Jobs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in self._processes:
            if each.process is not None:
                each.process.kill()
        for each in self._processes:
            self._end(each)

    def run(self, items: Sequence[Any], started: Callable[[Sequence[Any]], None]) -> Iterator[Ended]:
        """The end of each item, as it comes. started: called with all items that are worked on, when they
        change."""
        waiting = deque(items)
        while True:
            for each in self._processes:
                while waiting and each.item is None:
                    failed = self._give(each, waiting.popleft())
                    if failed is not None:
                        yield failed
            busy = {
                each.connection: each
                for each in self._processes
                if each.item is not None and each.connection is not None
            }
            if not busy:
                return
            started([each.item for each in busy.values()])
            ended: list[Ended] = []
            while not ended:
                for ready in wait(busy):
                    found = self._receive(busy[ready])  # type: ignore[index]
                    ended += [found] if found is not None else []
            yield from ended

    def _give(self, each: _Process, item: Any) -> Ended | None:
        """Send an item to a process. Returns its end where it cannot be sent."""
        try:
            message = ForkingPickler.dumps(item)
        # Objects of a plugin may raise anything.
        except Exception as error:
            return Ended(item, reason=f"it cannot be sent to another process: {first_line(error)}")
        if each.process is None:
            here, there = self._context.Pipe()
            each.process = self._context.Process(target=_serve, args=(there, self._work, each.device))
            each.process.start()
            there.close()  # so that the end of the process ends the connection
            each.connection = here
        assert each.connection is not None
        each.item, each.events = item, []
        with contextlib.suppress(BrokenPipeError):  # the process has ended; receiving says so
            each.connection.send_bytes(message)
        return None

    def _receive(self, each: _Process) -> Ended | None:
        """One message; the end of the item, where it is that."""
        assert each.connection is not None
        try:
            kind, content = each.connection.recv()
        except (EOFError, ConnectionResetError):
            item, events = each.item, each.events
            return Ended(item, reason=self._end(each), events=events)
        if kind == "event":
            each.events.append(content)
            return None
        item, each.item = each.item, None
        if kind == "error":
            return Ended(item, events=each.events, error=content)
        return Ended(item, content, events=each.events)

    def _end(self, each: _Process) -> str:
        """Wait for the end of a process, and forget it. Returns the reason."""
        if each.process is None:
            return ""
        each.process.join()
        code = each.process.exitcode
        assert each.connection is not None
        each.connection.close()
        each.process = each.connection = each.item = None
        if code is not None and code < 0:
            return f"its process was killed by signal {-code}{' (out of memory?)' if code == -9 else ''}"
        return f"its process ended with exit code {code}"


def _serve(connection: Connection, work: Work, device: str) -> None:
    """The main function of a process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets Ctrl-C too, and ends this process
    os.dup2(2, 1)  # output of libraries goes to stderr, away from results
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            item = connection.recv()
        except EOFError:
            return
        try:
            found = "result", work(item, device, lambda event: connection.send(("event", event)))
        except MlbenchError as error:
            found = "error", error
        connection.send(found)


def _end_with_parent() -> None:
    """End this process when its parent has ended, even by a kill."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
