"""A spec: one experiment of a suite with every component found and every option checked and spelt out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from mlbench.contracts import Quantity
from mlbench.errors import SuiteError
from mlbench.images.preprocess import Resize
from mlbench.planning.gallery import GalleryName
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
]

#: Precisions by name, with Lightning Fabric's name for each.
PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


_Side = Annotated[int, Field(ge=16, le=2048)]


class ImageSettings(BaseModel):
    """The square images that a network sees. size: pixels; train_size: of training images, null for the same;
    teacher_size: of a distiller's teacher, null for the same. resize: how an image of another shape becomes
    square: squash it, cut its middle out (crop), or fill it up with grey (pad). crop_ratio: share of height
    and width that is kept, in the middle, of images that are not augmented."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    size: _Side = 128
    train_size: _Side | None = None
    teacher_size: _Side | None = None
    resize: Resize = "squash"
    crop_ratio: Annotated[float, Field(gt=0, le=1)] = 1.0


class ComputeSettings(BaseModel):
    """How a case is computed; what it computes stays the same up to rounding. matmul_precision: of float32
    products and, on a GPU, convolutions, as torch.set_float32_matmul_precision names it. channels_last:
    images lie in memory channel by channel within each pixel. compile: by torch.compile. checkpointing:
    activations are computed anew in the backward pass, which saves memory. accumulate: a batch goes through
    the model in so many parts, one after the other; the loss still sees all of it (arXiv:2101.06983), batch
    norm one part."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    matmul_precision: Literal["highest", "high", "medium"] = "highest"
    channels_last: bool = True
    compile: bool = False
    checkpointing: bool = False
    accumulate: Annotated[int, Field(ge=1)] = 1


class EvaluationSettings(BaseModel):
    """How embeddings are compared. gallery: which images the queries of the test split search: test, the test
    images themselves, leaving out the one that asks, or by the roles that the data set states; train, the
    training images (closed set); gallery, those that the data set states as its gallery
    and no others. The threshold is fitted on calibration queries against the same gallery. resamples: of the
    bootstrap over classes that gives every metric its interval, 0 for none; level: of the intervals;
    memory_mib: what evaluation may take above the embeddings; products: similarities in float32, or from
    vectors rounded to tf32 or bf16, faster on a GPU."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    gallery: GalleryName = "test"
    resamples: Annotated[int, Field(ge=0, le=100_000)] = 1000
    level: Annotated[float, Field(gt=0, lt=1)] = 0.95
    memory_mib: Annotated[int, Field(ge=128)] = 512
    products: Literal["float32", "tf32", "bf16"] = "float32"


class MeasureSettings(BaseModel):
    """How speed and memory are measured; the results of training do not depend on it. batch_size: images that
    are embedded together; what does not fit into memory is reported, never measured with fewer. rounds: of
    each measurement. patience: seconds that are spent at most, for each kind of speed, on taking times again
    in which the machine was disturbed; what takes longer by itself is not taken again. latency: also of
    single images. training: also of training steps, with the recipe's batch size. onnx: also of the model as
    an ONNX file in ONNX Runtime on the CPU, and that file's bytes."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    batch_size: Annotated[int, Field(ge=1, le=65536)] = 32
    rounds: Annotated[int, Field(ge=1, le=1000)] = 7
    patience: Annotated[float, Field(ge=0, le=3600)] = 5.0
    latency: bool = True
    training: bool = True
    onnx: bool = False


@dataclass(frozen=True)
class Part:
    """One component of a case: its registration, all its options, and where they were written."""

    entry: Entry
    options: Mapping[str, Any]
    places: Callable[[str], str]

    @cached_property
    def component(self) -> Any:
        """The instance of its options class: it builds and describes the component."""
        return self.entry.make(self.options)

    def where(self, option: str = "") -> str:
        """Place of an option in the suite file, else of the component."""
        return self.places(option)


@dataclass(frozen=True)
class WeightedLoss:
    """One loss of a case, and what it is multiplied by."""

    part: Part
    weight: float = 1.0


@dataclass(frozen=True)
class Spec:
    """One experiment before it is repeated over seeds.

    parts: one component for each section that holds one ("backbone", "teacher"). losses: by name; one where
    the suite says `loss`. metrics: by name; each has announced what it measures (`quantities`).
    """

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

    def provenance(self) -> dict[str, dict[str, str]]:
        """Where each component's code comes from, by section; for losses and metrics by "metric NAME"."""
        found = {section: part.entry.provenance for section, part in self.parts.items()}
        if "loss" not in self.parts:
            found |= {f"loss {name}": each.part.entry.provenance for name, each in self.losses.items()}
        return found | {f"metric {name}": part.entry.provenance for name, part in self.metrics.items()}

    def quantities(self) -> dict[str, Quantity]:
        """Everything that will be measured, by name. Raises SuiteError when two metrics share a name."""
        found: dict[str, Quantity] = {}
        for part in self.metrics.values():
            announced: Mapping[str, Quantity] = part.component.quantities()
            for name in announced.keys() & found.keys():
                raise SuiteError(f"{part.where()}: {name!r} is measured by another metric too")
            found |= announced
        return found

    def plain(self) -> dict[str, Any]:
        """Everything as plain data, in a fixed order: what is stored."""
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
        return {
            **data,
            "metrics": metrics,
            "image": self.image.model_dump(),
            "compute": self.compute.model_dump(),
            "evaluation": self.evaluation.model_dump(),
            "measure": self.measure.model_dump(),
            "precision": self.precision,
        }
