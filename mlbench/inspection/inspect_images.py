"""One inspection, from the images to the findings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from mlbench.inspection.copies import copy_findings, different_images, near_findings
from mlbench.inspection.facts import class_findings, file_findings, part_facts, size_findings
from mlbench.inspection.features import MODEL, SIDE, Features
from mlbench.inspection.findings import LOOSER, NEAR, PIXELS, DataFindings
from mlbench.inspection.near import NearPairs, correlations, near_pairs
from mlbench.inspection.pool import Pool
from mlbench.inspection.scan import scan
from mlbench.inspection.subject import Subject
from mlbench.registry import Registry

__all__ = ["NearSearch", "inspect_images"]


@dataclass(frozen=True)
class NearSearch:
    """How near duplicates are searched. registry: of the backbone. threshold: see `NEAR`."""

    registry: Registry
    threshold: float = NEAR
    device: str = "cpu"


def inspect_images(
    subject: Subject,
    near: NearSearch | None,
    progress: Callable[[str, int, int], None],
    workers: int | None = None,
) -> DataFindings:
    """Read all images of a subject once and search them. near: None to search for copies alone. Images that
    cannot be read are findings. Raises WeightsError where the weights for near duplicates are missing."""
    pool = Pool(subject.parts)
    total = len(pool.owners)
    features = None if near is None else Features(near.registry, total, near.device)
    found = scan(
        subject.parts,
        SIDE,
        None if features is None else features.take,
        partial(progress, "reading images"),
        workers,
    )
    readable = np.ones(total, bool)
    readable[list(found.unreadable)] = False
    facts = part_facts(pool, found, readable)
    findings = list(copy_findings(pool, found.digests, readable))
    searched: dict[str, Any] | None = None
    if near is not None and features is not None:
        positions = different_images(pool, found.digests, readable)
        compare = partial(progress, "comparing images")
        pairs = _near_pairs(pool, positions, features, near.threshold, compare)
        searched = _searched(near, positions, pairs)
        findings += near_findings(pool, positions, pairs)
    findings += file_findings(pool, found)
    findings += class_findings(pool, subject, facts, readable)
    findings += size_findings(pool, subject, found, readable)
    rank = {"error": 0, "warning": 1, "note": 2}
    findings.sort(key=lambda finding: rank[finding.level])
    return DataFindings(
        subject.source, subject.version, dict(subject.dataset or {}), subject.image_size, subject.full_size,
        facts, tuple(findings), searched, subject.notes,
    )  # fmt: skip


def _near_pairs(
    pool: Pool,
    positions: np.ndarray,
    features: Features,
    threshold: float,
    progress: Callable[[int, int], None],
) -> NearPairs:
    """Pairs of images that are nearly the same, by their place in `positions`."""
    labels = pool.labels[positions]
    vectors, thumbnails = features.vectors[positions], features.thumbnails[positions]

    def accept(first: np.ndarray, second: np.ndarray, cosines: np.ndarray) -> np.ndarray:
        # Classes may look alike, so images of two need the same pixels.
        keep = (labels[first] == labels[second]) & (cosines >= threshold)
        rest = np.flatnonzero(~keep)
        keep[rest] = correlations(thumbnails, first[rest], second[rest]) >= PIXELS
        return keep

    return near_pairs(vectors, max(0.0, threshold - LOOSER), accept, progress)


def _searched(near: NearSearch, positions: np.ndarray, pairs: NearPairs) -> dict[str, Any]:
    return {
        "model": MODEL["model"],
        "weights": MODEL["weights"],
        "image_size": SIDE,
        "threshold": near.threshold,
        "looser": round(max(0.0, near.threshold - LOOSER), 4),
        "pixels": PIXELS,
        "images": len(positions),
        "pairs": pairs.found,
        "pairs_kept": len(pairs.first),
    }
