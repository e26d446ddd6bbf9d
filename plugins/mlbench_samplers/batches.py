"""Batch samplers: options and predictions of all but `hard_triplets`."""

from __future__ import annotations

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
    from collections.abc import Iterator

    import numpy as np

__all__ = [
    "BatchesByClass",
    "MPerClass",
    "Repeated",
    "Shuffle",
    "ShuffledBatches",
    "Uniform",
    "UniformBatches",
]


class Shuffle(BatchSamplerOptions):
    """All images in a random order, cut into batches. Images that do not fill a last batch are left out; a
    data set smaller than one batch is one batch."""

    def predict(self, context: BatchContext) -> BatchesShape:
        return Repeated(repeats=1).predict(context)._replace(labels=None)

    def build(self, context: BatchContext) -> ShuffledBatches:
        return ShuffledBatches(len(context.labels), context.batch_size)


class Repeated(BatchSamplerOptions):
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
        count, batches = len(context.labels), self.build(context)
        size = min(context.batch_size, count)
        pairs = pairs_without_replacement(class_sizes(context.labels), size, self.repeats)
        shown = -(-len(batches) * size // self.repeats)
        return BatchesShape(len(batches), batches.images, *pairs, drawn=shown / count)

    def build(self, context: BatchContext) -> ShuffledBatches:
        return ShuffledBatches(len(context.labels), context.batch_size, self.repeats)


class Uniform(BatchSamplerOptions):
    """Images drawn uniformly with replacement, so the length of an epoch need not depend on the data. A batch
    has batch_size images, also where the data set has fewer."""

    steps: Annotated[int, Field(ge=1)] | None = None
    """Batches in an epoch; null for as many as `shuffle` makes."""
    by: Literal["image", "class"] = "image"
    """What is drawn uniformly: image, or class, with one random image of each drawn class."""

    def predict(self, context: BatchContext) -> BatchesShape:
        batches, sizes = len(self.build(context)), class_sizes(context.labels)
        count = len(context.labels)
        shares = [size / count if self.by == "image" else 1 / len(sizes) for size in sizes]
        chances = [share / size for share, size in zip(shares, sizes, strict=True)]
        drawn = drawn_with_replacement(sizes, chances, batches * context.batch_size)
        return BatchesShape(batches, None, *pairs_with_replacement(shares, context.batch_size), drawn=drawn)

    def build(self, context: BatchContext) -> UniformBatches:
        batches = self.steps or max(1, len(context.labels) // context.batch_size)
        return UniformBatches(context, batches, by_class=self.by == "class")


class MPerClass(BatchSamplerOptions):
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
        batches = max(1, len(context.labels) // context.batch_size)
        chances = [classes / len(sizes) * min(self.m, size) / size for size in sizes]
        return BatchesShape(
            batches,
            classes,
            *pairs_by_class(classes, self.m),
            grouped=(classes, self.m),
            drawn=drawn_with_replacement(sizes, chances, batches),
        )

    def build(self, context: BatchContext) -> BatchesByClass:
        import numpy as np

        labels = np.asarray(context.labels)
        order = np.argsort(labels, kind="stable")
        starts = np.flatnonzero(np.diff(labels[order], prepend=labels[order[0]] - 1))
        members = np.split(order, starts[1:])
        classes = self._classes(context, len(members))
        return BatchesByClass(members, classes, self.m, max(1, len(labels) // context.batch_size))

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


class ShuffledBatches:
    """All images in a random order, each `repeats` times in a row, cut into as many batches as the images
    fill without repeats; the rest is left out. A data set smaller than one batch is one batch."""

    def __init__(self, images: int, batch_size: int, repeats: int = 1) -> None:
        """images: in the train split, at least 1."""
        self._size = images
        self._batch_size = min(batch_size, images)
        self._repeats = repeats

    def __len__(self) -> int:
        return self._size // self._batch_size

    @property
    def images(self) -> int:
        """The largest number of different images in a batch."""
        size, repeats = self._batch_size, self._repeats
        # Batch b starts at repeat b * size % repeats of an image, which has a period of at most `repeats`.
        starts = (batch * size for batch in range(min(len(self), repeats)))
        return max((start + size - 1) // repeats - start // repeats + 1 for start in starts)

    def batches(self, generator: np.random.Generator) -> Iterator[list[int]]:
        """Indices of each batch of one epoch."""
        order = generator.permutation(self._size).repeat(self._repeats)
        for start in range(0, len(self) * self._batch_size, self._batch_size):
            yield order[start : start + self._batch_size].tolist()


class UniformBatches:
    """Batches of images drawn uniformly with replacement, or of one image of each of uniformly drawn
    classes."""

    def __init__(self, context: BatchContext, batches: int, *, by_class: bool) -> None:
        self._labels = context.labels
        self._batch_size = context.batch_size
        self._length = batches
        self._by_class = by_class

    def __len__(self) -> int:
        return self._length

    def batches(self, generator: np.random.Generator) -> Iterator[list[int]]:
        """Indices of each batch of one epoch."""
        import numpy as np

        if not self._by_class:
            for _ in range(len(self)):
                yield generator.integers(len(self._labels), size=self._batch_size).tolist()
            return
        order = np.argsort(self._labels, kind="stable")
        sizes = np.unique(self._labels, return_counts=True)[1]
        starts = np.cumsum(sizes) - sizes
        for _ in range(len(self)):
            classes = generator.integers(len(sizes), size=self._batch_size)
            yield order[starts[classes] + generator.integers(sizes[classes])].tolist()


class BatchesByClass:
    """Batches of `classes` random classes with m images of each, which stand next to each other."""

    def __init__(self, members: list[np.ndarray], classes: int, m: int, batches: int) -> None:
        """members: indices of the images of each class. batches: in an epoch."""
        self._members = members
        self._classes = classes
        self._m = m
        self._length = batches

    def __len__(self) -> int:
        return self._length

    def batches(self, generator: np.random.Generator) -> Iterator[list[int]]:
        """Indices of each batch of one epoch."""
        import numpy as np

        for _ in range(len(self)):
            batch: list[int] = []
            for label in generator.choice(len(self._members), self._classes, replace=False):
                members = self._members[label]
                rounds = -(-self._m // len(members))
                images = np.concatenate([generator.permutation(members) for _ in range(rounds)])
                batch.extend(images[: self._m].tolist())
            yield batch
