"""The conformance kit: components that keep their promises pass, and each broken promise is found."""

from __future__ import annotations

import random
from typing import Annotated, Any
from unittest import SkipTest

import numpy as np
import pytest
import toys
from PIL import Image
from pydantic import Field

from mlbench.contracts import (
    BackboneShape,
    BatchesShape,
    CentresShape,
    Component,
    FeatureShape,
    LossShape,
    Mixed,
    NeckShape,
    PairList,
    Quantity,
    Recipe,
    TokensShape,
)
from mlbench.errors import ComponentError, DataError, OptionError
from mlbench.testing import checks, imports_nothing_heavy

GENERAL = {"summary_is_one_line", "every_option_is_documented"}


def failures(component: Component, **given: Any) -> dict[str, str]:
    """Names of the checks that fail, and what each says; of what else a fault breaks, what was raised."""
    found = {}
    for check in checks(component, **given):
        try:
            check()
        except AssertionError as error:
            found[check.name] = str(error)
        except (RuntimeError, ValueError, IndexError) as error:
            found[check.name] = type(error).__name__
    return found


@pytest.mark.parametrize(
    "component",
    [each for each in toys.mlbench_components() if each.name in ("toy", "jitter", "preset")],
    ids=lambda component: f"{component.kind}-{component.name}",
)
def test_checks_pass_what_keeps_its_promises(component) -> None:
    """The toys are tiny, but whole; only their documentation is short."""
    assert failures(component).keys() <= GENERAL


# A factory for each kind whose option `fault` says what is wrong with what it makes.


class FaultyDataset(toys.ToyDataset):
    def __init__(self, fault: str) -> None:
        super().__init__(4, 3, -1, True)
        self.fault = fault
        if fault == "version":
            self.version = f"toy {random.random()}"

    def split(self, name: str) -> Any:
        split = super().split(name)
        split.__class__ = FaultySplit
        split.fault = self.fault
        return split


class FaultySplit(toys.ToySplit):
    fault: str

    def label(self, index: int) -> int:
        return super().label(index) * (2 if self.fault == "labels" else 1)

    def image(self, index: int) -> Image.Image:
        if self.fault == "images":
            return Image.fromarray(np.full((4, 4, 3), random.randrange(256), np.uint8))
        return super().image(index).convert("L" if self.fault == "grey" else "RGB")

    def class_name(self, label: int) -> str:
        return str(label) if self.fault == "names" else super().class_name(label)

    def role(self, index: int) -> int:
        return 1 if self.fault == "roles" else 3


def dataset(*, fault: str) -> FaultyDataset:
    return FaultyDataset(fault)


class FaultyPairs(FaultyDataset):
    """Pairs of neighbours in the test split."""

    def pairs(self) -> PairList:
        left = np.array([0, 2, 3, 5])
        same = np.array([True, False, True, False])
        right = left + (11 if self.fault == "range" else 1)
        folds = np.array([0, 0, 1] if self.fault == "folds" else [0, 0, 1, 1])
        return PairList(left, right, ~same if self.fault == "same" else same, folds)


def paired(*, fault: str) -> FaultyPairs:
    return FaultyPairs(fault)


def augmentation(*, fault: str) -> Any:
    if fault == "unpicklable":
        return lambda image, generator: image
    return Faulty(fault)


class Faulty:
    def __init__(self, fault: str) -> None:
        self.fault = fault

    def __call__(self, image: Image.Image, generator: np.random.Generator) -> Image.Image:
        if self.fault == "global":
            return Image.fromarray(np.asarray(image) ^ np.uint8(random.randrange(256)))
        if self.fault == "in place":
            image.putpixel((0, 0), (1, 2, 3))
        return image.convert("L") if self.fault == "grey" else image


def mixing(*, fault: str) -> Any:
    def mix(images: Any, generator: np.random.Generator) -> Any:
        import torch

        partners = torch.arange(len(images)).flip(0)
        share = float(generator.random())
        if fault == "global":
            share = random.random()
        mixed = images.float() * share + images.flip(0).float() * (1 - share)
        if fault == "uint8":
            mixed = mixed.to(torch.uint8)
        return Mixed(mixed, partners, 1 - share if fault == "share" else share)

    return mix


def backbone(image_size: int, *, fault: str) -> Any:
    import torch
    from torch import nn

    made = toys.backbone(image_size, frozen=True)
    if fault == "shape":
        made.feature_shape = FeatureShape(8, 1, 1)
    if fault == "outside":
        made.extra = nn.Linear(2, 2)
    if fault == "forward":
        made.forward = lambda images: made.trained(made.frozen(images)) + 1
    if fault == "std":
        made.std = (0.5, 0.5, 0.0)
    if fault == "drifts":
        made.frozen.register_buffer("seen", torch.zeros(()))
        made.frozen.register_forward_pre_hook(lambda module, _: setattr(module, "seen", module.seen + 1))
    if fault == "own generator":
        nn.init.constant_(made.trained[0].weight, random.Random().random())
    if fault == "teacher":
        made.trained.register_forward_hook(lambda module, _, features: torch.dropout(features, 0.5, True))
    return made


def predict_backbone(image_size: int, *, fault: str) -> BackboneShape:
    return BackboneShape(7 if fault == "predict" else None, None)


def neck(feature_shape: FeatureShape | TokensShape, *, fault: str) -> Any:
    if fault == "refuses" or (len(feature_shape) > 3 and fault != "crashes"):
        raise OptionError("neck faulty: it needs a map")
    made = toys.noisy_neck(feature_shape)
    if fault == "dim":
        made.dim = 9
    if fault == "nan":
        made.register_full_backward_hook(lambda module, inputs, outputs: (inputs[0] * float("nan"),))
    return made


def predict_neck(feature_shape: FeatureShape | TokensShape, *, fault: str) -> NeckShape:
    if len(feature_shape) > 3 and fault != "predicts tokens":
        raise OptionError("neck faulty: it needs a map")
    return NeckShape(88, 8 if fault != "predict" else 7)


def pair_loss(num_classes: int, dim: int, *, fault: str) -> Any:
    import torch
    from torch import nn

    class Loss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.proxies = nn.Parameter(torch.randn(num_classes, dim))
            self.seen = 0.0

        def forward(self, embeddings: Any, labels: Any) -> Any:
            self.seen += 1
            value = (embeddings - self.proxies[labels]).square().sum(1)
            if fault == "roots":
                value = value + (embeddings[:, None] - embeddings[None]).square().sum(2).sqrt().mean(1)
            if fault == "no pairs" and len(labels.unique()) == len(labels):
                return embeddings.sum() * float("nan")
            if fault == "vector":
                return value
            if fault == "detached":
                return value.mean().detach()
            return value.mean() + (self.seen if fault == "state" else 0)

        def mixed(self, embeddings: Any, labels: Any, others: Any, share: float) -> Any:
            return self(embeddings, others if fault == "mixed" else labels) * (share or 0.5)

    return Loss()


def predict_loss(num_classes: int, dim: int, *, fault: str) -> LossShape:
    return LossShape(
        parameters=num_classes * dim + (fault == "predict"), centres_per_class=int(fault == "centres")
    )


def centre_loss(*, fault: str) -> Any:
    import torch

    class Loss:
        centres_per_class = 1
        per_example = True

        def logits(self, cosines: Any, targets: Any, norms: Any) -> Any:
            logits = 8 * cosines.squeeze(2)
            if fault == "angles":
                logits = torch.cos(torch.acos(cosines.squeeze(2))) * 8
            if fault == "batch":
                logits = logits - logits.mean()
            if fault == "absent":
                logits = torch.where(targets[:, None] < 0, float("nan"), logits)
            return logits[:, 1:] if fault == "few" else logits

    return Loss()


def sampler(num_classes: int, dim: int, centres_per_class: int, *, fault: str) -> Any:
    import torch
    from torch import nn
    from torch.nn.functional import cross_entropy, normalize

    class Centres(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.centres = nn.Parameter(torch.randn(num_classes, centres_per_class, dim))
            self.count = 0
            if fault == "fixed":
                self.centres.requires_grad_(False)

        def forward(self, embeddings: Any, labels: Any, loss: Any) -> Any:
            self.count += 1
            unit, centres = normalize(embeddings, dim=1), normalize(self.centres, dim=2)
            cosines = torch.einsum("nd,kcd->nkc", unit, centres)
            value = cross_entropy(loss.logits(cosines, labels, embeddings.norm(dim=1)), labels)
            value = value + (self.count if fault == "state" else 0)
            return value + (random.random() if fault == "global" else 0)

    return Centres()


def predict_sampler(num_classes: int, dim: int, centres_per_class: int, *, fault: str) -> CentresShape:
    return CentresShape(num_classes * dim * centres_per_class + (fault == "predict"))


def picky(num_classes: int) -> Any:
    if num_classes < 8:
        raise OptionError("loss faulty: at least 8 classes")
    return toys.pair_loss()


def distiller(dim: int, teacher_dim: int, *, fault: str) -> Any:
    import torch
    from torch import nn

    if dim != teacher_dim or fault == "refuses":
        raise OptionError("distiller faulty: widths must agree")

    class Distance(nn.Module):
        images = "both" if fault == "images" else "clean"
        weight = 1.0

        def forward(self, students: Any, teachers: Any) -> Any:
            apart = (students.float() - teachers).square().sum(1)
            if fault == "roots":
                return apart.sqrt().mean()
            if fault == "deviation":
                return apart.mean() * apart.std()
            return apart.mean() + (1 if fault == "offset" else 0) + torch.zeros(())

    return Distance()


class Batches:
    def __init__(self, count: int, batch_size: int, fault: str) -> None:
        self.count, self.batch_size, self.fault = count, batch_size, fault

    def __len__(self) -> int:
        return 3 if self.fault == "len" else 2

    def batches(self, generator: np.random.Generator) -> Any:
        for _ in range(2):
            indices = generator.permutation(self.count)[: self.batch_size]
            if self.fault == "global":
                indices[0] = random.randrange(self.count)
            if self.fault == "range":
                indices[0] = self.count
            yield indices if self.fault == "array" else indices.tolist()


def batch_sampler(labels: np.ndarray, batch_size: int, *, fault: str) -> Batches:
    return Batches(len(labels), batch_size, fault)


def predict_batch_sampler(labels: Any, batch_size: int, *, fault: str) -> BatchesShape:
    return BatchesShape(3 if fault in ("len", "predict") else 2, 1 if fault == "labels" else None)


def recipe(*, fault: str) -> Any:
    if fault == "mapping":
        return {"epochs": 1}
    return Recipe(epochs=1, batch_size=8, milestones=(0.7, 0.2) if fault == "milestones" else ())


def metric(*, fault: str) -> Any:
    class Metric:
        def per_query(self, ranks: Any) -> Any:
            best = 1.0 / ranks.best
            value = best / best.max() if fault == "together" else best
            return {"second" if fault == "name" else "first": value[:1] if fault == "shape" else value}

        def of_curve(self, curve: Any, threshold: float | None) -> Any:
            if fault == "threshold" and threshold is None:
                return {}
            return {"area": curve.auroc / (2 if curve.auroc.ndim and fault == "axes" else 1)}

    return Metric()


def quantities(*, fault: str) -> dict[str, Quantity]:
    return {"first": Quantity("1 / rank"), "area": Quantity("under the curve")}


def threshold(*, fault: str) -> Any:
    return lambda curve: None if fault == "none" else 0.5


FAULTS = [
    ("dataset", "version", "dataset_has_three_splits", "the same version"),
    ("dataset", "labels", "labels_are_contiguous", "0 .. 3"),
    ("dataset", "images", "images_are_always_the_same", "global generators"),
    ("dataset", "grey", "images_are_always_the_same", "not L"),
    ("dataset", "names", "classes_have_names", "trains on no class"),
    ("dataset", "roles", "roles_allow_a_test", "queries and a gallery"),
    ("paired", "range", "pairs_are_right", "images of the test split"),
    ("paired", "folds", "pairs_are_right", "equally long"),
    ("paired", "same", "pairs_are_right", "the same label"),
    ("augmentation", "global", "augmentation_draws_from_its_generator_alone", "global generators"),
    ("augmentation", "in place", "augmentation_gives_rgb_images", "leaves the one"),
    ("augmentation", "grey", "augmentation_gives_rgb_images", "not L"),
    ("augmentation", "unpicklable", "augmentation_draws_from_its_generator_alone", "pickled"),
    ("mixing", "global", "mixing_draws_from_its_generator_alone", "global generators"),
    ("mixing", "uint8", "mixes_have_their_shapes", "float32"),
    ("mixing", "share", "share_is_true", "`share` of itself"),
    ("backbone", "shape", "feature_shape_is_true", "(2, 8, 1, 1)"),
    ("backbone", "outside", "has_a_frozen_and_a_trained_part", "`frozen` or to `trained`"),
    ("backbone", "forward", "forward_is_trained_after_frozen", "trained(frozen(x))"),
    ("backbone", "std", "says_its_normalisation_and_its_weights", "above 0"),
    ("backbone", "drifts", "only_the_trained_part_is_trained", "keeps its state"),
    ("backbone", "predict", "predict_is_what_is_built", "predict says 7 parameters"),
    ("backbone", "own generator", "same_seed_gives_the_same_weights", "global generator"),
    ("backbone", "teacher", "works_as_a_teacher", "draws nothing"),
    ("neck", "dim", "embeddings_have_its_dim", "(6, 9)"),
    ("neck", "nan", "neck_has_finite_gradients", "its input is finite"),
    ("neck", "crashes", "embeddings_have_its_dim", "refuses it with an OptionError"),
    ("neck", "refuses", "embeddings_have_its_dim", "takes none: neck faulty: it needs a map"),
    ("neck", "predict", "neck_predict_is_what_is_built", "predict says dim 7"),
    ("neck", "predicts tokens", "neck_predict_is_what_is_built", "refuses TokensShape"),
    ("pair_loss", "vector", "loss_has_a_finite_gradient", "scalar"),
    ("pair_loss", "detached", "loss_has_a_finite_gradient", "gradient"),
    ("pair_loss", "no pairs", "batches_without_pairs_are_finite", "without positive pairs"),
    ("pair_loss", "roots", "extreme_embeddings_are_finite", "agree or are opposite"),
    ("pair_loss", "state", "loss_can_be_stored", "state_dict"),
    ("pair_loss", "mixed", "mixed_with_a_share_of_one_is_the_loss", "share of 1"),
    ("pair_loss", "predict", "loss_predict_is_what_is_built", "predict says 49 parameters; it has 48"),
    (
        "pair_loss",
        "centres",
        "loss_predict_is_what_is_built",
        "says 1 centres for each class",
    ),
    ("centre_loss", "few", "logits_keep_the_contract", "(12, 6), not (12, 5)"),
    ("centre_loss", "angles", "extreme_embeddings_are_finite", "cosines of 1 and -1"),
    ("centre_loss", "batch", "logits_keep_the_contract", "per_example"),
    ("centre_loss", "absent", "logits_keep_the_contract", "not among the K"),
    ("sampler", "fixed", "centres_learn", "changes the centres"),
    ("sampler", "state", "centres_can_be_stored", "as if it had never stopped"),
    ("sampler", "global", "same_seed_gives_the_same_steps", "same bits"),
    ("sampler", "predict", "centres_predict_is_what_is_built", "predict says 161 parameters"),
    ("distiller", "refuses", "distance_has_finite_gradients", "this one neither"),
    ("distiller", "images", "distance_has_finite_gradients", '"clean" or "augmented"'),
    ("distiller", "roots", "distance_has_finite_gradients", "gradients of 5 images"),
    ("distiller", "offset", "equal_vectors_are_nearest", "it is 1"),
    ("batch_sampler", "len", "batches_are_as_many_as_it_says", "len() is 3"),
    ("batch_sampler", "range", "batches_are_as_many_as_it_says", "[0, images)"),
    ("batch_sampler", "array", "batches_are_as_many_as_it_says", "plain integers"),
    ("batch_sampler", "predict", "batches_predict_is_what_is_built", "predict says 3 batches"),
    ("batch_sampler", "labels", "batches_predict_is_what_is_built", "at most 1 labels"),
    ("batch_sampler", "global", "same_generator_gives_the_same_batches", "from the generator"),
    ("recipe", "mapping", "recipe_can_be_followed", "not a dict"),
    ("recipe", "milestones", "recipe_can_be_followed", "rising"),
    ("metric", "name", "metric_measures_what_it_announces", "first, second"),
    ("metric", "shape", "rank_metric_sees_queries_apart", "(3,), not (1,)"),
    ("metric", "threshold", "curve_metric_takes_resamples", "no threshold"),
    ("metric", "axes", "curve_metric_takes_resamples", "leading axes"),
    ("threshold", "none", "threshold_is_a_similarity", "not None"),
]
PREDICTS = {
    "backbone": "predict_backbone",
    "neck": "predict_neck",
    "pair_loss": "predict_loss",
    "sampler": "predict_sampler",
    "batch_sampler": "predict_batch_sampler",
    "metric": "quantities",
}
KINDS_OF = {"paired": "dataset", "pair_loss": "loss", "centre_loss": "loss", "picky": "loss"}


def faulty(factory: str) -> Component:
    predict = f"test_testing:{PREDICTS[factory]}" if factory in PREDICTS else ""
    kind = KINDS_OF.get(factory, factory)
    return Component(kind, "faulty", f"test_testing:{factory}", "with one fault or none", predict=predict)


@pytest.mark.parametrize("factory", list(dict.fromkeys(fault[0] for fault in FAULTS)))
def test_checks_find_no_fault_where_there_is_none(factory) -> None:
    assert failures(faulty(factory), fault="").keys() <= GENERAL


@pytest.mark.parametrize(("factory", "fault", "check", "message"), FAULTS)
def test_check_finds_the_fault(factory, fault, check, message) -> None:
    assert message in failures(faulty(factory), fault=fault)[check]


def documented(*, margin: Annotated[float, Field(ge=0)] = 0.3, scale: float = 8) -> None:
    """A loss.

    Options
    -------
    margin, scale: of the loss.
    """


def swapped(*, scale: float = 8, margin: float = 0.3) -> None:
    """Options
    -------
    margin: of the loss.
    scale: of the loss.
    """


def other_default(*, margin: float = 0.4, scale: float = 8) -> LossShape:
    return LossShape()


@pytest.mark.parametrize(
    ("changes", "check", "message"),
    [
        ({}, "", ""),
        ({"summary": "short"}, "summary_is_one_line", "one line"),
        ({"summary": "it ends with a full stop."}, "summary_is_one_line", "full stop"),
        ({"source": "Deng et al."}, "source_is_a_paper_or_an_address", "arXiv:1801.09414"),
        ({"factory": "test_testing:swapped"}, "every_option_is_documented", "['margin', 'scale']"),
        (
            {"predict": "test_testing:other_default"},
            "predict_takes_what_the_factory_takes",
            "0.4",
        ),
    ],
)
def test_general_checks(changes, check, message) -> None:
    parts = {"factory": "test_testing:documented", "summary": "a loss with a margin", **changes}
    general = list(checks(Component("loss", "mine", **parts)))[:6]
    found = {}
    for each in general:
        try:
            each()
        except AssertionError as error:
            found[each.name] = str(error)
    assert list(found) == ([check] if check else [])
    assert message in found.get(check, "")


def needy(*, path: str) -> None:
    """Options
    -------
    path: a file.
    """
    raise DataError(f"{path}: no such file")


def test_checks_that_need_options_or_files_are_skipped() -> None:
    component = Component("dataset", "needy", "test_testing:needy", "reads a file")
    first = {check.name: check for check in checks(component)}["dataset_has_three_splits"]
    with pytest.raises(SkipTest, match="dataset-needy needs the options path"):
        first()
    given = {check.name: check for check in checks(component, path="a.csv")}["dataset_has_three_splits"]
    with pytest.raises(SkipTest, match=r"dataset-needy needs files: a.csv: no such file"):
        given()
    assert str(given) == "dataset-needy-dataset_has_three_splits"


def test_checks_know_the_kinds() -> None:
    with pytest.raises(ComponentError, match=r"unknown kind 'los'.*did you mean 'loss'"):
        next(checks(Component("los", "mine", "test_testing:documented", "")))


def test_checks_take_what_is_provided_by_name() -> None:
    toy = next(each for each in toys.mlbench_components() if each.kind == "backbone")
    assert failures(toy, image_size=16).keys() <= GENERAL
    assert "cannot be made" not in str(failures(faulty("picky"), num_classes=8))
    assert "cannot be made for its checks: loss faulty: at least 8 classes" in str(failures(faulty("picky")))


def test_imports_nothing_heavy_names_the_module() -> None:
    imports_nothing_heavy(Component("loss", "light", "mlbench.errors:OptionError", "imports nothing"))
    with pytest.raises(AssertionError, match=r"mlbench.training.model imports .*'torch'.* at its top"):
        imports_nothing_heavy(
            Component("loss", "heavy", "mlbench.training.model:build_model", "imports torch")
        )
