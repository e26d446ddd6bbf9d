from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import toys
from conftest import TOY_SUITE

from mlbench import environment
from mlbench.environment import Device
from mlbench.errors import DeviceError, SuiteError
from mlbench.planning import plan as plan_module
from mlbench.planning.plan import Plan, make_plan
from mlbench.planning.suite import load_suite
from mlbench.plugin import (
    BackboneShape,
    BatchContext,
    BatchSamplerOptions,
    Component,
    FeatureShape,
    LossContext,
    LossShape,
)
from mlbench.plugins import Plugin
from mlbench.provenance import libraries_of, package_hash
from mlbench.records.conditions import condition_changes
from mlbench.registry import Entry, Registry

Planned = Callable[..., Plan]
CPU = Device("cpu", "test")


class Predicting(toys.ToyBackboneOptions):
    def predict(self, image_size: int) -> BackboneShape:
        return BackboneShape(100, FeatureShape(8, image_size // 4, image_size // 4))


@pytest.fixture
def predicting(registry: Registry) -> Registry:
    """The registry with a toy backbone that can say its size."""
    plugins = []
    for plugin in registry.plugins:
        components = tuple(
            replace(each, options="test_plan:Predicting")
            if (each.kind, each.name) == ("backbone", "toy")
            else each
            for each in plugin.components
        )
        plugins.append(replace(plugin, components=components))
    return Registry(plugins)


def test_seeds_come_innermost_and_keys_are_distinct(planned: Planned) -> None:
    cases = planned("seeds: [1, 0]\nmatrix:\n  neck.dim: [4, 16]\n").cases
    assert [(case.name, case.seed) for case in cases] == [("4", 1), ("4", 0), ("16", 1), ("16", 0)]
    assert len({case.key for case in cases}) == 4
    assert cases[0].key == f"4-s1-{cases[0].fingerprint[:8]}"


def test_cases_and_seeds_can_be_chosen(planned: Planned) -> None:
    matrix = "matrix:\n  neck.name: [gap, flatten]\n  neck.dim: [4, 16]\n"
    cases = planned(matrix, cases="gap-*", seeds=(5,)).cases
    assert [(case.name, case.seed) for case in cases] == [("gap-4", 5), ("gap-16", 5)]
    with pytest.raises(SuiteError, match=r"toy.yaml: no case matches 'gap' \(did you mean 'gap-4'\?\)"):
        planned(matrix, cases="gap")


def test_a_forecast_without_predictions_still_counts_steps(planned: Planned) -> None:
    forecast = planned().cases[0].forecast
    assert (forecast.classes, forecast.images, forecast.steps) == (6, 24, 2 * 3)
    assert forecast.parameters is None
    assert forecast.centres is None


def test_a_forecast_adds_backbone_and_neck(write: Callable[..., Path], predicting: Registry) -> None:
    forecast = make_plan(load_suite(write(), predicting), CPU).cases[0].forecast
    neck = 8 * 8 + 2 * 8 + 8 * 8 + 2 * 8  # two linear layers without bias, each with a layer norm
    assert forecast.parameters == 100 + neck
    assert forecast.centres == 6 * 8


@pytest.mark.parametrize("predicts", [True, False])
def test_a_sampler_that_refuses_is_named_with_its_place(
    write: Callable[..., Path], registry: Registry, predicting: Registry, predicts: bool
) -> None:
    suite = write(whole=TOY_SUITE.replace("sampler: all", "sampler: {name: partial_fc, rate: 0.5}", 1))
    message = (
        r"toy.yaml:8: base.sampler.rate: .* of 6 classes is 3 centres, fewer than the 6 different labels .*"
    )
    with pytest.raises(SuiteError, match=message):
        make_plan(load_suite(suite, predicting if predicts else registry), CPU)


@pytest.mark.parametrize("given", ["", ", distance: 0.3, euclidean: 0.7"])
def test_a_threshold_policy_that_refuses_is_named_with_its_place(planned: Planned, given: str) -> None:
    with pytest.raises(SuiteError, match=r"toy.yaml:\d+: cases\.odd\.threshold.*takes one of distance"):
        planned(f"cases:\n  odd: {{threshold: {{name: fixed{given}}}}}\n")


def test_notes_of_a_threshold_policy_are_told_before_a_run(planned: Planned) -> None:
    one, other = planned(
        "cases:\n"
        "  a: {threshold: {name: fixed, distance: 1.348}}\n"
        "  b: {threshold: {name: fixed, distance: 0.9}}\n"
    ).cases
    assert "threshold distance 1.348 looks like a Euclidean distance" in one.notes[-1]
    assert one.notes[:-1] == other.notes


def test_a_data_set_that_refuses_is_named_with_its_place(planned: Planned) -> None:
    with pytest.raises(
        SuiteError, match=r"^--set dataset={name: image_folder, path: nowhere}: .*no such folder"
    ):
        planned(overrides=("dataset={name: image_folder, path: nowhere}",))


class NoBatches(BatchSamplerOptions):
    def build(self, context: BatchContext) -> Any:
        return []


def test_a_batch_sampler_that_refuses_or_has_no_batch_is_named(
    planned: Planned, write: Callable[..., Path], registry: Registry
) -> None:
    override = "batch_sampler={name: m_per_class, m: 9}"
    with pytest.raises(SuiteError, match=f"^--set {override}: .* m 9 does not divide the batch size 8"):
        planned(overrides=(override,))
    component = Component("batch_sampler", "none", "test_plan:NoBatches", "")
    registry = Registry((*registry.plugins, Plugin("acme", "acme", "acme", "1.0", (component,))))
    suite = load_suite(write(whole=TOY_SUITE.replace("shuffle", "none")), registry)
    message = (
        "toy.yaml:9: base.batch_sampler: batch_sampler 'none': it makes 0 batches of 24 training images at "
        "recipe.batch_size 8; expected at least 1, .*; this is a mistake in plugin 'acme'"
    )
    with pytest.raises(SuiteError, match=message):
        make_plan(suite, CPU)
    too_large = "--set recipe.batch_size=25: 24 training images make no batch of 25; lower recipe.batch_size"
    with pytest.raises(SuiteError, match=too_large):
        make_plan(load_suite(suite.path, registry, overrides=("recipe.batch_size=25",)), CPU)


def test_fp16_is_refused_on_the_cpu_only(write: Callable[..., Path], registry: Registry) -> None:
    suite = load_suite(write("  precision: fp16\n"), registry)
    with pytest.raises(DeviceError, match="case 'base': fp16 needs a GPU; use --precision bf16 or fp32"):
        make_plan(suite, CPU)
    assert make_plan(suite, Device("cuda:0", "H200")).cases


def test_a_data_set_is_built_once_for_all_cases_that_share_it(planned: Planned) -> None:
    cases = planned("seeds: [0, 1]\nmatrix:\n  neck.dim: [4, 16]\n  image.size: [16, 32]\n").cases
    assert len({id(case.dataset) for case in cases}) == 2  # a size each


def test_options_are_made_and_asked_once_however_many_cases_there_are(
    write: Callable[..., Path], predicting: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    predicted: list[str] = []
    make = Entry.make

    def counting(entry: Entry, given: Mapping[str, Any]) -> Any:
        made.append(str(entry))
        options = make(entry, given)
        if hasattr(options, "predict"):
            predict = options.predict

            def predicts(given: object) -> object:
                predicted.append(str(entry))
                return predict(given)

            object.__setattr__(options, "predict", predicts)
        return options

    monkeypatch.setattr(Entry, "make", counting)
    suite = load_suite(
        write("matrix:\n  loss.scale: [1.0, 2.0, 4.0]\nseeds: [0, 1]\n"), Registry(predicting.plugins)
    )
    assert len(make_plan(suite, CPU).cases) == 6
    for counts in (Counter(made), Counter(predicted)):
        assert counts.pop("loss 'cosface'") == 3
        assert counts.keys() >= {"backbone 'toy'", "neck 'gap'", "batch_sampler 'shuffle'", "sampler 'all'"}
        assert max(counts.values()) == 1


# The fingerprint: it changes with whatever can change the result, and with nothing else.


@pytest.fixture
def fingerprint(planned: Planned) -> Callable[..., str]:
    return lambda *more, **choices: planned(*more, **choices).cases[0].fingerprint


def test_the_same_suite_has_the_same_fingerprint(fingerprint: Callable[..., str]) -> None:
    assert fingerprint() == fingerprint()


@pytest.mark.parametrize(
    "override",
    [
        "neck.dim=9",
        "recipe.epochs=3",
        "loss.scale=17",
        "image.size=32",
        "image.resize=pad",
        "precision=bf16",
        "sampler={name: partial_fc, rate: 1}",
        "augmentation=jitter",
        "backbone.frozen=true",
        "dataset.views=5",
    ],
)
def test_every_setting_changes_the_fingerprint(fingerprint: Callable[..., str], override: str) -> None:
    assert fingerprint(overrides=(override,)) != fingerprint()


def test_seed_and_device_change_the_fingerprint(write: Callable[..., Path], registry: Registry) -> None:
    suite = load_suite(write(), registry)
    devices = [
        CPU,
        Device("cpu", "EPYC"),
        Device("mps", "M3"),
        Device("cuda:0", "H200"),
        Device("cuda:0", "A100"),
    ]
    plans = [make_plan(suite, device, seeds=(seed,)) for device in devices for seed in (0, 1)]
    assert len({plan.cases[0].fingerprint for plan in plans}) == 10


def test_which_of_equal_gpus_changes_nothing(write: Callable[..., Path], registry: Registry) -> None:
    suite = load_suite(write(), registry)
    pair = Device("cuda:0", "H200"), Device("cuda:1", "H200")
    first, second = (make_plan(suite, device).cases[0].fingerprint for device in pair)
    assert first == second


def test_threads_change_the_fingerprint_on_the_cpu_alone(
    write: Callable[..., Path], registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = load_suite(write(), registry)
    found: dict[str, set[str]] = {"cpu": set(), "cuda:0": set()}
    for threads in ("1", "2"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        for device, fingerprints in found.items():
            fingerprints.add(make_plan(suite, Device(device, "x")).cases[0].fingerprint)
    assert {device: len(each) for device, each in found.items()} == {"cpu": 2, "cuda:0": 1}


def test_version_of_the_data_changes_the_fingerprint(
    fingerprint: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fingerprint()
    edited = property(lambda self: "edited", lambda self, value: None)
    monkeypatch.setattr(toys.ToyDataset, "version", edited, raising=False)
    assert fingerprint() != before


def test_version_of_a_library_changes_the_fingerprint(
    fingerprint: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fingerprint()
    monkeypatch.setattr(environment, "_version", lambda name: "99" if name == "timm" else "1")
    after = fingerprint()
    monkeypatch.setattr(environment, "_version", lambda name: "98" if name == "timm" else "1")
    assert len({before, after, fingerprint()}) == 3


def test_libraries_of_a_third_party_component_are_conditions(
    third_party: Callable[..., dict[str, str]],
    write: Callable[..., Path],
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code = """
    from mlbench_necks.projection import Gap

    class Mine(Gap):
        libraries = ("Scipy_Extra", "numpy")
    """
    third_party("acme_libs", code)
    metadata = tmp_path / "site" / "acme_libs-1.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text() + "Requires-Dist: einops>=0.7\nRequires-Dist: mlbench\n")
    component = Component("neck", "mine", "acme_libs:Mine", "")

    def conditions(name: str, version: str = "1") -> dict[str, Any]:
        libraries_of.cache_clear()
        monkeypatch.setattr("mlbench.provenance.version", lambda name: version)
        suite = write(whole=TOY_SUITE.replace("name: gap", f"name: {name}"))
        acme = Plugin("acme_libs", "acme_libs", "acme_libs", "1.0", (component,))
        known = Registry((*registry.plugins, acme))
        return dict(make_plan(load_suite(suite, known), CPU).cases[0].conditions)

    assert "component_libraries" not in conditions("gap")
    then, now = conditions("mine"), conditions("mine", "2")
    assert then["component_libraries"] == {"einops": "1", "scipy-extra": "1"}
    told = list(condition_changes(then, now))
    assert told[:2] == ["einops (1 then, 2 now)", "scipy-extra (1 then, 2 now)"]


def test_code_and_version_of_a_plugin_change_the_fingerprint(
    third_party: Callable[..., dict[str, str]],
    write: Callable[..., Path],
    registry: Registry,
    tmp_path: Path,
) -> None:
    code = "from mlbench_necks.projection import Gap as Mine\n"
    third_party("acme_neck", code)
    suite = write(whole=TOY_SUITE.replace("name: gap", "name: mine"))

    def fingerprint(version: str = "1.0") -> str:
        package_hash.cache_clear()
        component = Component("neck", "mine", "acme_neck:Mine", "")
        acme = Plugin("acme", "acme", "acme", version, (component,))
        return make_plan(load_suite(suite, Registry((*registry.plugins, acme))), CPU).cases[0].fingerprint

    before = fingerprint()
    assert fingerprint() == before
    assert fingerprint("1.1") != before
    (tmp_path / "site" / "acme_neck.py").write_text(code + "# edited\n")
    assert fingerprint() != before


def test_code_of_the_core_changes_the_fingerprint(
    fingerprint: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fingerprint()
    monkeypatch.setattr(plan_module, "core_hash", lambda *parts: "edited")
    assert fingerprint() != before
    assert all(find_spec(f"mlbench.{name}") is not None for name in plan_module._RESULT_PARTS)


def test_nothing_else_changes_the_fingerprint(
    fingerprint: Callable[..., str], write: Callable[..., Path], registry: Registry, tmp_path: Path
) -> None:
    before = fingerprint()
    assert (
        fingerprint("title: T\nquestion: Q\nsource: S\ntolerances: {f1: 0.1}\nseeds: [0, 1, 2]\n") == before
    )
    assert fingerprint("cases:\n  same: {}\n  other: {neck.dim: 3}\n") == before
    assert fingerprint("matrix:\n  neck.dim: [8, 3]\n") == before
    assert fingerprint(overrides=("neck.dim=8", "recipe.lr=0.001")) == before
    head, *lines = TOY_SUITE.splitlines()
    reversed_keys = "\n".join([lines[0], *reversed(lines[1:]), head, ""]).replace(
        "{name: gap, dim: 8}", "{dim: 8, name: gap}"
    )
    path = tmp_path / "elsewhere.yaml"
    path.write_text(reversed_keys)
    assert make_plan(load_suite(path, registry), CPU).cases[0].fingerprint == before


def test_another_checkpoint_of_the_same_name_changes_the_fingerprint(
    fingerprint: Callable[..., str], tmp_path: Path
) -> None:
    file = tmp_path / "weights.pth"
    found = []
    for content in (b"one", b"two"):
        file.write_bytes(content)
        backbone = f"backbone={{name: timm, model: lcnet_050, weights: {file}}}"
        found.append(fingerprint(overrides=(backbone,)))
    assert found[0] != found[1]


def test_one_class_cannot_be_told_apart(planned: Callable[..., Plan]) -> None:
    with pytest.raises(SuiteError, match="1 class in the train split; at least 2 are needed"):
        planned(overrides=("dataset.classes=1",))


def test_a_sampler_hears_how_many_labels_a_batch_can_hold(planned: Callable[..., Plan]) -> None:
    few = ("sampler={name: partial_fc, centres: 3}",)
    with pytest.raises(SuiteError, match="fewer than the 6 different labels that a batch may hold"):
        planned(overrides=few)
    (case,) = planned(overrides=(*few, "batch_sampler={name: m_per_class, m: 4}")).cases
    assert case.forecast.batch_labels == 2


def test_how_speed_is_measured_is_no_part_of_the_fingerprint(planned) -> None:
    first, second = (planned(overrides=each).cases[0] for each in ((), ("measure.rounds=99",)))
    assert first.fingerprint == second.fingerprint
    assert second.spec.plain()["measure"]["rounds"] == 99


@pytest.mark.parametrize(("neck", "fits"), [("noisy", False), ("gap", True)])
def test_tokens_for_a_neck_of_maps_are_refused_at_its_place(planned: Planned, neck: str, fits: bool) -> None:
    backbone = "backbone={name: timm, model: test_vit, weights: none, output: tokens}"
    overrides = (backbone, "image.size=160", f"neck={neck}")
    if fits:
        assert planned(overrides=overrides).cases
        return
    message = (
        r"^--set neck=noisy: neck 'noisy' takes feature maps, and the backbone gives a sequence of tokens; "
    )
    with pytest.raises(SuiteError, match=message):
        planned(overrides=overrides)


class Mistaken(toys.ToyLoss):
    """A loss whose predict has a mistake."""

    mistake: str

    def predict(self, context: LossContext) -> Any:
        if self.mistake == "raises":
            raise ZeroDivisionError("division by zero")
        return {"type": 7, "need": LossShape(needs=("pairs",)), "text": LossShape(needs="pairs")}[
            self.mistake
        ]


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (
            "raises",
            "loss 'mine': predict failed: ZeroDivisionError: division by zero; raised in "
            r"Mistaken\.predict at test_plan\.py:\d+; this is a mistake in plugin 'acme' \(acme 1\.0\)",
        ),
        (
            "type",
            "loss 'mine': predict returned 7; expected a LossShape or None",
        ),
        (
            "need",
            r"loss 'mine': it needs 'pairs' in a batch \(choose from: negatives, positives",
        ),
        ("text", "loss 'mine': it needs 'p' in a batch"),
    ],
)
def test_a_mistake_in_a_predict_is_one_line_with_the_plugin(
    write: Callable[..., Path], registry: Registry, mistake: str, message: str
) -> None:
    acme = Plugin("acme", "acme", "acme", "1.0", (Component("loss", "mine", "test_plan:Mistaken", ""),))
    registry = Registry((*registry.plugins, acme))
    override = f"loss={{name: mine, mistake: {mistake}}}"
    suite = load_suite(write(), registry, overrides=(override, "sampler=null"))
    with pytest.raises(SuiteError, match=f"^--set {override}: {message}"):
        make_plan(suite, CPU)


def test_cases_are_chosen_by_several_globs_each_of_which_must_match(planned) -> None:
    more = "matrix: {neck.dim: [2, 4, 8]}\n"
    assert [case.name for case in planned(more, cases="8,2*").cases] == ["2", "8"]
    with pytest.raises(SuiteError, match="no case matches '3'"):
        planned(more, cases="8,3")
