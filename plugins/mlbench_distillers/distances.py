"""Distances between embeddings and a teacher's: of each image by itself, or of relations between images.

All compare vectors of unit length. Unless told otherwise, embeddings go through a linear layer to the
teacher's width first, which is trained along and is no part of the deployed model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from mlbench.errors import OptionError

if TYPE_CHECKING:
    import torch

    from mlbench_distillers.distillation import Distillation

__all__ = ["cosine", "kl", "l1", "relational"]

_Images = Literal["clean", "augmented"]
_Weight = Annotated[float, Field(ge=0)]


def kl(
    dim: int,
    teacher_dim: int,
    *,
    temperature: Annotated[float, Field(gt=0)] = 1.0,
    weight: _Weight = 1.0,
    images: _Images = "clean",
    projection: bool = True,
) -> Distillation:
    """KL(softmax(teacher / temperature) || softmax(student / temperature)) over the teacher's dimensions,
    mean over the batch (after Hinton et al., arXiv:1503.02531, without their factor temperature²).

    For unit vectors and temperature 1 this is about (1 - cos) / teacher_dim, less than .004 for 512
    dimensions: with weight 1 almost nothing beside a margin loss, which starts near 38. A temperature t
    multiplies it by about 1 / t². The control is weight 0 with images clean: the
    model sees the same images, and nothing else changes.

    Options
    -------
    temperature: what the unit vectors are divided by, > 0.
    weight: what the distance is multiplied by, >= 0.
    images: whose embeddings are compared: clean (each image without augmentation, too) or augmented.
    projection: a linear layer to the teacher's width, without bias; false needs equal widths.

    Raises OptionError for widths that differ without a projection.
    """
    from mlbench_distillers.distillation import KL

    return _of_images("kl", KL(temperature), dim, teacher_dim, weight, images, projection)


def cosine(
    dim: int,
    teacher_dim: int,
    *,
    weight: _Weight = 1.0,
    images: _Images = "clean",
    projection: bool = True,
) -> Distillation:
    """1 - cos between embedding and teacher, mean over the batch: in [0, 2], near 1 at the start.

    That is half the squared difference of the unit vectors (after Romero et al., arXiv:1412.6550, whose
    student's features go through a layer of their own, too).

    Options
    -------
    weight: what the distance is multiplied by, >= 0.
    images: whose embeddings are compared: clean (each image without augmentation, too) or augmented.
    projection: a linear layer to the teacher's width, without bias; false needs equal widths.

    Raises OptionError for widths that differ without a projection.
    """
    from mlbench_distillers.distillation import cosine_distance

    return _of_images("cosine", cosine_distance, dim, teacher_dim, weight, images, projection)


def l1(
    dim: int,
    teacher_dim: int,
    *,
    weight: _Weight = 1.0,
    images: _Images = "clean",
    projection: bool = True,
) -> Distillation:
    """Absolute difference of the unit vectors, mean over the batch and over the teacher's dimensions (after
    Romero et al., arXiv:1412.6550, who square it).

    At most 2 / sqrt(teacher_dim), and near 1.1 / sqrt(teacher_dim) at the start: .05 for 512 dimensions.

    Options
    -------
    weight: what the distance is multiplied by, >= 0.
    images: whose embeddings are compared: clean (each image without augmentation, too) or augmented.
    projection: a linear layer to the teacher's width, without bias; false needs equal widths.

    Raises OptionError for widths that differ without a projection.
    """
    from mlbench_distillers.distillation import mean_absolute_difference

    return _of_images("l1", mean_absolute_difference, dim, teacher_dim, weight, images, projection)


def relational(
    dim: int,
    teacher_dim: int,
    *,
    distance_weight: _Weight = 1.0,
    angle_weight: _Weight = 2.0,
    weight: _Weight = 1.0,
    images: _Images = "clean",
    projection: bool = False,
) -> Distillation:
    """Relational knowledge distillation (Park et al., arXiv:1904.05068): how far apart the images of a batch
    are, and at which angles they see each other, shall be as the teacher has it. Any widths.

    Distances are divided by their mean over the batch; differences, of distances as of cosines of angles, go
    through the Huber loss with its bend at 1. The means are over pairs and triples of different images
    (published code has the empty ones among them, 1 / N of the pairs and 3 / N of the triples). Published
    weights are 1 and 2 for embeddings (the default) and 25 and 50 beside the cross entropy of a classifier;
    published student embeddings keep their length, here they have length 1 as wherever mlbench compares them.
    Angles take time with the cube of the batch (not memory): seconds of a CPU core for 512 images, where
    published batches have 128. With angle_weight 0 they cost nothing.

    Options
    -------
    distance_weight: of the distances, >= 0.
    angle_weight: of the angles, >= 0.
    weight: what both together are multiplied by, >= 0.
    images: whose embeddings are compared: clean (each image without augmentation, too) or augmented.
    projection: a linear layer to the teacher's width, without bias, first.
    """
    from mlbench_distillers.distillation import Distillation
    from mlbench_distillers.relations import Relations

    widths = (dim, teacher_dim) if projection else None
    return Distillation(Relations(distance_weight, angle_weight), widths, weight, images)


def _of_images(
    name: str,
    distance: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    dim: int,
    teacher_dim: int,
    weight: float,
    images: _Images,
    projection: bool,
) -> Distillation:
    from mlbench_distillers.distillation import Distillation

    if not projection and dim != teacher_dim:
        raise OptionError(
            f"distiller {name}: embeddings have {dim} dimensions and the teacher's {teacher_dim}; without a "
            f"projection they must agree: set projection: true, or the neck's dim to {teacher_dim}",
            "projection",
        )
    return Distillation(distance, (dim, teacher_dim) if projection else None, weight, images)
