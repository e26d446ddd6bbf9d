"""What a case compares: embeddings of its splits, with the gallery that their queries search."""

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
    """The splits that are embedded to evaluate a case."""
    names: tuple[SplitName, ...] = ("calibration", "test")
    return {*names, *(_searched(case, name) for name in names)}


def compared(case: Case, name: SplitName, embed: Callable[[SplitName], Embeddings]) -> Embeddings:
    """Embeddings of a split, calibration or test, with the gallery that it searches by the case's protocol.

    embed: embeddings of a split with its own labels and roles. Where another split is searched, the labels
    are places in `class_names`, and an image that is alone in its class asks, too: it has others to find
    there.
    """
    searched = _searched(case, name)
    asking = embed(name)
    if searched == name:
        return asking
    found = embed(searched)
    # Of the training images all are the gallery, of others those that the data set says.
    gallery = np.ones(len(found), bool) if searched == "train" else found.gallery
    codes = {each: code for code, each in enumerate(class_names(case, name))}
    # An image that is alone in its class asks nothing of its own split, whatever the data set states.
    alone = np.bincount(asking.labels)[asking.labels] == 1
    queries = asking.queries | (asking.gallery & alone)
    return with_gallery(
        replace(asking, queries=queries, labels=_recoded(case, name, asking, codes)),
        replace(found, gallery=gallery, labels=_recoded(case, searched, found, codes)),
    )


def class_names(case: Case, name: SplitName) -> list[str]:
    """Names of the labels of `compared`: those of the split, then what only the gallery has."""
    splits = [case.dataset.split(each) for each in dict.fromkeys((name, _searched(case, name)))]
    return list(dict.fromkeys(each for split in splits for each in _names(split)))


def _searched(case: Case, name: SplitName) -> SplitName:
    return gallery_split(case.dataset, name, case.spec.evaluation.gallery)


def _recoded(case: Case, name: SplitName, embeddings: Embeddings, codes: dict[str, int]) -> np.ndarray:
    table = np.array([codes[each] for each in _names(case.dataset.split(name))], np.int64)
    return table[embeddings.labels]


def _names(split: Split) -> list[str]:
    return [split.class_name(label) for label in range(split.num_classes)]
