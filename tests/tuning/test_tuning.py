from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import TOY_SUITE
from made_tuning import CPU, TUNE, Make

from mlbench.errors import ComponentError, SuiteError
from mlbench.registry import Registry
from mlbench.tuning.optuna_package import check_optuna
from mlbench.tuning.tuning import has_tuning, read_tuning

#: Line of the key `tune` in the toy suite.
LINE = len(TOY_SUITE.splitlines()) + 1


def test_a_section_is_read_with_its_defaults(searcher: Make) -> None:
    tuning = searcher().tuning
    section = tuning.section
    assert (section.case, section.objective, section.trials) == ("base", "f1", 31)
    assert (section.seeds, section.repeats, section.pruning) == ((0,), 2, True)
    assert list(section.space) == ["loss.margin", "recipe.lr", "augmentation"]
    assert (tuning.higher, tuning.suite.name) == (True, "toy+tune")
    assert tuning.facts["section"]["space"]["augmentation"] == {"choices": [None, "jitter"]}


def test_a_trial_is_the_case_with_values_and_the_objective(searcher: Make) -> None:
    tuning = searcher(TUNE.replace("f1\n", "recall_at_1\n  seeds: [3, 1]\n")).tuning
    plan = tuning.trial(7, {"loss.margin": 0.25, "recipe.lr": 0.01, "augmentation": "jitter"})
    assert [(case.name, case.seed) for case in plan.cases] == [("base+t007", 3), ("base+t007", 1)]
    spec = plan.cases[0].spec
    assert spec.parts["loss"].options["margin"] == 0.25
    assert spec.parts["augmentation"].entry.component.name == "jitter"
    assert (spec.parts["recipe"].options["lr"], spec.parts["recipe"].options["select_by"]) == (
        0.01,
        "recall_at_1",
    )
    assert plan.cases[0].suite == "toy+tune"
    (first, second) = tuning.repeats().cases
    assert [(each.name, each.seed) for each in (first, second)] == [("base+default", 3), ("base+default", 4)]
    assert first.spec.parts["loss"].options["margin"] == 0.1


def test_the_outermost_trials_have_both_ends_and_every_choice(searcher: Make) -> None:
    more = TUNE.replace("    aug", "    neck.dim: {choices: [4, 8, 16]}\n    aug")
    specs = [case.spec for case in searcher(more).tuning.outermost().cases]
    assert [spec.parts["loss"].options["margin"] for spec in specs] == [0.0, 0.4, 0.0]
    assert [spec.parts["neck"].options["dim"] for spec in specs] == [4, 8, 16]
    assert ["augmentation" in spec.parts for spec in specs] == [False, True, False]


def test_a_tuning_is_another_one_where_trials_could_not_be_compared(searcher: Make) -> None:
    name = searcher().tuning.name
    assert searcher(TUNE.replace("  repeats: 2\n", "  repeats: 2\n  trials: 7\n")).tuning.name == name
    for changed in (
        TUNE.replace("high: 0.4", "high: 0.3"),
        TUNE.replace("f1", "recall_at_1"),
        TUNE.replace("  repeats", "  seeds: [1]\n  repeats"),
        TUNE.replace("  repeats", "  pruning: false\n  repeats"),
    ):
        assert searcher(changed).tuning.name != name
    overridden = searcher(request=replace(CPU, overrides=("recipe.epochs=3",))).tuning
    assert overridden.name != name
    assert overridden.facts["options"] == ["--set", "recipe.epochs=3"]
    limited = searcher(request=replace(CPU, limit=12)).tuning
    assert limited.name != name
    assert limited.facts["options"] == ["--limit", "12"]


SIZED = TUNE + "sizes:\n  small: {}\n  wide: {tune: {trials: 5}, base: {neck: {dim: 16}}}\n"


def test_a_size_changes_keys_of_the_section(
    searcher: Make, write: Callable[..., Path], registry: Registry
) -> None:
    tuning = searcher(SIZED, request=replace(CPU, size="wide")).tuning
    assert (tuning.suite.name, tuning.section.trials) == ("toy-wide+tune", 5)
    assert tuning.facts["options"] == ["--size", "wide"]
    (case, *_) = tuning.repeats().cases
    assert case.spec.parts["neck"].options["dim"] == 16
    assert searcher(SIZED).tuning.suite.name == "toy-small+tune"
    path = write("sizes:\n  a: {}\n  b:\n    " + TUNE.replace("\n", "\n    "))
    assert [has_tuning(path, size) for size in (None, "a", "b")] == [False, False, True]
    assert read_tuning(path, registry, replace(CPU, size="b")).section.objective == "f1"
    path.write_text(path.read_text().replace("high: 0.4", "high: -0.4"))
    with pytest.raises(SuiteError, match=r"toy.yaml:\d+: sizes.b.tune.space.loss.margin.low: expected less"):
        read_tuning(path, registry, replace(CPU, size="b"))


def space(text: str) -> str:
    return f"tune:\n  objective: f1\n  space: {{{text}}}\n"


@pytest.mark.parametrize(
    ("more", "line", "message"),
    [
        ("", 0, "tune: the suite has no section tune, such as tune: {case: NAME, objective: f1, "),
        ("tune: 3\n", 0, "tune: 'tune' is 3; expected mapping"),
        ("tune: {objective: f1}\n", 0, "tune.space: missing key 'space' of tune; expected mapping"),
        (
            TUNE.replace("repeats", "repeat"),
            2,
            "tune.repeat: unknown key 'repeat' (did you mean 'repeats'?) of tune",
        ),
        (
            TUNE.replace("repeats: 2", "trials: 0"),
            2,
            "tune.trials: 'trials' of tune is 0; expected int >= 1 and <= 100000",
        ),
        (
            TUNE.replace("repeats: 2", "repeats: 1"),
            2,
            "tune.repeats: 1 repeat shows no noise; expected at least 2",
        ),
        (TUNE.replace("repeats: 2", "seeds: [1, 1]"), 2, "tune.seeds: a seed occurs twice"),
        (TUNE.replace("repeats: 2", "case: bse"), 2, "tune.case: no case 'bse' (did you mean 'base'?)"),
        (
            TUNE + "cases: {a: {}, b: {neck.dim: 4}}\n",
            0,
            "tune.case: which case? (choose from: a, b)",
        ),
        (
            TUNE.replace("f1", "f_1"),
            1,
            "tune.objective: no metric of case 'base' measures 'f_1' and says whether more of it is better "
            "(did you mean 'f1'?)",
        ),
        (
            TUNE.replace("f1", "threshold"),
            1,
            "tune.objective: no metric of case 'base' measures 'threshold' and",
        ),
        (
            space("loss.margn: {low: 0.1, high: 0.2}"),
            2,
            "tune.space.loss.margn.low: unknown key 'margn' (did you mean 'margin'?) of loss 'cosface'",
        ),
        (
            space("neck.dim: {low: 0, high: 16}"),
            2,
            "tune.space.neck.dim.low: 'dim' of neck 'gap' is 0; expected int >= 1",
        ),
        (
            space("recipe.lr: {low: -0.1, high: 0.2}"),
            2,
            "tune.space.recipe.lr.low: 'lr' of recipe 'standard' is -0.1; expected float > 0",
        ),
        (
            space("recipe.ema: {low: 0.9, high: 1.1}"),
            2,
            "tune.space.recipe.ema.high: 'ema' of recipe 'standard' is 1.1; expected float >= 0 and < 1",
        ),
        (
            space("neck.dim: {low: 8.0, high: 16.5}"),
            2,
            "tune.space.neck.dim.low: 'dim' of neck 'gap' is 8.0; expected int >= 1",
        ),
        (
            space("neck: {choices: [gap, flaten]}"),
            2,
            "tune.space.neck.choices.1: unknown neck 'flaten' (did you mean 'flatten'?)",
        ),
        (
            space("recipe.epochs: {low: 0, high: 2}"),
            2,
            "tune.space.recipe.epochs.low: a trial of tune is trained; expected recipe.epochs above 0",
        ),
    ],
)
def test_a_mistake_is_one_line_with_file_line_and_key(
    write: Callable[..., Path], registry: Registry, more: str, line: int, message: str
) -> None:
    path = write(more)
    with pytest.raises(SuiteError) as error:
        read_tuning(path, registry, CPU)
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith(f"{path}:{LINE + line if more else 1}: {message}")


@pytest.mark.parametrize(
    ("text", "key", "place"),
    [
        ("loss.margin=0.2", "loss.margin", "tune.space.loss.margin"),
        ("base.loss.margin=0.2", "loss.margin", "tune.space.loss.margin"),
        ("recipe.select_by=f1", "recipe.select_by", "tune.objective"),
    ],
)
def test_a_setting_of_the_space_cannot_be_set_elsewhere(
    write: Callable[..., Path], registry: Registry, text: str, key: str, place: str
) -> None:
    path = write(TUNE)
    with pytest.raises(SuiteError) as error:
        read_tuning(path, registry, replace(CPU, overrides=(text,)))
    assert str(error.value).startswith(f"--set {text}: trials have {key} from {path}:")
    assert str(error.value).endswith(f": {place}; drop one")


def test_without_optuna_there_is_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr("mlbench.tuning.optuna_package.find_spec", lambda name: None)
    with pytest.raises(
        ComponentError, match=r"tune needs optuna; install with: pip install 'mlbench\[tune\]'"
    ):
        check_optuna()
