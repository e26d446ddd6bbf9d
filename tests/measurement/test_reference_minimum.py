from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mlbench.measurement.reference_minimum import ReferenceMinimum

FACTS = {"cpu": "x", "threads": 2}


def test_the_minimum_is_stored_for_the_same_facts() -> None:
    assert ReferenceMinimum(FACTS).seconds == float("inf")
    minimum = ReferenceMinimum(FACTS)
    for seconds in (0.3, 0.2, 0.4):
        minimum.observe(seconds)
    assert minimum.seconds == 0.2
    assert ReferenceMinimum(dict(reversed(FACTS.items()))).seconds == 0.2
    assert ReferenceMinimum({**FACTS, "threads": 1}).seconds == float("inf")


def test_each_process_raises_the_minimum_once_by_2_percent() -> None:
    ReferenceMinimum(FACTS).observe(0.2)
    for _ in range(10):
        minimum = ReferenceMinimum(FACTS)
        before = minimum.seconds
        minimum.raise_slightly()
        minimum.raise_slightly()
        assert minimum.seconds == before
    assert 0.24 < ReferenceMinimum(FACTS).seconds < 0.25
    minimum.observe(0.23)
    assert ReferenceMinimum(FACTS).seconds == 0.23


def test_a_process_keeps_the_lower_minimum_of_another() -> None:
    first, second, third = (ReferenceMinimum(FACTS) for _ in range(3))
    first.observe(0.2)
    second.observe(0.3)
    assert (second.seconds, ReferenceMinimum(FACTS).seconds) == (0.2, 0.2)
    third.observe(0.1)
    first.raise_slightly()
    assert ReferenceMinimum(FACTS).seconds == 0.1


@pytest.mark.parametrize(
    "damage",
    [
        {"seconds": 0},
        {"seconds": 10**400},
        {"seconds": float("nan")},
        {"seconds": "soon"},
        {"seconds": None},
        [],
        None,
    ],
)
def test_a_damaged_file_is_ignored_and_replaced(damage) -> None:
    ReferenceMinimum(FACTS).observe(0.2)
    (path,) = Path(os.environ["MLBENCH_CACHE"], "reference").iterdir()
    kept = json.loads(path.read_text())
    path.write_text(json.dumps({**kept, **damage} if isinstance(damage, dict) else damage))
    minimum = ReferenceMinimum(FACTS)
    assert minimum.seconds == float("inf")
    minimum.observe(0.5)
    assert ReferenceMinimum(FACTS).seconds == 0.5


def test_a_cache_that_cannot_be_written_stores_nothing(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MLBENCH_CACHE", str(tmp_path / "file"))
    minimum = ReferenceMinimum(FACTS)
    minimum.observe(0.2)
    assert minimum.seconds == 0.2
    assert ReferenceMinimum(FACTS).seconds == float("inf")
