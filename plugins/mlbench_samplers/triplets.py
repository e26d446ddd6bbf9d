"""Batches of triplets: an anchor, an image of its class, an image of another class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from mlbench.plugin import BatchContext, BatchesShape, BatchSamplerOptions, OptionError, TrainingError

if TYPE_CHECKING:
    import numpy as np

    from mlbench_samplers.mining import Mined

__all__ = ["HardTriplets", "TripletBatches"]

_Count = Annotated[int, Field(ge=1)]


class HardTriplets(BatchSamplerOptions):
    """Triplets that the model gets wrong at its own best threshold, or random ones as the control (mined
    offline, as Schroff et al. describe it, arXiv:1503.03832).

    Hard mining embeds the train split and finds t*, the cosine distance with the best F1 over all its pairs
    (the strictest one of several). Hard positives of an anchor are the images of its class at distance t* or
    more, hard negatives those of other classes at t* or less; its triplets combine one of each. An image
    without a hard positive or without a hard negative never trains as an anchor: the notes of a run count
    them. One mining takes as long as embedding and evaluating the train split. Random mining draws from all
    positives and all negatives instead. The rows of a batch are anchor, positive, negative, anchor, positive,
    negative, ...; its size is a multiple of 3.

    Raises OptionError for a batch size that is no multiple of 3, for triplets that fill no batch and for a
    train split that has no triplet; TrainingError in training where no triplet is hard.
    """

    mining: Literal["hard", "random"] = "hard"
    """How triplets are chosen: hard or random."""
    per_anchor: _Count | None = 5
    """The most triplets of one anchor, chosen at random; null for all."""
    refresh: Annotated[int, Field(ge=0)] = 0
    """Epochs between two minings, each with the model at that time; 0 mines once, with the model before the
    first step."""
    triplets: _Count | None = None
    """Triplets of an epoch, rounded down to whole batches; null for as many batches as `shuffle` makes."""

    def predict(self, context: BatchContext) -> BatchesShape:
        count = context.batch_size // 3
        # An anchor and its positive share a label. Mining decides which images are drawn.
        return BatchesShape(
            self._batches(context), labels=2 * count, positives=count, negatives=2 * count, triplets=True
        )

    def build(self, context: BatchContext) -> TripletBatches:
        batches, per_batch = self._batches(context), context.batch_size // 3
        return TripletBatches(partial(self._mine, context), batches, per_batch, self.refresh)

    def _mine(self, context: BatchContext, generator: np.random.Generator) -> Mined:
        import numpy as np

        from mlbench_samplers.mining import mine_hard, mine_random

        labels = np.asarray(context.labels)
        if self.mining == "random":
            return mine_random(labels, self.per_anchor, generator)
        assert context.embed is not None, "a run provides embed"
        return mine_hard(context.embed(), labels, self.per_anchor, generator)

    def _batches(self, context: BatchContext) -> int:
        """Batches of an epoch. Raises OptionError."""
        batch_size, triplets = context.batch_size, self.triplets
        per_batch, rest = divmod(batch_size, 3)
        if rest:
            near = " or ".join(str(3 * count) for count in (per_batch, per_batch + 1) if count)
            raise OptionError(
                f"batch sampler hard_triplets: batch size {batch_size} is no multiple of 3 (anchor, "
                f"positive, negative); set the recipe's batch_size to {near}"
            )
        sizes = Counter(context.labels)
        if len(sizes) < 2 or max(sizes.values()) < 2:
            raise OptionError(
                f"batch sampler hard_triplets: the train split has no triplet (classes: {len(sizes)}, images "
                f"of the largest: {max(sizes.values())}); expected 2 classes or more, and 2 images or more "
                "in one"
            )
        if triplets is None:
            return max(1, len(context.labels) // batch_size)
        if triplets < per_batch:
            raise OptionError(
                f"batch sampler hard_triplets: {triplets} triplets do not fill a batch of {batch_size} "
                f"images; expected at least {per_batch}, or lower the recipe's batch_size",
                "triplets",
            )
        return triplets // per_batch


class TripletBatches:
    """Triplets mined with the model, or drawn at random as the control.

    A batch's rows are anchor, positive, negative, anchor, positive, negative, ... Every epoch has the same
    number of triplets: a random selection of the mined ones, or, where fewer were mined, each of them
    equally often (give or take one). notes: what each mining found.
    """

    def __init__(
        self, mine: Callable[[np.random.Generator], Mined], batches: int, per_batch: int, refresh: int
    ) -> None:
        """batches: in an epoch. per_batch: triplets in a batch. refresh: as `HardTriplets` has it."""
        self._mine_now = mine
        self._length = batches
        self._per_batch = per_batch
        self._refresh = refresh
        self._epoch = 0
        self._mined: Mined | None = None
        self.notes: list[str] = []

    def __len__(self) -> int:
        return self._length

    def state_dict(self) -> dict[str, Any]:
        """The triplets in use, the number of the epoch, and the notes."""
        import torch

        mined = None
        if self._mined is not None:
            mined = [torch.from_numpy(self._mined.triplets), self._mined.summary]
        return {"epoch": self._epoch, "mined": mined, "notes": self.notes}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load the output of `state_dict`."""
        from mlbench_samplers.mining import Mined

        self._epoch, self.notes = state["epoch"], list(state["notes"])
        if state["mined"] is not None:
            triplets, summary = state["mined"]
            self._mined = Mined(triplets.numpy(), summary)

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
        mined = self._mine_now(generator)
        start = f"batch sampler hard_triplets, epoch {self._epoch + 1}: "
        if len(mined.triplets):
            self._mined = mined
            self.notes.append(start + mined.summary)
        elif self._mined is None:
            raise TrainingError(f"{start}{mined.summary}; set mining: random")
        else:
            self.notes.append(f"{start}{mined.summary}; the earlier triplets stay in use")
