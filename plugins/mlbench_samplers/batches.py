"""Which training images make up the batches of an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from mlbench.contracts import BatchesShape
from mlbench.errors import OptionError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["MPerClass", "Shuffle", "m_per_class", "predict_m_per_class", "predict_shuffle", "shuffle"]


class Shuffle:
    """All images in a random order; what is left at the end and fills no batch is left out.

    A data set smaller than one batch is one batch.
    """

    def __init__(self, labels: Sequence[int] | np.ndarray, batch_size: int) -> None:
        """labels: (N,) int64, N >= 1; only their number matters."""
        self._size = len(labels)
        self._batch_size = min(batch_size, len(labels))

    def __len__(self) -> int:
        return self._size // self._batch_size

    def batches(self, generator: np.random.Generator) -> Iterator[list[int]]:
        """Indices of each batch of one epoch."""
        order = generator.permutation(self._size)
        for start in range(0, len(self) * self._batch_size, self._batch_size):
            yield order[start : start + self._batch_size].tolist()


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
    return BatchesShape(len(Shuffle(labels, batch_size)))


def predict_m_per_class(labels: Sequence[int], batch_size: int, *, m: int = 4) -> BatchesShape:
    """What `m_per_class` would make. Raises OptionError as it does."""
    import numpy as np

    return BatchesShape(len(MPerClass(np.asarray(labels), batch_size, m)), labels=batch_size // m)
