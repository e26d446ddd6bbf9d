from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from made_tuning import CPU, TUNE, Ears, Make
from stub_measuring import stub_measuring

from mlbench import runner
from mlbench.errors import SuiteError
from mlbench.measurement.result import Measurement
from mlbench.planning.plan import Plan
from mlbench.records.store import Store
from mlbench.tuning.search import Search
from mlbench.tuning.trial import Trial, kept_score

QUICK = TUNE.replace("repeats: 2", "repeats: 0")


def told(trials: list[Trial]) -> list[tuple]:
    return [(trial.number, trial.state, dict(trial.values), trial.objective) for trial in trials]


def test_every_trial_and_repeat_is_a_record_on_test_and_the_objective_is_its_kept_score(
    searcher: Make,
) -> None:
    search, ears = searcher(), Ears()
    study = search.search(3, ears)
    assert ears.cases == [
        *(f"base+default {seed} {seed + 1}/5" for seed in (0, 1)),
        *(f"base+t00{number} 0 {number + 3}/5" for number in range(3)),
    ]
    outcome = study.outcome(search.store)
    for trial in outcome.trials:
        assert trial.state == "done"
        (key,) = trial.records
        record = search.store.get(key)
        assert record is not None
        assert (record.case, record.suite, record.status) == (f"base+t00{trial.number}", "toy+tune", "done")
        assert record.settings["loss"]["margin"] == trial.values["loss.margin"]
        assert record.metrics["f1"].low is not None
        curve = record.training["curves"]["calibration_f1"]
        assert trial.objective == curve[record.training["best_epoch"] - 1] == max(curve)
        assert outcome.test(trial).value == record.metrics["f1"].value
        assert dict(trial.scores) == dict(enumerate(curve, 1))
    assert len(outcome.default["calibration"]) == 2
    # Shown by `mlbench results toy+tune`.
    assert {record.case for record in search.store.latest()[0]} == {
        "base+default",
        *(f"base+t00{number}" for number in range(3)),
    }


@pytest.mark.parametrize("every", [1, 2, 3])
def test_the_kept_score_is_that_of_the_kept_epoch(
    planned: Callable[..., Plan], tmp_path: Path, every: int
) -> None:
    overrides = ("recipe.epochs=4", f"recipe.evaluate_every={every}", "recipe.select_by=f1")
    plan = planned(overrides=overrides)
    scores: dict[int, float] = {}
    record = runner.run_case(
        plan.cases[0],
        plan,
        Store(tmp_path, "toy"),
        Ears(),
        lambda end: scores.update({} if end.score is None else {end.number: end.score.value}),
    )
    assert list(scores) == {1: [1, 2, 3, 4], 2: [2, 4], 3: [3, 4]}[every]
    assert kept_score(record) == scores[record.training["best_epoch"]]


def test_a_search_is_the_same_again_and_after_an_interruption(searcher: Make) -> None:
    quick = replace(CPU, overrides=("evaluation.resamples=0",))
    whole = searcher(folder="whole", request=quick).search(12).trials()
    assert {trial.state for trial in whole} <= {"done", "pruned"}
    search = searcher(folder="parts", request=quick)
    with pytest.raises(KeyboardInterrupt):
        search.search(12, Ears(stop_after=5))
    assert [trial.state for trial in search.study().trials()] == ["done", "done", "running"]
    ears = Ears()
    assert told(search.search(12, ears).trials()) == told(whole)
    # The record of the interrupted trial was there, and it is not trained again.
    assert ears.cases[0] == "base+t003 0 6/14"
    ears = Ears()
    search.search(12, ears)
    assert ears.cases == []


def test_more_trials_continue_a_search(searcher: Make) -> None:
    search = searcher(QUICK)
    search.search(1)
    ears = Ears()
    assert len(search.search(2, ears).trials()) == 2
    assert ears.cases == ["base+t001 0 2/2"]


def test_no_run_starts_after_the_timeout(searcher: Make) -> None:
    times = iter(range(100))
    ears = Ears()
    study = searcher().search(9, ears, timeout=4, clock=lambda: next(times))
    assert len(ears.cases) == 3  # at 1, 2 and 3
    assert [trial.state for trial in study.trials()] == ["done"]
    assert searcher(folder="none").search(9, Ears(), timeout=0).trials() == []


def test_a_bad_trial_is_pruned_and_its_record_says_so(searcher: Make) -> None:
    more = QUICK.replace("high: 1e-1", "high: 30")
    search = searcher(more, request=replace(CPU, overrides=("recipe.epochs=4", "evaluation.resamples=0")))
    study = search.search(12)
    pruned = [trial for trial in study.trials() if trial.state == "pruned"]
    assert pruned
    for trial in pruned:
        assert trial.objective is None
        assert 2 <= len(trial.scores) < 4
        assert trial.error.startswith(f"pruned after epoch {len(trial.scores)} of 4: f1 ")
        assert trial.error.endswith(" on calibration is worse than the median of the finished trials")
        record = search.store.get(trial.records[0])
        assert record is not None
        assert (record.status, record.error) == ("failed", trial.error)


def test_a_trial_has_the_mean_of_its_seeds(searcher: Make) -> None:
    search = searcher(QUICK.replace("repeats: 0", "repeats: 0\n  seeds: [4, 2]"))
    ears = Ears()
    study = search.search(2, ears)
    assert ears.cases == [
        "base+t000 4 1/4", "base+t000 2 2/4", "base+t001 4 3/4", "base+t001 2 4/4",
    ]  # fmt: skip
    outcome = study.outcome(search.store)
    for trial in outcome.trials:
        records = [search.store.get(key) for key in trial.records]
        assert [record.seed for record in records] == [4, 2]
        assert trial.objective == pytest.approx(sum(map(kept_score, records)) / 2)
        tested = outcome.test(trial)
        for name in ("value", "low", "high"):
            values = [getattr(record.metrics["f1"], name) for record in records]
            assert getattr(tested, name) == pytest.approx(sum(values) / 2)


def test_a_trial_that_fails_is_counted_and_does_not_stop_the_search(searcher: Make) -> None:
    space = "tune: {objective: f1, repeats: 0, space: {loss: {choices: [{name: nan}, {name: pair}]}}}\n"
    search = searcher(space)
    study = search.search(6)
    trials = study.trials()
    assert {trial.values["loss"]["name"]: trial.state for trial in trials} == {
        "nan": "failed",
        "pair": "done",
    }
    failed = next(trial for trial in trials if trial.state == "failed")
    assert "returned nan at step 1" in failed.error
    ears = Ears()
    search.search(6, ears)
    assert ears.cases == []


def test_a_trial_whose_settings_do_not_fit_together_fails_alone(searcher: Make) -> None:
    """Neither end of the space shows that the last rate may be above the first."""
    space = """\
tune:
  objective: f1
  repeats: 0
  space:
    recipe.lr: {low: 1e-3, high: 2e-3}
    recipe.min_lr: {low: 1e-4, high: 2e-3}
"""
    study = searcher(space).search(8)
    states = {
        trial.values["recipe.min_lr"] > trial.values["recipe.lr"]: trial.state
        for trial in study.trials()
        if trial.state != "pruned"
    }
    assert states == {True: "failed", False: "done"}
    failed = next(trial for trial in study.trials() if trial.state == "failed")
    assert "toy.yaml:18: tune.space.recipe.min_lr: recipe: min_lr" in failed.error


def test_a_component_that_cannot_be_built_stops_the_search_before_any_run(searcher: Make) -> None:
    more = "tune: {objective: f1, space: {recipe.optimizer: {choices: [adamw, adamv]}}}\n"
    ears = Ears()
    with pytest.raises(SuiteError, match=r"toy.yaml:13: tune.space.recipe.optimizer.choices.1: .*adamv"):
        searcher(more).search(3, ears)
    assert ears.cases == []


def test_the_settings_of_a_trial_give_its_result_in_a_run(
    searcher: Make, planned: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stub_measuring(monkeypatch, Measurement({}))
    search = searcher(QUICK)
    outcome = search.search(2).outcome(search.store)
    trial = outcome.winner
    assert trial is not None
    from mlbench.planning.document import flow_text

    overrides = tuple(f"{key}={flow_text(value)}" for key, value in outcome.settings(trial).items())
    (record,) = runner.run(planned(overrides=overrides), Store(tmp_path, "toy"), Ears(), benchmarks=False)
    wanted = search.store.get(trial.records[0])
    assert wanted is not None
    assert record.metrics == wanted.metrics


def test_another_process_does_not_run_what_this_one_runs(searcher: Make) -> None:
    """A second search starts while the first is in the middle of a run, and takes the next one."""
    search = searcher()
    inner: list[str] = []

    class Nosy(Ears):
        def case(self, case, position: int, total: int, left: str) -> None:
            super().case(case, position, total, left)
            if len(self.cases) <= 2:
                ears = Ears()
                trials = 2 * (len(self.cases) - 1)
                Search(search.tuning, search.store, search.study(), ears, trials).run()
                inner.extend(ears.cases)

    ears = Nosy()
    study = search.search(2, ears)
    assert inner == ["base+default 1 2/2", "base+t001 0 4/4"]
    assert [each.split()[0] for each in ears.cases] == ["base+default", "base+t000"]
    assert [trial.state for trial in study.trials()] == ["done", "done"]
