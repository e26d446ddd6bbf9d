"""Looks: kept beside the records, for the experiments that they were at."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_records import record

from mlbench.claims.looks import (
    Looks,
    looks_from_plain,
    looks_to_plain,
    read_looks,
    records_hash,
    write_looks,
)
from mlbench.errors import StoreError

LOOKS = Looks((3, 4, 7), 20, "abc")


def test_looks_round_trip(tmp_path: Path) -> None:
    assert read_looks(tmp_path) == {}
    write_looks(tmp_path, {"it": LOOKS})
    assert read_looks(tmp_path) == {"it": [LOOKS]}
    assert looks_from_plain(looks_to_plain({"it": [LOOKS]}), "x") == {"it": [LOOKS]}


def test_looks_at_other_experiments_and_claims_are_kept(tmp_path: Path) -> None:
    write_looks(tmp_path, {"it": LOOKS, "gone": LOOKS})
    other = Looks((3,), 10, "other")
    write_looks(tmp_path, {"it": other})
    later = Looks((3, 4, 7, 9), 20, "abc")
    write_looks(tmp_path, {"it": later})
    assert read_looks(tmp_path) == {"it": [other, later], "gone": [LOOKS]}


def test_looks_lie_where_no_record_is_read(tmp_path: Path) -> None:
    write_looks(tmp_path, {"it": LOOKS})
    assert not list(tmp_path.glob("*.json"))


@pytest.mark.parametrize(
    "plain",
    [
        [],
        {"it": {"counts": [3], "most": 20, "records": ""}},
        {"it": [{"counts": [], "most": 20, "records": ""}]},
        {"it": [{"counts": [4, 3], "most": 20, "records": ""}]},
        {"it": [{"counts": [3, 3], "most": 20, "records": ""}]},
        {"it": [{"counts": [0, 3], "most": 20, "records": ""}]},
        {"it": [{"counts": [3, 21], "most": 20, "records": ""}]},
        {"it": [{"counts": ["x"], "most": 20, "records": ""}]},
        {"it": [{"counts": [3], "records": ""}]},
    ],
)
def test_what_are_no_looks_is_refused(plain: object) -> None:
    with pytest.raises(
        StoreError, match=r"^here: not looks at claims .*; delete it to test the claims anew$"
    ):
        looks_from_plain(plain, "here")


def test_a_broken_file_is_refused(tmp_path: Path) -> None:
    write_looks(tmp_path, {"it": LOOKS})
    (path,) = tmp_path.rglob("*.json")
    path.write_text("{")
    with pytest.raises(StoreError, match=f"^{path}: cannot be read"):
        read_looks(tmp_path)


def test_the_hash_is_of_cases_seeds_and_fingerprints() -> None:
    one, other = record(0), record(1)
    assert records_hash([one, other]) == records_hash([other, one])
    others = [record(0, case="b"), record(2), record(0, fingerprint="g")]
    assert len({records_hash([each]) for each in (one, *others)}) == 4
    assert records_hash([record(0, finished="later")]) == records_hash([one])
