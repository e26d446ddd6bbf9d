"""What a component would be, known before it is built: shapes of features, sizes, batches, centres,
advice."""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = [
    "Advice",
    "BackboneShape",
    "BatchesShape",
    "CentresShape",
    "Choice",
    "FeatureShape",
    "Features",
    "LossShape",
    "NeckShape",
    "Need",
    "TokensShape",
]


class FeatureShape(NamedTuple):
    """Shape of one feature map: channels, height, width. A pooled vector is a map of height and width 1."""

    channels: int
    height: int
    width: int


class TokensShape(NamedTuple):
    """Shape of one sequence of tokens, (tokens + height * width, channels): first the tokens that belong to
    no position of the image (class token, then registers), then the positions row by row."""

    channels: int
    height: int
    width: int
    tokens: int


#: The output of a backbone.
Features = FeatureShape | TokensShape


class BackboneShape(NamedTuple):
    """Size and output of a backbone; None where only building it can tell.

    version: what its results depend on besides options and code, such as the hash of a checkpoint file.
    """

    parameters: int | None
    feature_shape: Features | None
    version: str = ""


class NeckShape(NamedTuple):
    """Number of parameters of a neck, and the width of its embeddings."""

    parameters: int
    dim: int


#: What a loss may need in every batch: pairs of images of one class ("positives"), pairs of images of two
#: classes ("negatives"), the images of a class next to each other and as many of each class as there are
#: classes ("square"), or rows that are anchor, positive, negative, anchor, positive, negative, ...
#: ("triplets").
Need = Literal["positives", "negatives", "square", "triplets"]


class LossShape(NamedTuple):
    """Requirements of a loss: class centres for each class (0 for none), its own trained parameters, which
    are no part of the deployed model, and what it needs in a batch to learn from it.

    needs: of "positives" (pairs of one class), "negatives" (pairs of two classes), "triplets" (rows that are
    anchor, positive, negative, anchor, ...) and "square" (the images of a class next to each other, and as
    many of each as there are classes)."""

    centres_per_class: int = 0
    parameters: int = 0
    needs: tuple[Need, ...] = ()


class BatchesShape(NamedTuple):
    """Batches of one epoch: their number, and the largest number of different labels in one of them (None: as
    many as it has images).

    positives, negatives: least expected number of pairs of images of one class, and of two classes, in a
    batch; where both are None, the batches are not checked against the losses. grouped: classes in each batch
    and images of each, which stand next to each other; None where batches have no such layout. triplets:
    whether rows are anchor, positive, negative, anchor, ... drawn: expected share of the training images in
    an epoch, None where it is not known."""

    batches: int
    labels: int | None = None
    positives: float | None = None
    negatives: float | None = None
    grouped: tuple[int, int] | None = None
    triplets: bool = False
    drawn: float | None = None


class CentresShape(NamedTuple):
    """Number of parameters of the class centres. notes: warnings about this choice, one line each."""

    parameters: int
    notes: tuple[str, ...] = ()


class Choice(NamedTuple):
    """One way to train the class centres and its cost on this machine: centres in a step, peak bytes, seconds
    of a step."""

    name: str
    sampled: int
    bytes: int
    seconds: float


class Advice(NamedTuple):
    """Choices, the simplest first; a recommendation in a sentence or two; what the numbers were measured
    on."""

    choices: tuple[Choice, ...]
    recommendation: str
    basis: str
