"""A spec: one experiment of a suite, with its components found and all options checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mlbench.contracts import Features, Quantity, TokensShape
from mlbench.contracts.options import PREDICTIONS
from mlbench.environment import LIBRARIES
from mlbench.errors import (
    ComponentError,
    MlbenchError,
    OptionError,
    PluginError,
    SuiteError,
    WeightsError,
    first_line,
)
from mlbench.images.preprocess import Resize
from mlbench.planning.gallery import GalleryName
from mlbench.planning.plugin_code import place_in
from mlbench.planning.widths import Widths
from mlbench.records.record import EVALUATED
from mlbench.records.widths import at_width, nested_quantities
from mlbench.registry import Entry

__all__ = [
    "PRECISIONS",
    "ComputeSettings",
    "EvaluationSettings",
    "ImageSettings",
    "MeasureSettings",
    "Part",
    "Spec",
    "WeightedLoss",
    "check_features",
    "located",
]

#: Precisions by name, with Lightning Fabric's name for each.
PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


_Side = Annotated[int, Field(ge=16, le=2048)]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ImageSettings(_Settings):
    """The square images that a network gets."""

    size: _Side = 128
    """Pixels of a side."""
    train_size: _Side | None = None
    """The same for training images; null for `size`."""
    teacher_size: _Side | None = None
    """The same for a distiller's teacher; null for `size`."""
    resize: Resize = "squash"
    """How other shapes become square: squash them, crop their middle, or pad them with grey."""
    crop_ratio: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of height and width that is kept, in the middle, of images without augmentation."""


class ComputeSettings(_Settings):
    """How a case is computed. The results are the same up to rounding, except for batch norm under
    accumulate."""

    matmul_precision: Literal["highest", "high", "medium"] = "highest"
    """As torch.set_float32_matmul_precision, for matrix products and, on a GPU, convolutions."""
    deterministic: bool = True
    """Whether training and evaluation give the same bits in every run on one device. Without it a GPU may
    use faster algorithms, and cuDNN tries several for every new shape."""
    channels_last: bool = True
    """Memory format of images: the channels of a pixel are adjacent."""
    compile: bool = False
    """Whether to use torch.compile."""
    checkpointing: bool = False
    """Whether the backward pass recomputes activations, which saves memory."""
    accumulate: Annotated[int, Field(ge=1)] = 1
    """Number of parts in which a batch goes through the model. The loss is that of the whole batch
    (arXiv:2101.06983); batch norm uses the statistics of a part."""
    save_every: Annotated[float, Field(ge=0)] = 5.0
    """Minutes of training after which its state is saved, so that an interrupted case goes on from there;
    0 to save none."""


class EvaluationSettings(_Settings):
    """How embeddings are compared. The threshold is fitted on calibration queries against the same
    gallery."""

    split: Literal["test", "train"] = "test"
    """Images that are scored. train: the images that the case trained on, each compared with the others, as
    studies without a test set do it; its metrics say nothing about new images. The threshold is fitted on
    calibration images either way."""
    gallery: GalleryName = "test"
    """Images that the test queries are compared with. test: the other test images, or those with the gallery
    role where the data set states roles; train: the training images (closed set); gallery: images with the
    gallery role alone."""
    resamples: Annotated[int, Field(ge=0, le=100_000)] = 1000
    """Resamples of the bootstrap over classes that gives every metric its interval; 0 for no intervals."""
    level: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """Level of the intervals."""
    memory_mib: Annotated[int, Field(ge=128)] = 512
    """Memory for the evaluation besides the embeddings, in MiB."""
    products: Literal["float32", "tf32", "bf16"] = "float32"
    """Precision of the similarities: float32, or of vectors rounded to tf32 or bf16 (faster on a GPU)."""

    @model_validator(mode="after")
    def _compare_training_images_with_each_other(self) -> Self:
        if self.split == "train" and self.gallery != "test":
            raise ValueError(
                f"split is train, which compares the training images with each other, but gallery is "
                f"{self.gallery}; leave one of them out"
            )
        return self


class MeasureSettings(_Settings):
    """How speed and memory are measured. Training and metrics do not depend on it."""

    batch_size: Annotated[int, Field(ge=1, le=65536)] = 32
    """Images in a batch. Where they do not fit into memory, that is the result; no smaller batch is tried."""
    rounds: Annotated[int, Field(ge=1, le=1000)] = 10
    """Largest number of rounds of each measurement. It ends sooner, from 6 rounds on, when the 95% interval
    of the median is within 1% of it."""
    latency: bool = True
    """Whether to time single images too."""
    training: bool = True
    """Whether to time training steps too, with the recipe's batch size."""
    onnx: bool = False
    """Whether to time the model as an ONNX file in ONNX Runtime on the CPU, and measure the file's bytes."""


@contextmanager
def located(where: Callable[[str], str]) -> Iterator[None]:
    """Put the place in the suite file before the message of an MlbenchError that is raised in the block.

    where: place of an option, or of the whole component for "". The error becomes a SuiteError; a
    WeightsError stays one, and an error that has a place already and a PluginError pass unchanged.
    """
    try:
        yield
    except (SuiteError, PluginError):
        raise
    except MlbenchError as error:
        place = where(error.option if isinstance(error, OptionError) else "")
        kind = WeightsError if isinstance(error, WeightsError) else SuiteError
        raise kind(f"{place}: {error}" if place else str(error)) from None


@dataclass(frozen=True)
class Part:
    """One component of a case: its registration, all its options, and their places in the suite file."""

    entry: Entry
    options: Mapping[str, Any]
    places: Callable[[str], str]

    @cached_property
    def component(self) -> Any:
        """The instance of its options class: it builds and describes the component."""
        return self.entry.make(self.options)

    @cached_property
    def inner(self) -> Mapping[str, Part]:
        """The components that are options of this one, also those of inner ones, by path of the option."""
        return {
            path: Part(entry, options.model_dump(mode="json", warnings=False), self.places)
            for path, entry, options in self.entry.inner_components(self.component)
        }

    def provenance(self, section: str) -> dict[str, dict[str, str]]:
        """Package, version and code: of the component by its section, of inner ones by section and option."""
        inner = {f"{section}.{path}": part.entry.provenance for path, part in self.inner.items()}
        return {section: self.entry.provenance, **inner}

    def ask(self, question: str, *given: Any) -> Any:
        """Result of a method of the component. Raises ComponentError for an error in the plugin's code."""
        try:
            return getattr(self.component, question)(*given)
        except MlbenchError:
            raise
        # Foreign code may raise anything.
        except Exception as error:
            place = place_in(error, self)
            more = f"; raised in {place}" if place else ""
            raise self.misstatement(f"{question} failed: {first_line(error)}{more}") from error

    def predict(self, given: Any) -> Any:
        """The result of `predict`, of the type that the kind asks for, or None. Raises as `ask`."""
        predicted = self.ask("predict", given)
        expected = PREDICTIONS[self.entry.component.kind]
        if predicted is not None and not isinstance(predicted, expected):
            raise self.misstatement(f"predict returned {predicted!r}; expected a {expected.__name__} or None")
        return predicted

    def quantities(self) -> Mapping[str, Quantity]:
        """The quantities of a metric. Raises as `ask`."""
        found = self.ask("quantities")
        if not isinstance(found, Mapping) or not all(isinstance(each, Quantity) for each in found.values()):
            raise self.misstatement(f"quantities returned {found!r}; expected a mapping of names to Quantity")
        return found

    def lr_factors(self) -> Mapping[str, float]:
        """Factors of the learning rate that the component states (see `TrainedOptions`). Raises as `ask`."""
        found = self.ask("lr_factors")
        if not isinstance(found, Mapping) or not all(
            isinstance(pattern, str) and isinstance(factor, int | float) and 0 < factor < math.inf
            for pattern, factor in found.items()
        ):
            raise self.misstatement(
                f"lr_factors returned {found!r}; expected a mapping of patterns to numbers above 0"
            )
        return found

    def mistake(self, problem: str) -> PluginError:
        """The error for what the component gave while the case runs, against the contract of its kind."""
        return PluginError(self._blamed(problem))

    def misstatement(self, problem: str) -> ComponentError:
        """The error for a wrong answer of the component to a question about it, before anything runs."""
        return ComponentError(self._blamed(problem))

    def _blamed(self, problem: str) -> str:
        return self.entry.plugin.blamed(f"{self.entry}: {problem}")

    @property
    def plugin_text(self) -> str:
        """Plugin, package and version, for messages."""
        return str(self.entry.plugin)

    def __str__(self) -> str:
        return f"{self.entry} of {self.plugin_text}"

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """A ComponentError that is raised in the block becomes a PluginError with the plugin of this part."""
        try:
            yield
        except PluginError:
            raise
        except ComponentError as error:
            raise self.mistake(str(error)) from None

    def where(self, option: str = "") -> str:
        """Place of an option in the suite file, else of the component."""
        return self.places(option)

    def located(self) -> AbstractContextManager[None]:
        """Errors that the component raises in the block name its place in the suite file (see `located`)."""
        return located(self.places)


def check_features(neck: Part, features: Features) -> None:
    """Raise OptionError where the backbone gives a sequence of tokens and the neck takes only maps."""
    if isinstance(features, TokensShape) and not neck.entry.options_class.takes_tokens:
        raise OptionError(
            f"{neck.entry} takes feature maps, and the backbone gives a sequence of tokens; set "
            "the backbone's output to a map (output: map), or choose a neck that takes tokens"
        )


@dataclass(frozen=True)
class WeightedLoss:
    """One loss of a case and its factor."""

    part: Part
    weight: float = 1.0


@dataclass(frozen=True)
class Spec:
    """One experiment before it is repeated over seeds.

    parts: one component for each section with one ("backbone", "teacher"). losses: by name; one where the
    suite has `loss`. metrics: by name."""

    name: str
    axes: Mapping[str, str]
    parts: Mapping[str, Part]
    losses: Mapping[str, WeightedLoss]
    metrics: Mapping[str, Part]
    image: ImageSettings
    compute: ComputeSettings
    evaluation: EvaluationSettings
    measure: MeasureSettings
    precision: str
    widths: Widths

    def every_part(self) -> Iterator[Part]:
        """Every component of the experiment, with inner ones."""
        losses = (each.part for each in self.losses.values())
        for part in (*self.parts.values(), *losses, *self.metrics.values()):
            yield part
            yield from part.inner.values()

    def libraries(self) -> dict[str, str]:
        """Versions of the libraries that the components use besides those of mlbench, by name."""
        found = {
            name: version for part in self.every_part() for name, version in part.entry.libraries.items()
        }
        return {name: found[name] for name in sorted(found.keys() - {"mlbench", *LIBRARIES})}

    def provenance(self) -> dict[str, dict[str, str]]:
        """Package, version and code of each component, by section; of metrics by "metric NAME", of losses
        likewise; of inner components by section and option."""
        parts = dict(self.parts)
        if "loss" not in parts:
            parts |= {f"loss {name}": each.part for name, each in self.losses.items()}
        parts |= {f"metric {name}": part for name, part in self.metrics.items()}
        found: dict[str, dict[str, str]] = {}
        for section, part in parts.items():
            found |= part.provenance(section)
        return found

    def quantities(self) -> dict[str, Quantity]:
        """Quantities of evaluation itself and of the metrics, by name, also of every nested width. Raises
        SuiteError when two have the same name."""
        found = whole = self._whole_quantities()
        for width in self.widths.nested:
            nested = nested_quantities(whole, width)
            if twice := sorted(nested.keys() & whole.keys()):
                raise SuiteError(
                    f"{self.widths.where}: a metric is called {twice[0]!r}, as is that of a width"
                )
            found = {**found, **nested}
        return found

    def width_of(self, quantity: str) -> tuple[str, int | None]:
        """A quantity of `quantities` by its name at the whole width, and its nested width, None for the
        whole."""
        whole = self._whole_quantities()
        for width in self.widths.nested:
            name = quantity.removesuffix(at_width("", width))
            if name != quantity and name in whole:
                return name, width
        return quantity, None

    def _whole_quantities(self) -> dict[str, Quantity]:
        found = dict(EVALUATED)
        for part in self.metrics.values():
            with part.located():
                announced = part.quantities()
            for name in announced.keys() & found.keys():
                other = "mlbench itself" if name in EVALUATED else "another metric"
                raise SuiteError(f"{part.where()}: {name!r} is measured by {other} too")
            found |= announced
        return found

    def metric_of(self, quantity: str) -> Part:
        """The metric that announces a quantity of the whole width."""
        return next(part for part in self.metrics.values() if quantity in part.component.quantities())

    def plain(self) -> dict[str, Any]:
        """Everything as plain data in a fixed order, as records store it."""
        data: dict[str, Any] = {
            section: {"name": part.entry.component.name, **part.options}
            for section, part in self.parts.items()
        }
        if "loss" not in self.parts:
            data["losses"] = {
                name: {"name": each.part.entry.component.name, "weight": each.weight, **each.part.options}
                for name, each in self.losses.items()
            }
        metrics = {name: dict(part.options) for name, part in self.metrics.items()}
        if self.widths.values:
            data["widths"] = list(self.widths.values)
        return {
            **data,
            "metrics": metrics,
            "image": self.image.model_dump(),
            "compute": self.compute.model_dump(),
            "evaluation": self.evaluation.model_dump(),
            "measure": self.measure.model_dump(),
            "precision": self.precision,
        }
