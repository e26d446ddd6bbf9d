from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mlbench.contracts import PairList
from mlbench.evaluation.embeddings import Embeddings
from mlbench.evaluation.repeats import repeated_embeddings_note, repeated_pairs_note

VECTORS = np.random.default_rng(0).standard_normal((6, 3))
LABELS = np.array([0, 0, 0, 1, 1, 1])


def with_repeats(*sources: int) -> Embeddings:
    """Six images, then those of `sources` again."""
    rows = [*range(6), *sources]
    return Embeddings.of(VECTORS[rows], LABELS[rows])


@pytest.mark.parametrize(
    ("sources", "count"), [((), 0), ((2,), 2), ((2, 2), 3), ((0, 4), 4), ((0, 1, 2, 3, 4, 5), 12)]
)
def test_repeated_embeddings_are_counted(sources: tuple[int, ...], count: int) -> None:
    embeddings = with_repeats(*sources)
    for vectors in (embeddings.vectors, torch.from_numpy(embeddings.vectors), embeddings.vectors.T.copy().T):
        note = repeated_embeddings_note(replace(embeddings, vectors=vectors))
        assert (
            note == ""
            if not count
            else note.startswith(f"{count} of {6 + len(sources)} queries have the same embedding")
        )


def test_an_embedding_shared_by_several_classes_does_not_count() -> None:
    vectors = VECTORS.copy()
    vectors[[0, 1, 4]] = 1
    assert repeated_embeddings_note(Embeddings.of(vectors, LABELS)) == ""
    assert repeated_embeddings_note(Embeddings.of(np.ones((6, 3)), LABELS)) == ""


def test_only_repeats_among_candidates_count() -> None:
    embeddings = with_repeats(2, 3)
    first, last = np.arange(8) < 6, np.arange(8) >= 6
    for roles, expected in (
        ({"queries": first, "gallery": last}, "2 of 6 queries"),
        ({"gallery": first}, "2 of 8 queries"),
        ({"queries": last, "gallery": np.zeros(8, bool)}, ""),
        # Image 2 and its repeat are in one group, so not a pair.
        ({"groups": np.array([-1, -1, 5, -1, -1, -1, 5, -1])}, "2 of 8 queries"),
    ):
        note = repeated_embeddings_note(replace(embeddings, **roles))
        assert note.startswith(expected) if expected else note == ""


@pytest.mark.parametrize(
    ("left", "right", "folds", "note"),
    [
        ([0, 1, 2], [1, 2, 3], [0, 0, 1], ""),
        ([0, 1, 1], [1, 0, 2], [0, 0, 1], "1 of 3 pairs repeat another pair of the list"),
        (
            [0, 1, 0],
            [1, 0, 1],
            [0, 0, 1],
            "2 of 3 pairs repeat another pair of the list; some are in several",
        ),
    ],
)
def test_repeated_pairs_are_counted(left: list[int], right: list[int], folds: list[int], note: str) -> None:
    pairs = PairList(np.array(left), np.array(right), np.ones(3, bool), np.array(folds))
    found = repeated_pairs_note(pairs)
    assert found.startswith(note)
    assert bool(found) == bool(note)
