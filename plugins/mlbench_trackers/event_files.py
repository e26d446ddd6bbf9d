"""TensorBoard: event files, one folder for each case and seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

from mlbench.plugin import (
    FinishedRun,
    TrackedCase,
    Tracker,
    TrackerContext,
    TrackerError,
    TrackerOptions,
    first_line,
)
from mlbench_trackers import values

__all__ = ["TensorBoard"]


class TensorBoard(TrackerOptions):
    """Event files for `tensorboard --logdir FOLDER`, one folder for each case and seed.

    Scalars of every epoch; at the end of a case its metrics with the ends of their intervals, its sizes and
    its settings (the page HPARAMS compares cases by them); at the end of the run its speeds and the verdicts
    on claims."""

    libraries: ClassVar[tuple[str, ...]] = ("tensorboard",)

    folder: str = ""
    """Where the folders of the cases are made, from the current folder on; empty for "tensorboard" in the
    folder of the suite's records."""

    def build(self, context: TrackerContext) -> Tracker:
        """The tracker. Raises TrackerError without the package tensorboard."""
        try:
            import torch.utils.tensorboard  # noqa: F401
        except ImportError as error:
            raise TrackerError(
                "tracker 'tensorboard' needs mlbench[tensorboard]: pip install 'mlbench[tensorboard]' "
                f"({first_line(error)})"
            ) from None
        return _EventFiles(Path(self.folder).absolute() if self.folder else context.folder / "tensorboard")


class _EventFiles(Tracker):
    """folder: of those of the cases."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._places: dict[tuple[str, int], Path] = {}
        self._epochs: dict[tuple[str, int], int] = {}
        self._writer: Any = None  # of the case that runs

    def case_started(self, case: TrackedCase, position: int, total: int) -> None:
        self._close()
        key, name = values.case_key(case), values.run_name(case)
        # Curves of an earlier training in the same folder would be drawn as one with these.
        names = (name if number == 1 else f"{name}.{number}" for number in count(1))
        self._places[key] = next(place for each in names if not (place := self._folder / each).exists())
        self._epochs[key] = case.epochs
        self._writer = _open(self._places[key])
        for about, text in values.facts(case).items():
            self._writer.add_text(about, text)

    def epoch(self, case: TrackedCase, epoch: int, values_: Mapping[str, float]) -> None:
        _scalars(self._writer, values.epoch_values(values_), epoch)
        self._writer.flush()

    def case_finished(self, record: Mapping[str, Any]) -> None:
        _scalars(self._writer, values.results(record), self._epochs[values.record_key(record)])
        for name, text in values.remarks(record).items():
            self._writer.add_text(name, text.replace("\n", "\n\n"))  # Markdown
        for summary in _comparison(record):
            self._writer.file_writer.add_summary(summary)
        self._close()

    def run_finished(self, run: FinishedRun) -> None:
        self._close()
        for record in run.records:
            key = values.record_key(record)
            if key in self._places and (found := values.speeds(record)):
                writer = _open(self._places[key], suffix=".speed")
                _scalars(writer, found, self._epochs[key])
                writer.close()
        if run.claims and self._places:
            writer = _open(self._folder / "claims")
            writer.add_text("claims", _claims_table(run.claims))
            writer.close()

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = None


def _open(place: Path, suffix: str = "") -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(place), filename_suffix=suffix)


def _scalars(writer: Any, named: Mapping[str, float], step: int) -> None:
    for name, value in named.items():
        writer.add_scalar(name, value, step)


def _comparison(record: Mapping[str, Any]) -> Sequence[Any]:
    """What the page HPARAMS compares cases by: settings, names of metrics, and whether the case failed."""
    from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
    from torch.utils.tensorboard import summary

    settings = {
        name: value if isinstance(value, bool | int | float | str) else str(value)
        for name, value in (*values.flat(record["settings"]), ("seed", record["seed"]))
    }
    make: Any = summary.hparams  # it has no annotations
    announced, start, end = make(settings, values.results(record))
    if record["status"] != "done":
        stored = end.value[0].metadata.plugin_data
        data = HParamsPluginData.FromString(stored.content)
        data.session_end_info.status = STATUS_FAILURE
        stored.content = data.SerializeToString()
    return announced, start, end


def _claims_table(claims: Sequence[Mapping[str, Any]]) -> str:
    rows = [f"| {each['id']} | {each['verdict']} | {each['sentence']} |" for each in claims]
    return "\n".join(["| claim | verdict | |", "|---|---|---|", *rows])
