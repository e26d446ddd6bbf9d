from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import TOY_SUITE

from mlbench.errors import SuiteError
from mlbench.planning.suite import Suite, load_suite
from mlbench.planning.variants import MAX_CASE_NAME, MAX_SUITE_NAME
from mlbench.plugins import Plugin
from mlbench.registry import Registry
from mlbench.seeding import MAX_SEED

Load = Callable[..., Suite]


@pytest.fixture
def load(write: Callable[..., Path], registry: Registry) -> Load:
    def load(more: str = "", *overrides: str, whole: str = TOY_SUITE) -> Suite:
        return load_suite(write(more, whole=whole), registry, overrides=overrides)

    return load


def changed(old: str, new: str) -> str:
    assert old in TOY_SUITE
    return TOY_SUITE.replace(old, new)


def test_a_suite_keeps_its_metadata(load: Load) -> None:
    suite = load("title: T\nquestion: Q?\nsource: arXiv:1\nseeds: [3, 1]\ntolerances: {f1: 0.1}\n")
    assert (suite.name, suite.title, suite.question, suite.source) == ("toy", "T", "Q?", "arXiv:1")
    assert (suite.seeds, suite.tolerances) == ((3, 1), {"f1": 0.1})
    assert load().seeds == (0,)


def test_a_case_is_spelt_out_with_every_default(load: Load) -> None:
    (spec,) = load().specs
    plain = spec.plain()
    assert plain["neck"] == {"name": "gap", "dim": 8, "norm": "ln", "layers": 2, "bias": False}
    assert plain["dataset"] == {
        "name": "toy", "classes": 6, "views": 4, "broken": -1, "disjoint": True, "closed": False
    }  # fmt: skip
    assert plain["image"] == {
        "size": 16,
        "train_size": None,
        "teacher_size": None,
        "resize": "squash",
        "crop_ratio": 1.0,
    }
    assert plain["compute"] == {
        "matmul_precision": "highest",
        "deterministic": True,
        "channels_last": True,
        "compile": False,
        "checkpointing": False,
        "accumulate": 1,
        "save_every": 5.0,
    }
    assert plain["precision"] == "fp32"
    assert plain["recipe"]["lr"] == 1e-3
    assert "augmentation" not in plain


def test_metrics_are_listed_changed_one_by_one_or_dropped(load: Load) -> None:
    (spec,) = load("", "metrics.retrieval={k: [3]}", "metrics.verification=null").specs
    assert spec.plain()["metrics"] == {"retrieval": {"k": [3]}}
    assert "recall_at_3" in spec.quantities()
    assert "recall_at_1" not in spec.quantities()
    (spec,) = load("", "metrics=[verification]").specs
    assert set(spec.metrics) == {"verification"}
    assert {"f1", "threshold", "tpr_at_fpr_1e-3"} <= spec.quantities().keys()
    assert spec.evaluation.resamples == 1000


def test_a_component_that_is_not_required_may_be_null(load: Load) -> None:
    assert "sampler" not in load(whole=changed("sampler: all", "sampler: null")).specs[0].parts


def test_set_wins_over_everything(load: Load) -> None:
    suite = load("matrix:\n  neck.dim: [4, 16]\n", "base.recipe.epochs=7", "loss={name: softmax, scale: 2}")
    assert [spec.plain()["neck"]["dim"] for spec in suite.specs] == [4, 16]
    assert {spec.plain()["recipe"]["epochs"] for spec in suite.specs} == {7}
    assert suite.specs[0].plain()["loss"] == {"name": "softmax", "scale": 2.0}
    assert load("", "neck.dim=4", "neck.dim=5").specs[0].plain()["neck"]["dim"] == 5


NECK = "neck: {name: gap, dim: 8}"


@pytest.mark.parametrize(
    ("suite", "message"),
    [
        ("", ":1: the file is empty; expected a mapping with the keys suite, title, .*"),
        ("# nothing", ":1: the file is empty; .*"),
        ("hello", ":1: not a suite; expected a mapping .*"),
        ("- a", ":1: not a suite; .*"),
        ("suite: s", ":1: base: missing key 'base'; expected mapping"),
        ("base: {}", ":1: suite: missing key 'suite'; expected str matching .*"),
        ("suite: a/b\nbase: {}", ":1: suite: 'suite' is \"a/b\"; expected str matching .*"),
        ("suite: 12\nbase: {}", ":1: suite: 'suite' is 12; expected str .*"),
        ("suite: s\nbase: []", r":2: base: 'base' is \[\]; expected mapping"),
        (TOY_SUITE + "matrx: {}", r":13: matrx: unknown key 'matrx' \(did you mean 'matrix'\?\)"),
        (TOY_SUITE + "neck: gap", ":13: neck: 'neck' belongs under 'base'"),
        (TOY_SUITE + "title: 3", ":13: title: 'title' is 3; expected str"),
        (TOY_SUITE + "matrix: [neck]", r":13: matrix: 'matrix' is \[\"neck\"\]; expected mapping"),
        (TOY_SUITE + "matrix: null", ":13: matrix: 'matrix' is null; expected mapping"),
        (TOY_SUITE + "exclude: {neck: gap}", ":13: exclude: 'exclude' is .*; expected list of mapping"),
        (TOY_SUITE + "cases: {a: null}", ":13: cases.a: 'cases' is .*; expected mapping of mapping"),
        (TOY_SUITE + "seeds: 3", ":13: seeds: 'seeds' is 3; expected list of int >= 0 and <= .*"),
        (TOY_SUITE + "seeds: []", r":13: seeds: 'seeds' is \[\]; expected list of .* with length >= 1"),
        (
            TOY_SUITE + "seeds:\n- 0\n- -1",
            r":15: seeds.1: 'seeds' is \[0, -1\]; expected list of int >= 0 .*",
        ),
        (TOY_SUITE + "seeds: [1.5]", ":13: seeds.0: 'seeds' is .*"),
        (TOY_SUITE + "seeds: [4294967296]", ":13: seeds.0: 'seeds' is .* and <= 4294967295 .*"),
        (TOY_SUITE + "seeds: [1, 1]", ":13: seeds: a seed occurs twice"),
        (
            TOY_SUITE + "cases: {a: {evaluation: {split: train, gallery: train}}}",
            ":13: cases.a.evaluation.split: evaluation: split is train, which compares the training images "
            "with each other, but gallery is train; leave one of them out",
        ),
        (TOY_SUITE + "tolerances: {f2: 0.1}", r":13: tolerances.f2: no case measures 'f2' \(.*"),
        (TOY_SUITE + "tolerances: {f1: -1}", ":13: tolerances.f1: .*; expected mapping of float >= 0"),
        (TOY_SUITE + "tolerances: {f1: big}", ":13: tolerances.f1: .*; expected mapping of float >= 0"),
        (changed("  loss:", "  los:"), r":7: base.los: unknown key 'los' \(did you mean 'loss'\?\)"),
        (changed(NECK, "neck: gpa"), r":6: base.neck: unknown neck 'gpa' \(did you mean 'gap'\?\)"),
        (
            changed(NECK, "neck: null"),
            ":2: base: case 'base' has no neck; choose from: .*",
        ),
        (changed(NECK, "neck: {}"), ":2: base: case 'base' has no neck; .*"),
        (changed(NECK, "neck: {dim: 3}"), ":6: base.neck.dim: which neck\\? it has options but no name; .*"),
        (
            changed(NECK, "neck: {name: 3}"),
            ":6: base.neck.name: which neck\\? its name is 3; choose from: .*",
        ),
        (changed(NECK, "neck: [gap]"), ":6: base.neck: expected the name of a neck or a mapping .*"),
        (
            changed("dim: 8", "dmi: 8"),
            r":6: base.neck.dmi: unknown key 'dmi' \(did you mean 'dim'\?\) of neck 'gap'",
        ),
        (changed("dim: 8", "dim: x"), ":6: base.neck.dim: 'dim' of neck 'gap' is \"x\"; expected int >= 1"),
        (changed("dim: 8", "dim.x: 8"), r":6: base.neck.dim.x: unknown key 'dim.x' \(.*\) of neck 'gap'"),
        (changed("{size: 16}", "16"), r":3: base.image: expected a mapping such as \{size: 128\}, not 16"),
        (
            changed("{size: 16}", "{sise: 16}"),
            r":3: base.image.sise: unknown key 'sise' \(.*'size'\?\) of image",
        ),
        (changed("size: 16", "size: 8"), ":3: base.image.size: 'size' of image is 8; expected int >= 16 .*"),
        (TOY_SUITE + "  precision: fp8", r":13: base.precision: unknown precision 'fp8' \(choose from: .*"),
        (TOY_SUITE + "  precision: [fp32]", ":13: base.precision: expected the name of a precision, not .*"),
        (
            changed("[retrieval, verification]", "[retreival]"),
            r":11: base.metrics.0: unknown metric 'retreival' \(did you mean 'retrieval'\?\)",
        ),
        (
            changed("[retrieval, verification]", "{retrieval: {k: [0]}}"),
            r":11: base.metrics.retrieval: 'k' of metric 'retrieval' is .*",
        ),
        (
            changed("[retrieval, verification]", "{retrieval: 3}"),
            r":11: base.metrics.retrieval: expected a mapping of options of metric 'retrieval', not 3",
        ),
        (
            changed("[retrieval, verification]", "retrieval"),
            r":11: base.metrics: expected names of metrics, such as .*, not .*",
        ),
        (
            changed("metrics: [retrieval, verification]", "precision: fp32"),
            r":2: base: case 'base' has no metrics; .*",
        ),
        (changed("best_f1", "null"), r":2: base: case 'base' has no threshold; .*"),
        (
            changed("best_f1", "{name: fpr_at_most, fpr: 2}"),
            r":12: base.threshold.fpr: 'fpr' of threshold 'fpr_at_most' is 2; .*",
        ),
        (TOY_SUITE + "  evaluation: {resample: 3}", r":13: base.evaluation.resample: unknown key .*"),
        (TOY_SUITE + "  evaluation: 3", r":13: base.evaluation: expected a mapping such as .*, not 3"),
        (
            TOY_SUITE + "matrix:\n  neck.dim:\n  - 4\n  - x",
            ":16: matrix.neck.dim.1: 'dim' of neck 'gap' is \"x\"; .*",
        ),
        (TOY_SUITE + "cases:\n  a: {loss: null}\n  b: {}", ":14: cases.a: case 'a' has no loss; .*"),
        (
            TOY_SUITE + "cases:\n  a: {}\n  b: {}",
            ":15: cases.b: the cases 'a' and 'b' are the same experiment; drop one",
        ),
    ],
)
def test_mistakes_are_named_with_file_line_and_key(load: Load, suite: str, message: str) -> None:
    with pytest.raises(SuiteError, match=rf"^\S+toy\.yaml{message}$"):
        load(whole=suite)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("neck.dim", "expected key=value, such as recipe.epochs=2"),
        ("=3", "expected key=value, such as recipe.epochs=2"),
        ("nek.dim=3", r"unknown key 'nek' \(did you mean 'neck'\?\)"),
        ("neck.dmi=3", r"unknown key 'dmi' \(did you mean 'dim'\?\) of neck 'gap'"),
        ("neck.dim=x", "'dim' of neck 'gap' is \"x\"; expected int >= 1"),
        ("neck.dim=", "'dim' of neck 'gap' is null; expected int >= 1"),
        ("neck.dim=[1", "not valid YAML: .*"),
        ("seeds=[1]", r"unknown key 'seeds' \(choose from: .*\)"),
    ],
)
def test_a_wrong_set_is_named(load: Load, override: str, message: str) -> None:
    key = override.replace("[", r"\[")
    with pytest.raises(SuiteError, match=f"^--set {key}: {message}$"):
        load("", override)


def test_a_set_that_makes_cases_equal_is_refused(load: Load) -> None:
    with pytest.raises(
        SuiteError, match=r"'gap' and 'flatten' are the same experiment after --set neck=gap; drop one"
    ):
        load("matrix:\n  neck.name: [gap, flatten]\n", "neck=gap")


def test_only_suites_that_need_a_broken_plugin_fail(write: Callable[..., Path], registry: Registry) -> None:
    broken = Plugin("acme", "acme", "acme", "1.0", error="ImportError: no lib")
    registry = Registry((*registry.plugins, broken))
    assert load_suite(write(), registry)
    message = r"unknown neck 'mine' .*; plugins that failed to load may have it: acme \(ImportError: no lib\)"
    with pytest.raises(SuiteError, match=message):
        load_suite(write(whole=changed(NECK, "neck: mine")), registry)


def test_a_part_builds_and_knows_its_place(load: Load) -> None:
    part = load().specs[0].parts["recipe"]
    assert part.component.build().epochs == 2
    assert part.where("epochs").endswith("toy.yaml:10: base.recipe.epochs")


def test_a_teacher_is_part_of_the_cases_that_have_a_distiller(load: Load) -> None:
    text = TOY_SUITE + "  teacher: toy\n"
    plain, distilled = load("cases: {plain: {}, distilled: {distiller: toy}}\n", whole=text).specs
    assert "teacher" not in plain.plain()
    assert {"teacher", "distiller"} <= distilled.plain().keys()
    with pytest.raises(SuiteError, match=r"toy.yaml:13: base.teacher.*: no case has a distiller"):
        load(whole=text)


LOSS = "  loss: {name: cosface, scale: 16, margin: 0.1}\n"


def test_losses_have_weights_and_may_go_by_other_names(load: Load) -> None:
    text = changed(LOSS, "  losses: {cosface: {scale: 8}, close: {name: pair, weight: 0.5}}\n")
    (spec,) = load(whole=text).specs
    assert {name: each.weight for name, each in spec.losses.items()} == {"cosface": 1.0, "close": 0.5}
    assert spec.plain()["losses"] == {
        "cosface": {"name": "cosface", "weight": 1.0, "scale": 8.0, "margin": 0.4},
        "close": {"name": "pair", "weight": 0.5},
    }
    assert {"loss cosface", "loss close"} <= spec.provenance().keys()
    (one,) = load().specs
    assert list(one.losses) == ["cosface"]
    assert "losses" not in one.plain()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (LOSS, "", r"case 'base' has no loss; choose from: "),
        (LOSS, LOSS + "  losses: [pair]\n", r"base.losses.*: give loss or losses, not both \(loss: null\)"),
        (
            LOSS,
            "  losses: {pair: {weight: -1}}\n",
            r"the weight of loss 'pair' is -1; expected a number >= 0",
        ),
        (LOSS, "  losses: {pare: {}}\n", r"unknown loss 'pare' \(did you mean 'pair'"),
        (LOSS, "  losses: {pair: 3}\n", r"expected a mapping of options of loss 'pair', not 3"),
        (LOSS, "  losses: pair\n", r"expected a mapping such as \{cosface: .*, not 'pair'"),
        ("  sampler: all\n", "  distiller: toy\n", r"a distiller needs a teacher, which is any backbone"),
        ("  sampler: all\n", "  compute: {compiled: true}\n", r"base.compute.compiled: unknown .*'compiled'"),
        ("{size: 16}", "{size: 16, crop_ratio: 0}", r"base.image.*crop_ratio"),
    ],
)
def test_mistakes_in_sections_of_training_say_what_to_do(
    load: Load, old: str, new: str, message: str
) -> None:
    with pytest.raises(SuiteError, match=message):
        load(whole=changed(old, new))


RECIPE = "  recipe: {name: standard, epochs: 2, batch_size: 8}\n"


def test_a_recipe_brings_settings_of_other_sections_along(load: Load) -> None:
    text = changed(RECIPE, "  recipe: preset\n").replace(LOSS, "").replace("  batch_sampler: shuffle\n", "")
    plain = load(whole=text).specs[0].plain()
    assert plain["mixing"] == {"name": "toy", "share": 0.9}
    assert plain["loss"] == {"name": "cosface", "scale": 8.0, "margin": 0.4}
    assert plain["batch_sampler"] == {"name": "m_per_class", "m": 2}
    assert plain["image"]["crop_ratio"] == 0.5
    assert plain["image"]["size"] == 16
    assert plain["backbone"] == {"name": "toy", "frozen": True}


def test_the_suite_wins_over_a_recipe_key_by_key(load: Load) -> None:
    text = changed(RECIPE, "  recipe: preset\n  mixing: {share: 0.6}\n  image.crop_ratio: 0.25\n")
    plain = load("", "backbone.frozen=false", whole=text).specs[0].plain()
    assert plain["mixing"] == {"name": "toy", "share": 0.6}
    assert plain["loss"] == {"name": "cosface", "scale": 16.0, "margin": 0.1}
    assert plain["batch_sampler"] == {"name": "shuffle"}
    assert plain["image"]["crop_ratio"] == 0.25
    assert plain["backbone"]["frozen"] is False
    assert "mixing" not in load("", "mixing=null", whole=text).specs[0].plain()


def test_cases_may_differ_in_the_recipe_that_brings_settings(load: Load) -> None:
    text = changed(RECIPE, "  recipe: standard\n")
    one, other = load("matrix: {recipe: [preset, standard]}\n", whole=text).specs
    assert "mixing" in one.plain()
    assert "mixing" not in other.plain()
    assert (one.image.crop_ratio, other.image.crop_ratio) == (0.5, 1.0)


def test_what_a_recipe_sets_and_a_component_lacks_is_said_and_can_be_left_out(load: Load) -> None:
    text = changed(RECIPE, "  recipe: preset\n").replace("backbone: toy", "backbone: timm")
    message = r"settings of recipe preset: unknown key 'frozen' .*; backbone.frozen: null leaves it out"
    with pytest.raises(SuiteError, match=message):
        load(whole=text)
    assert "frozen" not in load("", "backbone.frozen=null", whole=text).specs[0].plain()["backbone"]
    with pytest.raises(SuiteError, match=r"unknown key 'frosen'"):
        load("", "backbone.frosen=null", "backbone.frozen=null", whole=text)


def test_metrics_over_a_list_of_pairs_have_tolerances_too(load) -> None:
    tolerances = {"pair_list_accuracy": 0.01, "accuracy": 0.02}
    assert load(f"tolerances: {tolerances}\n").tolerances == tolerances
    with pytest.raises(SuiteError, match="no case measures 'pair_list_images_per_second'"):
        load("tolerances: {pair_list_images_per_second: 0.1}\n")


def test_speeds_sizes_and_memory_have_tolerances_too(load) -> None:
    tolerances = {"images_per_second": 0.1, "peak_cpu": 0.2, "checkpoint_float16": 0.0, "f1": 0.02}
    assert load(f"tolerances: {tolerances}\n").tolerances == tolerances


def test_cases_share_the_sections_in_which_they_do_not_differ(load: Load) -> None:
    """A part is checked once, however many cases have it: thousands of cases are planned in seconds."""
    suite = load("matrix:\n  neck.dim: [4, 8, 16]\n  loss.scale: [1.0, 2.0]\n", "recipe.epochs=1")
    made = {name: len({id(spec.parts[name]) for spec in suite.specs}) for name in suite.specs[0].parts}
    assert made == {**dict.fromkeys(made, 1), "neck": 3, "loss": 2}
    assert len({id(spec.metrics) for spec in suite.specs}) == 1
    assert len({id(spec.image) for spec in suite.specs}) == 1
    assert suite.specs[-1].parts["neck"].where("dim").endswith("toy.yaml:14: matrix.neck.dim.2")


def test_the_same_words_at_another_place_are_named_by_their_own_place(load: Load) -> None:
    suite = load(
        "cases:\n  a: {neck: {name: gap, dim: 4}}\n  b: {neck: {name: gap, dim: 4}, loss.scale: 2}\n"
    )
    assert [spec.parts["neck"].where("dim").partition(": ")[2] for spec in suite.specs] == [
        "cases.a.neck.dim",
        "cases.b.neck.dim",
    ]


def test_an_option_that_one_component_of_an_axis_lacks_is_answered_with_the_axis_to_write(load: Load) -> None:
    with pytest.raises(SuiteError) as error:
        load("matrix:\n  loss.name: [cosface, softmax]\n")
    message = str(error.value)
    start, _, advice = message.partition("in place of loss.name and of base.loss: ")
    assert "toy.yaml:7: base.loss.margin: unknown key 'margin'" in start
    assert start.endswith("of loss 'softmax'; cosface has it: give each its own options in the matrix, ")
    assert advice == (
        "loss: {cosface: {name: cosface, scale: 16, margin: 0.1}, softmax: {name: softmax, scale: 16}}"
    )
    suite = load(
        f"matrix:\n  {advice}\n", whole=changed("  loss: {name: cosface, scale: 16, margin: 0.1}\n", "")
    )
    assert [(spec.name, dict(spec.parts["loss"].options)) for spec in suite.specs] == [
        ("cosface", {"scale": 16.0, "margin": 0.1}),
        ("softmax", {"scale": 16.0}),
    ]


def test_an_option_that_one_named_case_lacks_is_answered_with_what_to_write_there(load: Load) -> None:
    with pytest.raises(SuiteError, match="of loss 'softmax'; cosface has it: write all of its loss") as error:
        load("cases:\n  a: {}\n  b: {loss.name: softmax}\n")
    advice = str(error.value).partition("in place of loss.name: ")[2]
    assert advice == "loss: {name: softmax, scale: 16}"
    assert [spec.name for spec in load(f"cases:\n  a: {{}}\n  b: {{{advice}}}\n").specs] == ["a", "b"]


def test_a_wrong_word_gets_no_such_advice(load: Load) -> None:
    with pytest.raises(
        SuiteError, match=r"unknown key 'margins' \(did you mean 'margin'\?\) of loss 'cosface'$"
    ):
        load("matrix:\n  loss.name: [cosface, softmax]\n", "loss.margins=1")
    with pytest.raises(SuiteError, match=r"'margin' of loss 'cosface' is \"x\"; expected [^;]*$"):
        load("matrix:\n  loss.name: [cosface, softmax]\n", "loss.margin=x")


def test_names_that_no_file_can_have_are_refused(load: Load) -> None:
    long = "n" * 151
    with pytest.raises(
        SuiteError, match=r"toy.yaml:14: cases.n{151}: the name of the case n{40}\.\.\. has 151 letters"
    ):
        load(f"cases:\n  {long}: {{}}\n")
    with pytest.raises(
        SuiteError, match=r"toy.yaml:13: matrix: the name .* at most 150 fit .*; name the values of the axes"
    ):
        load(f"matrix:\n  loss:\n    {long}: cosface\n")
    with pytest.raises(SuiteError, match=r"toy.yaml:1: suite: .*\{0,59\}\$"):
        load(whole=changed("suite: toy", f"suite: {'s' * 61}"))
    longest = f".{'s' * MAX_SUITE_NAME}-{'c' * MAX_CASE_NAME}-s{MAX_SEED}-int8.onnx.012345.mlbench.tmp"
    assert len(longest) <= 255


def test_optional_cases_are_chosen_by_name_or_glob(load: Load) -> None:
    suite = load("cases: {clip-a: {}, clip-b: {neck.dim: 4}, own: {neck.dim: 6}}\noptional: [clip-*]\n")
    assert suite.optional == {"clip-a", "clip-b"}


def test_optional_pattern_without_a_case_is_refused(load: Load) -> None:
    with pytest.raises(
        SuiteError, match=r"toy\.yaml:\d+: optional\.0: no case matches 'clpi' \(did you mean"
    ):
        load("cases: {clip: {}}\noptional: [clpi]\n")
