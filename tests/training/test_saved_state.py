from __future__ import annotations

import errno

import pytest
import torch

from mlbench.errors import StoreError
from mlbench.records.store import UNFINISHED, results_settings
from mlbench.training import saved_state
from mlbench.training.assembly import assemble
from mlbench.training.experiment import experiment
from mlbench.training.saved_state import SavedState

#: Of one experiment that uses every part with a state: statistics of a norm, momentum, a running mean of the
#: weights, class centres, views, mixes, and a selection of the best.
EVERY_STATE = (
    "recipe.epochs=4",
    "recipe.batch_size=5",
    "recipe.ema=0.9",
    "recipe.views=2",
    "recipe.optimizer=lamb",
    "augmentation=jitter",
    "mixing=mixup",
)


class Killed(BaseException):
    pass


def run(case, folder, *, until=None):
    """The facts of a case, or its end by a kill after step `until`."""

    def progress(what: str, done: int, total: int) -> None:
        if what.startswith("training") and done == until:
            raise Killed

    return experiment(assemble(case, "cpu"), folder, progress)


@pytest.fixture
def every_step(monkeypatch):
    """The state is saved after every step."""
    monkeypatch.setattr(SavedState, "due", lambda state: True)


@pytest.mark.parametrize(
    "overrides",
    [
        EVERY_STATE,
        (
            "recipe.epochs=3",
            "loss=triplet_pair",
            "sampler=null",
            "batch_sampler={name: hard_triplets, refresh: 2}",
            "recipe.batch_size=6",
        ),
        (
            "sampler={name: partial_fc, rate: 0.5}",
            "dataset.classes=12",
            "recipe.batch_size=4",
            "recipe.patience=1",
        ),
        ("teacher=toy", "distiller=relational", "compute.accumulate=2", "recipe.select=last"),
    ],
    ids=["every state", "hard triplets", "PartialFC", "distilled"],
)
def test_a_killed_training_goes_on_and_ends_with_the_same_bits(
    planned, tmp_path, every_step, overrides
) -> None:
    case = planned(overrides=overrides).cases[0]
    whole = run(case, tmp_path / "whole")
    steps = whole.facts["training"]["steps"]
    for first, second in ((1, steps - 1), (steps // 2, steps)):
        folder = tmp_path / f"{first}"
        for until in (first, second):
            torch.manual_seed(until)  # of no influence
            with pytest.raises(Killed):
                run(case, folder, until=until)
        again = run(case, folder)
        assert again.facts["training"].pop("continued") == [first - 1, second - 1][first == 1 :]
        assert again.facts["metrics"] == whole.facts["metrics"]
        assert again.notes == whole.notes
        different = {"waited_seconds"}
        for name in whole.facts["training"].keys() - different:
            assert again.facts["training"][name] == whole.facts["training"][name], name
        for file in ("last.pt", "best.pt"):
            if (tmp_path / "whole" / file).exists():
                assert_same(torch.load(folder / file), torch.load(tmp_path / "whole" / file))


def assert_same(found, expected) -> None:
    assert type(found) is type(expected)
    if isinstance(found, dict):
        assert found.keys() == expected.keys()
        for name in found:
            assert_same(found[name], expected[name])
    elif isinstance(found, torch.Tensor):
        assert torch.equal(found, expected)
    else:
        assert found == expected


def test_the_state_is_saved_by_the_clock(tmp_path) -> None:
    now = [0.0]
    state = SavedState(tmp_path, "abc", 2, clock=lambda: now[0])
    assert not state.due()
    now[0] = 120
    assert state.due()
    state.write({"count": 1})
    assert not state.due()
    assert SavedState(tmp_path, "abc", 2).read() == {"count": 1}
    never = SavedState(tmp_path, "abc", 0, clock=lambda: now[0])
    now[0] = 1e9
    assert not never.due()


def test_the_state_of_another_case_is_not_used(tmp_path) -> None:
    SavedState(tmp_path, "abc", 2).write({"count": 1})
    assert SavedState(tmp_path, "abd", 2).read() is None


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"nonsense" * 100])
def test_a_damaged_state_is_named_and_the_case_starts_anew(planned, tmp_path, content) -> None:
    (tmp_path / UNFINISHED).write_bytes(content)
    found = run(planned().cases[0], tmp_path)
    assert [note for note in found.notes if UNFINISHED in note and "trained from the start" in note]
    assert "continued" not in found.facts["training"]


def test_a_state_cannot_run_code(tmp_path) -> None:
    class Attack:
        def __reduce__(self):
            return (open, (str(tmp_path / "written"), "w"))

    torch.save({"version": 1, "fingerprint": "abc", "state": Attack()}, tmp_path / UNFINISHED)
    state = SavedState(tmp_path, "abc", 5)
    assert state.read() is None
    assert "cannot be read" in state.notes[0]
    assert not (tmp_path / "written").exists()


def test_a_full_disk_ends_the_saving_and_not_the_training(planned, tmp_path, every_step, monkeypatch) -> None:
    def full(path, data):
        raise StoreError(f"{path}: cannot be written (No space left on device)") from OSError(errno.ENOSPC)

    monkeypatch.setattr(saved_state, "write_atomically", full)
    found = run(planned().cases[0], tmp_path)
    assert [note for note in found.notes if note.startswith("the state of training is no longer saved: ")]


def test_how_often_the_state_is_saved_makes_no_other_experiment(planned) -> None:
    often, never = (planned(overrides=(f"compute.save_every={each}",)).cases[0] for each in (0.01, 0))
    assert often.fingerprint == never.fingerprint
    assert results_settings(often.spec.plain()) == results_settings(never.spec.plain())
