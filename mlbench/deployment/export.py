"""Export: the trained model of a case as ONNX files, whose embeddings are compared with PyTorch's."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from mlbench.atomic_write import full_disk, write_atomically
from mlbench.deployment.choice import Choice, ModelRequest, choose
from mlbench.deployment.cut import CutModel
from mlbench.deployment.match import INT8
from mlbench.deployment.onnx_model import to_int8, to_onnx, with_metadata
from mlbench.deployment.trained import card_of, load_weights, threshold_of
from mlbench.deployment.trial import Progress, Score, Trial
from mlbench.environment import find_device
from mlbench.errors import ExportError, StoreError
from mlbench.planning.plan import Case, make_plan
from mlbench.planning.plugin_code import named
from mlbench.records.record import Record
from mlbench.records.report import headline_metrics, metric_text, remarks_of
from mlbench.records.widths import widths_of
from mlbench.registry import Registry
from mlbench.training.assembly import assemble

__all__ = ["Request", "export"]

#: Largest difference of a component of a unit embedding from PyTorch's that is allowed in a float32 file.
TOLERANCE = 1e-3

#: Largest difference of a metric from the case's record, for values above 1 as a share, and the number of
#: images that may always differ.
METRIC_TOLERANCE, IMAGES = 0.01, 2


@dataclass(frozen=True, kw_only=True)
class Request(ModelRequest):
    """What to export. output: folder of the files. int8: whether to write a quantised file too."""

    output: Path = Path("export")
    int8: bool = False


def export(request: Request, registry: Registry, progress: Progress) -> list[Score]:
    """Export a case. Returns the score of the PyTorch model, then that of each file.

    Raises StoreError without a finished record, checkpoint or writable folder, ExportError for a model that
    cannot be exported or does not compute the same, SuiteError for components that have changed.
    """
    _check_writable(request.output)
    choice = choose(request, registry)
    case = make_plan(choice.suite, find_device("cpu")).cases[0]
    _check_data(choice.record, case)
    with named(case.spec.every_part()):
        return _exported(case, choice, request, progress)


def _exported(case: Case, choice: Choice, request: Request, progress: Progress) -> list[Score]:
    record, assembly = choice.record, assemble(case, "cpu", progress)
    load_weights(assembly.model, case.spec, record, choice.checkpoints)
    progress("exporting", 0, 1)
    width = request.width or assembly.model.neck.dim
    model = assembly.model if width == assembly.model.neck.dim else CutModel(assembly.model, width).eval()
    graphs = {"float32": to_onnx(model, case.spec.image.size)}
    with _scratch_folder() as folder:
        trial = Trial(assembly, model, threshold_of(record), folder, progress)
        own = trial.torch()
        remarks = remarks_of(record.evaluation).values()
        own = replace(own, notes=tuple(dict.fromkeys((*choice.notes, *remarks, *own.notes))))
        _check_scores(own, record, case)
        scores = [trial.onnx("float32", graphs["float32"], refit=False)]
        _check_same(scores[0])
        if request.int8:
            graphs["int8"] = to_int8(graphs["float32"])
            scores.append(trial.onnx("int8", graphs["int8"], refit=True))
        scores = [_write(score, graphs[score.name], record, case, request.output) for score in scores]
        return [own, *trial.timed(scores)]


@contextlib.contextmanager
def _scratch_folder() -> Iterator[Path]:
    """A temporary folder. Raises StoreError where the system's has no room."""
    try:
        scratch = tempfile.TemporaryDirectory()
    except OSError as error:
        raise _no_room(error) from None
    with scratch as folder:
        try:
            yield Path(folder)
        except OSError as error:
            if full_disk(error) is None:
                raise
            raise _no_room(error) from None


def _no_room(error: OSError) -> StoreError:
    reason = f"cannot be written ({error.strerror}); set TMPDIR to a folder with room"
    return StoreError(f"{tempfile.gettempdir()}: {reason}")


def _write(score: Score, graph: bytes, record: Record, case: Case, folder: Path) -> Score:
    """Write one file atomically."""
    image = case.spec.image
    card = card_of(
        record,
        precision=score.name,
        size=image.size,
        resize=image.resize,
        crop_ratio=image.crop_ratio,
        white=getattr(case.dataset, "white", None),
        width=score.width,
        threshold=score.threshold,
    )
    end = INT8 if score.name == "int8" else ".onnx"
    if score.width < max(widths_of(record), default=0):
        end = f"-w{score.width}{end}"
    file = folder / f"{record.suite}-{record.case}-s{record.seed}{end}"
    data = with_metadata(graph, card.metadata())
    write_atomically(file, data)
    return replace(score, file=file, bytes=len(data))


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


def _check_writable(folder: Path) -> None:
    """Raise StoreError for a folder that cannot be written. Creates nothing."""
    here = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    if not here.is_dir():
        raise StoreError(f"{here}: is a file; --output needs a folder")
    if not os.access(here, os.W_OK | os.X_OK):
        raise StoreError(f"{here}: cannot be written; choose another --output")
