"""The conformance kit: correct components pass, and each fault is found."""

from __future__ import annotations

import os
import random
import re
import threading
from itertools import repeat
from pathlib import Path
from typing import Annotated, Any, ClassVar
from unittest import SkipTest

import numpy as np
import pytest
import toys
from PIL import Image
from pydantic import Field, PrivateAttr, field_validator

from mlbench.errors import ComponentError
from mlbench.plugin import (
    ACCEPT_NOTHING,
    AugmentationOptions,
    BackboneOptions,
    BackboneShape,
    BatchContext,
    BatchesShape,
    BatchSamplerOptions,
    CentresShape,
    Chart,
    ClaimError,
    ClaimOptions,
    Component,
    DataError,
    DatasetContext,
    DatasetOptions,
    DistillerContext,
    DistillerOptions,
    Effect,
    Evidence,
    Features,
    FeatureShape,
    Finding,
    LossContext,
    LossOptions,
    LossShape,
    MetricOptions,
    Mixed,
    MixingOptions,
    NeckOptions,
    NeckShape,
    OptionError,
    PageContext,
    PairList,
    Quantity,
    Recipe,
    SamplerContext,
    SamplerOptions,
    Section,
    SectionOptions,
    ThresholdOptions,
    TrackerOptions,
)
from mlbench.testing import checks
from mlbench.testing.component import CHECKS
from mlbench_losses.margin import CosFace

GENERAL = {"summary_is_one_line", "every_option_is_documented"}


#: Every message says what to change, in the imperative.
CHANGE = re.compile(
    r"(?:^|[;:] |, or |, and )(?:accept|add|apply|change|check|choose|clamp|compute|convert|copy|correct|"
    r"define|derive|describe|divide|draw|exchange|give|import|keep|make|move|name|number|order|pass|raise|"
    r"read|reduce|remove|return|set|subtract|update|weight|write|yield)\b"
)


def failures(component: Component, only: str = "", **given: Any) -> dict[str, str]:
    """Message by name of each failing check; of one check alone with `only`."""
    found = {}
    for check in checks(component, **given):
        if only in ("", check.name):
            state, message = check.outcome()
            if state == "failed":
                found[check.name] = message
    return found


@pytest.mark.parametrize(
    "component",
    [each for each in toys.mlbench_components() if each.name in ("toy", "jitter", "preset")],
    ids=lambda component: f"{component.kind}-{component.name}",
)
def test_correct_components_pass(component) -> None:
    """The toys are complete except for their documentation."""
    assert failures(component).keys() <= GENERAL


# A component of each kind with an option `fault`, which selects the fault of the built object.


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
        if self.fault == "locked":
            split.lock = threading.Lock()
        return split


class FaultySplit(toys.ToySplit):
    fault: str

    def label(self, index: int) -> int:
        return super().label(index) * (2 if self.fault == "labels" else 1)

    def image(self, index: int) -> Image.Image:
        if self.fault == "draws":
            np.random.random()  # noqa: NPY002
        if self.fault == "images":
            return Image.fromarray(np.full((4, 4, 3), random.randrange(256), np.uint8))
        return super().image(index).convert("L" if self.fault == "grey" else "RGB")

    def class_name(self, label: int) -> str:
        return str(label) if self.fault == "names" else super().class_name(label)

    def role(self, index: int) -> int:
        return 1 if self.fault == "roles" else 3

    def where(self, index: int) -> Any:
        return index if self.fault == "where" else f"{index}.png"


class FaultyDatasetOptions(DatasetOptions):
    fault: str

    def build(self, context: DatasetContext) -> FaultyDataset:
        return FaultyDataset(self.fault)


class FaultyPairs(FaultyDataset):
    """Pairs of neighbours in the test split."""

    def pairs(self) -> PairList:
        left = np.array([0, 2, 3, 5])
        same = np.array([True, False, True, False])
        right = left + (11 if self.fault == "range" else 1)
        folds = np.array([0, 0, 1] if self.fault == "folds" else [0, 0, 1, 1])
        return PairList(left, right, ~same if self.fault == "same" else same, folds)


class FaultyPairsOptions(DatasetOptions):
    fault: str

    def build(self, context: DatasetContext) -> FaultyPairs:
        return FaultyPairs(self.fault)


class FaultyAugmentation(AugmentationOptions):
    fault: str

    def build(self, image_size: int) -> Any:
        if self.fault == "unpicklable":
            return lambda image, generator: image
        return self

    def __call__(self, image: Image.Image, generator: np.random.Generator) -> Image.Image:
        if self.fault == "global":
            return Image.fromarray(np.asarray(image) ^ np.uint8(random.randrange(256)))
        if self.fault == "in place":
            image.putpixel((0, 0), (1, 2, 3))
        return image.convert("L") if self.fault == "grey" else image


class FaultyMixing(MixingOptions):
    fault: str

    def build(self) -> Any:
        return self

    def __call__(self, images: Any, generator: np.random.Generator) -> Any:
        import torch

        partners = torch.arange(len(images)).flip(0)
        share = float(generator.random())
        if self.fault == "global":
            share = random.random()
        mixed = images.float() * share + images.flip(0).float() * (1 - share)
        if self.fault == "uint8":
            mixed = mixed.to(torch.uint8)
        return Mixed(mixed, partners, 1 - share if self.fault == "share" else share)


class FaultyBackbone(BackboneOptions):
    fault: str

    def predict(self, image_size: int) -> BackboneShape:
        return BackboneShape(7 if self.fault == "predict" else None, None)

    def build(self, image_size: int) -> Any:
        return backbone(image_size, self.fault)


def backbone(image_size: int, fault: str) -> Any:
    import torch
    from torch import nn

    made = toys.ToyBackboneOptions(frozen=True).build(image_size)
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


class FaultyNeck(NeckOptions):
    takes_tokens: ClassVar[bool] = True

    fault: str

    def predict(self, features: Features) -> NeckShape:
        if len(features) > 3 and self.fault != "predicts tokens":
            raise OptionError("neck faulty: it needs a map")
        return NeckShape(88, 8 if self.fault != "predict" else 7)

    def build(self, features: Features) -> Any:
        if self.fault == "refuses" or (len(features) > 3 and self.fault != "crashes"):
            raise OptionError("neck faulty: it needs a map")
        made = toys.NoisyNeck().build(features)
        if self.fault == "dim":
            made.dim = 9
        if self.fault == "no dim":
            del made.dim
        if self.fault == "none":
            return None
        if self.fault == "nan":
            made.register_full_backward_hook(lambda module, inputs, outputs: (inputs[0] * float("nan"),))
        return made


class FaultyPairLoss(LossOptions):
    fault: str

    def predict(self, context: LossContext) -> LossShape:
        return LossShape(
            needs=("pairs",) if self.fault == "need" else (),  # type: ignore[arg-type]
            parameters=context.num_classes * context.dim + (self.fault == "predict"),
            centres_per_class=int(self.fault == "centres"),
        )

    def lr_factors(self) -> dict[str, float]:
        return {"pattern": {"centre*": 2.0}, "factor": {"proxies": 0.0}}.get(self.fault, {"prox*": 2.0})

    def build(self, context: LossContext) -> Any:
        return pair_loss(context.num_classes, context.dim, self.fault)


def pair_loss(num_classes: int, dim: int, fault: str) -> Any:
    import torch
    from torch import nn

    class Loss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.proxies = nn.Parameter(torch.randn(num_classes, dim))
            if fault == "frozen":  # which is no fault
                self.shift = nn.Parameter(torch.zeros(1), requires_grad=False)
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


class FaultyCentreLoss(LossOptions):
    fault: str

    def build(self, context: LossContext) -> Any:
        return centre_loss(self.fault)


def centre_loss(fault: str) -> Any:
    import torch

    class Loss:
        centres_per_class = 1
        per_example = True
        scale = 8.0

        def target_logits(self, cosines: Any, norms: Any) -> Any:
            return 8 * cosines + {"target": 1, "nan target": float("nan")}.get(fault, 0)

        def regularisers(self, embeddings: Any) -> Any:
            lengths = embeddings.norm(dim=1)
            if fault == "unnamed term":
                return lengths.mean()
            if fault == "term of each":
                return {"length": lengths}
            if fault == "other terms":
                return {f"length of {len(lengths)}": lengths.mean()}
            return {"length": (1 / lengths if fault == "inverse" else lengths).mean()}

        def logits(self, cosines: Any, targets: Any, norms: Any) -> Any:
            logits = 8 * cosines.squeeze(2)
            if fault == "nan":
                logits = logits * float("nan")
            if fault == "angles":
                logits = torch.cos(torch.acos(cosines.squeeze(2))) * 8
            if fault == "batch":
                logits = logits - logits.mean()
            if fault == "absent":
                logits = torch.where(targets[:, None] < 0, float("nan"), logits)
            return logits[:, 1:] if fault == "few" else logits

    return Loss()


class FaultySampler(SamplerOptions):
    fault: str

    def predict(self, context: SamplerContext) -> CentresShape:
        count = context.num_classes * context.dim * context.centres_per_class
        return CentresShape(count + (self.fault == "predict"))

    def build(self, context: SamplerContext) -> Any:
        return sampler(context.num_classes, context.dim, context.centres_per_class, self.fault)


def sampler(num_classes: int, dim: int, centres_per_class: int, fault: str) -> Any:
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


class PickyLoss(LossOptions):
    def build(self, context: LossContext) -> Any:
        if context.num_classes < 8:
            raise OptionError("loss faulty: at least 8 classes")
        return toys.MeanPairLoss()


class FaultyDistiller(DistillerOptions):
    fault: str

    def build(self, context: DistillerContext) -> Any:
        return distiller(context.dim, context.teacher_dim, self.fault)


def distiller(dim: int, teacher_dim: int, fault: str) -> Any:
    import torch
    from torch import nn

    if dim != teacher_dim or fault == "refuses":
        raise OptionError("distiller faulty: widths must agree")

    class Distance(nn.Module):
        images = "both" if fault == "images" else "clean"
        weight = 1.0

        def forward(self, students: Any, teachers: Any) -> Any:
            apart = (students.float() - teachers).square().sum(1)
            if fault == "nan":
                return apart.mean() * float("nan")
            if fault == "roots":
                return apart.sqrt().mean()
            if fault == "deviation":
                return apart.mean() * apart.std()
            return apart.mean() + (1 if fault == "offset" else 0) + torch.zeros(())

    return Distance()


class Batches:
    def __init__(self, count: int, batch_size: int, fault: str) -> None:
        self.count, self.batch_size, self.fault = count, batch_size, fault
        if fault == "closure":
            self.draw = lambda generator: generator.permutation(count)
        self.epochs = 0
        if fault == "unread":
            self.state_dict = lambda: {"count": np.array(count)}
        if fault == "seeds":
            np.random.seed(0)  # noqa: NPY002
        if fault == "crashes":
            self.half = batch_size // (batch_size // 2)

    def __len__(self) -> int:
        return 3 if self.fault == "len" else 2

    def batches(self, generator: np.random.Generator) -> Any:
        for _ in repeat(0) if self.fault == "endless" else range(2):
            indices = generator.permutation(self.count)[: self.batch_size]
            if self.fault == "global":
                indices[0] = random.randrange(self.count)
            if self.fault == "draws":
                np.random.random()  # noqa: NPY002
            if self.fault == "range":
                indices[0] = self.count
            if self.fault == "remembers":
                indices = (indices + self.epochs) % self.count
            yield {
                "array": indices,
                "rows": indices[None],
                "floats": indices / 2,
                "ragged": [[0], [1, 2]],
            }.get(self.fault, indices.tolist())
        self.epochs += 1


class FaultyBatchSampler(BatchSamplerOptions):
    fault: str

    def predict(self, context: BatchContext) -> BatchesShape:
        count = 3 if self.fault in ("len", "predict") else 2
        return BatchesShape(count, 1 if self.fault == "labels" else None)

    def build(self, context: BatchContext) -> Batches:
        if self.fault == "refuses" and context.batch_size % 2:
            raise OptionError("batch sampler faulty: an even batch_size")
        if self.fault == "embeds":
            context.embed()  # type: ignore[misc]
        if self.fault == "insists":
            assert context.embed is not None
        return Batches(len(context.labels), context.batch_size, self.fault)


class FaultyRecipe(Recipe):
    epochs: int = 1
    batch_size: int = 8
    fault: str

    def build(self) -> Any:
        return {"epochs": 1} if self.fault == "mapping" else self


class FaultyMetric(MetricOptions):
    fault: str

    def quantities(self) -> dict[str, Quantity]:
        return {
            "first": Quantity("1 / rank"),
            "area": Quantity("under the curve"),
            "length": Quantity("mean of the first dimension"),
        }

    def per_query(self, ranks: Any) -> Any:
        best = 1.0 / ranks.best
        if self.fault == "draws":
            random.random()
        value = best / best.max() if self.fault == "together" else best
        if self.fault == "nan":
            value = value * np.nan
        name = "second" if self.fault == "name" else "first"
        if self.fault == "text":
            return {name: ["best"] * len(value)}
        return {name: value[:1] if self.fault == "shape" else value}

    def of_embeddings(self, embeddings: Any) -> Any:
        return {"length": float(embeddings.vectors[:, 0].mean())}

    def resampled(self, embeddings: Any, weights: Any) -> Any:
        weighted = weights @ embeddings.vectors[:, 0]
        if self.fault == "sums":
            return {"length": weighted}
        means = weighted / weights.sum(1)
        return {"length": means.mean() if self.fault == "one for all" else means}

    def of_curve(self, curve: Any, threshold: float | None) -> Any:
        if self.fault == "threshold" and threshold is None:
            return {}
        return {"area": curve.auroc / (2 if curve.auroc.ndim and self.fault == "axes" else 1)}


class FaultyClaim(ClaimOptions):
    fault: str
    sentence: str = "It is so."

    def compared(self) -> Any:
        return {"none": [], "group": [["a"], []]}.get(
            self.fault, [["a", "b"], [{"neck": "x"}, {"neck": "y"}]]
        )

    def quantities(self) -> Any:
        return "f1" if self.fault == "text" else ["f1", "bytes", "images_per_second"]

    def judge(self, evidence: Evidence) -> Any:
        if self.fault == "silent":
            return Finding.of(Effect("nothing", 0.0))
        if self.fault == "others":
            evidence.values(["a", "c"], "f1")
        try:
            found = [
                evidence.values(cases, name).effect((1.0, -1.0), label=name)
                for cases in self.compared()
                for name in self.quantities()
            ]
        except ClaimError:
            if self.fault == "crashes":
                raise KeyError("b") from None
            raise
        if self.fault == "number":
            return found[0].value
        if self.fault == "p":
            return Finding(found[0], 1.5, 0.5)
        if self.fault == "global":
            return Finding.of(Effect("nothing", random.random()))
        if self.fault == "nan":
            return Finding.of(Effect("nothing", float("nan")))
        return Finding.of_all(found)


class FaultySection(SectionOptions):
    fault: str

    def build(self, context: PageContext) -> Any:
        spec = {"mark": "bar", "data": {"values": [{"x": random.random() if self.fault == "global" else 1}]}}
        if self.fault == "url":
            spec = {"mark": "bar", "data": {"url": "https://example.org/rows.csv"}}
        template = {
            "template": "{{ nothing }}",
            "markup": "{{ names|safe }}",
        }.get(self.fault, "<p>{{ names }}</p>{{ chart('bars') }}")
        if self.fault == "text":
            return "<p>text</p>"
        if self.fault == "no parts":
            return Section("Cases", ())
        chart = Chart(spec, "" if self.fault == "description" else "One bar.")
        names = ", ".join(row.name for row in context.rows)
        return Section.of("Cases", template, {"bars": chart}, names=names)


class FaultyThreshold(ThresholdOptions):
    fault: str

    def __call__(self, curve: Any) -> Any:
        if self.fault == "draws":
            random.random()
        values = {"none": None, "distance": 2.5, "": ACCEPT_NOTHING}
        return values.get(self.fault, 0.5)


class FaultyTracker(TrackerOptions):
    fault: str

    def build(self, context: Any) -> Any:
        if self.fault == "early":
            Path("made.txt").touch()
        return object() if self.fault == "deaf" else self

    def case_started(self, case: Any, position: int, total: int) -> None:
        if self.fault == "prints":
            print("started", case.name)
        if self.fault == "draws":
            random.random()
        if self.fault == "variable":
            os.environ["FAULTY"] = "yes"
        if self.fault == "moves":
            os.chdir("/")

    def epoch(self, case: Any, epoch: int, values: Any) -> None:
        if self.fault == "changes":
            values.clear()

    def case_finished(self, record: Any) -> None:
        if self.fault == "done alone":
            float(record["metrics"]["f1"]["value"])

    def run_finished(self, run: Any) -> None:
        if self.fault == "finished alone":
            float(run.records[0]["metrics"]["f1"]["value"])


FAULTS = [
    ("dataset", "version", "dataset_has_three_splits", "the same version"),
    ("dataset", "where", "dataset_has_three_splits", "`where(0)` of the train split is 0; return a string"),
    ("dataset", "labels", "labels_are_contiguous", "0 .. 3"),
    ("dataset", "images", "images_are_always_the_same", "global generators of Python"),
    ("dataset", "grey", "images_are_always_the_same", "in mode L"),
    ("dataset", "draws", "images_are_always_the_same", "image() draws from or seeds the global generators"),
    ("dataset", "locked", "images_are_always_the_same", "a split cannot be pickled"),
    ("dataset", "names", "classes_have_names", "classes of test are in another split"),
    ("dataset", "roles", "roles_allow_a_test", "lacks queries or a gallery"),
    ("paired", "range", "pairs_are_right", "indices into the test split"),
    ("paired", "folds", "pairs_are_right", "have the same length"),
    ("paired", "same", "pairs_are_right", "the same label"),
    ("augmentation", "global", "augmentation_draws_from_its_generator_alone", "global generators"),
    ("augmentation", "in place", "augmentation_gives_rgb_images", "changes its input"),
    ("augmentation", "grey", "augmentation_gives_rgb_images", "in mode L"),
    ("augmentation", "unpicklable", "augmentation_draws_from_its_generator_alone", "pickled"),
    ("mixing", "global", "mixing_draws_from_its_generator_alone", "global generators"),
    ("mixing", "uint8", "mixes_have_their_shapes", "float32"),
    ("mixing", "share", "share_is_true", "of itself and the rest of its partner"),
    ("backbone", "shape", "feature_shape_matches_features", "(2, 8, 1, 1)"),
    (
        "backbone",
        "outside",
        "has_a_frozen_and_a_trained_part",
        "outside `frozen` and `trained`: extra.weight",
    ),
    ("backbone", "forward", "forward_is_trained_after_frozen", "trained(frozen(x))"),
    ("backbone", "std", "has_normalisation_and_weights_origin", "above 0"),
    ("backbone", "drifts", "only_the_trained_part_is_trained", "must keep its state"),
    ("backbone", "predict", "predict_is_what_is_built", "predict returns 7 parameters"),
    ("backbone", "own generator", "same_seed_gives_the_same_weights", "global generator"),
    ("backbone", "teacher", "works_as_a_teacher", "deterministic"),
    ("neck", "dim", "embeddings_have_its_dim", "(6, 9)"),
    ("neck", "no dim", "embeddings_have_its_dim", "attribute `dim` of the neck is None"),
    ("neck", "none", "embeddings_have_its_dim", "returns None; return a torch.nn.Module"),
    ("neck", "nan", "neck_has_finite_gradients", "gradient of its input is not finite"),
    ("neck", "crashes", "embeddings_have_its_dim", "or raise an OptionError"),
    ("neck", "refuses", "embeddings_have_its_dim", "neither maps nor sequences: neck faulty: it needs a map"),
    ("neck", "predict", "neck_predict_is_what_is_built", "predict returns dim 7"),
    ("neck", "predicts tokens", "neck_predict_is_what_is_built", "must refuse TokensShape"),
    ("pair_loss", "need", "loss_states_its_needs", "needs has 'pairs'"),
    ("pair_loss", "pattern", "lr_factors_match_parameters", "'centre*', which matches none"),
    (
        "pair_loss",
        "factor",
        "lr_factors_match_parameters",
        "expected a mapping of patterns to numbers above 0",
    ),
    ("pair_loss", "vector", "loss_has_a_finite_gradient", "scalar"),
    ("pair_loss", "detached", "loss_has_a_finite_gradient", "gradient"),
    ("pair_loss", "no pairs", "batches_without_pairs_are_finite", "without positive pairs"),
    ("pair_loss", "roots", "extreme_embeddings_are_finite", "equal or opposite"),
    ("pair_loss", "state", "state_dict_is_complete", "register_buffer()"),
    ("pair_loss", "mixed", "mixed_with_a_share_of_one_is_the_loss", "share of 1"),
    ("pair_loss", "predict", "loss_predict_is_what_is_built", "predict returns 49 parameters; there are 48"),
    (
        "pair_loss",
        "centres",
        "loss_predict_is_what_is_built",
        "returns 1 centres for each class",
    ),
    ("centre_loss", "few", "logits_keep_the_contract", "shape (12, 5) where (N, K) is (12, 6)"),
    ("centre_loss", "angles", "extreme_embeddings_are_finite", "cosines of 1 and -1"),
    ("centre_loss", "batch", "logits_keep_the_contract", "per_example"),
    ("centre_loss", "absent", "logits_keep_the_contract", "not among the K"),
    ("centre_loss", "unnamed term", "regularisers_are_finite_scalars", "return scalars by name"),
    ("centre_loss", "term of each", "regularisers_are_finite_scalars", "length is of shape (12,); return a"),
    ("centre_loss", "other terms", "regularisers_are_finite_scalars", "the same names for every batch"),
    ("centre_loss", "inverse", "regularisers_are_finite_scalars", "length is inf of embeddings of length 0"),
    ("centre_loss", "target", "logits_keep_the_contract", "does not return target_logits() at the target"),
    ("centre_loss", "nan target", "logits_keep_the_contract", "target_logits() is not finite; clamp"),
    ("centre_loss", "nan", "logits_keep_the_contract", "logits() is not finite; clamp"),
    ("sampler", "fixed", "centres_learn", "changes nothing in state_dict()"),
    ("sampler", "state", "centres_can_be_stored", "with the same results"),
    ("sampler", "global", "same_seed_gives_the_same_steps", "equal losses"),
    ("sampler", "predict", "centres_predict_is_what_is_built", "predict returns 161 parameters"),
    ("distiller", "refuses", "distance_has_finite_gradients", "takes neither equal widths nor unequal ones"),
    ("distiller", "images", "distance_has_finite_gradients", '"clean" or "augmented"'),
    ("distiller", "roots", "distance_has_finite_gradients", "gradients of 5 images"),
    ("distiller", "nan", "equal_vectors_are_nearest", "the distance is not finite; clamp"),
    ("distiller", "offset", "equal_vectors_are_nearest", "of equal vectors is 1"),
    ("batch_sampler", "len", "batches_are_as_many_as_len", "len() is 3"),
    ("batch_sampler", "endless", "batches_are_as_many_as_len", "an epoch has more than 2 batches"),
    ("batch_sampler", "embeds", "batches_are_built_without_embeddings", "build raises TypeError"),
    ("batch_sampler", "insists", "batches_are_built_without_embeddings", "build raises AssertionError"),
    ("batch_sampler", "range", "batches_are_as_many_as_len", "[0, number of images)"),
    ("batch_sampler", "rows", "same_generator_gives_the_same_batches", "is a ndarray of shape (1, 12)"),
    ("batch_sampler", "floats", "batches_are_as_many_as_len", "type float64; yield a list of int"),
    ("batch_sampler", "ragged", "batches_are_as_many_as_len", "a batch is a list; yield a list of int"),
    ("batch_sampler", "predict", "batches_predict_is_what_is_built", "predict returns 3 batches"),
    ("batch_sampler", "labels", "batches_predict_is_what_is_built", "at most 1 labels"),
    ("batch_sampler", "global", "same_generator_gives_the_same_batches", "from the generator"),
    ("batch_sampler", "draws", "batches_keep_global_generators", "batches() draws from or seeds"),
    ("batch_sampler", "seeds", "batches_keep_global_generators", "build() draws from or seeds"),
    ("batch_sampler", "closure", "batch_sampler_can_be_pickled", "keep no lambdas"),
    ("batch_sampler", "remembers", "interrupted_sampler_goes_on", "add state_dict() and load_state_dict()"),
    ("batch_sampler", "unread", "interrupted_sampler_goes_on", "cannot be read back"),
    ("batch_sampler", "refuses", "batches_of_odd_sizes", "refuses batches of 1 of 32 images"),
    ("batch_sampler", "crashes", "batches_of_odd_sizes", "ZeroDivisionError: integer"),
    ("recipe", "mapping", "recipe_is_valid", "returns a dict"),
    ("metric", "name", "metric_gives_the_values_of_quantities", "no value of first"),
    ("metric", "nan", "metric_gives_the_values_of_quantities", "first is nan; return finite numbers"),
    ("metric", "text", "metric_gives_the_values_of_quantities", "first is a list; return numbers"),
    ("metric", "shape", "rank_metric_takes_queries_separately", "(3,), not (1,)"),
    ("metric", "threshold", "curve_metric_takes_resamples", "without a threshold"),
    ("metric", "axes", "curve_metric_takes_resamples", "on a leading axis"),
    ("metric", "sums", "embedding_metric_takes_resamples", "weight each image"),
    ("metric", "one for all", "embedding_metric_takes_resamples", "of shape () for 2 rows of weights"),
    ("metric", "draws", "metric_gives_the_values_of_quantities", "the metric draws from or seeds"),
    ("threshold", "draws", "threshold_is_a_similarity", "the policy draws from or seeds"),
    ("threshold", "distance", "threshold_is_a_similarity", "returns 2.5; return"),
    ("threshold", "none", "threshold_is_a_similarity", "returns None; return"),
    ("claim", "none", "claim_names_its_cases", "at least one group"),
    ("claim", "group", "claim_names_its_cases", "names of cases, or labels by axis; not []"),
    ("claim", "text", "claim_names_its_quantities", "returns 'f1'"),
    ("claim", "number", "claim_is_judged_by_evidence", "return a Finding"),
    ("claim", "p", "claim_is_judged_by_evidence", "is 1.5; give p-values in [0, 1]"),
    ("claim", "nan", "claim_is_judged_by_evidence", "the value of nothing is nan"),
    ("claim", "others", "claim_is_judged_by_evidence", "there is no case 'c'"),
    ("claim", "global", "claim_is_judged_alike_by_equal_evidence", "global generators of Python"),
    ("claim", "silent", "claim_without_a_case_is_a_claim_error", "answers without records of a"),
    ("claim", "crashes", "claim_without_a_case_is_a_claim_error", "raises KeyError('b') where"),
    ("tracker", "deaf", "tracker_has_an_event", "none of the methods case_started, epoch"),
    ("tracker", "early", "tracker_has_an_event", "build creates made.txt; make files at the first event"),
    ("tracker", "changes", "tracker_takes_every_event", "epoch() changes what it is given; copy it"),
    ("tracker", "done alone", "tracker_takes_every_event", "KeyError: 'f1'; raised in"),
    ("tracker", "finished alone", "tracker_takes_a_run_that_stops", "IndexError: tuple index"),
    ("tracker", "prints", "tracker_leaves_the_process_alone", "prints 'started good' to stdout"),
    ("tracker", "draws", "tracker_leaves_the_process_alone", "global generators of Python"),
    ("tracker", "variable", "tracker_leaves_the_process_alone", "environment variables FAULTY"),
    ("tracker", "moves", "tracker_leaves_the_process_alone", "changes the current folder to /"),
    ("section", "text", "section_is_built_of_records", "return a Section, as Section.of() makes, or None"),
    ("section", "no parts", "section_is_built_of_records", "at least one part"),
    ("section", "template", "section_renders", "'nothing' is undefined; pass every value that it names"),
    ("section", "description", "section_renders", "has no description; write"),
    ("section", "url", "section_renders", "has the key 'url'; return its rows in data.values"),
    ("section", "global", "section_is_always_the_same", "draw from a generator with a fixed seed"),
    ("section", "markup", "section_escapes_names", "remove |safe from the template"),
]
OPTIONS = {
    "dataset": FaultyDatasetOptions,
    "paired": FaultyPairsOptions,
    "augmentation": FaultyAugmentation,
    "mixing": FaultyMixing,
    "backbone": FaultyBackbone,
    "neck": FaultyNeck,
    "pair_loss": FaultyPairLoss,
    "centre_loss": FaultyCentreLoss,
    "picky": PickyLoss,
    "sampler": FaultySampler,
    "distiller": FaultyDistiller,
    "batch_sampler": FaultyBatchSampler,
    "recipe": FaultyRecipe,
    "metric": FaultyMetric,
    "threshold": FaultyThreshold,
    "claim": FaultyClaim,
    "tracker": FaultyTracker,
    "section": FaultySection,
}
KINDS_OF = {"paired": "dataset", "pair_loss": "loss", "centre_loss": "loss", "picky": "loss"}


def faulty(name: str) -> Component:
    target = f"test_testing:{OPTIONS[name].__name__}"
    return Component(KINDS_OF.get(name, name), "faulty", target, "with one fault or none")


@pytest.mark.parametrize("name", list(dict.fromkeys(fault[0] for fault in FAULTS)))
def test_checks_pass_without_a_fault(name) -> None:
    assert failures(faulty(name), fault="").keys() <= GENERAL


def test_batches_may_be_arrays() -> None:
    assert failures(faulty("batch_sampler"), fault="array").keys() <= GENERAL


def test_frozen_parameters_of_a_loss_are_allowed() -> None:
    assert failures(faulty("pair_loss"), fault="frozen").keys() <= GENERAL


@pytest.mark.parametrize(("name", "fault", "check", "message"), FAULTS)
def test_check_finds_the_fault(name, fault, check, message) -> None:
    found = failures(faulty(name), check, fault=fault)[check]
    assert message in found
    assert CHANGE.search(found)


class Documented(LossOptions):
    """A loss."""

    margin: Annotated[float, Field(ge=0)] = 0.3
    """Margin of the cosine."""
    scale: float = 8
    """Factor of the cosines."""

    def build(self, context: LossContext) -> Any:
        return toys.MeanPairLoss()


class Preset(Documented):
    """The loss with another default, without a second docstring for the option."""

    margin: float = 0.4


class Undocumented(Documented):
    """A loss."""

    power: float = 2.0


class Neutral(Documented):
    """A loss."""

    speed_neutral = frozenset({"margim"})


class Doubled(Documented):
    """A loss."""

    power: float = 2.0
    """Exponent of the distance."""

    @field_validator("power")
    @classmethod
    def _double(cls, power: float) -> float:
        return 2 * power


class Misplaced(Documented):
    """A loss."""

    @classmethod
    def settings(cls) -> dict[str, Any]:
        return {"nek": "gap"}


class Locked(Documented):
    """A loss."""

    _power: Any = PrivateAttr(default_factory=lambda: lambda: 2.0)


class Copied(Documented):
    """A loss."""

    def __deepcopy__(self, memo: Any = None) -> Copied:
        return Copied(margin=self.margin + 1)


class NoDocumentation(LossOptions):
    def build(self, context: LossContext) -> Any:
        return toys.MeanPairLoss()


GENERAL_FAULTS = [
    ({"summary": "short"}, "summary_is_one_line", "one line"),
    ({"summary": None}, "summary_is_one_line", "is None; write one line"),
    ({"summary": "it ends with a full stop."}, "summary_is_one_line", "full stop"),
    ({"source": None}, "source_is_a_paper_or_an_address", "is None; write it as"),
    ({"source": "Deng et al."}, "source_is_a_paper_or_an_address", "arXiv:1801.09414"),
    ({"source": None}, "source_is_a_paper_or_an_address", "the source of Component is None"),
    (
        {"options": "test_testing:Undocumented"},
        "every_option_is_documented",
        "without a docstring: power",
    ),
    ({"options": "test_testing:NoDocumentation"}, "every_option_is_documented", "has no docstring"),
    ({"options": "test_testing:Locked"}, "options_can_be_pickled", "cannot be pickled or copied"),
    ({"options": "test_testing:Copied"}, "options_can_be_pickled", "a deep copy of the options differs"),
    ({"options": "test_testing:Doubled"}, "defaults_are_valid", "are read as others: power; change the type"),
    (
        {"options": "test_testing:Misplaced"},
        "settings_are_a_mapping_of_sections",
        "did you mean 'neck'?); correct",
    ),
    (
        {"options": "test_testing:Neutral"},
        "speeds_depend_on_known_options",
        "'margim', which is no option",
    ),
]


@pytest.mark.parametrize(
    ("changes", "check", "message"),
    [({}, "", ""), ({"options": "test_testing:Preset"}, "", ""), *GENERAL_FAULTS],
)
def test_general_checks(changes, check, message) -> None:
    parts = {"options": "test_testing:Documented", "summary": "a loss with a margin", **changes}
    general = list(checks(Component("loss", "mine", **parts)))[: len(CHECKS)]
    outcomes = {each.name: each.outcome() for each in general}
    found = {name: message for name, (state, message) in outcomes.items() if state == "failed"}
    assert list(found) == ([check] if check else [])
    assert message in found.get(check, "")
    assert all(CHANGE.search(each) for each in found.values())


class Needy(DatasetOptions):
    """A data set with a missing file."""

    path: str
    """The file."""

    def build(self, context: DatasetContext) -> Any:
        raise DataError(f"{self.path}: no such file")


def test_checks_that_need_options_or_files_are_skipped() -> None:
    component = Component("dataset", "needy", "test_testing:Needy", "reads a file")
    first = {check.name: check for check in checks(component)}["dataset_has_three_splits"]
    with pytest.raises(SkipTest, match="dataset-needy needs the options path"):
        first()
    given = {check.name: check for check in checks(component, path="a.csv")}["dataset_has_three_splits"]
    with pytest.raises(SkipTest, match=r"dataset-needy needs files: a.csv: no such file"):
        given()
    assert str(given) == "dataset-needy-dataset_has_three_splits"


def test_checks_refuse_an_unknown_kind() -> None:
    with pytest.raises(ComponentError, match=r"unknown kind 'los'.*did you mean 'loss'"):
        checks(Component("los", "mine", "test_testing:Documented", ""))
    with pytest.raises(ComponentError, match=r"unknown kind None"):
        checks(Component(None, "mine", "test_testing:Documented", ""))  # type: ignore[arg-type]
    with pytest.raises(ComponentError, match=r"got <class .*Documented'>; pass a Component"):
        checks(Documented)  # type: ignore[arg-type]


def test_checks_accept_arguments_of_build_by_name() -> None:
    toy = next(each for each in toys.mlbench_components() if each.kind == "backbone")
    assert failures(toy, image_size=16).keys() <= GENERAL
    assert "cannot be built" not in str(failures(faulty("picky"), num_classes=8))
    assert "cannot be built for its checks: loss faulty: at least 8 classes" in str(failures(faulty("picky")))


class Forgetful(LossOptions):
    """Half of another loss, without its regularisers and learning rates."""

    inner: LossOptions
    """The loss."""

    def build(self, context: LossContext) -> Any:
        inner: Any = self.inner.build(context)

        class Half:
            centres_per_class = inner.centres_per_class

            def logits(self, *given: Any) -> Any:
                return inner.logits(*given) / 2

        return Half()


def test_what_an_inner_loss_states_must_be_forwarded(monkeypatch: pytest.MonkeyPatch) -> None:
    component = Component("loss", "forgetful", f"{__name__}:Forgetful", "half of another loss")
    found = failures(component, "regularisers_are_finite_scalars", inner="magface")
    assert (
        "loss 'magface', the option inner, has regularisers(), and the loss that holds it has none"
        in (found["regularisers_are_finite_scalars"])
    )
    assert failures(component, "regularisers_are_finite_scalars", inner="cosface") == {}
    monkeypatch.setattr(CosFace, "lr_factors", lambda self: {"scale": 0.1})
    found = failures(component, "lr_factors_match_parameters", inner="cosface")
    assert "states lr_factors() {'scale': 0.1}" in found["lr_factors_match_parameters"]
