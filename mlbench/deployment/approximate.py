"""Approximate search of large galleries, by a graph index (HNSW, arXiv:1603.09320) of usearch or faiss."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from mlbench.atomic_write import write_atomically
from mlbench.deployment.nearest import Nearest, nearest, rescored
from mlbench.environment import cache_dir
from mlbench.errors import ComponentError, StoreError
from mlbench.evaluation.embeddings import Embeddings, vector_norms
from mlbench.seeding import numpy_generator

__all__ = ["ApproximateSearch", "Library", "check_library"]

Library = Literal["usearch", "faiss"]

#: Distributions of the libraries.
_DISTRIBUTIONS = {"usearch": "usearch", "faiss": "faiss-cpu"}

#: Gallery rows that measure the recall as queries.
_SAMPLE = 100

#: Links of a vector, and candidates that are kept while the graph is built and searched.
_LINKS, _BUILT, _SEARCHED = 32, 128, 128


def check_library(library: Library) -> None:
    """Raise ComponentError where the library is not installed."""
    if find_spec(library) is None:
        raise ComponentError(f"--index {library} needs mlbench[search]: pip install 'mlbench[search]'")


class _Graph(Protocol):
    """An index of unit vectors."""

    def add(self, vectors: np.ndarray) -> None: ...

    def rows(self, queries: np.ndarray, count: int) -> np.ndarray:
        """(Q, K) rows, -1 for none."""
        ...

    def dump(self) -> bytes: ...

    def load(self, data: bytes) -> None: ...


class _Usearch:
    """threads: 0 for all cores."""

    def __init__(self, width: int, threads: int) -> None:
        from usearch.index import Index

        self._threads = threads
        self._index: Any = Index(
            ndim=width,
            metric="ip",
            dtype="f32",
            connectivity=_LINKS,
            expansion_add=_BUILT,
            expansion_search=_SEARCHED,
        )

    def add(self, vectors: np.ndarray) -> None:
        self._index.add(np.arange(len(vectors), dtype=np.uint64), vectors, threads=self._threads)

    def rows(self, queries: np.ndarray, count: int) -> np.ndarray:
        found = self._index.search(queries, count, threads=self._threads)
        if not hasattr(found, "counts"):  # the result for one query
            return np.asarray(found.keys, np.int64)[None]
        keys = np.asarray(found.keys).astype(np.int64)
        keys[np.arange(keys.shape[1])[None] >= np.asarray(found.counts)[:, None]] = -1
        return keys

    def dump(self) -> bytes:
        return bytes(self._index.save())

    def load(self, data: bytes) -> None:
        self._index.load(data)


class _Faiss:
    def __init__(self, width: int) -> None:
        import faiss

        self._index: Any = faiss.IndexHNSWFlat(width, _LINKS, faiss.METRIC_INNER_PRODUCT)
        self._index.hnsw.efConstruction = _BUILT
        self._index.hnsw.efSearch = _SEARCHED

    def add(self, vectors: np.ndarray) -> None:
        self._index.add(vectors)

    def rows(self, queries: np.ndarray, count: int) -> np.ndarray:
        found: np.ndarray = self._index.search(queries, count)[1]
        return found

    def dump(self) -> bytes:
        import faiss

        return bytes(faiss.serialize_index(self._index))

    def load(self, data: bytes) -> None:
        import faiss

        self._index = faiss.deserialize_index(np.frombuffer(data, np.uint8))
        self._index.hnsw.efSearch = _SEARCHED


class ApproximateSearch:
    """Search by a graph over the rows of a gallery, (N, D) of any length but zero; with the arguments and
    the order of `mlbench.deployment.nearest.nearest`, but it may miss rows.

    The graph is kept in the cache, by the content of the gallery. threads: of usearch, 0 for all cores; faiss
    takes those of OpenMP. built: seconds that building took, None
    where the graph was in the cache. Raises ComponentError without the library.
    """

    def __init__(self, library: Library, vectors: np.ndarray, threads: int = 0) -> None:
        check_library(library)
        self.library = library
        self.built: float | None = None
        self._vectors = vectors
        self._units = _unit(vectors)
        width = int(vectors.shape[1])
        self._graph: _Graph = _Usearch(width, threads) if library == "usearch" else _Faiss(width)
        file = _cached(library, self._units)
        if file.is_file():
            self._graph.load(file.read_bytes())
            return
        started = time.perf_counter()
        self._graph.add(self._units)
        self.built = time.perf_counter() - started
        with contextlib.suppress(StoreError):  # without the cache, the next search is slower
            write_atomically(file, self._graph.dump())

    def __call__(
        self, vectors: np.ndarray, queries: np.ndarray, count: int, own: Sequence[int] = ()
    ) -> Nearest:
        """As `nearest`, in the gallery, which `vectors` must be."""
        found = self._graph.rows(_unit(queries), min(count + bool(own), len(self._units)))
        known = [rows[rows >= 0] for rows in found]
        if own:
            known = [rows[rows != each] for rows, each in zip(known, own, strict=True)]
        return rescored(vectors, queries, known, count)

    def recall(self, count: int) -> tuple[float, int]:
        """Share of the `count` nearest rows of exact search that this search finds, where a row that is as
        near as the last of them counts; and the number of queries, which are rows of the gallery."""
        generator = numpy_generator(0, "recall of search")
        sample = np.sort(generator.permutation(len(self._vectors))[:_SAMPLE])
        count = min(count, len(self._vectors) - 1)
        if count < 1:
            return 1.0, len(sample)
        queries, own = self._vectors[sample], sample.tolist()
        exact = nearest(self._vectors, queries, count, own)
        found = self(self._vectors, queries, count, own)
        hits = found.similarities >= exact.similarities[:, -1:]
        return float(hits.mean()), len(sample)


def _unit(vectors: np.ndarray) -> np.ndarray:
    """(N, D) float32 of unit length."""
    norms = vector_norms(Embeddings.of(vectors, np.zeros(len(vectors), int), "gallery"))
    return np.ascontiguousarray(vectors / norms[:, None], np.float32)


def _cached(library: Library, units: np.ndarray) -> Path:
    """The file of the graph of these vectors."""
    settings = f"{library} {version(_DISTRIBUTIONS[library])} {_LINKS} {_BUILT} {units.shape}"
    digest = hashlib.blake2b(settings.encode(), digest_size=16)
    digest.update(units.data)
    return cache_dir() / "search" / f"{digest.hexdigest()}.{library}"
