"""Sets of records to compare: from a folder, a suite, a baseline, or a git revision."""

from __future__ import annotations

import io
import os
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mlbench.errors import StoreError
from mlbench.planning.heading import Heading
from mlbench.planning.request import PlanRequest
from mlbench.planning.selection import Lacking, Selection, suite_records
from mlbench.records.record import Record
from mlbench.records.store import Store
from mlbench.registry import Registry
from mlbench.regression.baseline import is_baseline, read_baseline

__all__ = ["RecordSet", "load_record_set", "suite_record_set"]


@dataclass(frozen=True)
class RecordSet:
    """Records to compare, one per case and seed.

    tolerances: stated with them, else None. lacking: cases and seeds of a suite file without a record.
    remarks: on records left out, one line each. selection, store: what of which store, None where the
    records come from a baseline or a revision, and nothing else of their runs can be read.
    """

    name: str
    records: tuple[Record, ...]
    tolerances: Mapping[str, float] | None = None
    lacking: tuple[Lacking, ...] = ()
    remarks: tuple[str, ...] = ()
    selection: Selection | None = None
    store: Store | None = None


def load_record_set(
    text: str, results: Path, registry: Callable[[], Registry], size: str | None = None
) -> RecordSet:
    """Load the records that `text` names: a folder of records, a suite by file (at a size) or name (its
    records in `results`), a baseline, or REVISION:PATH of a folder or baseline committed in git.

    registry: see `suite_records`. Raises StoreError.
    """
    path = Path(text)
    if text and path.is_dir():
        return _folder(text, path)
    if path.suffix in (".yaml", ".yml") and (":" not in text or path.is_file()):
        return suite_record_set(text, results, PlanRequest(size=size), registry)
    if path.is_file():
        return _baseline(text, path.read_bytes())
    if text and (results / text).is_dir():
        return suite_record_set(text, results, PlanRequest(), registry)
    # Like git: a colon in braces, as in HEAD@{12:00}, belongs to the revision.
    if found := re.fullmatch(r"((?:[^:{]|\{[^}]*\})+):(.+)", text):
        return _revision(text, found[1], found[2])
    raise StoreError(
        f"{text or repr(text)}: not found; expected a folder of records, a suite, a baseline, "
        "or REVISION:PATH of a folder or a baseline in git"
    )


def suite_record_set(
    suite: str, results: Path, request: PlanRequest, registry: Callable[[], Registry]
) -> RecordSet:
    """Load the records of a suite by its file or name (see `suite_records`)."""
    found = suite_records(suite, results, request, registry)
    heading = found.heading
    store = Store(results, heading.name)
    return RecordSet(suite, found.records, heading.tolerances, found.lacking, found.remarks, found, store)


def _folder(text: str, folder: Path) -> RecordSet:
    store = Store(folder.parent, folder.name)
    records, remarks = store.latest()
    if not records:
        inner = sorted(each.name for each in folder.glob("*/") if any(each.glob("*.json")))
        files = sorted(each.name for each in folder.glob("*.json") if is_baseline(each))
        advice = "; make them with: mlbench run SUITE.yaml"
        if inner or files:
            what = "one of its folders" if inner else "one of its files"
            advice = f"; name {what}: {', '.join((inner or files)[:6])}"
        elif remarks:
            advice = f" that can be read ({remarks[0]})"
        raise StoreError(f"{text}: no records in it{advice}")
    heading = Heading(records[0].suite, records[0].suite)
    selection = Selection(heading, tuple(records))
    return RecordSet(text, tuple(records), remarks=tuple(remarks), selection=selection, store=store)


def _baseline(text: str, content: bytes) -> RecordSet:
    found = read_baseline(content, text)
    return RecordSet(text, found.records, found.tolerances)


def _revision(text: str, revision: str, inside: str) -> RecordSet:
    """Read from git's object store without a checkout. Paths are relative to the top of the repository, or to
    the working folder if they start with ./ or ../."""
    if revision.startswith("-"):
        raise StoreError(f"{text}: {revision!r} is not a revision")
    top = _git(text, "rev-parse", "--show-toplevel").decode().strip()
    if inside.startswith(("./", "../")):
        inside = os.path.relpath(inside, top)
    inside = str(PurePosixPath(inside))
    files: dict[str, bytes] = {}
    packed = _git(text, "-C", top, "archive", "--format=tar", revision, "--", inside)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for member in archive:
            if member.isfile() and (file := archive.extractfile(member)) is not None:
                files[member.name] = file.read()
    if inside in files:
        return _baseline(text, files[inside])
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            path = Path(folder, PurePosixPath(name).relative_to(inside))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        side = _folder(text, Path(folder))
    return RecordSet(text, side.records, remarks=tuple(each.replace(folder, text) for each in side.remarks))


def _git(text: str, *arguments: str) -> bytes:
    try:
        command = ["git", *arguments]
        process = subprocess.run(command, capture_output=True, check=False)
    except OSError as error:
        raise StoreError(f"{text}: git cannot be started ({error.strerror})") from None
    if process.returncode:
        reason = (process.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[0]
        raise StoreError(f"{text}: git cannot read it ({reason.removeprefix('fatal: ')})")
    return process.stdout
