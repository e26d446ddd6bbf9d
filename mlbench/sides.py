"""Sides of a comparison: records from a folder, a suite, a baseline, or a git revision."""

from __future__ import annotations

import io
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from mlbench.baseline import read_baseline
from mlbench.errors import StoreError
from mlbench.heading import read_heading
from mlbench.record import Record
from mlbench.store import Store

__all__ = ["Side", "load_side"]


@dataclass(frozen=True)
class Side:
    """Records of one side: one of each case and seed. tolerances: where they are known with them, else None.
    remarks: on what was left out, one line each."""

    name: str
    records: tuple[Record, ...]
    tolerances: Mapping[str, float] | None = None
    remarks: tuple[str, ...] = field(default=())


def load_side(text: str, results: Path) -> Side:
    """What `text` names: a folder of records, a suite by file or name (its records in `results`), a baseline,
    or REVISION:PATH of one of these as committed in git. Raises StoreError."""
    path = Path(text)
    if text and path.is_dir():
        return _folder(text, path)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        heading = read_heading(text)
        side = _folder(text, results / heading.name)
        return Side(text, side.records, heading.tolerances, side.remarks)
    if path.is_file():
        return _baseline(text, path.read_bytes())
    if text and (results / text).is_dir():
        return _folder(text, results / text)
    revision, colon, inside = text.partition(":")
    if colon and revision and inside:
        return _revision(text, revision, inside)
    raise StoreError(
        f"{text or repr(text)}: not here; "
        "expected a folder of records, a suite, a baseline, or REVISION:PATH in git"
    )


def _folder(text: str, folder: Path) -> Side:
    records, remarks = Store(folder.parent, folder.name).latest()
    if not records:
        inner = sorted(each.name for each in folder.glob("*/") if any(each.glob("*.json")))
        files = sorted(each.name for each in folder.glob("*.json"))
        advice = "; make some with: mlbench run SUITE.yaml"
        if inner or files:
            what = "one of its folders" if inner else "one of its files"
            advice = f"; name {what}: {', '.join((inner or files)[:6])}"
        raise StoreError(f"{text}: no records there{advice}")
    return Side(text, tuple(records), None, tuple(remarks))


def _baseline(text: str, content: bytes) -> Side:
    found = read_baseline(content, text)
    return Side(text, found.records, found.tolerances)


def _revision(text: str, revision: str, inside: str) -> Side:
    """Read out of git's own store: nothing is checked out."""
    if revision.startswith("-"):
        raise StoreError(f"{text}: {revision!r} is no revision")
    command = ["git", "archive", "--format=tar", revision, "--", inside]
    try:
        process = subprocess.run(command, capture_output=True, check=False)
    except OSError as error:
        raise StoreError(f"{text}: git cannot be started ({error.strerror})") from None
    if process.returncode:
        reason = (process.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[0]
        raise StoreError(f"{text}: git has no such thing here ({reason.removeprefix('fatal: ')})")
    files: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(process.stdout)) as archive:
        for member in archive:
            if (file := archive.extractfile(member)) is not None:
                files[member.name] = file.read()
    inside = str(PurePosixPath(inside))
    if inside in files:
        return _baseline(text, files[inside])
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            if PurePosixPath(name).parent == PurePosixPath(inside):
                Path(folder, PurePosixPath(name).name).write_bytes(content)
        side = _folder(text, Path(folder))
    return Side(text, side.records, None, tuple(each.replace(folder, text) for each in side.remarks))
