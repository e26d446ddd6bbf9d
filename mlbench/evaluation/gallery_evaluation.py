"""Evaluation of embeddings against the gallery of another file: of other images, or of the same images by an
older model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from mlbench.errors import DataError
from mlbench.evaluation.bootstrap import Bootstrap
from mlbench.evaluation.compatibility import Overlap, apart, at_one_width, find_overlap, verdict
from mlbench.evaluation.embedding_files import read_embeddings, read_provenance
from mlbench.evaluation.embeddings import Embeddings, prefixes
from mlbench.evaluation.file_judge import FileEvaluation, Judge
from mlbench.evaluation.protocol import with_gallery
from mlbench.seeding import numpy_generator

__all__ = ["check_width", "evaluate_against", "restrict"]


def evaluate_against(
    embeddings: Embeddings, calibration: Embeddings | None, path: Path, judge: Judge
) -> FileEvaluation:
    """The queries of the file with the gallery of another; where both have the same images, all three
    combinations of new and old."""
    gallery = read_embeddings(path, name=path.name)
    overlap = find_overlap(judge.request.file, path)
    sources = read_provenance(judge.request.file), read_provenance(path)
    widths = embeddings.vectors.shape[1], gallery.vectors.shape[1]
    embeddings, gallery, cut = at_one_width(embeddings, gallery, sources)
    new_cut, old_cut = embeddings.vectors.shape[1] < widths[0], gallery.vectors.shape[1] < widths[1]
    check_width(gallery, embeddings, "only embeddings of one width can be compared")
    if calibration is not None and new_cut:
        calibration = prefixes(calibration, embeddings.vectors.shape[1])
    _check_labels(embeddings, gallery)
    if overlap is not None:
        embeddings, gallery = apart(embeddings, gallery, overlap)
        calibration = _calibration_apart(calibration, embeddings, path, judge)
    if overlap is not None and overlap.most:
        stated = None if new_cut else judge.request.file, None if old_cut else path
        found = _compatibility(embeddings, gallery, calibration, overlap, stated, judge)
    else:
        fitted = None if calibration is None else with_gallery(calibration, gallery)
        one_model = _model(sources[0]) == _model(sources[1]) != ("", "")
        stated_by = judge.request.file if one_model and not (new_cut or old_cut) else None
        images = len(embeddings)
        found = judge.evaluated(with_gallery(embeddings, gallery), fitted, calibration, stated_by, images)
        if overlap is not None:
            text, shared = found.facts["protocol"]["text"], f"{len(overlap):,} images that both files have"
            found = _with_protocol(found, f"{text}: the {shared} are not compared with themselves")
    return replace(found, notes=[*([cut] if cut else []), *found.notes])


def _model(provenance: Mapping[str, str]) -> tuple[str, str]:
    return provenance.get("fingerprint", ""), provenance.get("precision", "")


def _calibration_apart(
    calibration: Embeddings | None, embeddings: Embeddings, path: Path, judge: Judge
) -> Embeddings | None:
    """The calibration images with groups in which none is compared with itself in the gallery."""
    if calibration is None or judge.request.calibration is None:  # some classes of the same file
        return None if calibration is None else replace(calibration, groups=embeddings.groups)
    overlap = find_overlap(judge.request.calibration, path)
    if overlap is None:
        return calibration
    given = calibration.groups
    groups = overlap.groups[0] if given is None else np.where(given >= 0, given, overlap.groups[0])
    return replace(calibration, groups=groups)


def _with_protocol(found: FileEvaluation, text: str) -> FileEvaluation:
    protocol = {**found.facts["protocol"], "text": text}
    return replace(found, facts={**found.facts, "protocol": protocol})


def _compatibility(
    new: Embeddings,
    old: Embeddings,
    calibration: Embeddings | None,
    overlap: Overlap,
    stated: tuple[Path | None, Path | None],
    judge: Judge,
) -> FileEvaluation:
    """New queries on the old gallery, with new on new and old on old beside it, of the images that both files
    have. calibration: of the new model. stated: the files that may state the threshold of their model."""
    theirs = overlap.old
    fitted: dict[str, Embeddings | None] = {"new": calibration, "crossed": None, "old": None}
    if judge.request.share and calibration is not None:  # the same classes of both files
        held = np.isin(old.labels, calibration.labels[calibration.queries | calibration.gallery])
        mine = restrict(calibration, overlap.new, "calibration classes")
        other = restrict(old, held & overlap.old, "calibration classes")
        fitted = {"new": mine, "crossed": with_gallery(mine, other), "old": other}
        theirs = overlap.old & ~held
    elif calibration is not None:
        fitted["crossed"] = with_gallery(calibration, old)
    sizes = len(new), len(old)
    new, old = restrict(new, overlap.new, new.name), restrict(old, theirs, old.name)
    found = judge.evaluated(with_gallery(new, old), fitted["crossed"], fitted["new"], stated[1], len(new))
    beside = {
        "new to new": judge.evaluated(new, fitted["new"], fitted["new"], stated[0]),
        "old to old": judge.evaluated(old, fitted["old"], fitted["old"], stated[1]),
    }
    members = new.queries | new.gallery
    left = sizes[0] - int(overlap.new.sum()), sizes[1] - int(overlap.old.sum())
    out = f" (left out: {left[0]:,} of {new.name}, {left[1]:,} of {old.name})" if any(left) else ""
    found = _with_protocol(
        found,
        f"compatibility on {int(members.sum()):,} images of {len(np.unique(new.labels[members])):,} classes "
        f"that {new.name} (new) and {old.name} (old) both have, by path{out}; no image is compared with "
        "itself",
    )
    plain = {
        name.replace(" ", "_"): {metric: asdict(value) for metric, value in each.metrics.items()}
        for name, each in beside.items()
    }
    facts = {**found.facts, "compatibility": plain}
    notes = list(found.notes)
    for name, each in beside.items():
        notes += [f"{name}: {note}" for note in each.notes if note not in found.notes]
    crossed, before = found.evaluation, beside["old to old"].evaluation
    assert crossed is not None
    assert before is not None
    settings, seed = judge.settings, judge.request.seed
    generator = numpy_generator(seed, "bootstrap")
    bootstrap = Bootstrap(len(crossed.classes), settings.resamples, settings.level, generator)
    return replace(
        found, facts=facts, notes=notes, beside=beside, verdict=verdict(crossed, before, bootstrap)
    )


def check_width(other: Embeddings, embeddings: Embeddings, reason: str) -> None:
    """Raise DataError, with the reason, for embeddings of different widths."""
    widths = [int(each.vectors.shape[1]) for each in (embeddings, other)]
    if widths[0] != widths[1]:
        raise DataError(
            f"{other.name}: {widths[1]} dimensions, but {embeddings.name} has {widths[0]}; {reason}"
        )


def _check_labels(embeddings: Embeddings, gallery: Embeddings) -> None:
    """Raise DataError for labels of different types."""
    kinds = ["numbers" if each.labels.dtype.kind in "biuf" else "texts" for each in (embeddings, gallery)]
    if kinds[0] != kinds[1]:
        raise DataError(
            f"{gallery.name}: its labels are {kinds[1]}, but those of {embeddings.name} are {kinds[0]}; "
            "a class must have the same label in both"
        )


def restrict(embeddings: Embeddings, members: np.ndarray, name: str) -> Embeddings:
    """The embeddings with roles only for some images, without a copy of the vectors."""
    queries, gallery = embeddings.queries & members, embeddings.gallery & members
    return replace(embeddings, queries=queries, gallery=gallery, name=name)
