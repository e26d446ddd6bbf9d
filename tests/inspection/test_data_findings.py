"""The file of findings."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mlbench.errors import StoreError
from mlbench.inspection.findings import (
    DATA_FILE,
    DataFindings,
    Finding,
    ImageGroup,
    ImageName,
    PartFacts,
    kept_leaks,
    read_findings,
    write_findings,
)
from mlbench.records.store import Store

FOUND = DataFindings(
    "suite s.yaml", "abc", {"name": "image_folder", "path": "x"}, 128, False,
    (PartFacts("train", 3, 2, (1, 1, 2), 0.1667, 0.6667, (64, 64, 80), (1.0, 1.0, 1.25)),),
    (
        Finding(
            "copies_across_splits", "error", "the same image", 1,
            (ImageGroup((ImageName("train", 0, "ä", "a/1.png"), ImageName("test", 2, "b", "b/\udcff.png"))),),
        ),
        Finding("similar_names", "warning", "alike", 2, names=("a b", "a_b")),
    ),
    {"model": "m", "threshold": 0.92}, ("a note",),
)  # fmt: skip


def test_findings_are_read_back_as_written(tmp_path: Path) -> None:
    assert write_findings(tmp_path, [FOUND, FOUND]) == tmp_path / DATA_FILE
    assert read_findings(tmp_path) == (FOUND, FOUND)
    assert [each.name for each in FOUND.of_level("warning")] == ["similar_names"]


def test_other_versions_are_kept_and_the_same_is_replaced(tmp_path: Path) -> None:
    other, newer = replace(FOUND, version="other"), replace(FOUND, notes=("newer",))
    write_findings(tmp_path, [FOUND])
    write_findings(tmp_path, [other])
    write_findings(tmp_path, [newer])
    assert read_findings(tmp_path) == (newer, other)
    for number in range(20):
        write_findings(tmp_path, [replace(FOUND, version=str(number))])
    assert [each.version for each in read_findings(tmp_path)] == [str(number) for number in range(19, 11, -1)]
    (tmp_path / DATA_FILE).write_text("{")
    write_findings(tmp_path, [FOUND])
    assert read_findings(tmp_path) == (FOUND,)


def test_leaks_of_the_same_version_are_told(tmp_path: Path) -> None:
    write_findings(tmp_path, [FOUND])
    assert kept_leaks(tmp_path, {"abc"}, Path("s.yaml")) == ["the same image (mlbench data check s.yaml)"]
    assert kept_leaks(tmp_path, {"abd"}, Path("s.yaml")) == []
    assert kept_leaks(tmp_path / "none", {"abc"}, Path("s.yaml")) == []


def test_no_record_is_looked_for_there(tmp_path: Path) -> None:
    store = Store(tmp_path, "s")
    write_findings(store.folder, [FOUND])
    assert store.read() == ([], [])


def test_no_file_is_no_findings(tmp_path: Path) -> None:
    assert read_findings(tmp_path) == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b"[]", "not the findings of mlbench data check"),
        (b'{"schema": 1}', "not the findings"),
        (b'{"schema": 1, "data_sets": [{"source": "x"}]}', "not the findings"),
        (b'{"schema": 99, "data_sets": []}', "schema 99, but this mlbench reads up to 1; update mlbench"),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / DATA_FILE
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(StoreError, match=message) as error:
        read_findings(tmp_path)
    assert str(error.value).startswith(str(path))


def test_a_part_of_a_file_is_damaged(tmp_path: Path) -> None:
    path = write_findings(tmp_path, [FOUND])
    plain = json.loads(path.read_bytes().decode(errors="surrogateescape"))
    del plain["data_sets"][0]["findings"][0]["groups"][0]["images"][0]["file"]
    path.write_text(json.dumps(plain))
    with pytest.raises(StoreError, match="run mlbench data check SUITE again"):
        read_findings(tmp_path)
