"""A run: every planned case without a finished record is trained, evaluated and stored; then the speeds of
all cases are measured together."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from mlbench.case_record import case_record, failed_record, now
from mlbench.environment import Device, check_torch, environment, find_device, threads
from mlbench.jobs import Jobs
from mlbench.measurement.durations import Durations, duration_text
from mlbench.measurement.measure import measure
from mlbench.measurement.process import MeasuringProcess
from mlbench.measurement.result import lost_note
from mlbench.measurement.reuse import Earlier, joined
from mlbench.measurement.subject import stages_of
from mlbench.planning.plan import Case, Plan
from mlbench.records.harness import save_benchmarks
from mlbench.records.record import Record
from mlbench.records.store import Store
from mlbench.revision import revision_facts

if TYPE_CHECKING:
    from mlbench.training.preflight import Preflight
    from mlbench.training.train import Observer

__all__ = ["Listener", "run", "run_case"]


class Listener(Protocol):
    """Receives the progress of a run."""

    def case(self, case: Case, position: int, total: int, left: str) -> None:
        """A case starts; `position` counts from 1. left: how long the rest of the run will take, "" where not
        known."""

    def stage(self, what: str, done: int, total: int) -> None:
        """Progress within a case."""

    def epoch(self, case: Case, epoch: int, values: Mapping[str, float]) -> None:
        """An epoch, counted from 1, is trained. values: see `mlbench.contracts.Tracker.epoch`."""

    def finished(self, record: Record) -> None:
        """A case is trained and evaluated, or has failed. Its speed may still be measured."""


def run(
    plan: Plan,
    store: Store,
    listener: Listener,
    *,
    force: bool = False,
    again: bool = False,
    measuring: bool = True,
    benchmarks: bool = True,
    devices: Sequence[str] = (),
    process: MeasuringProcess | None = None,
) -> list[Record]:
    """Records of all cases of the plan, in its order.

    A case with a finished record, even under another name, is not run again unless `force`. It is only
    measured again if `again`, or if its settings of the measurement have changed. A case that fails gets a
    record with its error, and the others go on. Raises SuiteError, before any training, for a component that
    cannot be built (see `mlbench.training.preflight`), and StoreError, which stops the run, for a full disk
    or a store that cannot be written. measuring: whether to measure speed and memory; a later run can do it.
    A stage whose speed an earlier record has, measured with the same code of the components that take part
    in it, is not measured again unless `force` or `again`. benchmarks: whether to write files for
    pytest-benchmark beside the records. devices: torch names of devices like the plan's, one for each of
    several processes that train cases at once; with fewer than two, this process trains them in turn.
    Speeds are measured afterwards, on the plan's device, when nothing is trained. process: measures, and is
    left open; None for one of this run's own.
    """
    records: dict[str, Record] = {}
    pending = []
    if not force:
        _rename(plan, store)
    for case in plan.cases:
        record = None if force else store.get(case.key)
        if record is not None and record.status == "done":
            records[case.key] = record
            if not measuring or (not again and _is_measured(record, case)):
                continue
        pending.append(case)
    if pending:
        check_torch(plan.device)
        from mlbench.training.preflight import preflight

        stored = [] if force or again or not measuring else store.read()[0]
        earlier = Earlier(stored, plan.device)
        slow = [case for case in pending if earlier.of(case).keys() < set(stages_of(case))]
        durations = Durations(plan.device)
        with contextlib.ExitStack() as stack:
            process = process or stack.enter_context(MeasuringProcess(plan.device.name))
            stack.enter_context(_torch_threads(threads()))
            stack.enter_context(store.locked())
            untrained = [case for case in pending if case.key not in records]
            ready = preflight(untrained, plan.device.name, listener.stage)
            if measuring and slow:
                process.prepare()  # it is ready by the time that the cases are trained
            try:
                last = durations.measuring(slow) if measuring else 0.0
                if force:
                    for case in untrained:
                        store.remove_state(case.key)
                place = [find_device(name) for name in devices] if len(devices) > 1 else [plan.device]
                way = _AtOnce if len(place) > 1 else _InTurn
                train = way(place, store, ready, _revision(plan))
                for case, record in train(untrained, listener, durations, last):
                    records[case.key] = record
                # Last, so that no result waits for it.
                done = [case for case in pending if records[case.key].status == "done"]
                if measuring and done:
                    start = time.perf_counter()
                    for case, record in _measured(done, records, plan.device, process, listener, earlier):
                        records[case.key] = record
                        store.put(record)
                    if all(records[case.key].speed for case in done) and len(slow) == len(pending):
                        durations.learn_measuring(done, time.perf_counter() - start)
            except BaseException:
                if benchmarks:
                    # An error here must not hide the one that stopped the run.
                    with contextlib.suppress(Exception):
                        _save_benchmarks(plan, records, store)
                raise
            if benchmarks:
                _save_benchmarks(plan, records, store)
    return [records[case.key] for case in plan.cases]


class _InTurn:
    """Trains cases one after the other in this process."""

    def __init__(
        self, devices: Sequence[Device], store: Store, ready: Preflight, revision: Mapping[str, Any]
    ) -> None:
        (self._device,) = devices
        self._store = store
        self._ready = ready
        self._revision = revision

    def __call__(
        self, cases: Sequence[Case], listener: Listener, durations: Durations, last: float
    ) -> Iterator[tuple[Case, Record]]:
        """The cases with their stored records, as they come. last: seconds from the end of training to that
        of the run."""
        made: dict[str, Record] = {}  # by fingerprint
        for position, case in enumerate(cases, 1):
            seconds, unknown = durations.training(cases[position - 1 :])
            left = "" if unknown else duration_text(seconds + last)
            listener.case(case, position, len(cases), left)
            if case.fingerprint in made:  # the same experiment under another name
                self._ready.take(case)
                record = _renamed(made[case.fingerprint], case, self._store)
            else:
                record = case_record(case, self._device, self._store, listener, self._ready)
                record = _put(self._store, record, self._revision)
                durations.learn(case, record)
            if record.status == "done":
                made[case.fingerprint] = record
            listener.finished(record)
            yield case, record


class _AtOnce:
    """Trains cases in several processes. A listener gets the events of a case together when it ends, so that
    they are in turn; the stage names the cases that are trained."""

    def __init__(
        self, devices: Sequence[Device], store: Store, ready: Preflight, revision: Mapping[str, Any]
    ) -> None:
        self._devices = devices
        self._store = store
        self._notes = ready.notes
        self._revision = revision
        ready.assemblies.clear()  # each process builds its own

    def __call__(
        self, cases: Sequence[Case], listener: Listener, durations: Durations, last: float
    ) -> Iterator[tuple[Case, Record]]:
        """As that of `_InTurn`."""
        alike: dict[str, list[Case]] = {}
        for case in cases:
            alike.setdefault(case.fingerprint, []).append(case)
        work = [_Job(group[0], self._store, self._notes) for group in alike.values()]
        ended = 0

        def started(jobs: Sequence[_Job]) -> None:
            names = ", ".join(f"{job.case.name} seed {job.case.seed}" for job in jobs)
            listener.stage(f"training {names}", ended, len(cases))

        with Jobs(_train, [device.name for device in self._devices]) as jobs:
            for end in jobs.run(work, started):
                if end.error is not None:
                    raise end.error
                first, *others = alike[end.item.case.fingerprint]
                record = end.result
                if record is None:
                    record = failed_record(first, self._devices[0], threads(), end.reason)
                record = _put(self._store, record, self._revision)
                for case in (first, *others):
                    ended += 1
                    listener.case(case, ended, len(cases), "")
                    if case is first:
                        for event in end.events:
                            listener.epoch(case, *event)
                    else:
                        record = _renamed(record, case, self._store)
                    listener.finished(record)
                    yield case, record


@dataclass(frozen=True)
class _Job:
    """A case to train. notes: of the preflight."""

    case: Case
    store: Store
    notes: Mapping[str, str]


class _Quiet:
    """A listener in a process of `Jobs`, which passes the epochs on."""

    def __init__(self, send: Callable[[tuple[int, Mapping[str, float]]], None]) -> None:
        self._send = send

    def case(self, case: Case, position: int, total: int, left: str) -> None: ...

    def stage(self, what: str, done: int, total: int) -> None: ...

    def epoch(self, case: Case, epoch: int, values: Mapping[str, float]) -> None:
        self._send((epoch, values))

    def finished(self, record: Record) -> None: ...


def _train(job: _Job, device: str, send: Callable[[tuple[Any, ...]], None]) -> Record:
    """The work of a process of `Jobs`."""
    from mlbench.training.preflight import Preflight

    with _torch_threads(threads()):
        ready = Preflight(notes=dict(job.notes))
        return case_record(job.case, find_device(device), job.store, _Quiet(send), ready)


def run_case(
    case: Case,
    plan: Plan,
    store: Store,
    listener: Listener,
    observe: Observer = lambda end: None,
) -> Record:
    """Train, evaluate and store one case of a plan, without a measurement. Returns its record.

    The store is not locked: no other process may run the same case. observe: see
    `mlbench.training.train.Observer`. Raises StoreError as `run` does.
    """
    check_torch(plan.device)
    from mlbench.training.preflight import Preflight

    store.remove_leftovers(case.key)
    with _torch_threads(threads()):
        record = case_record(case, plan.device, store, listener, Preflight(), observe)
    return _put(store, record, _revision(plan))


def _put(store: Store, record: Record, revision: Mapping[str, Any]) -> Record:
    """Store the record of a case that has ended, with its revision, and remove the state from which it could
    go on. Returns what is stored."""
    record = replace(record, environment={**record.environment, **revision})
    store.put(record)
    store.remove_state(record.key)
    return record


def _revision(plan: Plan) -> Mapping[str, Any]:
    return revision_facts(plan.suite.path.resolve().parent)


def _rename(plan: Plan, store: Store) -> None:
    """Store finished records of renamed cases under the new names."""
    stored = {case.key: store.get(case.key) for case in plan.cases}
    missing = [
        case
        for case in plan.cases
        if (record := stored[case.key]) is None or record.status != "done" or record.axes != case.spec.axes
    ]
    finished = store.by_fingerprint() if missing else {}
    renamed = [case for case in missing if case.fingerprint in finished]
    if renamed:
        names = {spec.name for spec in plan.suite.specs}
        with store.locked():
            for case in renamed:
                _renamed(finished[case.fingerprint], case, store)
            # Last, as several cases may have taken one record. Tables would show it under both names.
            for fingerprint in {case.fingerprint for case in renamed}:
                if finished[fingerprint].case not in names:
                    store.remove(finished[fingerprint].key)


def _renamed(record: Record, case: Case, store: Store) -> Record:
    """Store the record of the same experiment, with its checkpoints, under the name of the case."""
    found = replace(record, suite=case.suite, case=case.name, axes=dict(case.spec.axes))
    if found.key != record.key:
        store.share_checkpoints(record.key, found.key)
    store.put(found)
    return found


def _save_benchmarks(plan: Plan, records: Mapping[str, Record], store: Store) -> None:
    save_benchmarks([records[case.key] for case in plan.cases if case.key in records], store.folder)


def _is_measured(record: Record, case: Case) -> bool:
    """Whether the record was measured with the current settings of its suite."""
    known = "images_per_second" in record.speed and not lost_note(record)
    return known and record.settings.get("measure") == case.spec.plain()["measure"]


def _measured(
    cases: Sequence[Case],
    records: Mapping[str, Record],
    device: Device,
    process: MeasuringProcess,
    listener: Listener,
    earlier: Earlier,
) -> Iterator[tuple[Case, Record]]:
    """The records of the cases with a new measurement of speed and memory, or with an earlier one."""
    known = {case.key: earlier.of(case) for case in cases}
    missing = [case for case in cases if known[case.key].keys() < set(stages_of(case))]
    for case in cases:
        if case.key not in {each.key for each in missing}:
            found = joined(case, None, known[case.key], device)
            yield (
                case,
                replace(records[case.key], settings=case.spec.plain(), **found.facts(records[case.key])),
            )
    start = time.perf_counter()
    steps = {key: _step_seconds(record) for key, record in records.items()}
    for case, measured in measure(missing, process, listener.stage, known, steps) if missing else ():
        record = records[case.key]
        at = time.perf_counter()
        took, start = at - start, at
        found = joined(case, measured, known[case.key], device)
        if not found.lost:
            record = _remeasured(record, case, took, device)
        yield case, replace(record, **found.facts(record))


def _step_seconds(record: Record) -> float:
    """Seconds of a training step on average; 0 without training."""
    return record.seconds.get("train", 0.0) / (record.training.get("steps") or 1)


def _remeasured(record: Record, case: Case, took: float, device: Device) -> Record:
    """The record with the settings, environment and times of a measurement now. took: seconds."""
    import torch

    total = record.seconds.get("total", 0.0) - record.seconds.get("measure", 0.0) + took
    return replace(
        record,
        settings=case.spec.plain(),
        environment={
            **environment(device, torch.get_num_threads()),
            # The results are those of the revision that made them; a later one has the same code.
            **{name: record.environment[name] for name in ("revision",) if name in record.environment},
        },
        seconds={**record.seconds, "measure": took, "total": total},
        finished=now(),
    )


@contextlib.contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    """Inside the block, torch has `count` threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
