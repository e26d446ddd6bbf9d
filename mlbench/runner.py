"""A run: every planned case without a finished record is trained, evaluated and stored; then the speeds of
all cases are measured together."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mlbench.atomic_write import full_disk, write_atomically
from mlbench.environment import Device, check_torch, environment, threads
from mlbench.errors import MlbenchError, StoreError, first_line
from mlbench.measurement.durations import Durations, duration_text
from mlbench.measurement.measure import measure
from mlbench.measurement.process import MeasuringProcess
from mlbench.measurement.result import lost_note
from mlbench.measurement.reuse import Earlier, joined
from mlbench.measurement.subject import stages_of
from mlbench.planning.plan import Case, Plan, settled
from mlbench.planning.plugin_code import described
from mlbench.records.harness import save_benchmarks
from mlbench.records.record import Record
from mlbench.records.store import Store

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
    pytest-benchmark beside the records. process: measures, and is left open; None for one of this run's own.
    """
    records: dict[str, Record] = {}
    made: dict[str, Record] = {}  # in this run, by fingerprint of the case
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
                for position, case in enumerate(untrained, 1):
                    seconds, unknown = durations.training(untrained[position - 1 :])
                    left = "" if unknown else duration_text(seconds + last)
                    listener.case(case, position, len(untrained), left)
                    if case.fingerprint in made:  # the same experiment under another name
                        ready.take(case)
                        records[case.key] = _renamed(made[case.fingerprint], case, store)
                    else:
                        records[case.key] = _experiment_record(case, plan, store, listener, ready)
                        store.put(records[case.key])
                        durations.learn(case, records[case.key])
                    if records[case.key].status == "done":
                        made[case.fingerprint] = records[case.key]
                    listener.finished(records[case.key])
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


def run_case(
    case: Case,
    plan: Plan,
    store: Store,
    listener: Listener,
    observe: Observer = lambda epoch, score: None,
) -> Record:
    """Train, evaluate and store one case of a plan, without a measurement. Returns its record.

    The store is not locked: no other process may run the same case. observe: see
    `mlbench.training.train.Observer`. Raises StoreError as `run` does.
    """
    check_torch(plan.device)
    from mlbench.training.preflight import Preflight

    with _torch_threads(threads()):
        record = _experiment_record(case, plan, store, listener, Preflight(), observe)
    store.put(record)
    return record


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
        now = time.perf_counter()
        took, start = now - start, now
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
        environment=environment(device, torch.get_num_threads()),
        seconds={**record.seconds, "measure": took, "total": total},
        finished=_now(),
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


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _experiment_record(
    case: Case,
    plan: Plan,
    store: Store,
    listener: Listener,
    ready: Preflight,
    observe: Observer = lambda epoch, score: None,
) -> Record:
    """Train and evaluate a case. Returns its record without a measurement, or with the error of a failure."""
    import torch

    from mlbench.training.assembly import assemble
    from mlbench.training.experiment import experiment

    facts: dict[str, Any] = {
        "suite": case.suite,
        "case": case.name,
        "seed": case.seed,
        "fingerprint": case.fingerprint,
        "axes": dict(case.spec.axes),
        "settings": case.spec.plain(),
        "components": case.spec.provenance(),
        "conditions": dict(case.conditions),
        "environment": environment(plan.device, torch.get_num_threads()),
    }
    unchecked = [ready.notes[case.key]] if case.key in ready.notes else []
    start = time.perf_counter()
    seconds: Mapping[str, float] = {}
    try:
        found = experiment(
            ready.take(case) or assemble(case, plan.device.name, listener.stage),
            store.checkpoints(case.key),
            listener.stage,
            observe,
        )
        now = settled(case, plan.device)
        if now.key != case.key:
            # The next plan knows the weights that were downloaded now, and must find the record.
            store.move_checkpoints(case.key, now.key)
            facts |= {"fingerprint": now.fingerprint, "conditions": dict(now.conditions)}
        notes = tuple(dict.fromkeys((*case.notes, *unchecked, *found.notes)))
        facts |= {**found.facts, "notes": notes, "status": "done"}
        seconds = found.seconds
    except StoreError:
        raise
    except Exception as error:
        if (full := full_disk(error)) is not None:  # the next case would fail too
            raise StoreError(
                f"case {case.name!r} seed {case.seed}: a disk is full ({full}); free space"
            ) from None
        log = store.checkpoints(case.key) / "error.txt"
        error_text = _failure(error, described(error, case.spec.every_part()), log)
        facts |= {"status": "failed", "error": error_text, "notes": _without(error_text, unchecked)}
    # The model is deleted by now. The measuring process needs the GPU memory that torch has cached for it.
    if plan.device.kind == "cuda":
        torch.cuda.empty_cache()
    return Record(**facts, seconds={**seconds, "total": time.perf_counter() - start}, finished=_now())


def _without(error: str, notes: Sequence[str]) -> tuple[str, ...]:
    """The notes that do not repeat the error."""
    return tuple(note for note in notes if error not in note)


def _failure(error: Exception, described: str, log: Path) -> str:
    """Why a case failed, in one line. described: an error that is not mlbench's (see `described`). log: file
    for its traceback."""
    if isinstance(error, MlbenchError):
        return str(error)
    text = "".join(traceback.format_exception(error))
    try:
        write_atomically(log, text.encode(errors="replace"))
    except StoreError as unwritten:
        raise StoreError(f"{unwritten} (before, the case failed: {first_line(error)})") from error
    return f"{described} (traceback in {log})"
