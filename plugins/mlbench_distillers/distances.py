"""Distances between embeddings and a teacher's: of each image, or of relations between images.

All compare vectors of unit length. By default the embeddings first pass a linear layer to the teacher's width
(not in `Relational`), which is trained along and is not part of the deployed model.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from mlbench.plugin import DistillerContext, DistillerOptions, OptionError

if TYPE_CHECKING:
    import torch

    from mlbench_distillers.distillation import Distillation

__all__ = ["L1", "Cosine", "Kl", "Relational"]

_Weight = Annotated[float, Field(ge=0)]


class _Distance(DistillerOptions):
    """Options that all distillers share. Raises OptionError for widths that differ without a projection."""

    weight: _Weight = 1.0
    """Factor of the distance."""
    images: Literal["clean", "augmented"] = "clean"
    """Images whose embeddings are compared: clean (each image also without augmentation) or augmented."""
    projection: bool = True
    """A linear layer without bias to the teacher's width first; false needs equal widths."""

    def build(self, context: DistillerContext) -> Distillation:
        from mlbench_distillers.distillation import Distillation

        self.check_widths(context)
        widths = (context.dim, context.teacher_dim) if self.projection else None
        return Distillation(self.distance(), widths, self.weight, self.images)

    def check_widths(self, context: DistillerContext) -> None:
        if not self.projection and context.dim != context.teacher_dim:
            raise OptionError(
                f"distiller {type(self).__name__.lower()}: embeddings have {context.dim} dimensions and the "
                f"teacher's {context.teacher_dim}; without a projection they must be equal: set "
                f"projection: true, or the neck's dim to {context.teacher_dim}",
                "projection",
            )

    @abstractmethod
    def distance(self) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        """The distance of two batches of unit vectors, (N, D) and (N, T), a scalar."""


class Kl(_Distance):
    """Divergence of the softmax over the teacher's dimensions (after Hinton et al., arXiv:1503.02531, without
    their factor temperature²).

        distance = KL(softmax(v / temperature) || softmax(u / temperature))

    u: unit vector of the embedding, after the projection; v: of the teacher's. A mean over the batch.

    For unit vectors and temperature 1 this is about (1 - cos) / teacher_dim, less than .004 for 512
    dimensions. With weight 1 that is almost nothing compared with a margin loss, which starts near 38. A
    temperature t multiplies it by about 1 / t². The control experiment is weight 0 with images clean: the
    model sees the same images, and nothing else changes."""

    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Divisor of the unit vectors."""

    def distance(self) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        from mlbench_distillers.distillation import kl_divergence

        return partial(kl_divergence, temperature=self.temperature)


class Cosine(_Distance):
    """One minus the cosine between embedding and teacher: in [0, 2], near 1 at the start.

        distance = 1 - u . v

    u: unit vector of the embedding, after the projection; v: of the teacher's. A mean over the batch.

    This is half the squared difference of the unit vectors (after Romero et al., arXiv:1412.6550, who also
    pass the student's features through an extra layer)."""

    def distance(self) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        from mlbench_distillers.distillation import cosine_distance

        return cosine_distance


class L1(_Distance):
    """Absolute difference of the unit vectors (after Romero et al., arXiv:1412.6550, who square it).

        distance = mean over d of |u_d - v_d|

    u: unit vector of the embedding, after the projection; v: of the teacher's; d: the teacher's dimensions. A
    mean over the batch.

    At most 2 / sqrt(teacher_dim), and near 1.1 / sqrt(teacher_dim) at the start: .05 for 512 dimensions."""

    def distance(self) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        from torch.nn.functional import l1_loss

        return l1_loss


class Relational(_Distance):
    """Relational knowledge distillation (Park et al., arXiv:1904.05068): distances between the images of a
    batch, and angles between triples of them, are compared with the teacher's. Takes any widths.

        distance = distance_weight * mean over i, j of huber(d_ij - D_ij)
                 + angle_weight * mean over i, j, k of huber(c_ijk - C_ijk)

    d_ij: distance of the unit vectors of the embeddings i and j, divided by the mean distance; c_ijk: cosine
    of the angle at j between i and k; D, C: the same of the teacher's. huber has its bend at 1.

    The means are over pairs and triples of different images (published
    code also counts the empty ones, 1 / N of the pairs and 3 / N of the triples). Published weights are 1 and
    2 for embeddings (the default), and 25 and 50 beside the cross entropy of a classifier. Published student
    embeddings keep their length; here they have length 1, as wherever mlbench compares embeddings.
    The time of the angles (not their memory) grows with the cube of the batch: seconds of a CPU core for 512
    images, where published batches have 128. With angle_weight 0 they cost nothing."""

    distance_weight: _Weight = 1.0
    """Weight of the distances."""
    angle_weight: _Weight = 2.0
    """Weight of the angles."""
    projection: bool = False
    """A linear layer without bias to the teacher's width first."""

    def check_widths(self, context: DistillerContext) -> None:
        """All widths fit."""

    def distance(self) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        from mlbench_distillers.relations import Relations

        return Relations(self.distance_weight, self.angle_weight)
