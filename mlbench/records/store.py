"""The record store: one JSON file per record in results/SUITE/."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from mlbench.atomic_write import remove_leftovers, write_atomically, write_error
from mlbench.errors import StoreError
from mlbench.records.record import Record, parse_json

__all__ = ["UNFINISHED", "Store", "results_settings"]


#: Name of the file with the state of unfinished training, among the checkpoints of a record.
UNFINISHED = "unfinished.pt"


class Store:
    """Records of one suite in `root`/SUITE. Nothing is created before the first write."""

    def __init__(self, root: Path, suite: str) -> None:
        self.folder = root / suite

    def get(self, key: str) -> Record | None:
        """The record called `key` (see `Record.key`), or None."""
        path = self.folder / f"{key}.json"
        return _read(path) if path.is_file() else None

    def put(self, record: Record) -> Path:
        """Write a record. Raises StoreError when the disk is full or the folder cannot be written."""
        path = self.folder / f"{record.key}.json"
        text = json.dumps(record.plain(), indent=1, ensure_ascii=False, allow_nan=False)
        write_atomically(path, text.encode() + b"\n")
        return path

    def read(self) -> tuple[list[Record], list[str]]:
        """All records, oldest first, and a remark on each file that cannot be read."""
        records, remarks = [], []
        for path in sorted(self.folder.glob("*.json")):
            try:
                records.append(_read(path))
            except StoreError as error:
                remarks.append(str(error))
        return sorted(records, key=lambda record: record.finished), remarks

    def latest(self) -> tuple[list[Record], list[str]]:
        """The newest comparable record of each case and seed, oldest first, and remarks on records left out.

        A record is comparable if it was made with the same code, libraries, device, number of threads, data
        and initial weights as the newest record of all, and with the same settings as the newest comparable
        record of its case.
        """
        records, remarks = self.read()
        chosen: dict[tuple[str, int], Record] = {}
        settings: dict[str, Mapping[str, Any]] = {}
        known: dict[str, Any] = {}
        incomparable, older = Counter[str](), Counter[str]()
        for record in reversed(records):
            facts = _made_by(record)
            if any(known.get(name, value) != value for name, value in facts.items()):
                incomparable[record.case] += 1
            elif settings.setdefault(record.case, results_settings(record.settings)) != results_settings(
                record.settings
            ):
                older[record.case] += 1
            else:
                known |= facts
                chosen.setdefault((record.case, record.seed), record)
        for counts, what in (
            (older, "settings"),
            (incomparable, "code, libraries, device, threads, data or initial weights"),
        ):
            for case, count in sorted(counts.items()):
                some = "an older record" if count == 1 else f"{count} older records"
                remarks.append(f"{case}: left out {some}, made with other {what}")
        return [record for record in records if chosen.get((record.case, record.seed)) is record], remarks

    def by_fingerprint(self) -> dict[str, Record]:
        """The newest finished record of each fingerprint, under any case name."""
        return {record.fingerprint: record for record in self.read()[0] if record.status == "done"}

    def remove(self, key: str) -> None:
        """Remove the record called `key` and its checkpoints."""
        (self.folder / f"{key}.json").unlink(missing_ok=True)
        shutil.rmtree(self.checkpoints(key), ignore_errors=True)

    def checkpoints(self, key: str) -> Path:
        """Folder for the checkpoints of the record called `key`."""
        return self.folder / key

    def remove_state(self, key: str) -> None:
        """Remove the state of unfinished training of the record called `key`."""
        (self.checkpoints(key) / UNFINISHED).unlink(missing_ok=True)

    def remove_leftovers(self, key: str) -> None:
        """Remove what a killed process left of the record called `key`, which no other process may write."""
        remove_leftovers(self.checkpoints(key), older_than=0)
        remove_leftovers(self.folder, older_than=0, file=f"{key}.json")

    def share_checkpoints(self, key: str, other: str) -> None:
        """Link the checkpoints of the record called `key` into the folder of the record called `other`.

        Copies them where the file system has no hard links. Raises StoreError.
        """
        for file in self.checkpoints(key).glob("[!.]*"):
            place = self.checkpoints(other) / file.name
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.unlink(missing_ok=True)
                os.link(file, place)
            except OSError:
                write_atomically(place, partial(_copy, file))

    def move_checkpoints(self, key: str, other: str) -> None:
        """Move the checkpoints of the record called `key` to the record called `other`. Raises StoreError."""
        self.share_checkpoints(key, other)
        shutil.rmtree(self.checkpoints(key), ignore_errors=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder against a second run. Raises StoreError if another run has locked it.

        The operating system releases the lock when the process ends, for whatever reason.
        """
        path = self.folder / ".lock"
        lock = FileLock(path, blocking=False)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            raise StoreError(
                f"{self.folder}: another run is writing here; wait for it, or use another --results"
            ) from None
        except OSError as error:
            raise write_error(path, error) from None
        try:
            for folder in self.folder.glob("**/"):
                remove_leftovers(folder, older_than=0)  # no other writer is alive
            yield
        finally:
            lock.release()


def _copy(file: Path, stream: BinaryIO) -> None:
    with file.open("rb") as source:
        shutil.copyfileobj(source, stream)


def _read(path: Path) -> Record:
    try:
        data = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: cannot be read ({error}); delete it to run its case again") from None
    if not isinstance(data, dict):
        raise StoreError(f"{path}: not a record; delete it to run its case again")
    return Record.from_plain(data, str(path))


def results_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that can change a metric: all but `measure` and `compute.save_every`."""
    found = {name: value for name, value in settings.items() if name != "measure"}
    if isinstance(compute := found.get("compute"), Mapping):
        found["compute"] = {name: value for name, value in compute.items() if name != "save_every"}
    return found


def _options_of(section: str, settings: Mapping[str, Any]) -> Any:
    """Options of a component by its name in `Record.components`: "neck", "loss NAME", "loss.inner"."""
    outer, *path = section.split(".")
    kind, _, member = outer.partition(" ")
    found = settings.get("losses", {}).get(member) if kind == "loss" and member else settings.get(outer)
    for key in path:
        if isinstance(found, Mapping):
            found = found.get(key)
        else:
            found = found[int(key)] if isinstance(found, list) and key.isdigit() else None
    return found


def _made_by(record: Record) -> dict[str, Any]:
    """Facts that records shown together must have in common, by name: conditions of the whole run, the code
    of each component, and the versions of data sets and initial weights."""
    found = {name: record.conditions.get(name) for name in ("core", "libraries", "device", "threads")}
    settings = record.settings
    for section, provenance in record.components.items():
        options = _options_of(section, settings)
        name = options.get("name", "") if isinstance(options, Mapping) else ""
        found[f"{section} {name}"] = provenance
    if record.conditions.get("weights"):
        key = json.dumps([settings.get("backbone"), settings.get("teacher")], sort_keys=True)
        found[f"weights {key}"] = record.conditions["weights"]
    if "data" in record.conditions:
        key = json.dumps([settings.get("dataset"), settings.get("image")], sort_keys=True)
        found[f"data {key}"] = record.conditions["data"]
    return found
