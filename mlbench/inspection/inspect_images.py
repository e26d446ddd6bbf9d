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
from mlbench.inspection.findings import NEAR, PIXELS, DataFindings
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
        pairs = near_pairs(features.vectors[positions], near.threshold, compare)
        searched = _searched(near, positions, pairs)
        pairs = _confirmed(pool, positions, pairs, features.thumbnails)
        findings += near_findings(pool, positions, pairs)
    findings += file_findings(pool, found)
    findings += class_findings(pool, subject, facts)
    findings += size_findings(pool, subject, found, readable)
    rank = {"error": 0, "warning": 1, "note": 2}
    findings.sort(key=lambda finding: rank[finding.level])
    return DataFindings(
        subject.source, subject.version, dict(subject.dataset or {}), subject.image_size, subject.full_size,
        facts, tuple(findings), searched, subject.notes,
    )  # fmt: skip


def _confirmed(pool: Pool, positions: np.ndarray, pairs: NearPairs, thumbnails: np.ndarray) -> NearPairs:
    """The pairs without those of two classes whose pixels differ: classes may look alike."""
    labels = pool.labels[positions]
    same = labels[pairs.first] == labels[pairs.second]
    keep = same | (correlations(thumbnails[positions], pairs) >= PIXELS)
    return NearPairs(pairs.first[keep], pairs.second[keep], pairs.cosines[keep], pairs.found)


def _searched(near: NearSearch, positions: np.ndarray, pairs: NearPairs) -> dict[str, Any]:
    return {
        "model": MODEL["model"],
        "weights": MODEL["weights"],
        "image_size": SIDE,
        "threshold": near.threshold,
        "pixels": PIXELS,
        "images": len(positions),
        "pairs": pairs.found,
        "pairs_kept": len(pairs.first),
    }
