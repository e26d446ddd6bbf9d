"""Compatibility of two models' embeddings of the same images: whether an index that was built with the old
model can be searched with the new one (backward-compatible training, arXiv:2003.11942)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mlbench.errors import DataError
from mlbench.evaluation.all_pairs_evaluation import AllPairsEvaluation
from mlbench.evaluation.bootstrap import Bootstrap
from mlbench.evaluation.embedding_files import group_number
from mlbench.evaluation.embeddings import Embeddings, prefixes
from mlbench.evaluation.image_sources import Sources, read_sources

__all__ = ["Overlap", "apart", "at_one_width", "find_overlap", "verdict"]

#: Metrics that the verdict compares, where they were computed.
_JUDGED = ("recall_at_1", "map_at_r")


@dataclass(frozen=True)
class Overlap:
    """Images that two files of embeddings both have. new, old: rows of the files, bool, whether the image of
    a row is in the other file. names: image of each row of the new file. groups: (N,) of the rows of both
    files, equal for the rows of one image, -1 for rows of images that only one file has."""

    new: np.ndarray
    old: np.ndarray
    names: tuple[str, ...]
    groups: tuple[np.ndarray, np.ndarray]

    def __len__(self) -> int:
        """Number of rows of the new file."""
        return int(self.new.sum())

    @property
    def most(self) -> bool:
        """Whether at least half of the rows of one of the files are images of the other one."""
        return max(self.new.mean(), self.old.mean()) >= 0.5


def find_overlap(new: Path, old: Path) -> Overlap | None:
    """The images that two files both have: those with equal paths, boxes and, where the files state them,
    hashes of the image files. None where a file names no images, or they have none in common. Raises
    DataError for a file that cannot be read."""
    first, second = read_sources(new), read_sources(old)
    if first is None or second is None:
        return None
    inside = _rows_in(first, second), _rows_in(second, first)
    if not inside[0].any():
        return None
    groups = []
    for sources, rows in zip((first, second), inside, strict=True):
        keys = sources.keys()
        found = np.full(len(keys), -1)
        for row in np.flatnonzero(rows).tolist():
            found[row] = group_number("\0".join(keys[row]))
        groups.append(found)
    names = tuple(first.name(row) for row in range(len(first)))
    return Overlap(inside[0], inside[1], names, (groups[0], groups[1]))


def _rows_in(sources: Sources, other: Sources) -> np.ndarray:
    """Whether the image of each row is in the other file, (N,) bool."""
    known: dict[tuple[str, str], set[str]] = {}
    for key, digest in zip(other.keys(), other.digests, strict=True):
        known.setdefault(key, set()).add(digest)
    nothing: set[str] = set()
    rows = zip(sources.keys(), sources.digests, strict=True)
    return np.array(
        [
            bool(found := known.get(key, nothing)) and (not digest or "" in found or digest in found)
            for key, digest in rows
        ],
        bool,
    )


def at_one_width(
    new: Embeddings, old: Embeddings, widths: tuple[Mapping[str, str], Mapping[str, str]]
) -> tuple[Embeddings, Embeddings, str]:
    """The embeddings at the width of the narrower ones, where the wider ones are nested (arXiv:2205.13147)
    and have that width, and a note on it; else unchanged. widths: the provenance of both files."""
    here, there = int(new.vectors.shape[1]), int(old.vectors.shape[1])
    if here > there and there in _nested(widths[0]):
        return prefixes(new, there), old, f"{new.name} is cut to its first {there:,} of {here:,} numbers"
    if there > here and here in _nested(widths[1]):
        return new, prefixes(old, here), f"{old.name} is cut to its first {here:,} of {there:,} numbers"
    return new, old, ""


def _nested(provenance: Mapping[str, str]) -> set[int]:
    texts = provenance.get("nested_widths", "").replace(",", " ").split()
    return {int(text) for text in texts if text.isdigit()}


def apart(new: Embeddings, old: Embeddings, overlap: Overlap) -> tuple[Embeddings, Embeddings]:
    """The embeddings with groups in which an image is never compared with itself in the other file. Groups
    that the files state stay. Raises DataError for an image with different classes."""
    groups = [
        known if each.groups is None else np.where(each.groups >= 0, each.groups, known)
        for each, known in zip((new, old), overlap.groups, strict=True)
    ]
    rows = np.flatnonzero(overlap.old)
    theirs = dict(zip(overlap.groups[1][rows].tolist(), old.labels[rows].tolist(), strict=True))
    wrong = [
        row
        for row in np.flatnonzero(overlap.new).tolist()
        if theirs[int(overlap.groups[0][row])] != new.labels[row].item()
    ]
    if wrong:
        first, more = wrong[0], f" (and {len(wrong) - 1:,} other images)" if len(wrong) > 1 else ""
        raise DataError(
            f"{old.name}: {overlap.names[first]} is {theirs[int(overlap.groups[0][first])]!r}, but "
            f"{new.labels[first].item()!r} in {new.name}{more}; an image must have the same label in both"
        )
    return replace(new, groups=groups[0]), replace(old, groups=groups[1])


def verdict(crossed: AllPairsEvaluation, old: AllPairsEvaluation, bootstrap: Bootstrap) -> list[str]:
    """Sentences that compare the new queries on the old gallery with the old queries on it, whose images are
    the same: metric by metric, with the interval of the difference over the same resamples of classes."""
    lines: list[str] = []
    if not np.array_equal(crossed.queries_by_class, old.queries_by_class):  # an image with several rows
        return lines
    counts = crossed.queries_by_class.astype(float)
    for name in _JUDGED:
        if name not in crossed.by_class or not counts.sum():
            continue
        sums = [np.nan_to_num(each.by_class[name]) * counts for each in (crossed, old)]
        change = float((sums[0] - sums[1]).sum() / counts.sum())
        with np.errstate(invalid="ignore"):
            drawn = [(each @ (sums[0] - sums[1])) / (each @ counts) for each in bootstrap.weights()]
        found = bootstrap.interval(change, change, np.concatenate(drawn)) if drawn else None
        if found is None:
            lines.append(f"{name}: new to old {change:+.4f} against old to old")
            continue
        word = "better than" if found[0] > 0 else "worse than" if found[1] < 0 else "not distinguishable from"
        if not any((change, *found)):
            word = "the same as"
        lines.append(
            f"{name}: new to old is {word} old to old ({change:+.4f} [{found[0]:+.4f}, {found[1]:+.4f}])"
        )
    return lines
