"""Looks: when claims were tested while seeds were added, kept beside the records of a suite."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlbench.atomic_write import write_atomically
from mlbench.errors import StoreError
from mlbench.records.record import Record, parse_json

__all__ = [
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


def read_looks(folder: Path) -> dict[str, Looks]:
    """The looks of a suite's claims, by id; none where none were kept. folder: of its records. Raises
    StoreError."""
    path = _path(folder)
    try:
        return looks_from_plain(parse_json(path.read_bytes()), str(path))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: cannot be read ({error}); delete it to test the claims anew") from None


def write_looks(folder: Path, looks: Mapping[str, Looks]) -> None:
    """Keep the looks. Raises StoreError."""
    path = _path(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(looks_to_plain(looks), indent=1).encode() + b"\n")


def looks_to_plain(looks: Mapping[str, Looks]) -> dict[str, Any]:
    """As plain JSON data."""
    return {
        name: {"counts": list(each.counts), "most": each.most, "records": each.records}
        for name, each in looks.items()
    }


def looks_from_plain(data: Any, where: str) -> dict[str, Looks]:
    """From plain JSON data. Raises StoreError, with `where`."""
    try:
        found = {
            str(name): Looks(tuple(map(int, each["counts"])), int(each["most"]), str(each["records"]))
            for name, each in data.items()
        }
        for each in found.values():
            if (
                not each.counts
                or list(each.counts) != sorted(set(each.counts))
                or each.counts[-1] > each.most
            ):
                raise ValueError(f"counts {each.counts} do not rise to at most {each.most}")
        return found
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(
            f"{where}: not looks at claims ({error}); delete it to test the claims anew"
        ) from None


def _path(folder: Path) -> Path:
    # Not beside the records, whose reader takes every JSON file there for a record.
    return folder / "claims" / "looks.json"
