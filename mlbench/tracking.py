"""Tracking: the events of a run go to its trackers, and a tracker that fails costs the run nothing but a
note."""

from __future__ import annotations

import contextlib
import copy
import json
import queue
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from mlbench.contracts import FinishedRun, TrackedCase
from mlbench.contracts.options import TrackerContext
from mlbench.errors import MlbenchError, TrackerError, first_line
from mlbench.planning.plan import Case, Plan
from mlbench.planning.plugin_code import place_in
from mlbench.planning.spec import Part
from mlbench.records.record import Record

if TYPE_CHECKING:
    from mlbench.claims.judgement import Judgement
    from mlbench.runner import Listener

__all__ = ["PATIENCE", "Tracking"]

#: Seconds that a method of a tracker may take.
PATIENCE = 60.0


class Tracking:
    """A `mlbench.runner.Listener` that passes every event on, to another listener and to trackers. Use as a
    context manager around the run; it ends with the last event of the trackers.

    trackers: of the suite, not yet built. note: prints a line. Raises TrackerError and OptionError, before
    any case runs, for a tracker that cannot be used as the user wants.
    """

    def __init__(
        self,
        trackers: Sequence[Part],
        plan: Plan,
        folder: Path,
        listener: Listener,
        note: Callable[[str], None],
    ) -> None:
        self._listener = listener
        self._note = note
        self._device = plan.device.name
        self._seen: dict[tuple[str, int], Record] = {}
        self._finished: FinishedRun | None = None
        self._case: TrackedCase | None = None
        context = TrackerContext(plan.suite.name, plan.suite.title, folder.absolute())
        self._guarded: list[_Guarded] = []
        try:
            for part in trackers:
                self._guarded.append(_Guarded(part, note))
                self._guarded[-1].build(context)
        except BaseException:
            self._stop()
            raise

    @property
    def is_tracked(self) -> bool:
        """Whether any tracker still receives events."""
        return any(each.works for each in self._guarded)

    def __enter__(self) -> Tracking:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        found = self._finished
        if found is None:
            status: Literal["interrupted", "failed"] = (
                "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            )
            found = FinishedRun(status, tuple(record.plain() for record in self._seen.values()))
        try:
            self._send("run_finished", found)
        finally:
            self._stop()

    def finish(self, records: Sequence[Record], judgements: Callable[[], Sequence[Judgement]]) -> None:
        """The run is complete, with these records of all cases. judgements: of the suite's claims, asked for
        only where there is a tracker."""
        if self.is_tracked:
            from mlbench.claims.formats import claims_json

            claims: list[Any] = []
            # Whoever shows the claims next shows the error too.
            with contextlib.suppress(Exception):
                claims = json.loads(claims_json(judgements()))
            self._finished = FinishedRun("finished", tuple(each.plain() for each in records), tuple(claims))

    def case(self, case: Case, position: int, total: int, left: str) -> None:
        self._listener.case(case, position, total, left)
        if self.is_tracked:
            self._case = self._tracked(case)
            self._send("case_started", self._case, position, total)

    def stage(self, what: str, done: int, total: int) -> None:
        self._listener.stage(what, done, total)

    def epoch(self, case: Case, epoch: int, values: Mapping[str, float]) -> None:
        self._listener.epoch(case, epoch, values)
        self._send("epoch", self._case, epoch, dict(values))

    def finished(self, record: Record) -> None:
        self._listener.finished(record)
        self._seen[record.case, record.seed] = record
        if self.is_tracked:
            self._send("case_finished", record.plain())

    def _tracked(self, case: Case) -> TrackedCase:
        return TrackedCase(
            suite=case.suite,
            name=case.name,
            seed=case.seed,
            fingerprint=case.fingerprint,
            axes=dict(case.spec.axes),
            settings=case.spec.plain(),
            epochs=case.recipe.epochs,
            device=self._device,
        )

    def _send(self, event: str, *arguments: Any) -> None:
        for each in self._guarded:
            each.send(event, arguments)

    def _stop(self) -> None:
        for each in self._guarded:
            each.stop()


class _Guarded:
    """A tracker in a thread of its own, which may fail or hang without harm to the run.

    works: whether it is built and has not failed."""

    def __init__(self, part: Part, note: Callable[[str], None]) -> None:
        self.works = False
        self._part = part
        self._note = note
        self._tracker: Any = None
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        # A daemon: one that hangs must not keep the process alive.
        threading.Thread(target=self._work, name=f"tracker {part.entry.component.name}", daemon=True).start()

    def build(self, context: TrackerContext) -> None:
        """Build the tracker. Raises TrackerError and OptionError that it raises; it stays out of work after
        another error, with a note."""
        self.works = True
        self._tracker = self._call("build()", lambda: self._part.component.build(context))
        if self.works and self._tracker is None:
            self._give_up("build() returned None")

    def send(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Call a method of the tracker with copies, if it has it."""
        method = getattr(self._tracker, event, None) if self.works else None
        if method is not None:
            self._call(f"{event}()", lambda: method(*copy.deepcopy(arguments)))

    def stop(self) -> None:
        """End the thread, once it has nothing to do."""
        self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()

    def _call(self, what: str, function: Callable[[], Any]) -> Any:
        """The result, or None with a note where it takes too long or raises what is not for the user."""
        results: list[Any] = []
        errors: list[BaseException] = []
        ended = threading.Event()

        def call() -> None:
            try:
                results.append(function())
            # Foreign code may raise anything.
            except BaseException as error:
                errors.append(error)
            finally:
                ended.set()

        # Stdout is for results. Redirected here, as a thread that hangs would not undo it.
        with contextlib.redirect_stdout(sys.stderr):
            self._calls.put(call)
            in_time = ended.wait(PATIENCE)
        if not in_time:
            self._give_up(f"{what} takes longer than {PATIENCE:g} s")
        elif errors and what == "build()" and isinstance(errors[0], MlbenchError):
            self.works = False
            raise self._refusal(errors[0]) from None
        elif errors:
            place = place_in(errors[0], self._part)
            self._give_up(
                f"{what} failed: {first_line(errors[0])}" + (f"; raised in {place}" if place else "")
            )
        return results[0] if results else None

    def _refusal(self, error: MlbenchError) -> MlbenchError:
        where = self._part.where(getattr(error, "option", ""))
        return TrackerError(f"{where}: {error}" if where else str(error))

    def _give_up(self, problem: str) -> None:
        self.works = False
        self._note(f"{self._part}: {problem}; it is off for the rest of the run, which goes on")
