"""Notes about images with the same bytes in container files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mlbench.plugin import DataError, SplitName
from mlbench_datasets.containers.file_cache import cached
from mlbench_datasets.containers.split import ContainerSplit, ImageSource
from mlbench_datasets.duplicates import HashedImage, duplicate_notes

__all__ = ["MOST_IMAGES", "copy_notes"]

#: Of more images only `mlbench data check` searches copies: reading them takes minutes.
MOST_IMAGES = 200_000

_DIGEST_SIZE = 16


def copy_notes(splits: Mapping[SplitName, ContainerSplit], files: Sequence[Path]) -> list[str]:
    """Notes about copies across splits, across classes and within a class.

    files: that hold the images; their hashes are cached until a file changes, and not at all without files.
    An image that cannot be read is no copy.
    """
    total = sum(map(len, splits.values()))
    if total > MOST_IMAGES:
        return [f"copies are not searched among {total:,} images; mlbench data check does it"]
    digests: list[tuple[ImageSource, np.ndarray]] = []
    for split in splits.values():
        if not any(source is split.source for source, _ in digests):
            items = [each.items for each in splits.values() if each.source is split.source]
            digests.append((split.source, _digests(split.source, np.concatenate(items), len(digests), files)))
    return duplicate_notes(
        HashedImage(name, split.names[label], hashes[item].tobytes(), split.source.where(item))
        for name, split in splits.items()
        for hashes in (next(found for source, found in digests if source is split.source),)
        for label, item in zip(split.labels.tolist(), split.items.tolist(), strict=True)
    )


def _digests(source: ImageSource, items: np.ndarray, number: int, files: Sequence[Path]) -> np.ndarray:
    """Hashes of a source by item: (N,) 16 bytes. number: of the source, part of the cache's key."""

    def make() -> dict[str, np.ndarray]:
        found = np.zeros(int(items.max()) + 1, f"V{_DIGEST_SIZE}")
        for item in items.tolist():
            try:
                content = source.read(item)
            except DataError:  # the run that uses it names it
                content = f"unreadable {number} {item}".encode()
            found[item] = hashlib.blake2b(content, digest_size=_DIGEST_SIZE).digest()
        return {"digests": found}

    key = hashlib.blake2b(np.sort(items).tobytes(), digest_size=8).hexdigest()
    return (cached(f"copies {number} {key}", files, make) if files else make())["digests"]
