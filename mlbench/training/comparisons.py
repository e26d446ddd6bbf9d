"""Queries and gallery of a case: embeddings of a split, with those of the split that its queries search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mlbench.contracts import Split, SplitName
from mlbench.evaluation.embeddings import Embeddings
from mlbench.evaluation.protocol import with_gallery
from mlbench.planning.gallery import gallery_split
from mlbench.planning.plan import Case

__all__ = ["class_names", "compared", "splits_of"]


def splits_of(case: Case) -> set[SplitName]:
    """Splits whose embeddings the evaluation of a case needs."""
    names: tuple[SplitName, ...] = ("calibration", case.spec.evaluation.split)
    return {*names, *(_searched(case, name) for name in names)}


def compared(case: Case, name: SplitName, embed: Callable[[SplitName], Embeddings]) -> Embeddings:
    """Embeddings of a split, calibration or the scored one, with the gallery of the case's protocol.

    embed: embeddings of a split with its own labels and roles. Where the gallery is another split, labels are
    positions in `class_names`, and an image that is alone in its class is a query, too: its class has images
    in the gallery.
    """
    searched = _searched(case, name)
    queries = embed(name)
    if searched == name:
        return queries
    gallery = embed(searched)
    # All training images are in the gallery; of another split, those with that role.
    in_gallery = np.ones(len(gallery), bool) if searched == "train" else gallery.gallery
    codes = {each: code for code, each in enumerate(class_names(case, name))}
    # Data sets may give an image that is alone in its class no query role, as its split has no match.
    alone = np.bincount(queries.labels)[queries.labels] == 1
    are_queries = queries.queries | (queries.gallery & alone)
    return with_gallery(
        replace(queries, queries=are_queries, labels=_recoded(case, name, queries, codes)),
        replace(gallery, gallery=in_gallery, labels=_recoded(case, searched, gallery, codes)),
    )


def class_names(case: Case, name: SplitName) -> list[str]:
    """Names of the labels of `compared`: classes of the split, then those that only the gallery has."""
    splits = [case.dataset.split(each) for each in dict.fromkeys((name, _searched(case, name)))]
    return list(dict.fromkeys(each for split in splits for each in _names(split)))


def _searched(case: Case, name: SplitName) -> SplitName:
    return gallery_split(case.dataset, name, case.spec.evaluation.gallery)


def _recoded(case: Case, name: SplitName, embeddings: Embeddings, codes: dict[str, int]) -> np.ndarray:
    table = np.array([codes[each] for each in _names(case.dataset.split(name))], np.int64)
    return table[embeddings.labels]


def _names(split: Split) -> list[str]:
    return [split.class_name(label) for label in range(split.num_classes)]
