from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mlbench.measurement.quiet import Quiet

FACTS = {"cpu": "x", "threads": 2}


def test_the_least_is_kept_for_the_same_machine() -> None:
    assert Quiet(FACTS).seconds == float("inf")
    quiet = Quiet(FACTS)
    for seconds in (0.3, 0.2, 0.4):
        quiet.hear(seconds)
    assert quiet.seconds == 0.2
    assert Quiet(dict(reversed(FACTS.items()))).seconds == 0.2
    assert Quiet({**FACTS, "threads": 1}).seconds == float("inf")


def test_who_waits_in_vain_makes_it_a_little_more() -> None:
    Quiet(FACTS).hear(0.2)
    for _ in range(10):
        quiet = Quiet(FACTS)
        before = quiet.seconds
        quiet.doubt()
        quiet.doubt()
        assert quiet.seconds == before
    assert 0.24 < Quiet(FACTS).seconds < 0.25
    quiet.hear(0.23)
    assert Quiet(FACTS).seconds == 0.23


def test_processes_do_not_lose_what_another_knows() -> None:
    first, second, third = (Quiet(FACTS) for _ in range(3))
    first.hear(0.2)
    second.hear(0.3)
    assert (second.seconds, Quiet(FACTS).seconds) == (0.2, 0.2)
    third.hear(0.1)
    first.doubt()
    assert Quiet(FACTS).seconds == 0.1


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
def test_what_is_damaged_is_not_believed(damage) -> None:
    Quiet(FACTS).hear(0.2)
    (path,) = Path(os.environ["MLBENCH_CACHE"], "reference").iterdir()
    kept = json.loads(path.read_text())
    path.write_text(json.dumps({**kept, **damage} if isinstance(damage, dict) else damage))
    quiet = Quiet(FACTS)
    assert quiet.seconds == float("inf")
    quiet.hear(0.5)
    assert Quiet(FACTS).seconds == 0.5


def test_a_cache_that_cannot_be_written_keeps_nothing(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MLBENCH_CACHE", str(tmp_path / "file"))
    quiet = Quiet(FACTS)
    quiet.hear(0.2)
    assert quiet.seconds == 0.2
    assert Quiet(FACTS).seconds == float("inf")
