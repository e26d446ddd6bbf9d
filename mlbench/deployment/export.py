"""Export: the trained model of a case as files, whose embeddings are compared with PyTorch's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from mlbench.deployment.choice import Choice, ModelRequest, choose
from mlbench.deployment.deployed import CutModel
from mlbench.deployment.export_folder import ExportFolder, check_writable, scratch_folder
from mlbench.deployment.export_texts import write_texts
from mlbench.deployment.formats import check_formats, find_format
from mlbench.deployment.model_file import Draft
from mlbench.deployment.onnx_format import quantised
from mlbench.deployment.trained import card_of, load_weights, threshold_of
from mlbench.deployment.trial import Progress, Score, Trial
from mlbench.environment import find_device
from mlbench.errors import ExportError
from mlbench.planning.plan import Case, make_plan
from mlbench.planning.plugin_code import named
from mlbench.planning.recorded import check_version
from mlbench.records.record import Record
from mlbench.records.report import headline_metrics, metric_text, remarks_of
from mlbench.registry import Registry
from mlbench.training.assembly import assemble

__all__ = ["Export", "Request", "export"]

#: Largest difference of a component of a unit embedding from PyTorch's that is allowed in a float32 file.
TOLERANCE = 1e-3

#: Largest difference of a metric from the case's record, for values above 1 as a share, and the number of
#: images that may always differ.
METRIC_TOLERANCE, IMAGES = 0.01, 2


@dataclass(frozen=True, kw_only=True)
class Request(ModelRequest):
    """What to export. output: folder of the files. formats: names of `mlbench.deployment.formats.FORMATS`.
    int8: whether to write a quantised ONNX file too."""

    output: Path = Path("export")
    formats: tuple[str, ...] = ("onnx",)
    int8: bool = False


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
    cannot be exported or does not compute the same, SuiteError for components that have changed, DataError
    for another data set.
    """
    check_formats(request.formats, int8=request.int8)
    check_writable(request.output)
    choice = choose(request, registry)
    case = make_plan(choice.suite, find_device("cpu")).cases[0]
    check_version(choice.record, case.dataset)
    with named(case.spec.every_part()):
        return _exported(case, choice, request, registry, progress)


def _exported(case: Case, choice: Choice, request: Request, registry: Registry, progress: Progress) -> Export:
    record, assembly = choice.record, assemble(case, "cpu", progress)
    load_weights(assembly.model, case.spec, record, choice.checkpoints)
    width = request.width or assembly.model.neck.dim
    model = assembly.model if width == assembly.model.neck.dim else CutModel(assembly.model, width).eval()
    drafts = _drafts(model, case, request, registry, progress)
    image = case.spec.image
    card = card_of(
        record,
        precision="float32",
        size=image.size,
        resize=image.resize,
        crop_ratio=image.crop_ratio,
        white=getattr(case.dataset, "white", None),
        width=width,
        threshold=threshold_of(record),
    )
    with scratch_folder() as scratch:
        trial = Trial(assembly, model, threshold_of(record), scratch, progress)
        own = trial.torch()
        remarks = remarks_of(record.evaluation).values()
        own = replace(own, notes=tuple(dict.fromkeys((*choice.notes, *remarks, *own.notes))))
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
    beside, notes = write_texts(folder, assembly, own, scores, request.suite, request.plan)
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
