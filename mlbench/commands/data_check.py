"""`mlbench data check`: what its argument names, and its findings as text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mlbench.errors import DataError
from mlbench.inspection.findings import DataFindings, ImageGroup, ImageName, write_findings
from mlbench.planning.plan import Case
from mlbench.planning.request import PlanRequest
from mlbench.registry import Registry
from mlbench.table import Table

__all__ = ["Inspection", "Target", "check_files", "check_suite", "facts_table", "findings_lines", "target_of"]

_SUITES = (".yaml", ".yml")
_MANIFESTS = (".csv", ".parquet")
_SHOWN = 3  # groups and names of a finding
_IN_A_GROUP = 4
_WIDTH = 96  # of a group on one line

#: What the argument of `mlbench data check` names.
Target = Literal["suite", "folder", "manifest", "data set"]

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Inspection:
    """Options of a check. near: threshold of near duplicates, None for no search."""

    registry: Registry
    near: float | None
    device: str
    progress: Progress


def target_of(text: str, registry: Registry) -> Target:
    """What `text` names: a data set whose files are published, else what exists at that path. Raises
    DataError."""
    place = Path(text).expanduser()
    if "/" not in text and text in registry.names("dataset") and not place.is_file():
        return "data set"
    if place.is_dir():
        return "folder"
    suffix = place.suffix.lower()
    if place.is_file() or place.parent.is_dir():
        if suffix in _SUITES:
            return "suite"
        if suffix in _MANIFESTS:
            return "manifest"
    if place.is_file():
        raise DataError(
            f"{text}: expected a suite ({', '.join(_SUITES)}), a folder of images, a manifest "
            f"({', '.join(_MANIFESTS)}) or the name of a data set"
        )
    if "/" in text or suffix in (*_SUITES, *_MANIFESTS):
        raise DataError(f"{text}: no such file or folder")
    return "data set"


def check_files(place: Path, target: Target, level: int | None, options: Inspection) -> list[DataFindings]:
    """Inspect the images of a folder or of a manifest. Raises DataError."""
    from mlbench.inspection.subject import of_folder, of_manifest

    subject = of_folder(place, level) if target == "folder" else of_manifest(place)
    return [_inspected(subject, options)]


def check_suite(
    path: Path, request: PlanRequest, results: Path, options: Inspection
) -> tuple[list[DataFindings], Path]:
    """Inspect the data sets of a suite as its cases see them, and keep the findings in its results folder.
    Returns them with the file. Raises SuiteError, StoreError."""
    from mlbench.inspection.subject import of_dataset

    plan = request.plan(path, options.registry)
    cases: dict[tuple[str, str], Case] = {}
    for case in plan.cases:
        # The largest image size shows which images are enlarged.
        key = case.spec.parts["dataset"].entry.component.name, str(case.dataset.version)
        if key not in cases or cases[key].spec.image.size < case.spec.image.size:
            cases[key] = case
    found = []
    for case in cases.values():
        part, evaluation = case.spec.parts["dataset"], case.spec.evaluation
        described = {"name": part.entry.component.name, **part.options}
        subject = of_dataset(
            case.dataset, f"suite {path}, data set {described['name']}", described, case.spec.image.size,
            shared=evaluation.gallery != "test" or evaluation.split == "train",
        )  # fmt: skip
        found.append(_inspected(subject, options))
    return found, write_findings(results / plan.suite.name, found)


def _inspected(subject: object, options: Inspection) -> DataFindings:
    from mlbench.inspection.inspect_images import NearSearch, inspect_images
    from mlbench.inspection.subject import Subject

    assert isinstance(subject, Subject)
    near = None if options.near is None else NearSearch(options.registry, options.near, options.device)
    return inspect_images(subject, near, options.progress)


def facts_table(found: DataFindings) -> Table:
    """Counts and sizes, one row for each split."""
    sizes = "shorter side" if found.full_size else "shorter side as read"
    headings = ("split", "images", "classes", "images of a class", sizes, "longer : shorter")
    rows = [
        (
            each.split or "all",
            f"{each.images:,}",
            f"{each.classes:,}" if each.classes else "none",
            _range(each.class_sizes) if each.classes else "",
            f"{_range(each.short_sides)} px" if each.images else "",
            _range(each.aspects, "g") if each.images else "",
        )
        for each in found.parts
    ]
    return Table(headings, rows, numbers=("images", "classes"), title=found.source)


def _range(values: Sequence[float], form: str = ",") -> str:
    low, middle, high = values
    return f"{low:{form}}" if low == high else f"{low:{form}} to {high:{form}} (median {middle:{form}})"


def findings_lines(found: DataFindings) -> Iterator[str]:
    """The findings, each with its first examples, and how near duplicates were searched."""
    for finding in found.findings:
        yield f"{finding.level}: {finding.text}"
        for group in finding.groups[:_SHOWN]:
            yield from (f"    {line}" for line in _group(group))
        yield from (f"    {name}" for name in finding.names[:_SHOWN])
        left = max(len(finding.groups), len(finding.names)) - _SHOWN
        if left > 0:
            yield f"    and {left:,} more"
    if found.near:
        near = found.near
        yield (
            f"near duplicates (different images: {near['images']:,}): in a class, cosine "
            f"{near['threshold']:g} or more between features of {near['model']}; across classes, "
            f"{near['looser']:g} and a correlation of {near['pixels']:g} between the pixels"
        )
        if near["pairs_kept"] < near["pairs"]:
            yield (
                f"near duplicates: {near['pairs']:,} pairs, of which the {near['pairs_kept']:,} "
                "most similar are grouped; a higher --near finds fewer"
            )


def _group(group: ImageGroup) -> Iterator[str]:
    """The first images of a group, on one line if they fit."""
    sign, similar = (" = ", "") if group.similarity is None else (" ~ ", f"{group.similarity:.3f}  ")
    labels = {image.label for image in group.images} - {""}
    named = [_named(image, labelled=len(labels) > 1) for image in group.images[:_IN_A_GROUP]]
    if len(group.images) > _IN_A_GROUP:
        named.append(f"{len(group.images) - _IN_A_GROUP:,} more")
    line = similar + sign.join(named)
    if len(line) <= _WIDTH:
        yield line
        return
    yield similar + named[0]
    yield from (" " * len(similar) + sign + name for name in named[1:])


def _named(image: ImageName, *, labelled: bool) -> str:
    """An image by its file, with split and class where the path does not name them."""
    text = image.file
    if image.split and not image.file.startswith(image.split):
        text += f" ({image.split})"
    if labelled and image.label and image.label not in image.file:
        text += f" [{image.label}]"
    return text
