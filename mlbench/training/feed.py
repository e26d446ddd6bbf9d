"""Training batches: the inputs of each image, its label, and the teacher's embedding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from lightning_fabric import Fabric

from mlbench.contracts import BatchSampler, Mixing
from mlbench.contracts.options import BatchContext
from mlbench.planning.plan import Case
from mlbench.planning.plugin_code import EMBED_IS_NONE, named
from mlbench.seeding import numpy_generator
from mlbench.training.contract_checks import CheckedMixing, check_built
from mlbench.training.device_inputs import to_device
from mlbench.training.inputs import Inputs, InputSource, InputSpec, SplitInputs, encode
from mlbench.training.model import EmbeddingModel
from mlbench.training.objective import Batch, Objective

__all__ = ["Feed", "build_batches", "build_feed", "training_inputs"]


@dataclass(frozen=True)
class Feed:
    """inputs: of the training images, raw where there is a `mixing`; clean: of the same images without
    augmentation; targets: the teacher's embeddings. The last two are None where the objective does not need
    them."""

    inputs: Inputs
    model: EmbeddingModel
    fabric: Fabric
    seed: int
    mixing: Mixing | None = None
    clean: Inputs | None = None
    targets: Inputs | None = None

    @property
    def labels(self) -> np.ndarray:
        """Labels of the training images: (N,) int64."""
        return self.inputs.labels

    @property
    def cached(self) -> bool:
        """Whether the inputs are in the cache."""
        return isinstance(self.inputs, SplitInputs) and self.inputs.cached

    @property
    def waited(self) -> float:
        """Seconds spent waiting for images to be read."""
        return sum(each.waited for each in (self.inputs, self.clean, self.targets) if each is not None)

    def mixing_generator(self, epoch: int) -> np.random.Generator:
        """Generator of the mixing of an epoch, before its first batch."""
        return numpy_generator(self.seed, "mixing", epoch)

    def batches(
        self,
        order: Iterable[Sequence[int]],
        labels: torch.Tensor,
        epoch: int,
        start: int = 0,
        generator: np.random.Generator | None = None,
    ) -> Iterator[Batch]:
        """A batch on the device for each list of indices, without the first `start` lists. labels: of all
        images, on the device. generator: of the mixing, None for that of the epoch's first batch."""
        generator = self.mixing_generator(epoch) if generator is None else generator
        parts = [
            each.batches(order, epoch, start) if each is not None else None
            for each in (self.inputs, self.clean, self.targets)
        ]
        for indices in islice(order, start, None):
            inputs, clean, targets = (None if part is None else next(part) for part in parts)
            assert inputs is not None
            here = labels.index_select(0, to_device(torch.as_tensor(indices), labels.device))
            others, share = None, 1.0
            if self.mixing is not None:
                mixed = self.mixing(inputs, generator)
                if mixed is not None:
                    inputs, share = mixed.images, mixed.share
                    others = here.index_select(0, to_device(mixed.partners, here.device))
                inputs = encode(self.model, inputs, self.fabric)
            yield Batch(inputs, here, others, share, clean, targets)


def build_feed(
    case: Case, objective: Objective, source: InputSource, teacher: InputSource | None, fabric: Fabric
) -> Feed:
    """The feed of a case. source, teacher: inputs of its model, and of its teacher if it has one."""
    parts, image = case.spec.parts, case.spec.image
    wanted = training_inputs(case)
    mixing = CheckedMixing(parts["mixing"]) if "mixing" in parts else None
    inputs = source.get("train", replace(wanted, raw=mixing is not None))
    clean = targets = None
    if teacher is not None and objective.distiller is not None:
        if objective.distiller.images == "clean":
            clean = source.get("train", InputSpec(wanted.image))
            large = image.model_copy(update={"size": image.teacher_size or image.size})
            targets = teacher.get("train", InputSpec(large))
        else:
            targets = teacher.get("train", wanted)
    return Feed(inputs, objective.model, fabric, case.seed, mixing, clean, targets)


def training_inputs(case: Case) -> InputSpec:
    """Size, augmentation and views of a case's training images."""
    image = case.spec.image
    image = image.model_copy(update={"size": image.train_size or image.size})
    if "augmentation" not in case.spec.parts:
        return InputSpec(image)
    return InputSpec(image, case.spec.parts["augmentation"], case.recipe.views)


def build_batches(
    case: Case, labels: np.ndarray, embed: Callable[[], np.ndarray] | None = None
) -> BatchSampler:
    """The batch sampler of a case. labels, embed: see `BatchContext`. Raises SuiteError with its place,
    and PluginError for a mistake of the sampler."""
    part = case.spec.parts["batch_sampler"]
    with part.located():
        with named([part], EMBED_IS_NONE if embed is None else ""):
            built = part.component.build(BatchContext(labels, case.recipe.batch_size, embed))
        batches: BatchSampler = check_built(part, built)
        predicted = case.forecast.steps // max(case.recipe.epochs, 1)
        if len(batches) < 1 or (case.recipe.epochs and len(batches) != predicted):
            raise part.mistake(
                f"its len() is {len(batches)}; expected {predicted or 'at least 1'}, the batches of an epoch"
                f"{' that predict returned' if predicted else ''}"
            )
    return batches
