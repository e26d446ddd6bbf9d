"""The record of one case, which is trained and evaluated for it."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlbench.atomic_write import full_disk, write_atomically
from mlbench.environment import Device, environment
from mlbench.errors import MlbenchError, StoreError, first_line
from mlbench.planning.plan import Case, settled
from mlbench.planning.plugin_code import described
from mlbench.records.record import Record
from mlbench.records.store import Store

if TYPE_CHECKING:
    from mlbench.runner import Listener
    from mlbench.training.preflight import Preflight
    from mlbench.training.train import EpochEnd, Observer

__all__ = ["case_record", "failed_record", "now"]


def now() -> str:
    """The time in the form of records."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def case_record(
    case: Case,
    device: Device,
    store: Store,
    listener: Listener,
    ready: Preflight,
    observe: Observer = lambda end: None,
) -> Record:
    """Train and evaluate a case. Returns its record without a measurement, or with the error of a failure."""
    import torch

    from mlbench.training.assembly import assemble
    from mlbench.training.experiment import experiment

    facts = _facts(case, device, torch.get_num_threads())

    def observed(end: EpochEnd) -> None:
        listener.epoch(case, end.number, end.values)
        observe(end)

    unchecked = [ready.notes[case.key]] if case.key in ready.notes else []
    start = time.perf_counter()
    seconds: Mapping[str, float] = {}
    try:
        found = experiment(
            ready.take(case) or assemble(case, device.name, listener.stage),
            store.checkpoints(case.key),
            listener.stage,
            observed,
        )
        known = settled(case, device)
        if known.key != case.key:
            # The next plan knows the weights that were downloaded now, and must find the record.
            store.move_checkpoints(case.key, known.key)
            facts |= {"fingerprint": known.fingerprint, "conditions": dict(known.conditions)}
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
    if device.kind == "cuda":
        torch.cuda.empty_cache()
    return Record(**facts, seconds={**seconds, "total": time.perf_counter() - start}, finished=now())


def failed_record(case: Case, device: Device, threads: int, error: str) -> Record:
    """The record of a case whose process has ended."""
    return Record(**_facts(case, device, threads), status="failed", error=error, finished=now())


def _facts(case: Case, device: Device, threads: int) -> dict[str, Any]:
    """Fields of a record that are known before training."""
    return {
        "suite": case.suite,
        "case": case.name,
        "seed": case.seed,
        "fingerprint": case.fingerprint,
        "axes": dict(case.spec.axes),
        "settings": case.spec.plain(),
        "components": case.spec.provenance(),
        "conditions": dict(case.conditions),
        "environment": environment(device, threads),
    }


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
