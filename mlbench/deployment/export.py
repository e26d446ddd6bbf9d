"""Export: the trained model of a case as files, whose embeddings are compared with PyTorch's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import nn

from mlbench import __version__
from mlbench.deployment.card import Card
from mlbench.deployment.deployed import CutModel
from mlbench.deployment.export_folder import ExportFolder, check_writable, scratch_folder
from mlbench.deployment.export_texts import write_texts
from mlbench.deployment.formats import check_formats, find_format
from mlbench.deployment.model_file import Draft
from mlbench.deployment.onnx_format import quantised
from mlbench.deployment.trial import Progress, Score, Trial
from mlbench.environment import find_device
from mlbench.errors import ExportError, StoreError, SuiteError, first_line, hint
from mlbench.evaluation.similarity_grid import on_grid
from mlbench.evaluation.threshold import Threshold
from mlbench.planning.document import load_document
from mlbench.planning.plan import Case, make_plan
from mlbench.planning.plugin_code import named
from mlbench.planning.request import PlanRequest
from mlbench.planning.selection import Selection, suite_records
from mlbench.planning.suite import recorded_suite
from mlbench.planning.suite_plugins import suite_registry
from mlbench.plugin_files import FILE_PACKAGE
from mlbench.records.record import Record
from mlbench.records.report import headline_metrics, metric_text, remarks_of
from mlbench.records.store import Store
from mlbench.records.widths import cut_record, widths_of
from mlbench.registry import Registry
from mlbench.training.assembly import Assembly, assemble
from mlbench.training.model import state_hash

__all__ = ["Export", "Request", "export"]

#: Largest difference of a component of a unit embedding from PyTorch's that is allowed in a float32 file.
TOLERANCE = 1e-3

#: Largest difference of a metric from the case's record, for values above 1 as a share, and the number of
#: images that may always differ.
METRIC_TOLERANCE, IMAGES = 0.01, 2


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to export. suite: its name, or its file, which is planned as `plan` says. seed: None for the
    finished one with the median threshold. results: folder of the records. output: folder of the files.
    formats: names of `mlbench.deployment.formats.FORMATS`. int8: whether to write a quantised ONNX file too.
    width: of the case, to cut the embeddings to; None for all."""

    suite: str
    case: str
    plan: PlanRequest = field(default_factory=PlanRequest)
    seed: int | None = None
    results: Path = Path("results")
    output: Path = Path("export")
    formats: tuple[str, ...] = ("onnx",)
    int8: bool = False
    width: int | None = None


@dataclass(frozen=True)
class Export:
    """What was exported. own: score of the PyTorch model. files: of each model file. beside: the other files
    that were written. notes: for the user."""

    own: Score
    files: Sequence[Score]
    beside: Sequence[Path]
    notes: Sequence[str]


def export(request: Request, registry: Registry, progress: Progress) -> Export:
    """Export a case.

    Raises StoreError without a finished record, checkpoint or writable folder, ExportError for a model that
    cannot be exported or does not compute the same, SuiteError for components that have changed.
    """
    check_formats(request.formats, int8=request.int8)
    check_writable(request.output)
    found = suite_records(request.suite, request.results, request.plan, lambda: registry)
    heading = found.heading
    store = Store(request.results, heading.name)
    record, chosen = _record(found, request)
    where = str(store.folder / f"{record.key}.json")
    # In float32, as the CPU may lack the precision of training.
    settings = {**record.settings, "precision": "fp32"}
    path = heading.path or Path(f"{heading.name}.yaml")  # where the suite file would be
    if heading.path is not None:
        registry = suite_registry(load_document(path), registry)
    try:
        suite = recorded_suite(heading.name, path, record.case, record.seed, settings, where, registry)
    except SuiteError as error:
        if heading.path is not None or all(
            each["package"] != FILE_PACKAGE for each in record.components.values()
        ):
            raise
        raise SuiteError(
            f"{error}; the case has components of a Python file: give the suite's file, or --plugin FILE"
        ) from None
    case = make_plan(suite, find_device("cpu")).cases[0]
    _check_data(record, case)
    with named(case.spec.every_part()):
        checkpoints = store.checkpoints(found.stored.get(record.key, record.key))
        return _exported(case, record, chosen, checkpoints, request, registry, progress)


def _exported(
    case: Case,
    record: Record,
    chosen: tuple[str, ...],
    checkpoints: Path,
    request: Request,
    registry: Registry,
    progress: Progress,
) -> Export:
    assembly = assemble(case, "cpu", progress)
    _load_weights(assembly, record, checkpoints)
    width = request.width or assembly.model.neck.dim
    model = assembly.model if width == assembly.model.neck.dim else CutModel(assembly.model, width).eval()
    drafts = _drafts(model, case, request, registry, progress)
    card = _card(record, case, width)
    with scratch_folder() as scratch:
        trial = Trial(assembly, model, _threshold(record), scratch, progress)
        own = trial.torch()
        remarks = remarks_of(record.evaluation).values()
        own = replace(own, notes=tuple(dict.fromkeys((*chosen, *remarks, *own.notes))))
        _check_scores(own, record, case)
        scores = []
        for draft in drafts:
            mine = replace(card, precision=draft.precision)
            refit = draft.precision != "float32"
            score = trial.file(draft, mine.metadata(), refit=refit)
            if refit:
                mine = replace(mine, similarity=score.threshold.similarity, note=score.threshold.note)
                trial.path(draft).write_bytes(draft.content(mine.metadata()))
            else:
                _check_same(score)
            scores.append(score)
        folder = ExportFolder(request.output, record, width)
        scores = [
            folder.write(score, draft, trial.path(draft)) for score, draft in zip(scores, drafts, strict=True)
        ]
        scores = trial.timed(drafts, scores)
    beside, notes = write_texts(folder, assembly, own, scores, request.suite, request.plan.size)
    return Export(own, scores, beside, notes)


def _drafts(
    model: nn.Module, case: Case, request: Request, registry: Registry, progress: Progress
) -> list[Draft]:
    drafts = []
    for name in dict.fromkeys(request.formats):
        progress(f"exporting to {name}", 0, 1)
        drafts.append(find_format(name, registry).draft(model, case))
        if name == "onnx" and request.int8:
            drafts.append(quantised(drafts[-1]))
    return drafts


def _card(record: Record, case: Case, width: int) -> Card:
    image, threshold = case.spec.image, _threshold(record)
    return Card(
        suite=record.suite,
        case=record.case,
        seed=record.seed,
        fingerprint=record.fingerprint,
        version=__version__,
        weights=str(record.training.get("weights", "")),
        precision="float32",
        size=image.size,
        resize=image.resize,
        crop_ratio=image.crop_ratio,
        similarity=threshold.similarity,
        note=threshold.note,
        white=getattr(case.dataset, "white", None),
        width=width,
        widths=tuple(each for each in widths_of(record) if each < width),
    )


def _record(found: Selection, request: Request) -> tuple[Record, tuple[str, ...]]:
    """The finished record of the case, at the width, and notes on the choice of seed and width. Raises
    StoreError."""
    records, where = found.records, request.suite
    names = dict.fromkeys((*(each.case for each in records), *(each.case for each in found.lacking)))
    if request.case not in names:
        raise StoreError(f"{where}: no case {request.case!r} ({hint(request.case, list(names))})")
    absent = {each.seed: each for each in found.lacking if each.case == request.case}
    seeds = {record.seed: _at(record, request.width) for record in records if record.case == request.case}
    if absent and (request.seed in absent or not seeds):
        each = absent.get(request.seed or 0, next(iter(absent.values())))
        size = f" --size {found.heading.size}" if found.heading.size else ""
        raise StoreError(f"{each}; run it first: mlbench run {where}{size} --cases {request.case}")
    seed, notes = (request.seed, ()) if request.seed is not None else _median_seed(seeds)
    if seed not in seeds:
        known = ", ".join(map(str, sorted(seeds)))
        raise StoreError(f"{where}: case {request.case!r} has no seed {seed} (there are: {known})")
    record = seeds[seed]
    if record.status != "done":
        raise StoreError(f"case {record.case!r} failed and left nothing to export: {record.error}")
    return record, (*notes, *_on_widths(record, request.width))


def _at(record: Record, width: int | None) -> Record:
    """The record at a nested width. Raises StoreError for a width that its case does not have."""
    widths = widths_of(record)
    if width is None or record.status != "done" or width in widths[-1:]:
        return record
    if not widths:
        raise StoreError(f"case {record.case!r} has no nested widths; leave --width {width} out")
    if width not in widths:
        known = ", ".join(map(str, widths))
        raise StoreError(f"case {record.case!r} has no width {width} (there are: {known})")
    return cut_record(record, width)


def _on_widths(record: Record, width: int | None) -> list[str]:
    """A note on the nested widths of the case."""
    widths = widths_of(record)
    if not widths:
        return []
    known = ", ".join(map(str, widths))
    if width in (None, widths[-1]):
        return [f"the case has the widths {known}; --width cuts the embeddings to one of them"]
    return [f"embeddings are cut to the first {width} of {widths[-1]} numbers; widths of the case: {known}"]


def _median_seed(seeds: Mapping[int, Record]) -> tuple[int, tuple[str, ...]]:
    """The finished seed with the median threshold (the lower one of two), or the first seed where none has a
    threshold; with a note where there is more than one."""
    finished = sorted(seed for seed, record in seeds.items() if record.status == "done")
    if len(finished) < 2:
        return min(finished or seeds), ()
    known = ", ".join(map(str, finished))
    known_distances = ((_distance(seeds[seed]), seed) for seed in finished)
    distances = sorted((each, seed) for each, seed in known_distances if each is not None and each >= 0)
    if not distances:
        return finished[0], (
            f"seed {finished[0]} is exported, the first of {known}; choose another with --seed",
        )
    distance, seed = distances[(len(distances) - 1) // 2]
    return seed, (
        f"seed {seed} is exported: its threshold {distance:.4f} is the median of the seeds {known} "
        f"({distances[0][0]:.4f} to {distances[-1][0]:.4f}); choose another with --seed",
    )


def _distance(record: Record) -> float | None:
    distance: float | None = record.evaluation.get("threshold", {}).get("distance")
    return distance


def _threshold(record: Record) -> Threshold:
    distance, note = _distance(record), record.evaluation.get("threshold", {}).get("note", "")
    return Threshold(None if distance is None else float(on_grid(1 - distance)), note)


def _load_weights(assembly: Assembly, record: Record, folder: Path) -> None:
    """Load the weights that the record is about, and leave the model in evaluation mode.

    Raises StoreError for another model's checkpoint, ExportError for initial weights that have changed.
    """
    case = assembly.case
    best = case.recipe.select == "best" and case.recipe.epochs > 0
    path = folder / ("best.pt" if best else "last.pt")
    again = f"run the case again: mlbench run SUITE.yaml --cases {case.name} --seeds {case.seed} --force"
    try:
        # Memory-mapped, as class centres may be large and are not needed.
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)["model"]
    except FileNotFoundError:
        raise StoreError(f"{path}: no such checkpoint; {again}") from None
    # torch raises errors of many types for damaged files.
    except Exception as error:
        raise StoreError(f"{path}: cannot be read ({first_line(error)}); {again}") from None
    model = assembly.model.eval()
    expected = {name: value.shape for name, value in model.trained_state().items()}
    if expected != {name: value.shape for name, value in state.items()}:
        raise StoreError(f"{path}: holds another model than the case now describes; {again}")
    model.load_trained_state(state)
    then, now = record.training.get("weights"), model.backbone.weights
    if then not in (None, now):
        raise ExportError(f"case {case.name!r} began with the weights {then}, which are {now} now; {again}")
    scored = record.training.get("model")
    if scored is not None and scored != state_hash(model.state_dict().values()):
        raise StoreError(f"{path}: is not the model that the record of case {case.name!r} is about; {again}")


def _check_data(record: Record, case: Case) -> None:
    """Raise ExportError for a data set with another version than in the record."""
    if record.data.get("version") != str(case.dataset.version):
        raise ExportError(
            f"the data set is not the one that case {case.name!r} was trained on (version "
            f"{case.dataset.version}, then {record.data.get('version')}); run the case again"
        )


def _check_scores(own: Score, record: Record, case: Case) -> None:
    """Raise ExportError when a headline metric of the model differs here from its record."""
    queries = record.evaluation.get("queries") or len(case.dataset.split(case.spec.evaluation.split))
    for name in headline_metrics([record]):
        then = record.metrics[name].value
        now = own.metrics[name].value if name in own.metrics else None
        if then is None or now is None:
            continue
        allowed = max(METRIC_TOLERANCE, IMAGES / queries) * max(1.0, abs(then))
        if abs(then - now) > allowed:
            raise ExportError(
                f"the model of case {case.name!r} scores {name} {metric_text(now, 4)} here and "
                f"{metric_text(then, 4)} in its record: weights or code that it was made from have changed; "
                "run the case again"
            )


def _check_same(score: Score) -> None:
    """Raise ExportError for a float32 file with other embeddings than PyTorch."""
    if not score.difference <= TOLERANCE:
        raise ExportError(
            f"the exported model does not compute the same: an embedding differs from PyTorch's by "
            f"{score.difference:.2g}, where {TOLERANCE:g} is allowed; nothing was written"
        )
