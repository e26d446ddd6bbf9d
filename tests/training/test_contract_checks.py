"""Components of a third party that break the contract of their kind while a case runs."""

from __future__ import annotations

import re
from itertools import cycle
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from toys import ToyDataset

from mlbench import runner
from mlbench.contracts import BatchesShape, Component, FeatureShape, Mixed, Quantity
from mlbench.contracts.options import (
    AugmentationOptions,
    BackboneOptions,
    BatchContext,
    BatchSamplerOptions,
    DatasetContext,
    DatasetOptions,
    DistillerOptions,
    LossOptions,
    MetricOptions,
    MixingOptions,
    NeckOptions,
    ThresholdOptions,
)
from mlbench.environment import Device
from mlbench.errors import PluginError, SuiteError
from mlbench.planning.plan import make_plan
from mlbench.planning.suite import load_suite
from mlbench.plugins import Plugin
from mlbench.records.store import Store
from mlbench.registry import Registry
from mlbench.training.preflight import preflight

WHO = "plugin 'acme' (acme-parts 1.2)"


class WrongNeck(NeckOptions):
    how: str = ""

    def build(self, features: Any) -> Any:
        how = self.how
        if how == "build":
            raise KeyError("weights")
        if how == "object":
            return object()

        class Network(nn.Module):
            dim = 8

            def forward(self, maps: torch.Tensor) -> torch.Tensor:
                if how == "crash":
                    raise ZeroDivisionError("by zero")
                means = maps.mean((2, 3)) * (float("nan") if how == "nan" else 1)
                return {
                    "width": means[:, :6],
                    "map": maps,
                    "batch": means.mean(0, keepdim=True),
                    "integers": means.long(),
                }.get(how, means)

        return Network()


class WrongBackbone(BackboneOptions):
    def build(self, image_size: int) -> Any:
        backbone = nn.Sequential()
        members = {"frozen": nn.Sequential(), "trained": nn.Conv2d(3, 8, 4, 4), "weights": "random"}
        members |= {"mean": (0.5,) * 3, "std": (0.5,) * 3, "feature_shape": FeatureShape(8, 3, 3)}
        for name, value in members.items():
            setattr(backbone, name, value)
        return backbone


class WrongLoss(LossOptions):
    how: str

    def build(self, context: Any) -> Any:
        if self.how in ("list", "rows", "infinite"):
            return WrongRegularisers(self.how)
        return WrongLogits() if self.how == "logits" else object() if self.how == "object" else self

    def __call__(self, embeddings: torch.Tensor, labels: torch.Tensor) -> Any:
        value = embeddings.square().mean()
        wrong = {"vector": value[None], "float": value.item(), "detached": value.detach()}
        return wrong[self.how] if self.how in wrong else value * float(self.how)


class WrongLogits:
    centres_per_class = 1

    def logits(self, cosines: torch.Tensor, targets: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
        return cosines


class WrongRegularisers:
    centres_per_class = 1

    def __init__(self, how: str) -> None:
        self.how = how

    def logits(self, cosines: torch.Tensor, targets: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
        return cosines.amax(2)

    def regularisers(self, embeddings: torch.Tensor) -> Any:
        lengths = embeddings.norm(dim=1)
        return {"list": [lengths.mean()], "rows": {"length": lengths}}.get(
            self.how, {"length": lengths.mean() * float("inf")}
        )


class WrongDistiller(DistillerOptions):
    def build(self, context: Any) -> Any:
        class Distance(nn.Module):
            images: Literal["clean", "augmented"] = "clean"
            weight = 1.0

            def forward(self, embeddings: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
                return embeddings.square().mean(1)

        return Distance()


class WrongBatches(BatchSamplerOptions):
    how: str

    def predict(self, context: BatchContext) -> BatchesShape | None:
        return BatchesShape(3) if self.how == "predicted" else None

    def build(self, context: BatchContext) -> Any:
        if self.how in ("embeds", "predicted"):
            context.embed()  # type: ignore[misc]
        return Batches(self.how)


class Batches:
    def __init__(self, how: str) -> None:
        self.how = how

    def __len__(self) -> int:
        return 0 if self.how == "none" else 3

    def batches(self, generator: np.random.Generator) -> Any:
        if self.how == "crash":
            raise LookupError("no such class")
        rows = [list(range(8 * at, 8 * at + 8)) for at in range(3)]
        if self.how == "endless":
            yield from cycle(rows)
        wrong = {"outside": [[24], *rows[1:]], "negative": [[-1], *rows[1:]], "empty": [[], *rows[1:]]}
        wrong |= {"fewer": rows[:2], "more": [*rows, [0]], "large": [list(range(9)), *rows[1:]]}
        wrong |= {"arrays": [np.array(row) for row in rows], "square": [np.zeros((2, 2), int), *rows[1:]]}
        yield from wrong.get(self.how, [[0.5], *rows[1:]])


class WrongAugmentation(AugmentationOptions):
    how: str

    def build(self, image_size: int) -> Any:
        return self

    def __call__(self, image: Image.Image, generator: np.random.Generator) -> Any:
        if self.how == "crash":
            raise IndexError("no pixel")
        return np.asarray(image) if self.how == "array" else image.convert("L")


class WrongDataset(DatasetOptions):
    how: str

    def build(self, context: DatasetContext) -> Any:
        if self.how == "build":
            raise OSError("no disk")
        return WrongImages(self.how)


class WrongImages(ToyDataset):
    def __init__(self, how: str) -> None:
        super().__init__(6, 4, -1, True)
        self.how = how

    def split(self, name: str) -> Any:
        split = super().split(name)
        image = split.image

        def wrong(index: int) -> Any:
            if self.how == "crash":
                raise EOFError("cut")
            return image(index).convert("L")

        split.image = wrong  # type: ignore[method-assign]
        return split


class WrongMixing(MixingOptions):
    def build(self) -> Any:
        return self

    def __call__(self, images: torch.Tensor, generator: np.random.Generator) -> Mixed:
        return Mixed(images, torch.arange(len(images)), 0.5)


class WrongMetric(MetricOptions):
    how: str

    def quantities(self) -> dict[str, Quantity]:
        return {"own": Quantity("anything"), "other": Quantity("anything")}

    def build(self) -> Any:
        return NoNumber() if self.how == "curve" else self

    def per_query(self, ranks: Any) -> dict[str, Any]:
        if self.how == "crash":
            raise AttributeError("best")
        values = np.ones(len(ranks.counts))
        wrong = {
            "missing": {"own": values},
            "more": {"own": values, "other": values, "extra": values},
            "shape": {"own": values, "other": values[1:]},
            "nan": {"own": values, "other": np.where(np.arange(len(values)) < 3, np.nan, values)},
            "misspelt": {"own": values, "othr": values},
        }
        return wrong[self.how]


class NoNumber:
    def of_curve(self, curve: Any, threshold: float | None) -> dict[str, Any]:
        return {"own": curve.auroc, "other": curve.auroc * np.nan}


class WrongThreshold(ThresholdOptions):
    value: float = 0.0

    def __call__(self, curve: Any) -> float:
        return self.value or float("nan")


CLASSES = {
    "dataset": WrongDataset,
    "neck": WrongNeck,
    "backbone": WrongBackbone,
    "loss": WrongLoss,
    "distiller": WrongDistiller,
    "batch_sampler": WrongBatches,
    "augmentation": WrongAugmentation,
    "mixing": WrongMixing,
    "metric": WrongMetric,
    "threshold": WrongThreshold,
}


@pytest.fixture
def plan(write, registry):
    components = tuple(
        Component(kind, "wrong", f"{__name__}:{each.__name__}", "wrong") for kind, each in CLASSES.items()
    )
    known = Registry((*registry.plugins, Plugin("acme", "acme", "acme-parts", "1.2", components)))

    def plan(*overrides: str, more: str = ""):
        suite = load_suite(write(more), known, overrides=("recipe.epochs=1", *overrides))
        return make_plan(suite, Device("cpu", "test"))

    return plan


class Ears:
    def case(self, *_: object) -> None: ...
    def stage(self, *_: object) -> None: ...
    def epoch(self, *_: object) -> None: ...
    def finished(self, *_: object) -> None: ...


def failure(plan: Any, folder: Path) -> str:
    """The error of the only case, and its traceback's place as FILE."""
    (record,) = runner.run(plan, Store(folder, "toy"), Ears(), measuring=False)
    assert record.status == "failed"
    assert "\n" not in record.error
    return re.sub(r"\(traceback in \S+\)", "(FILE)", record.error)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("neck={name: wrong, how: width}", "neck 'wrong': it gave float32 of shape (2, 6) for 2 images"),
        ("neck={name: wrong, how: map}", "neck 'wrong': it gave float32 of shape (2, 8, 4, 4) for 2 images"),
        ("neck={name: wrong, how: batch}", "expected floats of shape (2, 8), as its dim is 8"),
        ("neck={name: wrong, how: integers}", "neck 'wrong': it gave int64 of shape (2, 8) for 2 images"),
        (
            "neck={name: wrong, how: object}",
            "neck 'wrong': build returned an object without dim; expected",
        ),
        ("backbone=wrong", "backbone 'wrong': it gave float32 of shape (2, 8, 4, 4) for 2 images; expected"),
        (
            "loss={name: wrong, how: vector}",
            "loss 'wrong': it returned float32 of shape (1,); expected",
        ),
        ("loss={name: wrong, how: float}", "loss 'wrong': it returned a float; expected a scalar"),
        ("loss={name: wrong, how: detached}", "loss 'wrong': the scalar that it returned has no gradient"),
        (
            "loss={name: wrong, how: object}",
            "loss 'wrong': build returned an object without __call__",
        ),
        (
            "loss={name: wrong, how: logits}",
            "loss 'wrong': logits returned float32 of shape (2, 6, 1) for 2 images and 6 classes; expected a "
            "tensor of shape (2, 6)",
        ),
        ("loss={name: wrong, how: list}", "loss 'wrong': regularisers returned a list; expected a mapping"),
        ("loss={name: wrong, how: rows}", "loss 'wrong': its regulariser 'length' is float32 of shape (8,)"),
        (
            "distiller=wrong",
            "distiller 'wrong': it returned float32 of shape (8,); expected a scalar: a float tensor",
        ),
        ("batch_sampler={name: wrong, how: fewer}", "its len() is 3, and an epoch has 2 batches"),
        ("batch_sampler={name: wrong, how: more}", "its len() is 3, and an epoch has more than 3 batches"),
        ("batch_sampler={name: wrong, how: endless}", "its len() is 3, and an epoch has more than 3 batches"),
        ("batch_sampler={name: wrong, how: outside}", "it chose image 24; images run from 0 to 23"),
        ("batch_sampler={name: wrong, how: negative}", "it chose image -1; images run from 0 to 23"),
        ("batch_sampler={name: wrong, how: empty}", "it made a batch of 0 images; expected 1 to 8"),
        ("batch_sampler={name: wrong, how: large}", "it made a batch of 9 images; expected 1 to 8"),
        (
            "batch_sampler={name: wrong, how: square}",
            "it made a batch that is int64 of shape (2, 2); expected a sequence or an array with one",
        ),
        (
            "batch_sampler={name: wrong, how: floats}",
            "its batches hold float64 values; expected",
        ),
        ("augmentation={name: wrong, how: array}", "it returned uint8 of shape (16, 16, 3); expected an RGB"),
        (
            "augmentation={name: wrong, how: grey}",
            "it returned an image of mode L and size 16x16; expected",
        ),
        (
            "mixing=wrong",
            "mixing 'wrong': its mixed images are uint8 of shape (8, 3, 16, 16)",
        ),
        (
            "metrics={wrong: {how: missing}}",
            "announced and not returned: other; returned and not announced: none",
        ),
        (
            "metrics={wrong: {how: more}}",
            "announced and not returned: none; returned and not announced: ex",
        ),
        ("metrics={wrong: {how: shape}}", "metric 'other' has shape (23,); expected (24,)"),
        (
            "metrics={wrong: {how: misspelt}}",
            "announced and not returned: other; returned and not announced: othr",
        ),
        (
            "metrics={wrong: {how: nan}}",
            "metric 'other' is nan for 3 of 24 queries; expected a finite number for each",
        ),
        ("threshold=wrong", "WrongThreshold returned nan; expected a cosine similarity in [-1, 1]"),
        ("threshold={name: wrong, value: 1.5}", "WrongThreshold returned 1.5; expected a cosine similarity"),
    ],
    ids=lambda text: text if "=" in text else "",
)
def test_what_breaks_the_contract_is_named_with_its_plugin(plan, tmp_path, change: str, told: str) -> None:
    more = ("teacher=toy",) if change.startswith("distiller") else ()
    error = failure(plan(change, *more), tmp_path)
    assert told in error
    assert WHO in error
    kind = change.partition("=")[0].replace("metrics", "metric")
    assert f"{kind} 'wrong'" in error
    assert "recipe.lr" not in error


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            "neck={name: wrong, how: build}",
            "KeyError: 'weights'; raised in neck 'wrong' of {}, WrongNeck.build",
        ),
        (
            "neck={name: wrong, how: crash}",
            "ZeroDivisionError: by zero; raised in neck 'wrong' of {}, WrongNeck.build.<locals>.Network",
        ),
        (
            "batch_sampler={name: wrong, how: crash}",
            "LookupError: no such class; raised in batch_sampler 'wrong' of {}, Batches.batches at",
        ),
        (
            "augmentation={name: wrong, how: crash}",
            "augmentation 'wrong' of {} failed: IndexError: no pixel",
        ),
        (
            "metrics={wrong: {how: crash}}",
            "AttributeError: best; raised in metric 'wrong' of {}, WrongMetric.per_query at",
        ),
    ],
)
def test_an_error_of_a_plugins_code_names_the_plugin(plan, tmp_path, change: str, told: str) -> None:
    assert failure(plan(change), tmp_path).startswith(told.format(WHO))


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("crash", "EOFError: cut"),
        ("grey", "TypeError: an image of mode L and size 16x16; expected an RGB PIL"),
    ],
)
def test_an_image_that_a_data_set_cannot_give_is_named(plan, tmp_path, how: str, told: str) -> None:
    error = failure(plan(f"dataset={{name: wrong, how: {how}}}", "recipe.workers=0"), tmp_path)
    assert re.match(rf"image \d+ of class \w+/\d cannot be read \({re.escape(told)}", error)
    assert error.endswith(f", from dataset 'wrong' of {WHO})")


def test_a_data_set_that_cannot_be_built_names_the_plugin(plan) -> None:
    told = rf"^OSError: no disk; raised in dataset 'wrong' of {re.escape(WHO)}, WrongDataset\.build at"
    with pytest.raises(PluginError, match=told):
        plan("dataset={name: wrong, how: build}")


def test_a_plugin_with_several_components_is_named_without_the_component(plan, tmp_path) -> None:
    changes = ("batch_sampler={name: wrong, how: crash}", "threshold={name: wrong, value: 0.5}")
    told = f"LookupError: no such class; raised in {WHO}, Batches.batches at test_contract_checks.py"
    assert failure(plan(*changes), tmp_path).startswith(told)


@pytest.mark.parametrize("number", ["nan", "inf"])
def test_a_loss_that_is_not_finite_at_first_is_not_the_learning_rates_fault(
    plan, tmp_path, number: str
) -> None:
    error = failure(plan(f"loss={{name: wrong, how: {number}}}"), tmp_path)
    assert error == (
        f"loss 'wrong' of {WHO} returned {number} at step 1, on finite embeddings and before any update of "
        "the weights; expected a finite number"
    )


def test_a_regulariser_that_is_not_finite_at_first_is_named(plan, tmp_path) -> None:
    error = failure(plan("loss={name: wrong, how: infinite}"), tmp_path)
    assert error.startswith(f"loss 'wrong' of {WHO} returned inf as 'length' at step 1, on finite embeddings")


def test_embeddings_that_are_not_finite_at_first_are_the_models_fault(plan, tmp_path) -> None:
    error = failure(plan("neck={name: wrong, how: nan}", "loss=pair"), tmp_path)
    assert error == (
        "the embeddings are not finite at step 1, before any update of the weights; they come from backbone "
        f"'toy' of plugin 'toys' (toys 1.0) and neck 'wrong' of {WHO}"
    )


def test_a_loss_that_diverges_is_blamed_on_the_learning_rate(plan, tmp_path) -> None:
    error = failure(plan("recipe.lr=1e30", "recipe.clip_norm=0", "recipe.warmup=0", "loss=pair"), tmp_path)
    assert re.match(r"the loss is nan at step [23]; lower recipe\.lr", error)


def test_a_metric_that_is_not_a_number_is_named_in_its_note(plan, tmp_path) -> None:
    (record,) = runner.run(
        plan("metrics={wrong: {how: curve}}"), Store(tmp_path, "toy"), Ears(), measuring=False
    )
    assert record.metrics["own"].value is not None
    note = f"not a number, from metric 'wrong' of {WHO}"
    assert record.metrics["other"].note == note
    assert f"other has no value: {note}" in record.notes


def test_a_batch_sampler_that_embeds_too_early_is_told_what_to_do(plan) -> None:
    told = (
        r"^TypeError: .NoneType. object is not callable; raised in batch_sampler .wrong. of "
        rf"{re.escape(WHO)}, WrongBatches\.build at test_contract_checks\.py:\d+; embed of the "
        r"BatchContext is None .* batches\(\)$"
    )
    with pytest.raises(PluginError, match=told):
        plan("batch_sampler={name: wrong, how: embeds}")


def test_a_preflight_notes_what_a_batch_sampler_that_embeds_too_early_should_do(plan) -> None:
    chosen = plan("batch_sampler={name: wrong, how: predicted}")
    (note,) = preflight(chosen.cases, "cpu", lambda *_: None).notes.values()
    assert f"raised in batch_sampler 'wrong' of {WHO}, WrongBatches.build at" in note
    assert note.endswith("call its embed() in batches()")


def test_batches_may_be_arrays(plan, tmp_path) -> None:
    (record,) = runner.run(
        plan("batch_sampler={name: wrong, how: arrays}"), Store(tmp_path, "toy"), Ears(), measuring=False
    )
    assert record.status == "done"


def test_no_batches_are_blamed_on_the_batch_sampler(plan) -> None:
    told = re.escape("batch_sampler 'wrong': it makes 0 batches of 24 training images at recipe.batch_size 8")
    with pytest.raises(SuiteError, match=f": {told}.*acme-parts 1.2"):
        plan("batch_sampler={name: wrong, how: none}")


def test_other_cases_run_where_a_component_breaks_its_contract(plan, tmp_path) -> None:
    chosen = plan(more="matrix:\n  neck: [{name: gap, dim: 8}, {name: wrong, how: width}]\n")
    records = runner.run(chosen, Store(tmp_path, "toy"), Ears(), measuring=False)
    assert [each.status for each in records] == ["done", "failed"]
