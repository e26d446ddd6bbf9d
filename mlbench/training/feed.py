"""The feed of training: batches with all that the objective sees of each image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from lightning_fabric import Fabric

from mlbench.contracts import Mixing
from mlbench.planning.plan import Case
from mlbench.seeding import numpy_generator
from mlbench.training.features import Encoder, Inputs, InputSource, Look, encode
from mlbench.training.objective import Batch, Objective

__all__ = ["Feed", "build_feed", "training_look"]


@dataclass(frozen=True)
class Feed:
    """inputs: of the training images, raw where there is a `mixing`; clean: of the same without augmentation;
    targets: the teacher's embeddings of them; each None where the objective does not ask."""

    inputs: Inputs
    model: Encoder
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
    def waited(self) -> float:
        """Seconds spent waiting for images to be read."""
        return sum(each.waited for each in (self.inputs, self.clean, self.targets) if each is not None)

    def batches(self, order: Sequence[Sequence[int]], labels: torch.Tensor, epoch: int) -> Iterator[Batch]:
        """A batch on the device for each list of indices. labels: of all images, on the device."""
        generator = numpy_generator(self.seed, "mixing", epoch)
        parts = [
            each.batches(order, epoch) if each is not None else None
            for each in (self.inputs, self.clean, self.targets)
        ]
        for indices in order:
            inputs, clean, targets = (None if part is None else next(part) for part in parts)
            assert inputs is not None
            here = labels[torch.as_tensor(indices)]
            others, share = None, 1.0
            if self.mixing is not None:
                mixed = self.mixing(inputs, generator)
                if mixed is not None:
                    inputs, share = mixed.images, mixed.share
                    others = here[mixed.partners.to(here.device, non_blocking=here.is_cuda)]
                inputs = encode(self.model, inputs, self.fabric)
            yield Batch(inputs, here, others, share, clean, targets)


def build_feed(
    case: Case, objective: Objective, source: InputSource, teacher: InputSource | None, fabric: Fabric
) -> Feed:
    """The feed of a case. source, teacher: of inputs of the model, and of its teacher if it has one."""
    parts, image = case.spec.parts, case.spec.image
    look = training_look(case)
    mixing = parts["mixing"].component.build() if "mixing" in parts else None
    inputs = source.get("train", replace(look, raw=mixing is not None))
    clean = targets = None
    if teacher is not None and objective.distiller is not None:
        if objective.distiller.images == "clean":
            clean = source.get("train", Look(look.image))
            large = image.model_copy(update={"size": image.teacher_size or image.size})
            targets = teacher.get("train", Look(large))
        else:
            targets = teacher.get("train", look)
    return Feed(inputs, objective.model, fabric, case.seed, mixing, clean, targets)


def training_look(case: Case) -> Look:
    """How a case looks at its training images."""
    image = case.spec.image
    image = image.model_copy(update={"size": image.train_size or image.size})
    if "augmentation" not in case.spec.parts:
        return Look(image)
    return Look(image, case.spec.parts["augmentation"], case.recipe.views)
