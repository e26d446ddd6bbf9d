"""A plan: the cases of a suite on one device, with fingerprints and predicted sizes, before any work."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlbench.contracts import (
    SPLITS,
    BackboneShape,
    BatchesShape,
    CentresShape,
    Dataset,
    LossShape,
    NeckShape,
    Split,
)
from mlbench.contracts.options import (
    TRAINED_PARTS,
    BatchContext,
    DatasetContext,
    LossContext,
    Recipe,
    SamplerContext,
)
from mlbench.environment import Device, data_root, library_versions, threads
from mlbench.errors import ComponentError, DataError, DeviceError, SuiteError, hint
from mlbench.planning.batch_needs import Batches, check_batches
from mlbench.planning.claims import DERIVED, check_fairness
from mlbench.planning.gallery import check_protocol
from mlbench.planning.limit import limited
from mlbench.planning.plugin_code import EMBED_IS_NONE, named
from mlbench.planning.spec import Part, Spec, check_features
from mlbench.planning.suite import Suite
from mlbench.provenance import core_hash
from mlbench.records.store import results_settings

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Case", "Forecast", "Plan", "built_dataset", "check_sampler", "labels_of", "make_plan", "settled"]

#: Parts of the core whose code can change a result.
_RESULT_PARTS = (
    "contracts",
    "evaluation",
    "images",
    "planning.gallery",
    "planning.spec",
    "seeding",
    "training",
)


@dataclass(frozen=True)
class Forecast:
    """Predicted sizes of a case; None where only building can tell.

    parameters: of the deployed model. centres: parameters of the class centres. steps: of training.
    batch_labels: largest number of different labels in a batch. dim: width of the embeddings. weights:
    version of the initial weights, where the options do not determine them (see `BackboneShape`). notes: what
    is to be known about the choice of components, one line each. drawn: share of the images that an epoch is
    expected to show."""

    parameters: int | None
    centres: int | None
    classes: int
    images: int
    steps: int
    batch_labels: int
    dim: int | None = None
    weights: str = ""
    notes: tuple[str, ...] = ()
    drawn: float | None = None


@dataclass(frozen=True)
class Case:
    """One fully spelt-out experiment. conditions: see `mlbench.records.record.Record`."""

    suite: str
    spec: Spec
    seed: int
    fingerprint: str
    conditions: Mapping[str, Any]
    dataset: Dataset
    recipe: Recipe
    forecast: Forecast

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def key(self) -> str:
        """Name of its record (see `Record.key`)."""
        return f"{self.name}-s{self.seed}-{self.fingerprint[:8]}"

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on its data and components, one line each."""
        return (*self._optimistic, *self.dataset.notes, *self.forecast.notes)

    @property
    def _optimistic(self) -> tuple[str, ...]:
        """The note on metrics that are better than those of new images of new classes."""
        evaluation = self.spec.evaluation
        if evaluation.split == "train":
            return (
                "scored on the images that it trained on (evaluation.split: train): its metrics say nothing "
                "about new images",
            )
        # A closed set states itself that classes are shared.
        if self.dataset.disjoint or evaluation.gallery == "train":
            return ()
        return ("test may share classes with training: expect optimistic numbers",)


@dataclass(frozen=True)
class Plan:
    """The cases to run, in order."""

    suite: Suite
    device: Device
    cases: tuple[Case, ...]


def make_plan(
    suite: Suite,
    device: Device,
    *,
    cases: str = "*",
    seeds: Sequence[int] = (),
    limit: int | None = None,
    known: dict[str, tuple[Dataset, array[int]]] | None = None,
) -> Plan:
    """Choose cases by globs, with commas between them, and seeds; build their data sets and forecast their
    sizes. limit: see `limited`.
    known: data sets that earlier plans of the same suite file and limit have built; gets those of this plan.

    Seeds come innermost, so that the first complete comparison is there early. Raises SuiteError when
    nothing is chosen or a component refuses, DeviceError when the device lacks the precision; imports no
    torch.
    """
    names = [spec.name for spec in suite.specs]
    globs = cases.split(",")
    for glob in globs:
        if not any(fnmatchcase(name, glob) for name in names):
            raise SuiteError(f"{suite.path}: no case matches {glob!r} ({hint(glob, names)})")
    chosen = [spec for spec in suite.specs if any(fnmatchcase(spec.name, glob) for glob in globs)]
    for spec in chosen:
        if spec.precision == "fp16" and device.kind == "cpu":
            raise DeviceError(
                f"case {spec.name!r}: fp16 needs a GPU; use --precision bf16 or fp32 on the CPU"
            )
    root = data_root(suite.path)
    known = {} if known is None else known
    checked: set[tuple[int, str, str]] = set()
    predict = _Predictions()
    planned = []
    for spec in chosen:
        dataset, labels = built_dataset(spec.parts["dataset"], spec.image.size, root, limit, known)
        chosen_protocol = spec.evaluation.gallery, spec.evaluation.split
        if (protocol := (id(dataset), *chosen_protocol)) not in checked:
            with spec.parts["dataset"].located():
                check_protocol(dataset, *chosen_protocol)
            checked.add(protocol)
        recipe: Recipe = predict.built(spec.parts["recipe"])
        _check_select_by(spec, recipe)
        _check_lr_factors(spec, recipe)
        forecast = _forecast(spec, dataset.split("train"), labels, recipe, predict)
        conditions = _conditions(spec, dataset, forecast, device)
        advice = getattr(predict.built(spec.parts["threshold"]), "notes", ())
        forecast = replace(forecast, notes=(*forecast.notes, *advice))
        for seed in seeds or suite.seeds:
            fingerprint = _fingerprint(spec, seed, conditions)
            planned.append(Case(suite.name, spec, seed, fingerprint, conditions, dataset, recipe, forecast))
    facts = {case.name: _derived(case.forecast, limit) for case in planned}
    for claim in suite.claims:
        check_fairness(claim, {spec.name: spec for spec in chosen}, facts)
    return Plan(suite, device, tuple(planned))


def _derived(forecast: Forecast, limit: int | None) -> dict[str, Any]:
    """What follows from the settings of a case, and compared cases must have in common. Not known of a data
    set that is cut to a limit, which leaves each another share of its images."""
    if limit is not None:
        return dict.fromkeys(DERIVED)
    return {"steps": forecast.steps, "dim": forecast.dim, "num_classes": forecast.classes}


def settled(case: Case, device: Device) -> Case:
    """The case with its current fingerprint: weights may have been downloaded since it was planned."""
    with case.spec.parts["backbone"].located():
        backbone = case.spec.parts["backbone"].predict(case.spec.image.size)
    forecast = replace(case.forecast, weights=_weights(case.spec, backbone, _Predictions()))
    if forecast == case.forecast:
        return case
    conditions = _conditions(case.spec, case.dataset, forecast, device)
    fingerprint = _fingerprint(case.spec, case.seed, conditions)
    return replace(case, forecast=forecast, conditions=conditions, fingerprint=fingerprint)


def labels_of(split: Split) -> np.ndarray:
    """Labels of a split: (N,) int64."""
    import numpy as np

    return np.fromiter((split.label(index) for index in range(len(split))), np.int64, len(split))


def built_dataset(
    part: Part, size: int, root: Path, limit: int | None, known: dict[str, tuple[Dataset, array[int]]]
) -> tuple[Dataset, array[int]]:
    """The data set of a case, for images of this size, and the labels of its train split; made once for all
    cases that share it, and kept in `known`."""
    key = json.dumps([part.entry.component.name, part.options, size, limit], sort_keys=True)
    if key not in known:
        with part.located(), named([part]):
            dataset: Dataset = part.component.build(DatasetContext(root, size))
            if limit is not None:
                dataset = limited(dataset, limit)
            train = dataset.split("train")
            # Not a NumPy array: importing NumPy would take a third of the time of a plan.
            labels = array("q", (train.label(index) for index in range(len(train))))
            # Checked here: a label out of range makes a GPU unusable for the rest of the process.
            if not labels or min(labels) < 0 or max(labels) >= train.num_classes:
                raise DataError(f"{part.entry}: labels must run from 0 to {train.num_classes - 1}")
            for name in SPLITS:
                if (classes := dataset.split(name).num_classes) < 2:
                    raise DataError(
                        f"{part.entry}: {classes} class in the {name} split; at least 2 are needed"
                    )
            known[key] = dataset, labels
    return known[key]


class _Predictions:
    """Cache of predictions by part and argument, and of built parts."""

    def __init__(self) -> None:
        self._known: dict[Any, Any] = {}

    def __call__(self, part: Part, given: Any, key: Hashable = None) -> Any:
        """The prediction of the part for `given`; `key` replaces `given` where that is not hashable."""
        known = (id(part), given if key is None else key)
        if known not in self._known:
            self._known[known] = part.predict(given)
        return self._known[known]

    def built(self, part: Part) -> Any:
        """What a component without a context builds: a recipe, a threshold policy."""
        if id(part) not in self._known:
            with part.located():
                self._known[id(part)] = part.ask("build")
        return self._known[id(part)]


def _forecast(
    spec: Spec, train: Split, labels: array[int], recipe: Recipe, predict: _Predictions
) -> Forecast:
    parts = spec.parts
    with parts["batch_sampler"].located():
        batches: BatchesShape | None = predict(
            parts["batch_sampler"], BatchContext(labels, recipe.batch_size), (id(labels), recipe.batch_size)
        )
        if batches is None:
            context = BatchContext(labels_of(train), recipe.batch_size)
            with named([parts["batch_sampler"]], EMBED_IS_NONE):
                batches = BatchesShape(len(parts["batch_sampler"].component.build(context)))
    if batches.batches < 1 and len(train) >= recipe.batch_size:
        sampler = parts["batch_sampler"]
        mistake = sampler.misstatement(
            f"it makes {batches.batches} batches of {len(train)} training images at recipe.batch_size "
            f"{recipe.batch_size}; expected at least 1, or an OptionError that says what to change"
        )
        raise SuiteError(f"{sampler.where()}: {mistake}")
    if batches.batches < 1:
        raise SuiteError(
            f"{parts['recipe'].where('batch_size')}: {len(train)} training images make no batch of "
            f"{recipe.batch_size}; lower recipe.batch_size"
        )
    with parts["backbone"].located():
        backbone: BackboneShape | None = predict(parts["backbone"], spec.image.size)
    neck: NeckShape | None = None
    if backbone is not None and backbone.feature_shape is not None:
        with parts["neck"].located():
            check_features(parts["neck"], backbone.feature_shape)
            neck = predict(parts["neck"], backbone.feature_shape)
    _check_sizes(spec, neck, predict)
    # Asked even where the width is not known: a component may refuse the number of classes.
    widths = spec.widths.of(neck.dim) if neck else spec.widths.values or (1,)
    terms = [(each, width) for each in spec.losses.values() for width in widths]
    losses = []
    for each, width in terms:
        with each.part.located():
            loss: LossShape | None = predict(each.part, LossContext(train.num_classes, width))
            losses.append(loss)
            if loss is not None and loss.centres_per_class:
                check_sampler(parts, each.part)
    steps = batches.batches * recipe.epochs
    found: tuple[str, ...] = ()
    if steps:
        made = Batches(parts["batch_sampler"], batches, recipe.batch_size, steps)
        found = check_batches(made, zip((each.part for each, _ in terms), losses, strict=True))
    most = recipe.batch_size if batches.labels is None else batches.labels
    batch_labels = min(most, train.num_classes)
    centres: list[CentresShape | None] = []
    for loss, (_, width) in zip(losses, terms, strict=True) if "sampler" in parts else ():
        if loss is not None and not loss.centres_per_class:
            continue
        with parts["sampler"].located():
            shape: CentresShape | None = predict(
                parts["sampler"],
                SamplerContext(
                    num_classes=train.num_classes,
                    dim=width,
                    centres_per_class=loss.centres_per_class if loss else 1,
                    batch_size=recipe.batch_size,
                    batch_labels=batch_labels,
                    seed=0,
                ),
            )
            centres.append(shape)
    parameters = backbone.parameters if backbone else None
    counts = [loss.parameters if loss else None for loss in losses]
    counts += [shape.parameters if shape else None for shape in centres]
    return Forecast(
        parameters=parameters + neck.parameters if parameters is not None and neck else None,
        centres=sum(filter(None, counts)) if neck and None not in counts else None,
        classes=train.num_classes,
        images=len(train),
        steps=steps,
        batch_labels=batch_labels,
        dim=neck.dim if neck else None,
        weights=_weights(spec, backbone, predict),
        notes=tuple(dict.fromkeys((*found, *(note for shape in centres if shape for note in shape.notes)))),
        drawn=batches.drawn,
    )


def _check_select_by(spec: Spec, recipe: Recipe) -> None:
    """Raise SuiteError when the recipe selects checkpoints by a value that no metric announces, or that has
    no better direction."""
    name = recipe.select_by
    if not name:
        return
    quantities = spec.quantities()
    directed = [known for known, each in quantities.items() if each.higher_is_better is not None]
    if name not in directed:
        problem = "neither direction is better" if name in quantities else "no metric of the case measures it"
        known = hint(name, [each for each in directed if each != name])
        raise SuiteError(
            f"{spec.parts['recipe'].where('select_by')}: recipe.select_by is {name!r}, but {problem}; {known}"
        )


def _check_lr_factors(spec: Spec, recipe: Recipe) -> None:
    """Raise SuiteError for a learning rate of a part that the case does not have."""
    parts = [name for name in TRAINED_PARTS if name == "loss" or name in spec.parts]
    for name in recipe.lr_factors:
        if name not in parts:
            where = spec.parts["recipe"].where(f"lr_factors.{name}")
            raise SuiteError(
                f"{where}: recipe.lr_factors has a factor of the {name}, and case {spec.name!r} has none; "
                f"its parts: {', '.join(parts)}; write recipe.lr_factors.{name} where the {name} is set"
            )


def _weights(spec: Spec, backbone: BackboneShape | None, predict: _Predictions) -> str:
    """Versions of the initial weights of the backbone and of the teacher."""
    shapes = [backbone]
    if "teacher" in spec.parts:
        with spec.parts["teacher"].located():
            size = spec.image.teacher_size or spec.image.size
            shapes.append(predict(spec.parts["teacher"], size))
    return " | ".join(shape.version for shape in shapes if shape and shape.version)


def _check_sizes(spec: Spec, neck: NeckShape | None, predict: _Predictions) -> None:
    """Raise SuiteError when the neck has another size for the training images."""
    size = spec.image.train_size
    if size in (None, spec.image.size) or neck is None:
        return
    shape = predict(spec.parts["backbone"], size)
    if shape is None or shape.feature_shape is None:
        return
    if predict(spec.parts["neck"], shape.feature_shape) != neck:
        part = spec.parts["neck"]
        raise SuiteError(
            f"{part.where()}: {part.entry} has other weights for images of {size} px (image.train_size) than "
            f"of {spec.image.size} px; choose one that pools, such as gap"
        )


def check_sampler(parts: Mapping[str, Part], loss: Part) -> None:
    """Raise ComponentError when a loss with class centres has no sampler to own them."""
    if "sampler" not in parts:
        raise ComponentError(f"{loss.entry} has class centres and needs a sampler; set sampler: all")


def _conditions(spec: Spec, dataset: Dataset, forecast: Forecast, device: Device) -> dict[str, Any]:
    """What can change the result besides settings and seed."""
    core = core_hash(*_RESULT_PARTS)
    own = spec.libraries()
    return {
        "data": str(dataset.version),
        "weights": forecast.weights,
        "core": core,
        "code": _sha256([core, spec.provenance()])[:12],
        "libraries": library_versions(),
        **({"component_libraries": own} if own else {}),
        "device": f"{device.kind} {device.product}",
        # A GPU's results come from one thread of the CPU.
        "threads": threads() if device.kind == "cpu" else None,
    }


def _fingerprint(spec: Spec, seed: int, conditions: Mapping[str, Any]) -> str:
    """Hash of everything that can change the result."""
    return _sha256({"settings": results_settings(spec.plain()), "seed": seed, "conditions": conditions})


def _sha256(data: Any) -> str:
    """Hex SHA-256 of plain data."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
