"""Measures the cases of a run: in one process, in rounds, each round over all cases.

A round measures every stage of every subject once, so a machine that becomes slower does so for all of them
alike. A stage is finished when the interval of its median is narrow enough, or after the suite's number of
rounds.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from types import MappingProxyType
from typing import Any

from mlbench.environment import library_versions
from mlbench.errors import first_line
from mlbench.measurement.durations import duration_text
from mlbench.measurement.process import LIMIT, MeasuringProcess, ProcessEndedError
from mlbench.measurement.result import SIZES, Measurement
from mlbench.measurement.subject import STAGES, Subject, stage_key, stages_of, subjects_of
from mlbench.planning.plan import Case
from mlbench.planning.plugin_code import stopped_in
from mlbench.planning.spec import Part
from mlbench.records.record import MEASURED, Timing
from mlbench.regression.statistics import median_interval

__all__ = ["GROUP_BYTES", "WIDTH", "measure"]

#: Largest distance of an end of the interval of the median from the median, as a share of it, at which a
#: stage needs no more rounds; and the level of the interval.
WIDTH, LEVEL = 0.01, 0.95

#: Training steps in whose time a stage, which needs a few, must end.
STEPS = 40

#: Bytes of the models that are measured together, by their predicted numbers of parameters.
GROUP_BYTES = 2 << 30

#: Bytes for each parameter: value, gradient and two moments.
_PER_PARAMETER = 16

#: Parameters of a model whose number is not predicted.
_UNKNOWN_PARAMETERS = 25_000_000

Progress = Callable[[str, int, int], None]


@dataclass
class _Series:
    """The rounds of one subject so far.

    facts: the first answer. failed: reasons, by stage or size. lost: why the subject cannot be measured at
    all. restarted: whether the process has ended without a stage to blame. turn: name of the group with which
    it takes its rounds in turn, see `mlbench.records.record.Record.turn`. parts: components of the case.
    limit: seconds of a stage after which it is given up.
    """

    subject: Subject
    parts: Sequence[Part] = ()
    limit: float = LIMIT
    facts: Mapping[str, Any] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    rounds: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    lost: str = ""
    restarted: bool = False
    reference_minimum: float | None = None
    turn: str = ""

    @property
    def most(self) -> int:
        """Largest number of rounds."""
        return self.subject.case.spec.measure.rounds

    @property
    def done(self) -> int:
        """Number of rounds, as if a finished subject had all."""
        return max((len(self.rounds.get(stage, ())) for stage in self.open()), default=self.most)

    def open(self) -> list[str]:
        """Stages that need another round."""
        known = {stage: self.rounds.get(stage, []) for stage in self.subject.stages if not self.lost}
        return [
            stage
            for stage, found in known.items()
            if stage not in self.failed and len(found) < self.most and not _is_settled(stage, found)
        ]

    def unwanted(self) -> list[str]:
        """Stages and sizes that need no preparation."""
        return [*({*STAGES, *SIZES} - {*self.open(), *(() if self.facts else SIZES)}), *self.failed]

    def fail(self, failed: Mapping[str, str]) -> None:
        """Take out stages and sizes for the given reasons."""
        opened = self.open()
        for stage, reason in failed.items():
            if stage in opened and reason.startswith(("out of memory", "killed")):
                reason = f"{reason} at batch size {self.subject.batch_size(stage)}"
            if stage in opened or stage not in STAGES:
                self.failed.setdefault(stage, reason)

    def end(self, ended: ProcessEndedError) -> None:
        """Take out the stage that ended the process. An end that no stage explains, such as another program's
        kill, counts the second time. A model that hangs in inference is given up, with all of its stages."""
        if ended.hung:
            reason = f"not done after {duration_text(self.limit)}, given up"
            if where := stopped_in(ended.hung, self.parts):
                reason += f"; it was in {where}"
            if ended.stage in ("training", "onnx"):
                self.fail({ended.stage: reason})
            else:
                self.lost = reason
        elif ended.stage and ended.stage != "model":
            self.fail({ended.stage: str(ended)})
        elif ended.stage or self.restarted:
            self.lost = str(ended)
        else:
            self.restarted = True


def measure(
    cases: Sequence[Case],
    process: MeasuringProcess,
    progress: Progress,
    known: Mapping[str, Collection[str]] = MappingProxyType({}),
    steps: Mapping[str, float] = MappingProxyType({}),
) -> Iterator[tuple[Case, Measurement]]:
    """Measure speed, memory and sizes of cases, each as soon as it is known.

    Values that cannot be measured are None, with the reason. progress: called with (what, done, total).
    known: stages that need no measurement, by key of the case; every case has another stage. steps: seconds
    of a training step, by key of the case, where known. A stage that takes longer than `STEPS` of them, and
    than `LIMIT`, is given up.
    """
    subjects, index = subjects_of(cases, known)
    components = {case.key: list(case.spec.every_part()) for case in cases}
    series = [
        _Series(each, components[each.case.key], max(LIMIT, STEPS * steps.get(each.case.key, 0.0)))
        for each in subjects
    ]
    waiting = list(cases)
    total = sum(each.most for each in series)
    session = uuid.uuid4().hex[:12]
    for place, group in enumerate(_groups(subjects)):
        for number in group:
            series[number].turn = f"{session}.{place}"

        def report() -> None:
            done = sum(each.done if each.facts or each.lost else 0 for each in series)
            progress("measuring speed", done, total)

        _measure_group(process, {number: series[number] for number in group}, report)
        for case in list(waiting):
            parts = {stage: index[stage_key(case, stage)] for stage in stages_of(case, known)}
            if max(parts.values()) in group:
                waiting.remove(case)
                yield case, _measurement(case, process.device, {s: series[n] for s, n in parts.items()})


def _groups(subjects: Sequence[Subject]) -> Iterator[range]:
    """Numbers of the subjects whose models are in memory together."""
    start = held = 0
    for number, subject in enumerate(subjects):
        size = _model_bytes(subject.case)
        if number > start and held + size > GROUP_BYTES:
            yield range(start, number)
            start, held = number, 0
        held += size
    yield range(start, len(subjects))


def _model_bytes(case: Case) -> int:
    """Bytes of a case's models in training, as far as they are predicted."""
    trained = (case.forecast.parameters or _UNKNOWN_PARAMETERS) + (case.forecast.centres or 0)
    size = _PER_PARAMETER * trained
    if "teacher" in case.spec.parts and case.spec.measure.training:
        teacher = case.spec.parts["teacher"].predict(case.spec.image.size)
        size += 4 * ((teacher and teacher.parameters) or _UNKNOWN_PARAMETERS)
    return size


def _measure_group(
    process: MeasuringProcess, group: Mapping[int, _Series], report: Callable[[], None]
) -> None:
    report()
    _load(process, group)
    while any(series.open() for series in group.values()):
        for number, series in group.items():
            if stages := series.open():
                _round(process, group, number, stages)
            report()
    with contextlib.suppress(Exception):  # of a process that has ended; everything is measured
        minimum = process.ask(clear=True)["reference_minimum"]
        for series in group.values():
            series.reference_minimum = minimum


def _round(process: MeasuringProcess, group: Mapping[int, _Series], number: int, stages: list[str]) -> None:
    series = group[number]
    try:
        answer = process.ask(number=number, stages=stages, limit=series.limit)
    except ProcessEndedError as ended:  # as by the kernel, where a stage is out of memory; the others go on
        series.end(ended)
        _load(process, group)
        return
    except Exception as error:  # no error may lose the training that came before
        series.lost = f"measuring failed: {first_line(error)}"
        return
    series.fail(answer["failed"])
    for stage, found in answer["found"].items():
        series.rounds.setdefault(stage, []).append(found)


def _load(process: MeasuringProcess, group: Mapping[int, _Series]) -> None:
    """Build the models of a group in the process; again, where one of them ends it."""
    waiting = list(group)
    while waiting:
        number = waiting[0]
        series = group[number]
        if series.open():
            try:
                answer = process.ask(
                    load=series.subject, number=number, unwanted=series.unwanted(), limit=series.limit
                )
            except ProcessEndedError as ended:
                series.end(ended)
                waiting = list(group)
                continue
            except Exception as error:  # such as of a plugin whose objects cannot be pickled
                series.lost = f"measuring failed: {first_line(error)}"
            else:
                series.facts = series.facts or answer
                series.fail(answer["failed"])
        waiting.pop(0)


def _is_settled(stage: str, found: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the interval of the median is narrow enough."""
    name = STAGES[stage][0]
    interval = median_interval([each["seconds"][name] / (each["reference"] or 1.0) for each in found], LEVEL)
    if interval is None:
        return False
    return max(interval.high - interval.value, interval.value - interval.low) <= WIDTH * interval.value


def _measurement(case: Case, device: str, parts: Mapping[str, _Series]) -> Measurement:
    """The measurement of a case. parts: the series of each of its stages."""
    model = next(iter(parts.values()))  # that of inference, where it is measured
    if model.lost:
        return Measurement(lost=model.lost)
    sizes = {"batch_size": case.spec.measure.batch_size}
    if "training" in parts:
        sizes["training_batch_size"] = case.recipe.batch_size
    # The stage of ONNX measures the size of its file; that of inference measures the others.
    owners = {name: parts.get("onnx" if name == "onnx" else "inference") for name in SIZES}
    measured = [(name, each) for name, each in owners.items() if each is not None]
    return Measurement(
        speed={name: _timing(name, stage, each) for stage, each in parts.items() for name in STAGES[stage]},
        memory={
            name: Timing(value, unit="bytes", higher_is_better=False)
            for stage, each in parts.items()
            for name, value in each.facts.get("memory", {}).items()
            if stage == ("training" if name.startswith("training_") else "inference")
        },
        size={
            name: each.facts["size"][name] for name, each in measured if name in each.facts.get("size", {})
        },
        unknown={
            name: each.failed[name] for name, each in measured if name in each.failed and name != "onnx"
        },
        measured={
            **sizes,
            "reference_minimum": model.reference_minimum,
            "turns": {name: each.turn for stage, each in parts.items() for name in STAGES[stage]},
            **{name: model.facts.get(name) for name in ("threads", "reference_version")},
            "device": device,
            "precision": case.spec.precision,
            "compute": case.spec.compute.model_dump(),
            "libraries": library_versions(),
        },
    )


def _timing(name: str, stage: str, series: _Series) -> Timing:
    unit, higher = MEASURED[name]
    if reason := series.lost or series.failed.get(stage, ""):
        return Timing(None, (), unit, higher, reason)
    found = series.rounds[stage]
    batch = series.subject.batch_size(stage)
    seconds = [each["seconds"][name] for each in found]
    rounds = tuple(1000 * each if unit == "ms" else batch / each for each in seconds)
    reference = tuple(each["reference"] for each in found if each["reference"] is not None)
    return Timing(median(rounds), rounds, unit, higher, "", reference)
