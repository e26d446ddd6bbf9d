"""The story of a run: every planned case that has no finished record is trained, evaluated and stored."""

from __future__ import annotations

import contextlib
import json
import time
import traceback
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from mlbench.atomic_write import full_disk, write_atomically
from mlbench.environment import Device, check_torch, environment, threads
from mlbench.errors import MlbenchError, OptionError, StoreError, SuiteError, WeightsError, first_line
from mlbench.measurement.measure import Measurement, measure, subject
from mlbench.planning.plan import Case, Plan, settled
from mlbench.records.harness import save_benchmarks
from mlbench.records.record import Record
from mlbench.records.store import Store

__all__ = ["Listener", "run"]


class Listener(Protocol):
    """Hears how a run goes."""

    def case(self, case: Case, position: int, total: int) -> None:
        """A case starts; `position` counts from 1."""

    def stage(self, what: str, done: int, total: int) -> None:
        """Progress within a case."""

    def scored(self, record: Record) -> None:
        """A case is trained and has its metrics; its speed comes later."""

    def finished(self, record: Record) -> None:
        """A case has its record."""


def run(
    plan: Plan,
    store: Store,
    listener: Listener,
    *,
    force: bool = False,
    again: bool = False,
    measuring: bool = True,
    benchmarks: bool = True,
) -> list[Record]:
    """Records of all cases of the plan, in its order.

    A case with a finished record, whatever the case was called then, is not run again unless `force`; it is
    only measured again if `again`, or if it is to be measured in another way. A case that fails gets a record
    with its error and the others go on; only a full disk, or a store that cannot be written, stops the run
    (StoreError). measuring: whether to measure speed and memory, which a later run makes up for. benchmarks:
    whether to leave what pytest-benchmark reads beside the records.
    """
    stopwatch = _Stopwatch(plan.device)
    records: dict[str, Record] = {}
    made: dict[str, Record] = {}  # in this run, by fingerprint
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
        import torch

        torch.set_num_threads(threads())
        with store.locked():
            _preflight([case for case in pending if case.key not in records], listener)
            try:
                for position, case in enumerate(pending, 1):
                    listener.case(case, position, len(pending))
                    if case.fingerprint in made:  # under another name
                        records[case.key] = _renamed(made[case.fingerprint], case, store)
                    if case.key not in records:
                        # Kept at once: a measurement that is stopped does not cost the training.
                        records[case.key] = _experiment_record(case, plan, store, listener)
                        store.put(records[case.key])
                        if records[case.key].status == "done":
                            listener.scored(records[case.key])
                    if records[case.key].status == "done":
                        made[case.fingerprint] = records[case.key]
                    if records[case.key].status == "done" and measuring:
                        records[case.key] = _measured(records[case.key], case, stopwatch, listener)
                        store.put(records[case.key])
                    listener.finished(records[case.key])
            except BaseException:
                if benchmarks:  # of what is finished; what stopped the run is told, whatever becomes of them
                    with contextlib.suppress(Exception):
                        _save_benchmarks(plan, records, store)
                raise
            if benchmarks:
                _save_benchmarks(plan, records, store)
    return [records[case.key] for case in plan.cases]


def _rename(plan: Plan, store: Store) -> None:
    """Store finished records of cases that have another name now under that name."""
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
            # Last, as several cases may take one record. Left there, it would be shown under both names.
            for fingerprint in {case.fingerprint for case in renamed}:
                if finished[fingerprint].case not in names:
                    store.remove(finished[fingerprint].key)


def _renamed(record: Record, case: Case, store: Store) -> Record:
    """The record of the same experiment under another name; it is stored, and has the checkpoints too."""
    found = replace(record, suite=case.suite, case=case.name, axes=dict(case.spec.axes))
    if found.key != record.key:
        store.share_checkpoints(record.key, found.key)
    store.put(found)
    return found


def _save_benchmarks(plan: Plan, records: Mapping[str, Record], store: Store) -> None:
    save_benchmarks([records[case.key] for case in plan.cases if case.key in records], store.folder)


def _is_measured(record: Record, case: Case) -> bool:
    """Whether a record has been measured, as its suite now asks for."""
    wanted = case.spec.plain()["measure"]
    return "images_per_second" in record.speed and record.settings.get("measure") == wanted


def _preflight(cases: list[Case], listener: Listener) -> None:
    """Build each different model once and send one image through, so that a wrong option is found before
    any training; likewise losses, recipes and teachers. Weights that cannot be had are their cases' own
    failure, later."""
    import torch

    from mlbench.training.model import build_model, build_teacher
    from mlbench.training.objective import build_losses
    from mlbench.training.optimisation import check_recipe

    dims: dict[str, int | None] = {}
    seen: set[str] = set()

    def is_new(case: Case, *names: str) -> bool:
        """Whether no case before had these sections as this one has them."""
        before = len(seen)
        seen.add(_sections(case, *names))
        return len(seen) > before

    for position, case in enumerate(cases):
        listener.stage("checking models", position, len(cases))
        parts = case.spec.parts
        kind = "backbone"
        try:
            model_key = _sections(case, "backbone", "neck", "image")
            if model_key not in dims:
                dims[model_key] = None  # until it is built: nothing is tried twice
                model = build_model(case.spec, case.seed).eval()
                kind = "neck"
                side = case.spec.image.size
                model(torch.zeros((1, 3, side, side), dtype=torch.uint8))
                dims[model_key] = model.neck.dim
            kind = "loss"
            dim = dims[model_key]
            if dim is not None and is_new(case, "backbone", "neck", "image", "loss", "losses", "mixing"):
                build_losses(case, dim)
            kind = "recipe"
            if is_new(case, "recipe"):
                check_recipe(case.recipe)
            kind = "teacher"
            if is_new(case, "teacher", "distiller", "image"):
                build_teacher(case.spec, case.seed)
        except WeightsError:
            continue
        except MlbenchError as error:
            option = error.option if isinstance(error, OptionError) else ""
            part = parts[kind] if kind in parts else next(iter(case.spec.losses.values())).part
            raise SuiteError(f"{part.where(option)}: {error}") from None
        # A plugin's bug is the failure of its own cases, which will meet it again and tell it.
        except Exception:  # noqa: S112
            continue


def _sections(case: Case, *names: str) -> str:
    plain = case.spec.plain()
    return json.dumps([names, *(plain.get(name) for name in names)])


class _Stopwatch:
    """Measures each architecture once; a speed belongs to no seed."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._known: dict[str, Measurement] = {}

    def measure(self, case: Case) -> Measurement:
        key = subject(case)
        if key not in self._known:
            self._known[key] = measure(case, self.device.name)
        return self._known[key]


def _measured(record: Record, case: Case, stopwatch: _Stopwatch, listener: Listener) -> Record:
    """The record with speed and memory as they are now."""
    import torch

    listener.stage("measuring speed", 0, 1)
    start = time.perf_counter()
    found = stopwatch.measure(case)
    took = time.perf_counter() - start
    before = record.seconds.get("measure", 0.0)
    return replace(
        record,
        settings=case.spec.plain(),
        **found.facts(record),
        environment=environment(stopwatch.device, torch.get_num_threads()),
        seconds={
            **record.seconds,
            "measure": took,
            "total": record.seconds.get("total", 0.0) - before + took,
        },
        finished=_now(),
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _experiment_record(case: Case, plan: Plan, store: Store, listener: Listener) -> Record:
    """The record of a case that is trained and evaluated, but not measured; or of how it failed."""
    import torch

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
    start = time.perf_counter()
    seconds: Mapping[str, float] = {}
    try:
        found = experiment(case, plan.device, store.checkpoints(case.key), listener.stage)
        now = settled(case, plan.device)
        if now.key != case.key:
            # The next plan knows weights that have come only now, and is to find the record.
            store.move_checkpoints(case.key, now.key)
            facts |= {"fingerprint": now.fingerprint, "conditions": dict(now.conditions)}
        facts |= {**found.facts, "notes": tuple(dict.fromkeys((*case.notes, *found.notes))), "status": "done"}
        seconds = found.seconds
    except StoreError:
        raise
    except Exception as error:
        if (full := full_disk(error)) is not None:  # the next case would fare no better
            raise StoreError(
                f"case {case.name!r} seed {case.seed}: a disk is full ({full}); free space"
            ) from None
        facts |= {"status": "failed", "error": _failure(error, store.checkpoints(case.key) / "error.txt")}
    # The model is gone by now; what torch still keeps of a GPU's memory is for the process that measures.
    if plan.device.kind == "cuda":
        torch.cuda.empty_cache()
    return Record(**facts, seconds={**seconds, "total": time.perf_counter() - start}, finished=_now())


def _failure(error: Exception, log: Path) -> str:
    """Why a case failed, in one line; where mlbench did not mean the error, `log` has its traceback."""
    if isinstance(error, MlbenchError):
        return str(error)
    # A plugin's bug, or memory that ran out: this case's record says so and the others go on.
    text = "".join(traceback.format_exception(error))
    try:
        write_atomically(log, text.encode(errors="replace"))
    except StoreError as unwritten:
        raise StoreError(f"{unwritten} (before, the case failed: {first_line(error)})") from error
    return f"{first_line(error)} (traceback in {log})"
