"""Which training images make up the batches of an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from mlbench.contracts import BatchesShape
from mlbench.errors import OptionError
from mlbench_samplers.expected import (
    class_sizes,
    drawn_with_replacement,
    pairs_by_class,
    pairs_with_replacement,
    pairs_without_replacement,
)

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "MPerClass",
    "Shuffle",
    "Uniform",
    "m_per_class",
    "predict_m_per_class",
    "predict_repeated",
    "predict_shuffle",
    "predict_uniform",
    "repeated",
    "shuffle",
    "uniform",
]


class Shuffle:
    """All images in a random order, each `repeats` times in a row; what is left once there are as many
    batches as the images fill without repeats is left out.

    A data set smaller than one batch is one batch.
    """

    def __init__(self, labels: Sequence[int] | np.ndarray, batch_size: int, repeats: int = 1) -> None:
        """labels: (N,) int64, N >= 1; only their number matters."""
        self._size = len(labels)
        self._batch_size = min(batch_size, len(labels))
        self._repeats = repeats

    def __len__(self) -> int:
        return self._size // self._batch_size

    @property
    def images(self) -> int:
        """The most different images that a batch holds."""
        size, repeats = self._batch_size, self._repeats
        # Where a batch starts among the repeats of an image recurs after so many batches.
        starts = (at * size for at in range(min(len(self), repeats)))
        return max((start + size - 1) // repeats - start // repeats + 1 for start in starts)

    def batches(self, generator: np.random.Generator) -> Iterator[list[int]]:
        """Indices of each batch of one epoch."""
        order = generator.permutation(self._size).repeat(self._repeats)
        for start in range(0, len(self) * self._batch_size, self._batch_size):
            yield order[start : start + self._batch_size].tolist()


class Uniform:
    """Batches of images drawn uniformly with replacement, or of classes so drawn and an image of each.

    A batch has batch_size images even of a data set that has fewer.
    """

    def __init__(
        self,
        labels: Sequence[int] | np.ndarray,
        batch_size: int,
        steps: int | None = None,
        by: Literal["image", "class"] = "image",
    ) -> None:
        """labels: (N,) int64, N >= 1. steps: batches in an epoch, None for as many as `Shuffle` makes."""
        self._labels = labels
        self._batch_size = batch_size
        self._length = steps or max(1, len(labels) // batch_size)
        self._by = by

    def __len__(self) -> int:
        return self._length

    def batches(self, generator: np.random.Generator) -> Iterator[list[int]]:
        """Indices of each batch of one epoch."""
        import numpy as np

        if self._by == "image":
            for _ in range(len(self)):
                yield generator.integers(len(self._labels), size=self._batch_size).tolist()
            return
        order = np.argsort(self._labels, kind="stable")
        sizes = np.unique(self._labels, return_counts=True)[1]
        starts = np.cumsum(sizes) - sizes
        for _ in range(len(self)):
            classes = generator.integers(len(sizes), size=self._batch_size)
            yield order[starts[classes] + generator.integers(sizes[classes])].tolist()


class MPerClass:
    """Batches of batch_size / m random classes with m images of each (Hermans et al., arXiv:1703.07737).

    Classes are drawn without replacement within a batch. So are images, where a class has m of them; a
    class with fewer gives each at least floor(m / images) times. An epoch has as many batches as
    `Shuffle` makes, so that the two train for equally many steps.
    """

    def __init__(self, labels: np.ndarray, batch_size: int, m: int) -> None:
        """labels: (N,) int64, N >= 1. Raises OptionError if such batches cannot be formed."""
        import numpy as np

        order = np.argsort(labels, kind="stable")
        starts = np.flatnonzero(np.diff(labels[order], prepend=labels[order[0]] - 1))
        self._members = np.split(order, starts[1:])
        self._m = m
        self._classes = batch_size // m
        self._length = max(1, len(labels) // batch_size)
        if batch_size % m:
            raise OptionError(
                f"batch sampler m_per_class: m {m} does not divide the batch size {batch_size}; "
                "change one of them",
                "m",
            )
        if self._classes > len(self._members):
            raise OptionError(
                f"batch sampler m_per_class: {batch_size} images with {m} of each class need "
                f"{self._classes} classes, and the train split has {len(self._members)}; "
                "raise m or lower the recipe's batch_size",
                "m",
            )

    def __len__(self) -> int:
        return self._length

    def batches(self, generator: np.random.Generator) -> Iterator[list[int]]:
        """Indices of each batch of one epoch; the images of a class stand together."""
        import numpy as np

        for _ in range(len(self)):
            batch: list[int] = []
            for label in generator.choice(len(self._members), self._classes, replace=False):
                members = self._members[label]
                rounds = -(-self._m // len(members))
                images = np.concatenate([generator.permutation(members) for _ in range(rounds)])
                batch.extend(images[: self._m].tolist())
            yield batch


def shuffle(labels: np.ndarray, batch_size: int) -> Shuffle:
    """A random order of all images, cut into batches."""
    return Shuffle(labels, batch_size)


def repeated(labels: np.ndarray, batch_size: int, *, repeats: Annotated[int, Field(ge=1)] = 3) -> Shuffle:
    """Repeated augmentation (Berman et al., arXiv:1902.05509; as in arXiv:2110.00476): a batch holds the
    images it has several times, each time augmented anew.

    The repeats of an image stand side by side, in one batch but for those that the end of a batch parts:
    as they do in the literature, and with timm's `RepeatAugSampler` on one process. An epoch has as many
    batches as that of `shuffle`, so it shows about one in `repeats` of the images. Unlike timm, which
    rounds an epoch down to a multiple of 256 images, it has as many whole batches as there are, and a data
    set smaller than a batch is one batch.

    Options
    -------
    repeats: how often an image comes; 1 is `shuffle`.
    """
    return Shuffle(labels, batch_size, repeats)


def uniform(
    labels: np.ndarray,
    batch_size: int,
    *,
    steps: Annotated[int, Field(ge=1)] | None = None,
    by: Literal["image", "class"] = "image",
) -> Uniform:
    """Images drawn uniformly with replacement, so that the length of an epoch need not follow the data.

    Options
    -------
    steps: batches in an epoch; null for as many as `shuffle` makes.
    by: what is drawn uniformly: image, or class, with an image of each class that is drawn.
    """
    return Uniform(labels, batch_size, steps, by)


def m_per_class(labels: np.ndarray, batch_size: int, *, m: Annotated[int, Field(ge=2)] = 4) -> MPerClass:
    """Random classes, with the same number of images of each (arXiv:1703.07737).

    Options
    -------
    m: images of each class in a batch; divides the batch size.

    Raises OptionError if m does not divide the batch size or the train split has too few classes.
    """
    return MPerClass(labels, batch_size, m)


def predict_shuffle(labels: Sequence[int], batch_size: int) -> BatchesShape:
    """What `shuffle` would make."""
    return predict_repeated(labels, batch_size, repeats=1)._replace(labels=None)


def predict_repeated(labels: Sequence[int], batch_size: int, *, repeats: int = 3) -> BatchesShape:
    """What `repeated` would make."""
    sampler = Shuffle(labels, batch_size, repeats)
    size = min(batch_size, len(labels))
    pairs = pairs_without_replacement(class_sizes(labels), size, repeats)
    shown = -(-len(sampler) * size // repeats)
    return BatchesShape(len(sampler), sampler.images, *pairs, drawn=shown / len(labels))


def predict_uniform(
    labels: Sequence[int],
    batch_size: int,
    *,
    steps: int | None = None,
    by: Literal["image", "class"] = "image",
) -> BatchesShape:
    """What `uniform` would make."""
    batches = len(Uniform(labels, batch_size, steps, by))
    sizes = class_sizes(labels)
    shares = [size / len(labels) if by == "image" else 1 / len(sizes) for size in sizes]
    chances = [share / size for share, size in zip(shares, sizes, strict=True)]
    drawn = drawn_with_replacement(sizes, chances, batches * batch_size)
    return BatchesShape(batches, None, *pairs_with_replacement(shares, batch_size), drawn=drawn)


def predict_m_per_class(labels: Sequence[int], batch_size: int, *, m: int = 4) -> BatchesShape:
    """What `m_per_class` would make. Raises OptionError as it does."""
    import numpy as np

    batches = len(MPerClass(np.asarray(labels), batch_size, m))
    classes = batch_size // m
    sizes = class_sizes(labels)
    chances = [classes / len(sizes) * min(m, size) / size for size in sizes]
    return BatchesShape(
        batches,
        classes,
        *pairs_by_class(classes, m),
        grouped=(classes, m),
        drawn=drawn_with_replacement(sizes, chances, batches),
    )
