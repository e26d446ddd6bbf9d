"""Batch samplers that draw independently in each epoch: all but `hard_triplets`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from mlbench.plugin import BatchContext, BatchesShape, BatchSamplerOptions, OptionError
from mlbench_samplers.expected_pairs import (
    class_sizes,
    drawn_with_replacement,
    pairs_by_class,
    pairs_with_replacement,
    pairs_without_replacement,
)

if TYPE_CHECKING:
    import numpy as np

__all__ = ["DrawnBatches", "MPerClass", "Repeated", "Shuffle", "Uniform"]


class DrawnBatches:
    """Batches that `draw` draws in each epoch, `length` of them."""

    def __init__(self, length: int, draw: Callable[[np.random.Generator], Iterator[list[int]]]) -> None:
        self._length = length
        self.batches = draw

    def __len__(self) -> int:
        return self._length


class _Drawn(BatchSamplerOptions):
    """Options of a batch sampler that keeps nothing from one epoch to the next."""

    def build(self, context: BatchContext) -> DrawnBatches:
        return DrawnBatches(self.length(context), partial(self.draw, context))

    def length(self, context: BatchContext) -> int:
        """Batches in an epoch. Raises OptionError for impossible batches."""
        return max(1, len(context.labels) // context.batch_size)

    @abstractmethod
    def draw(self, context: BatchContext, generator: np.random.Generator) -> Iterator[list[int]]:
        """Indices of each batch of one epoch."""


class Shuffle(_Drawn):
    """All images in a random order, cut into batches. Images that do not fill a last batch are left out; a
    data set smaller than one batch is one batch."""

    def predict(self, context: BatchContext) -> BatchesShape:
        return Repeated(repeats=1).predict(context)._replace(labels=None)

    def draw(self, context: BatchContext, generator: np.random.Generator) -> Iterator[list[int]]:
        return Repeated(repeats=1).draw(context, generator)


class Repeated(_Drawn):
    """Repeated augmentation (Berman et al., arXiv:1902.05509; as in arXiv:2110.00476): each image comes
    several times in a batch and is augmented each time.

    The repeats of an image stand next to each other, as in the literature and with timm's `RepeatAugSampler`
    on one process; the end of a batch may separate them. An epoch has as many batches as one of `shuffle`, so
    it shows about one in `repeats` of the images. timm rounds an epoch down to a multiple of 256 images; here
    it has all whole batches, and a data set smaller than one batch is one batch.
    """

    repeats: Annotated[int, Field(ge=1)] = 3
    """Times that an image comes; 1 is `shuffle`."""

    def predict(self, context: BatchContext) -> BatchesShape:
        count, batches, repeats = len(context.labels), self.length(context), self.repeats
        size = min(context.batch_size, count)
        # The place among an image's repeats at which a batch starts has a period of at most `repeats`.
        starts = (batch * size for batch in range(min(batches, repeats)))
        images = max((start + size - 1) // repeats - start // repeats + 1 for start in starts)
        pairs = pairs_without_replacement(class_sizes(context.labels), size, repeats)
        shown = -(-batches * size // repeats)
        return BatchesShape(batches, images, *pairs, drawn=shown / count)

    def draw(self, context: BatchContext, generator: np.random.Generator) -> Iterator[list[int]]:
        count = len(context.labels)
        size = min(context.batch_size, count)
        order = generator.permutation(count).repeat(self.repeats)
        for start in range(0, self.length(context) * size, size):
            yield order[start : start + size].tolist()


class Uniform(_Drawn):
    """Images drawn uniformly with replacement, so the length of an epoch need not depend on the data. A batch
    has batch_size images, also where the data set has fewer."""

    steps: Annotated[int, Field(ge=1)] | None = None
    """Batches in an epoch; null for as many as `shuffle` makes."""
    by: Literal["image", "class"] = "image"
    """What is drawn uniformly: image, or class, with one random image of each drawn class."""

    def predict(self, context: BatchContext) -> BatchesShape:
        batches, sizes = self.length(context), class_sizes(context.labels)
        count = len(context.labels)
        shares = [size / count if self.by == "image" else 1 / len(sizes) for size in sizes]
        chances = [share / size for share, size in zip(shares, sizes, strict=True)]
        drawn = drawn_with_replacement(sizes, chances, batches * context.batch_size)
        return BatchesShape(batches, None, *pairs_with_replacement(shares, context.batch_size), drawn=drawn)

    def length(self, context: BatchContext) -> int:
        return self.steps or super().length(context)

    def draw(self, context: BatchContext, generator: np.random.Generator) -> Iterator[list[int]]:
        import numpy as np

        labels, size = context.labels, context.batch_size
        if self.by == "image":
            for _ in range(self.length(context)):
                yield generator.integers(len(labels), size=size).tolist()
            return
        order = np.argsort(labels, kind="stable")
        sizes = np.unique(labels, return_counts=True)[1]
        starts = np.cumsum(sizes) - sizes
        for _ in range(self.length(context)):
            classes = generator.integers(len(sizes), size=size)
            yield order[starts[classes] + generator.integers(sizes[classes])].tolist()


class MPerClass(_Drawn):
    """Batches of batch_size / m random classes with m images of each (Hermans et al., arXiv:1703.07737).

    Classes are drawn without replacement within a batch, and so are the images of a class that has m of them;
    each image of a smaller class comes at least floor(m / images) times. An epoch has as many batches as one
    of `shuffle`.

    Raises OptionError if m does not divide the batch size or the train split has too few classes.
    """

    m: Annotated[int, Field(ge=2)] = 4
    """Images of each class in a batch; divides the batch size."""

    def predict(self, context: BatchContext) -> BatchesShape:
        sizes = class_sizes(context.labels)
        classes = self._classes(context, len(sizes))
        batches = super().length(context)
        chances = [classes / len(sizes) * min(self.m, size) / size for size in sizes]
        return BatchesShape(
            batches,
            classes,
            *pairs_by_class(classes, self.m),
            grouped=(classes, self.m),
            drawn=drawn_with_replacement(sizes, chances, batches),
        )

    def length(self, context: BatchContext) -> int:
        import numpy as np

        self._classes(context, len(np.unique(context.labels)))
        return super().length(context)

    def draw(self, context: BatchContext, generator: np.random.Generator) -> Iterator[list[int]]:
        import numpy as np

        labels = np.asarray(context.labels)
        order = np.argsort(labels, kind="stable")
        members = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
        classes = self._classes(context, len(members))
        for _ in range(super().length(context)):
            batch: list[int] = []
            for label in generator.choice(len(members), classes, replace=False):
                images = members[label]
                rounds = -(-self.m // len(images))
                drawn = np.concatenate([generator.permutation(images) for _ in range(rounds)])
                batch.extend(drawn[: self.m].tolist())
            yield batch

    def _classes(self, context: BatchContext, available: int) -> int:
        """Classes in a batch. available: in the train split. Raises OptionError."""
        classes, rest = divmod(context.batch_size, self.m)
        if rest:
            raise OptionError(
                f"batch sampler m_per_class: m {self.m} does not divide the batch size {context.batch_size}; "
                "change one of them",
                "m",
            )
        if classes > available:
            raise OptionError(
                f"batch sampler m_per_class: {context.batch_size} images with {self.m} of each class need "
                f"{classes} classes, and the train split has {available}; raise m or lower the recipe's "
                "batch_size",
                "m",
            )
        return classes
