"""Search: the images of a gallery that are nearest to query images, and which of them are the same."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from mlbench.deployment.card import Card
from mlbench.deployment.embedding import EmbeddedImages
from mlbench.deployment.nearest import Nearest, nearest
from mlbench.errors import DataError, StoreError, hint
from mlbench.evaluation.embedding_files import read_vectors
from mlbench.evaluation.image_sources import ROOT, read_sources
from mlbench.evaluation.similarity_grid import on_grid
from mlbench.names import one_form

__all__ = ["Found", "Gallery", "Neighbour", "Query", "check_model", "search"]

#: Names among which a similar one is looked for.
_COMPARED = 20_000


@dataclass(frozen=True)
class Gallery:
    """Embedded images to search, in the order of their names, so that ties are in that order too.

    name: of the file or folder. vectors: (N, D). images, labels: of each row; a label is "" for none. card:
    of the model that made them, None where that is not known. root: folder that relative paths start at.
    """

    name: str
    vectors: np.ndarray
    images: Sequence[str]
    labels: Sequence[str]
    card: Card | None
    root: Path

    @classmethod
    def read(cls, file: Path) -> Gallery:
        """A file of embeddings. Raises DataError for one that cannot be read or names no images."""
        sources = read_sources(file)
        if sources is None:
            raise DataError(
                f"{file}: names no images (column path, or array paths); make such a file with: mlbench embed"
            )
        vectors = read_vectors(file)
        if len(vectors) != len(sources):
            raise DataError(f"{file}: {len(sources)} paths for {len(vectors)} embeddings; expected one each")
        known = sources.provenance
        card = Card.read(known, str(file)) if known else None
        names = [sources.name(row) for row in range(len(sources))]
        return cls._ordered(str(file), vectors, names, sources.labels, card, Path(known.get(ROOT, "")))

    @classmethod
    def of(cls, place: Path, found: EmbeddedImages) -> Gallery:
        """The images of a folder or manifest, newly embedded."""
        names, labels = [str(each) for each in found.images], [each.label for each in found.images]
        return cls._ordered(str(place), found.vectors, names, labels, found.card, found.root)

    @classmethod
    def _ordered(
        cls,
        name: str,
        vectors: np.ndarray,
        images: Sequence[str],
        labels: Sequence[str],
        card: Card | None,
        root: Path,
    ) -> Gallery:
        order = sorted(range(len(images)), key=images.__getitem__)
        if order != list(range(len(images))):
            vectors = vectors[order]
        return cls(name, vectors, [images[at] for at in order], [labels[at] for at in order], card, root)

    @cached_property
    def _rows(self) -> Mapping[str, int]:
        return {one_form(name): row for row, name in enumerate(self.images)}

    def row(self, text: str) -> int | None:
        """The row of an image that is given as a file or as the gallery names it; None for an image file that
        is not in the gallery. Raises DataError for text that is neither."""
        named = self._rows.get(one_form(text))
        path = Path(text)
        if not path.exists():
            if named is None:
                near = hint(text, self.images[:_COMPARED], show=3)
                raise DataError(f"{text}: neither an image file nor an image of {self.name} ({near})")
            return named
        # The same file under another path.
        inside = os.path.relpath(path.resolve(), self.root.resolve())
        for each in (inside, str(path.resolve())):
            if (row := self._rows.get(one_form(Path(each).as_posix()))) is not None:
                return row
        return None


@dataclass(frozen=True)
class Query:
    """A query: its name, its embedding (D,), and its row in the gallery, which is not found; -1 for none."""

    name: str
    vector: np.ndarray
    row: int = -1


@dataclass(frozen=True)
class Neighbour:
    """An image that was found. similarity: the cosine. same: whether it is a match; None without a
    threshold."""

    image: str
    label: str
    similarity: float
    same: bool | None

    @property
    def distance(self) -> float:
        """The cosine distance."""
        return 1.0 - self.similarity


@dataclass(frozen=True)
class Found:
    """The images nearest to a query, the nearest first."""

    query: str
    neighbours: tuple[Neighbour, ...]


def check_model(gallery: Gallery, card: Card, *, any_model: bool = False) -> None:
    """Raise StoreError for a model that is not the one that made the gallery. any_model: whether another
    model with as many numbers is allowed."""
    made, width = gallery.card, gallery.vectors.shape[1]
    if card.width not in (None, width):
        raise StoreError(
            f"{gallery.name}: has embeddings of {width:,} numbers, and the model ({_model(card)}) gives "
            f"{card.width:,}; search with the model that made it"
        )
    if any_model or (made is not None and _same(made, card)):
        return
    what = f"was made by another model ({_model(made)})" if made else "does not say which model made it"
    raise StoreError(
        f"{gallery.name}: {what} than {_model(card)}, and distances between models mean nothing; embed the "
        "images again, or allow it with --any-model where one model was trained to be compatible"
        if made
        else f"{gallery.name}: {what}; allow {_model(card)} with --any-model"
    )


def _same(one: Card, other: Card) -> bool:
    trained = one.model == other.model if one.model and other.model else one.fingerprint == other.fingerprint
    return trained and one.precision == other.precision


def _model(card: Card) -> str:
    quantised = f", {card.precision}" if card.precision != "float32" else ""
    return f"case {card.case} of {card.suite}, seed {card.seed}, {card.fingerprint[:8]}{quantised}"


def search(
    gallery: Gallery,
    queries: Sequence[Query],
    count: int,
    similarity: float | None,
    find: Callable[..., Nearest] = nearest,
) -> Iterator[Found]:
    """The `count` gallery images nearest to each query; those with equal distances in the order of their
    names. similarity: smallest similarity of a match, None for no threshold. find: as `nearest`."""
    count = min(count, len(gallery.images))
    vectors = np.stack([query.vector for query in queries])
    found = find(gallery.vectors, vectors, count, [query.row for query in queries])
    least = None if similarity is None else on_grid(similarity)
    for query, rows, cosines in zip(queries, found.rows, found.similarities, strict=True):
        yield Found(
            query.name,
            tuple(
                Neighbour(
                    gallery.images[row],
                    gallery.labels[row],
                    value,
                    None if least is None else bool(on_grid(value) >= least),
                )
                for row, value in zip(rows.tolist(), cosines.tolist(), strict=True)
                if row >= 0
            ),
        )
