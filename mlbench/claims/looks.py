"""Looks: when claims were tested while seeds were added, kept beside the records of a suite."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlbench.atomic_write import write_atomically
from mlbench.errors import StoreError
from mlbench.records.record import Record, parse_json

__all__ = [
    "AllLooks",
    "Looks",
    "looks_from_plain",
    "looks_to_plain",
    "read_looks",
    "records_hash",
    "write_looks",
]


@dataclass(frozen=True, slots=True)
class Looks:
    """When a claim was tested while seeds were added. counts: numbers of seeds at each test, rising. most:
    the number at which adding would have ended. records: hash of the experiments (see `records_hash`), so
    that looks at other experiments do not count."""

    counts: tuple[int, ...]
    most: int
    records: str = ""


def records_hash(records: Iterable[Record]) -> str:
    """A hash of what the records were made with: their cases, seeds and fingerprints."""
    made = sorted([record.case, record.seed, record.fingerprint[:16]] for record in records)
    return hashlib.sha256(json.dumps(made).encode()).hexdigest()[:16]


#: Looks by the id of the claim: those at the records at hand, and at other experiments of the same name, such
#: as with --limit.
AllLooks = Mapping[str, Sequence[Looks]]


def read_looks(folder: Path) -> dict[str, list[Looks]]:
    """The looks of a suite's claims; none where none were kept. folder: of its records. Raises StoreError."""
    path = _path(folder)
    try:
        return looks_from_plain(parse_json(path.read_bytes()), str(path))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: cannot be read ({error}); delete it to test the claims anew") from None


def write_looks(folder: Path, looks: Mapping[str, Looks]) -> None:
    """Keep the looks, beside those at other experiments. Raises StoreError."""
    path = _path(folder)
    kept = read_looks(folder)
    for name, new in looks.items():
        kept[name] = [*(each for each in kept.get(name, ()) if each.records != new.records), new]
    write_atomically(path, json.dumps(looks_to_plain(kept), indent=1).encode() + b"\n")


def looks_to_plain(looks: AllLooks) -> dict[str, Any]:
    """As plain JSON data."""
    return {
        name: [{"counts": list(each.counts), "most": each.most, "records": each.records} for each in group]
        for name, group in looks.items()
    }


def looks_from_plain(data: Any, where: str) -> dict[str, list[Looks]]:
    """From plain JSON data. Raises StoreError, with `where`."""
    try:
        return {str(name): [_looks(each) for each in group] for name, group in data.items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(
            f"{where}: not looks at claims ({error}); delete it to test the claims anew"
        ) from None


def _looks(plain: Mapping[str, Any]) -> Looks:
    """Raises ValueError for counts that no series of tests can have."""
    counts, most = tuple(map(int, plain["counts"])), int(plain["most"])
    if not counts or list(counts) != sorted(set(counts)) or counts[0] < 1 or counts[-1] > most:
        raise ValueError(f"counts {counts} do not rise from 1 to at most {most}")
    return Looks(counts, most, str(plain["records"]))


def _path(folder: Path) -> Path:
    # Not beside the records, whose reader takes every JSON file there for a record.
    return folder / "claims" / "looks.json"
