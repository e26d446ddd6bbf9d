"""Sides of a comparison: records from a folder, a suite, a baseline, or a git revision, and tolerances."""

from __future__ import annotations

import io
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from mlbench.baseline import read_baseline
from mlbench.errors import StoreError, SuiteError
from mlbench.record import Record
from mlbench.store import Store

__all__ = ["Side", "load_side", "named_suite", "suite_tolerances"]


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
        side = _folder(text, results / named_suite(text))
        return Side(text, side.records, suite_tolerances(path), side.remarks)
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


def named_suite(text: str) -> str:
    """The name of a suite that is given by its name or its file. Reads no component."""
    if not text.endswith((".yaml", ".yml")):
        return text
    name = _suite_data(Path(text)).get("suite")
    if not isinstance(name, str):
        raise SuiteError(f"{text}: this is no suite; it has no name (key 'suite')")
    return name


def suite_tolerances(path: Path) -> dict[str, float]:
    """Tolerances that a suite file states. Raises SuiteError where they are no numbers."""
    given = _suite_data(path).get("tolerances") or {}
    wrong = not isinstance(given, dict) or [
        name
        for name, value in given.items()
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0
    ]
    if wrong:
        raise SuiteError(f"{path}: tolerances: expected numbers >= 0 by name, such as {{recall_at_1: 0.02}}")
    return {str(name): float(value) for name, value in given.items()}


def _suite_data(path: Path) -> dict[str, Any]:
    from mlbench.document import load_document

    data = load_document(path).data
    return data if isinstance(data, dict) else {}


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
