"""Batches of triplets: an anchor, an image of its class, an image of another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from mlbench.contracts import BatchesShape
from mlbench.errors import OptionError, TrainingError

if TYPE_CHECKING:
    import numpy as np

    from mlbench_samplers.mining import Mined

__all__ = ["HardTriplets", "hard_triplets", "predict_hard_triplets"]

_Mining = Literal["hard", "random"]
_Count = Annotated[int, Field(ge=1)]


class HardTriplets:
    """Triplets mined with the model, or drawn at random as the control.

    A batch's rows are anchor, positive, negative, anchor, positive, negative, ... Every epoch has the same
    number of triplets: a random selection of the mined ones, or, where fewer were mined, each of them
    equally often (give or take one). notes: what each mining found.
    """

    def __init__(
        self,
        labels: np.ndarray,
        batch_size: int,
        embed: Callable[[], np.ndarray] | None,
        *,
        mining: _Mining,
        per_anchor: int | None,
        refresh: int,
        triplets: int | None,
    ) -> None:
        """labels: (N,) int64. The options are those of `hard_triplets`. Raises OptionError as it does."""
        self._length = _batches(labels, batch_size, triplets)
        self._per_batch = batch_size // 3
        self._labels = labels
        self._embed = embed
        self._mining = mining
        self._per_anchor = per_anchor
        self._refresh = refresh
        self._epoch = 0
        self._mined: Mined | None = None
        self.notes: list[str] = []

    def __len__(self) -> int:
        return self._length

    def batches(self, generator: np.random.Generator) -> Iterator[list[int]]:
        """Indices of each batch of one epoch.

        Mines first in every epoch in which mining is due. Raises TrainingError when the first mining finds no
        triplet; when a later one finds none, the earlier triplets stay.
        """
        import numpy as np

        if self._mined is None or (self._refresh and self._epoch % self._refresh == 0):
            self._mine(generator)
        self._epoch += 1
        assert self._mined is not None
        found = self._mined.triplets
        wanted = len(self) * self._per_batch
        rounds = -(-wanted // len(found))
        chosen = np.concatenate([generator.permutation(len(found)) for _ in range(rounds)])[:wanted]
        for rows in chosen.reshape(len(self), self._per_batch):
            yield found[rows].ravel().tolist()

    def _mine(self, generator: np.random.Generator) -> None:
        from mlbench_samplers.mining import mine_hard, mine_random

        if self._mining == "random":
            mined = mine_random(self._labels, self._per_anchor, generator)
        else:
            assert self._embed is not None, "batches are made by a run, which provides embed"
            mined = mine_hard(self._embed(), self._labels, self._per_anchor, generator)
        start = f"batch sampler hard_triplets, epoch {self._epoch + 1}: "
        if len(mined.triplets):
            self._mined = mined
            self.notes.append(start + mined.summary)
        elif self._mined is None:
            raise TrainingError(f"{start}{mined.summary}; set mining: random")
        else:
            self.notes.append(f"{start}{mined.summary}; the earlier triplets stay in use")


def hard_triplets(
    labels: np.ndarray,
    batch_size: int,
    embed: Callable[[], np.ndarray] | None,
    *,
    mining: _Mining = "hard",
    per_anchor: _Count | None = 5,
    refresh: Annotated[int, Field(ge=0)] = 0,
    triplets: _Count | None = None,
) -> HardTriplets:
    """Triplets that the model gets wrong at its own best threshold, or random ones as the control (mined
    offline, as Schroff et al. describe it, arXiv:1503.03832).

    Hard mining embeds the train split and finds t*, the cosine distance with the best F1 over all its pairs
    (of equals the strictest). Hard positives of an anchor are the images of its class at distance t* or
    more, hard negatives those of other classes at t* or less; its triplets combine one of each. An image
    without a hard positive or without a hard negative never trains as an anchor: the notes of a run count
    them. One mining takes as long as embedding and evaluating the train split. Random mining draws from all
    positives and all negatives instead. A batch's rows are anchor, positive, negative, anchor, positive,
    negative, ...; its size is a multiple of 3.

    Options
    -------
    mining: hard or random.
    per_anchor: the most triplets of one anchor, chosen at random; null for all.
    refresh: epochs between two minings, each with the model at that time; 0 mines once, with the model before
        the first step.
    triplets: triplets of an epoch, rounded down to whole batches; null for as many batches as `shuffle`
        makes.

    Raises OptionError for a batch size that is no multiple of 3, for triplets that fill no batch and for a
    train split that has no triplet, TrainingError in training where none is hard.
    """
    return HardTriplets(
        labels,
        batch_size,
        embed,
        mining=mining,
        per_anchor=per_anchor,
        refresh=refresh,
        triplets=triplets,
    )


def predict_hard_triplets(
    labels: Sequence[int],
    batch_size: int,
    *,
    mining: _Mining = "hard",
    per_anchor: int | None = 5,
    refresh: int = 0,
    triplets: int | None = None,
) -> BatchesShape:
    """The batches that `hard_triplets` would make. Raises OptionError as it does."""
    batches, count = _batches(labels, batch_size, triplets), batch_size // 3
    # An anchor and its positive share a label. Mining decides which images are drawn.
    return BatchesShape(batches, labels=2 * count, positives=count, negatives=2 * count, triplets=True)


def _batches(labels: Sequence[int] | np.ndarray, batch_size: int, triplets: int | None) -> int:
    """Batches of an epoch, or an OptionError."""
    per_batch, rest = divmod(batch_size, 3)
    if rest:
        near = " or ".join(str(3 * count) for count in (per_batch, per_batch + 1) if count)
        raise OptionError(
            f"batch sampler hard_triplets: batch size {batch_size} is no multiple of 3 (anchor, positive, "
            f"negative); set the recipe's batch_size to {near}"
        )
    sizes = Counter(labels)
    if len(sizes) < 2 or max(sizes.values()) < 2:
        raise OptionError(
            f"batch sampler hard_triplets: the train split has no triplet (classes: {len(sizes)}, images of "
            f"the largest: {max(sizes.values())}); expected 2 classes or more, and 2 images or more in one"
        )
    if triplets is None:
        return max(1, len(labels) // batch_size)
    if triplets < per_batch:
        raise OptionError(
            f"batch sampler hard_triplets: {triplets} triplets do not fill a batch of {batch_size} images; "
            f"expected at least {per_batch}, or lower the recipe's batch_size",
            "triplets",
        )
    return triplets // per_batch
