"""The engine that scans all pairs of embeddings, with its settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlbench.environment import usable_cores
from mlbench.evaluation.all_pairs import AllPairs
from mlbench.evaluation.curve import Curve
from mlbench.evaluation.embeddings import Embeddings
from mlbench.evaluation.pair_counter import PairCounter, Progress
from mlbench.evaluation.pair_scan import PairScan, scan_pairs
from mlbench.evaluation.products import Products
from mlbench.evaluation.ranks import Ranks

__all__ = ["Engine", "verification_curve"]

#: Bins of the histograms by class that intervals are computed from.
_BINS = 256


@dataclass(frozen=True)
class Engine:
    """How pairs are scored and metrics are resampled.

    memory: bytes besides the embeddings. products: precision of the similarities. resamples: of the
    bootstrap, 0 for no intervals. level: of the intervals. threads: on the CPU, None for all cores.
    """

    memory: int = 512 << 20
    products: Products = "float32"
    resamples: int = 1000
    level: float = 0.95
    threads: int | None = None
    progress: Progress = lambda done, total: None

    def scan(
        self,
        pairs: AllPairs,
        per_query: Callable[[Ranks], Mapping[str, np.ndarray]] = lambda ranks: {},
        *,
        thresholds: Sequence[float] = (),
        sweep: Sequence[float] = (),
        histograms: bool = False,
        accepted_from: float | None = None,
    ) -> PairScan:
        """`scan_pairs` with these settings. histograms: whether to count them, if the engine resamples."""
        return scan_pairs(
            pairs,
            self._counter(pairs),
            per_query,
            thresholds=thresholds,
            sweep=sweep,
            bins=_BINS if histograms and self.resamples else 0,
            accepted_from=accepted_from,
            memory=self.memory // 2,
            progress=self.progress,
        )

    def scores(self, pairs: AllPairs) -> Iterator[tuple[int, int, np.ndarray]]:
        """The scores of all pairs, as `scan` computes them, for a few queries: first row, first column and
        scores of each tile, (rows, columns) float32, which the next tile may overwrite."""
        counter, count = self._counter(pairs), len(pairs.queries)
        for start in range(0, count, counter.tile):
            for left, scores in counter.scores(start, min(start + counter.tile, count)):
                yield start, left, scores

    def _counter(self, pairs: AllPairs) -> PairCounter:
        """The counter for the device that holds the embeddings."""
        if isinstance(pairs.queries.vectors, np.ndarray):
            from mlbench.evaluation.cpu_counter import CpuCounter

            threads = self.threads or usable_cores()
            return CpuCounter(pairs, threads=threads, products=self.products, memory=self.memory // 2)
        from mlbench.evaluation.torch_counter import TorchCounter

        return TorchCounter(pairs, products=self.products)


def verification_curve(embeddings: Embeddings, engine: Engine) -> Curve:
    """The exact curve over all pairs of the embeddings. Raises DataError as `AllPairs.of` does."""
    return engine.scan(AllPairs.of(embeddings)).curve
