from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import full_disk

from mlbench.errors import StoreError
from mlbench.tuning.study import Study, find_study, newest_study

FACTS: dict[str, Any] = {
    "suite": "toy",
    "file": "toy.yaml",
    "higher": True,
    "options": [],
    "section": {
        "case": "base",
        "objective": "f1",
        "seeds": [0],
        "repeats": 0,
        "pruning": True,
        "space": {
            "loss.margin": {"low": 0.0, "high": 0.4, "log": False, "step": None},
            "recipe.lr": {"low": 1e-4, "high": 1e-1, "log": True, "step": None},
            "neck.dim": {"low": 8, "high": 64, "log": False, "step": 8},
            "augmentation": {"choices": [None, {"name": "jitter"}]},
        },
    },
}


def opened(folder: Path, **section: Any) -> Study:
    return Study(folder, "base-1", {**FACTS, "section": {**FACTS["section"], **section}})


def finish(study: Study, count: int, most: int = 100) -> list[dict[str, Any]]:
    """Run some trials whose objective is their margin; returns their values."""
    values = []
    for _ in range(count):
        with study.claim(most) as claim:
            assert claim is not None
            claim.done(claim.values["loss.margin"], [f"r{claim.number}"])
            values.append(claim.values)
    return values


def test_a_trial_has_values_of_the_space(tmp_path: Path) -> None:
    values = finish(opened(tmp_path), 15)
    assert all(0 <= each["loss.margin"] <= 0.4 and 1e-4 <= each["recipe.lr"] <= 1e-1 for each in values)
    assert {each["neck.dim"] % 8 for each in values} == {0}
    assert {str(each["augmentation"]) for each in values} == {"None", "{'name': 'jitter'}"}
    trials = opened(tmp_path).trials()
    assert [trial.values for trial in trials] == values
    assert [(trial.number, trial.state, trial.records) for trial in trials] == [
        (number, "done", (f"r{number}",)) for number in range(15)
    ]
    assert [trial.objective for trial in trials] == [each["loss.margin"] for each in values]


def test_sampling_is_the_same_with_and_without_interruption_and_not_with_another_seed(tmp_path: Path) -> None:
    whole = finish(opened(tmp_path / "a"), 14)
    parts = [values for _ in range(7) for values in finish(opened(tmp_path / "b"), 2)]
    assert parts == whole
    assert finish(opened(tmp_path / "c", seeds=[1]), 2) != whole[:2]


def test_sampling_learns_from_the_objective(tmp_path: Path) -> None:
    values = [each["loss.margin"] for each in finish(opened(tmp_path), 40)]
    assert sum(values[-10:]) / 10 > 0.3 > sum(values[:10]) / 10


def test_no_more_than_the_asked_trials_are_claimed(tmp_path: Path) -> None:
    study = opened(tmp_path)
    finish(study, 3, most=3)
    with study.claim(3) as claim:
        assert claim is None
    with study.claim(4) as claim:
        assert claim is not None
        with opened(tmp_path).claim(4) as other:  # the fourth is running
            assert other is None
        with opened(tmp_path).claim(5) as other:
            assert other is not None
            assert other.number == 4


def interrupted(study: Study) -> dict[str, Any]:
    """Start a trial, report a score, and stop as by Ctrl-C; returns the values of the trial."""
    values = {}
    with suppress(KeyboardInterrupt), study.claim(9) as claim:
        assert claim is not None
        values = claim.values
        claim.report(1, 0.25)
        raise KeyboardInterrupt
    return values


def test_a_trial_that_is_left_without_a_result_is_claimed_again_with_its_values_and_scores(
    tmp_path: Path,
) -> None:
    study = opened(tmp_path)
    before = interrupted(study)
    assert [trial.state for trial in study.trials()] == ["running"]
    with opened(tmp_path).claim(9) as again:
        assert again is not None
        assert (again.number, again.values) == (0, before)
        again.report(1, 0.5)  # it was reported
        again.report(2, 0.75)
        again.done(0.75, [])
    (trial,) = study.trials()
    assert (trial.state, trial.objective, trial.scores) == ("done", 0.75, {1: 0.25, 2: 0.75})
    assert not list((tmp_path / "locks").glob("*-t*"))


def test_a_trial_whose_process_died_before_it_had_all_its_values_gets_them(tmp_path: Path) -> None:
    """The journal ends after the first value of the trial."""
    study = opened(tmp_path)
    before = interrupted(study)
    journal = tmp_path / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    first = next(
        index for index, line in enumerate(lines) if b"loss.margin" in line and b'"op_code":5' in line
    )
    journal.write_bytes(b"".join(lines[: first + 1]))
    with opened(tmp_path).claim(9) as again:
        assert again is not None
        assert (again.number, again.values) == (0, before)


@pytest.mark.parametrize("open_before", [True, False])
def test_half_a_line_of_a_killed_process_is_removed(tmp_path: Path, open_before: bool) -> None:
    study = opened(tmp_path)
    finish(study, 1)
    with (tmp_path / "journal.jsonl").open("ab") as file:
        file.write(b'{"op_code":4,"wor')
    other = study if open_before else opened(tmp_path)
    finish(other, 1)
    assert [trial.state for trial in opened(tmp_path).trials()] == ["done", "done"]


@pytest.mark.parametrize("step", ["repeat", "trial", "report", "done", "failed"])
def test_a_full_disk_is_one_line_and_loses_no_trial(tmp_path: Path, step: str) -> None:
    """The disk is full when one of the entries is written. The next process finds all that came before it,
    and runs the trial again."""
    study = opened(tmp_path)
    (values,) = finish(study, 1)
    journal = tmp_path / "journal.jsonl"

    def full(name: str) -> AbstractContextManager[None]:
        return full_disk(journal.stat().st_size + 10) if name == step else nullcontext()

    def write() -> None:
        with full("repeat"):
            study.add_repeat("r")
        with ExitStack() as stack:
            with full("trial"):
                claim = stack.enter_context(study.claim(2))
            assert claim is not None
            with full("report"):
                claim.report(1, 0.5)
            with full(step):
                claim.failed("bad", ["r1"]) if step == "failed" else claim.done(0.5, ["r1"])

    message = rf"^{journal}: cannot be written \(File too large\); free space or choose another folder$"
    with pytest.raises(StoreError, match=message):
        write()
    again = opened(tmp_path)
    assert (again.trials()[0].values, again.trials()[0].objective) == (values, values["loss.margin"])
    finish(again, 1)
    assert [trial.state for trial in again.trials()] == ["done", "done"]


def test_a_damaged_journal_is_one_line(tmp_path: Path) -> None:
    finish(opened(tmp_path), 1)
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(b"damage\n" + journal.read_bytes())
    with pytest.raises(
        StoreError, match=r"journal.jsonl: cannot be used \(.*\); move it away to start again"
    ):
        opened(tmp_path)


def score(study: Study, scores: list[float]) -> str:
    """Run a trial with these scores of its epochs; returns how it ended."""
    with study.claim(100) as claim:
        assert claim is not None
        for epoch, each in enumerate(scores, 1):
            claim.report(epoch, each)
            if claim.is_bad(epoch, len(scores)):
                claim.failed("bad", [], pruned=True)
                return f"pruned {epoch}"
        claim.done(scores[-1], [])
    return "done"


@pytest.mark.parametrize(("higher", "pruning"), [(True, True), (False, True), (True, False)])
def test_a_trial_below_the_median_is_pruned_after_a_third_of_its_epochs_and_never_at_the_end(
    tmp_path: Path, higher: bool, pruning: bool
) -> None:
    facts = {**FACTS, "higher": higher, "section": {**FACTS["section"], "pruning": pruning}}
    study = Study(tmp_path, "base-1", facts)
    sign = 1 if higher else -1
    for value in (1, 2, 3, 4, 5):
        assert score(study, [sign * value] * 6) == "done"
    assert score(study, [sign * 2.0] * 6) == ("pruned 2" if pruning else "done")
    assert score(study, [sign * 4.0] * 6) == "done"
    assert score(study, [sign * 3.6] * 5 + [sign * 0.0]) == "done"
    assert [trial.state for trial in study.trials()].count("pruned") == pruning


def test_studies_are_found_by_name_and_by_their_newest_trial(tmp_path: Path) -> None:
    assert newest_study(tmp_path) is None
    assert find_study(tmp_path, "base-1") is None
    assert not list(tmp_path.iterdir())
    first = opened(tmp_path)
    finish(first, 1)
    finish(Study(tmp_path, "base-2", FACTS), 1)
    found = newest_study(tmp_path)
    assert found is not None
    assert found.name == "base-2"
    finish(first, 1)
    found = newest_study(tmp_path)
    assert found is not None
    assert (found.name, len(found.trials())) == ("base-1", 2)
    other = find_study(tmp_path, "base-2")
    assert other is not None
    assert len(other.trials()) == 1
    assert find_study(tmp_path, "base-3") is None
