"""Facts and findings on classes, sizes and files."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from mlbench.inspection.findings import Finding, PartFacts
from mlbench.inspection.pool import Pool
from mlbench.inspection.scan import Scan
from mlbench.inspection.subject import Part, Subject

__all__ = ["class_findings", "file_findings", "gini", "part_facts", "size_findings"]

#: Images with a longer side of more than so many shorter ones are named.
_LONG = 3.0

#: A class is called large if it has so many times the images of the median class.
_LARGE = 10


def part_facts(pool: Pool, scan: Scan, readable: np.ndarray) -> tuple[PartFacts, ...]:
    """Facts of each part, of its readable images."""
    return tuple(
        _facts(part, scan.sizes[start : start + len(part)], readable[start : start + len(part)])
        for part, start in zip(pool.parts, pool.starts[:-1].tolist(), strict=True)
    )


def _facts(part: Part, sizes: np.ndarray, readable: np.ndarray) -> PartFacts:
    labels = part.labels[readable & (part.labels >= 0)]
    counts = np.bincount(labels, minlength=len(part.classes))
    counts = np.sort(counts[counts > 0])
    sides = sizes[readable]
    short = np.sort(sides.min(1))
    aspects = np.sort(sides.max(1) / np.maximum(1, sides.min(1)))
    top = counts[len(counts) - -(-len(counts) // 10) :].sum() / max(1, counts.sum())
    low, middle, high = _spread(counts)
    narrow, usual, wide = _spread(short)
    first, median, last = _spread(aspects)
    return PartFacts(
        part.split, int(readable.sum()), len(counts), (int(low), int(middle), int(high)),
        round(gini(counts), 4), round(float(top), 4), (int(narrow), int(usual), int(wide)),
        (round(first, 2), round(median, 2), round(last, 2)),
    )  # fmt: skip


def _spread(ordered: np.ndarray) -> tuple[float, float, float]:
    if not len(ordered):
        return 0, 0, 0
    return float(ordered[0]), float(ordered[(len(ordered) - 1) // 2]), float(ordered[-1])


def gini(counts: np.ndarray) -> float:
    """Gini coefficient of ascending counts: 0 where all are equal, near 1 where one has all."""
    if not counts.sum():
        return 0.0
    ranks = np.arange(1, len(counts) + 1)
    return float((2 * ranks - len(counts) - 1) @ counts / (len(counts) * counts.sum()))


def class_findings(
    pool: Pool, subject: Subject, facts: Sequence[PartFacts], readable: np.ndarray
) -> Iterator[Finding]:
    """Findings on classes: shared by splits, with one image, of very different sizes, with similar names."""
    for first, second in combinations(range(len(pool.parts)), 2):
        one, two = pool.parts[first], pool.parts[second]
        names = tuple(sorted(set(one.classes).intersection(two.classes)))
        if names and second == len(pool.parts) - 1 and not subject.shared:
            yield Finding(
                "shared_classes", "warning",
                f"classes of {two.split} that {one.split} has, too: {len(names):,} of {len(two.classes):,}; "
                "metrics on them say little about new classes", len(names), names=names,
            )  # fmt: skip
    for part, start in zip(pool.parts, pool.starts.tolist(), strict=False):
        known = readable[start : start + len(part)] & (part.labels >= 0)
        counts = np.bincount(part.labels[known], minlength=len(part.classes))
        single = tuple(sorted(part.classes[label] for label in np.flatnonzero(counts == 1).tolist()))
        if single:
            yield Finding(
                "single_images", "note",
                f"classes with one image{_of(part.split)}, which has no positive: {len(single):,} of "
                f"{len(part.classes):,}", len(single), names=single,
            )  # fmt: skip
    for each in facts:
        _, median, largest = each.class_sizes
        if each.classes > 1 and largest >= _LARGE * median:
            yield Finding(
                "imbalance", "note",
                f"classes of very different sizes{_of(each.split)}: {median:,} images in the median one, "
                f"{largest:,} in the largest; the largest tenth has {each.top_share:.0%} of the images; "
                "a batch sampler such as m_per_class shows small classes as often", largest,
            )  # fmt: skip
    for alike in _alike(pool.names):
        text = f"classes whose names look alike: {len(alike):,}"
        yield Finding("similar_names", "warning", text, len(alike), names=alike)
    for forms in subject.look_alike:
        text = "folders whose names differ in their Unicode form alone, read as one class"
        yield Finding("unicode_forms", "warning", text, len(forms), names=forms)
    if subject.empty:
        text = f"class folders without an image: {len(subject.empty):,}"
        yield Finding("empty_classes", "error", text, len(subject.empty), names=subject.empty)


def _of(split: str) -> str:
    return f" in {split}" if split else ""


def _alike(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Names that differ in case, spaces, signs or compatible characters alone."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in names:
        folded = unicodedata.normalize("NFKC", name).casefold()
        found[re.sub(r"[\s_.-]+", "", folded) or folded].append(name)
    yield from (tuple(group) for group in found.values() if len(group) > 1)


def size_findings(pool: Pool, subject: Subject, scan: Scan, readable: np.ndarray) -> Iterator[Finding]:
    """Findings on sizes: images that are enlarged for training, and long strips."""
    short, long = scan.sizes.min(1), scan.sizes.max(1)
    size = subject.image_size
    if size is not None and (small := np.flatnonzero(readable & (short < size))).size:
        yield _files(
            pool, small, scan.sizes, "small_images",
            f"images smaller than the image size {size}, which are enlarged: {small.size:,} of "
            f"{readable.sum():,}",
        )  # fmt: skip
    if (strips := np.flatnonzero(readable & (long > _LONG * short))).size:
        yield _files(
            pool, strips, scan.sizes, "long_images",
            f"images more than {_LONG:g} times as long as wide, of which a square shows little: "
            f"{strips.size:,} of {readable.sum():,}",
        )  # fmt: skip


def _files(pool: Pool, positions: np.ndarray, sizes: np.ndarray, name: str, text: str) -> Finding:
    names = sorted(f"{pool.image(each).file} ({sizes[each, 0]}x{sizes[each, 1]})" for each in positions)
    return Finding(name, "note", text, len(positions), names=tuple(names))


def file_findings(pool: Pool, scan: Scan) -> Iterator[Finding]:
    """Findings on files: those that cannot be read, and remarks on how others are read."""
    if scan.unreadable:
        names = sorted(f"{pool.image(each).file} ({reason})" for each, reason in scan.unreadable.items())
        text = f"images that cannot be read: {len(names):,} of {len(pool.owners):,}"
        yield Finding("unreadable", "error", text, len(names), names=tuple(names))
    found: dict[str, list[int]] = defaultdict(list)
    for position, texts in scan.remarks.items():
        for text in texts:
            found[text].append(position)
    for text, positions in sorted(found.items()):
        files = tuple(sorted(pool.image(each).file for each in positions))
        yield Finding(
            "remarks", "note", f"{text}: {len(files):,} of {len(pool.owners):,}", len(files), names=files
        )
