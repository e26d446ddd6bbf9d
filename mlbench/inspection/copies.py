"""Copies: images with the same pixels, and images that are nearly the same."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np

from mlbench.inspection.findings import Finding, ImageGroup, Level
from mlbench.inspection.near import NearPairs, components
from mlbench.inspection.pool import Pool

__all__ = ["copy_findings", "different_images", "near_findings"]


def copy_findings(pool: Pool, digests: np.ndarray, readable: np.ndarray) -> Iterator[Finding]:
    """Findings on images with the same pixels: in two splits, under two labels, and twice in a class.

    digests: (N,) of the pixels. readable: (N,) bool. Two images of one class and one group are no copies, as
    they are never compared.
    """
    across: list[list[int]] = []
    leaks: Counter[tuple[int, int]] = Counter()
    conflicts: list[list[int]] = []
    inside: list[list[int]] = []
    for members in _same(pool, digests, readable):
        units: dict[tuple[int, int], list[int]] = defaultdict(list)
        for each in members:
            group = int(pool.groups[each])
            units[int(pool.labels[each]), group if group >= 0 else -1 - each].append(each)
        if len(units) < 2:
            continue
        owners = Counter(int(pool.owners[each]) for each in members)
        if len(owners) > 1:
            across.append(members)
            for first, second in combinations(sorted(owners), 2):
                leaks[first, second] += owners[second]
        labels = {int(label) for label in pool.labels[members]}
        if len(labels - {-1}) > 1:
            conflicts.append(members)
        classes: dict[tuple[int, int], list[int]] = defaultdict(list)
        for unit in units.values():
            for owner in {int(pool.owners[each]) for each in unit}:
                one = next(each for each in unit if pool.owners[each] == owner)
                classes[owner, int(pool.labels[one])].append(one)
        inside += [group for group in classes.values() if len(group) > 1]
    if across:
        texts = [
            f"{count:,} of {pool.parts[second].split} in {pool.parts[first].split}"
            for (first, second), count in sorted(leaks.items())
        ]
        yield _finding(
            pool, "copies_across_splits", "error", across, sum(leaks.values()),
            f"the same image is in two splits: {', '.join(texts)}",
        )  # fmt: skip
    if conflicts:
        count = sum(map(len, conflicts))
        yield _finding(
            pool, "copies_across_classes", "error", conflicts, count,
            f"the same image has two labels, which no model can tell apart: {count:,} images",
        )  # fmt: skip
    if inside:
        count = sum(len(group) - 1 for group in inside)
        alike = "within a class, which every model matches" if pool.names else "in other files"
        yield _finding(
            pool, "copies_within_class", "warning", inside, count,
            f"copies of an image {alike}: {count:,}",
        )  # fmt: skip


def different_images(pool: Pool, digests: np.ndarray, readable: np.ndarray) -> np.ndarray:
    """Positions of one image of each kind of copies, ascending: of the first split, class and file."""
    same = {members[0]: members[1:] for members in _same(pool, digests, readable)}
    keep = readable.copy()
    keep[[each for others in same.values() for each in others]] = False
    return np.flatnonzero(keep)


def near_findings(pool: Pool, positions: np.ndarray, pairs: NearPairs) -> Iterator[Finding]:
    """Findings on nearly equal images: groups that chains of pairs join, across splits first.

    positions: of the images between which `pairs` were searched.
    """
    groups: dict[int, list[tuple[float, int, int]]] = defaultdict(list)
    owner = components(pairs, len(positions))
    for first, second, cosine in zip(pairs.first, pairs.second, pairs.cosines.tolist(), strict=True):
        one, two = int(positions[first]), int(positions[second])
        if pool.compared(one, two):
            groups[int(owner[first])].append((-cosine, one, two))
    kinds: dict[str, list[list[tuple[float, int, int]]]] = defaultdict(list)
    for members in groups.values():
        # The pair of the gravest kind comes first, of these the most similar one.
        ranked = sorted(members, key=lambda pair: (_kind(pool, *pair[1:]), pair))
        kinds[_kind(pool, *ranked[0][1:])].append(ranked)
    texts: Mapping[str, tuple[str, Level, str]] = {
        "0": ("near_across_splits", "warning", "nearly the same image in two splits"),
        "1": ("near_across_classes", "warning", "nearly the same image under two labels"),
        "2": (
            "near_within_class",
            "note",
            "nearly the same image" + (" within a class" if pool.names else ""),
        ),
    }
    for kind, (name, level, text) in texts.items():
        if found := kinds.get(kind):
            found.sort(key=lambda members: (members[0][0], pool.image(members[0][1])))
            images = [_chain(members) for members in found]
            count = sum(map(len, images))
            yield Finding(
                name, level,
                f"{text}: {count:,} images in {len(found):,} group{'s' * (len(found) != 1)}", count,
                tuple(
                    ImageGroup(tuple(map(pool.image, each)), round(-members[0][0], 4))
                    for each, members in zip(images, found, strict=True)
                ),
            )  # fmt: skip


def _kind(pool: Pool, first: int, second: int) -> str:
    if pool.owners[first] != pool.owners[second]:
        return "0"
    return "1" if pool.labels[first] != pool.labels[second] else "2"


def _chain(members: Sequence[tuple[float, int, int]]) -> list[int]:
    """The images of some pairs, each once, those of the first pair first."""
    return list(dict.fromkeys(each for _, *pair in members for each in pair))


def _same(pool: Pool, digests: np.ndarray, readable: np.ndarray) -> Iterator[list[int]]:
    """Positions of images with the same digest, ranked, for each digest of two images or more."""
    where = np.flatnonzero(readable)
    if not len(where):
        return
    numbers = np.unique(digests[where], return_inverse=True)[1]
    order = np.argsort(numbers, kind="stable")
    for members in np.split(where[order], np.flatnonzero(np.diff(numbers[order])) + 1):
        if len(members) > 1:
            yield pool.ranked(members.tolist())


def _finding(pool: Pool, name: str, level: Level, groups: list[list[int]], count: int, text: str) -> Finding:
    named = [tuple(map(pool.image, group)) for group in groups]
    named.sort(key=lambda images: (images[0].file, images))
    return Finding(name, level, text, count, tuple(map(ImageGroup, named)))
