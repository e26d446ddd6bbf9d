"""Measures the cases of a run: in one process, in rounds, each round over all cases.

A round measures every stage of every subject once, so a machine that becomes slower does so for all of them
alike. A stage is finished when the interval of its median is narrow enough, or after the suite's number of
rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any

from mlbench.environment import library_versions
from mlbench.errors import MlbenchError, first_line
from mlbench.measurement.process import MeasuringProcess, ProcessEndedError
from mlbench.measurement.result import SIZES, Measurement
from mlbench.measurement.subject import STAGES, Subject, stage_key, stages_of, subjects_of
from mlbench.planning.plan import Case
from mlbench.records.record import MEASURED, Timing
from mlbench.regression.statistics import median_interval

__all__ = ["GROUP_BYTES", "WIDTH", "measure"]

#: Largest distance of an end of the interval of the median from the median, as a share of it, at which a
#: stage needs no more rounds; and the level of the interval.
WIDTH, LEVEL = 0.01, 0.95

#: Bytes of the models that are measured together, by their predicted numbers of parameters.
GROUP_BYTES = 2 << 30

#: Bytes for each parameter: value, gradient and two moments.
_PER_PARAMETER = 16

#: Parameters of a model whose number is not predicted.
_UNKNOWN_PARAMETERS = 25_000_000

Progress = Callable[[str, int, int], None]


@dataclass
class _Series:
    """The rounds of one subject so far. facts: the first answer. failed: reasons, by stage or size."""

    subject: Subject
    facts: Mapping[str, Any] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    rounds: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    reference_minimum: float | None = None

    @property
    def most(self) -> int:
        """Largest number of rounds."""
        return self.subject.case.spec.measure.rounds

    def open(self) -> list[str]:
        """Stages that need another round."""
        known = {stage: self.rounds.get(stage, []) for stage in self.subject.stages}
        return [
            stage
            for stage, found in known.items()
            if stage not in self.failed and len(found) < self.most and not _is_settled(stage, found)
        ]

    def fail(self, stage: str, reason: str) -> None:
        """Take a stage or size out; every open stage for "model" or "", which name none."""
        if stage in ("", "model"):
            self.failed |= dict.fromkeys(self.open(), reason)
        elif stage in STAGES and reason.startswith(("out of memory", "killed")):
            self.failed[stage] = f"{reason} at batch size {self.subject.batch_size(stage)}"
        else:
            self.failed[stage] = reason


def measure(
    cases: Sequence[Case], process: MeasuringProcess, progress: Progress
) -> Iterator[tuple[Case, Measurement]]:
    """Measure speed, memory and sizes of cases, each as soon as it is known.

    Values that cannot be measured are None, with the reason. progress: called with (what, done, total).
    """
    subjects, index = subjects_of(cases)
    series = [_Series(subject) for subject in subjects]
    waiting = list(cases)
    done, total = 0, sum(each.most for each in series)
    for group in _groups(subjects):
        chosen = {number: series[number] for number in group}
        try:
            _measure_group(process, chosen, partial(_report, progress, done, total))
        # No error may lose the training that came before.
        except Exception as error:
            reason = str(error) if isinstance(error, MlbenchError) else first_line(error)
            for each in chosen.values():
                each.fail("", f"measuring failed: {reason}")
        done += sum(each.most for each in chosen.values())
        for case in list(waiting):
            parts = {stage: index[stage_key(case, stage)] for stage in stages_of(case)}
            if max(parts.values()) in group:
                waiting.remove(case)
                yield case, _measurement(case, process.device, {s: series[n] for s, n in parts.items()})


def _report(progress: Progress, before: int, total: int, done: int) -> None:
    progress("measuring speed", before + done, total)


def _groups(subjects: Sequence[Subject]) -> Iterator[range]:
    """Numbers of the subjects whose models are in memory together."""
    start = held = 0
    for number, subject in enumerate(subjects):
        forecast = subject.case.forecast
        size = _PER_PARAMETER * ((forecast.parameters or _UNKNOWN_PARAMETERS) + (forecast.centres or 0))
        if number > start and held + size > GROUP_BYTES:
            yield range(start, number)
            start, held = number, 0
        held += size
    yield range(start, len(subjects))


def _measure_group(
    process: MeasuringProcess, group: Mapping[int, _Series], progress: Callable[[int], None]
) -> None:
    progress(0)
    _load(process, group)
    done = 0
    while any(series.open() for series in group.values()):
        for number, series in group.items():
            while stages := series.open():
                try:
                    answer = process.ask(number=number, stages=stages)
                except ProcessEndedError as ended:
                    # Where a stage is out of memory, the kernel ends the process; the others go on.
                    series.fail(ended.stage, str(ended))
                    _load(process, group)
                    continue
                for stage, found in answer["found"].items():
                    series.rounds.setdefault(stage, []).append(found)
                series.reference_minimum = answer["reference_minimum"]
                break
            done += 1
            progress(done)
    process.ask(clear=True)


def _load(process: MeasuringProcess, group: Mapping[int, _Series]) -> None:
    """Build the models of a group in the process; again, where one of them ends it."""
    ready = False
    while not ready:
        try:
            for number, series in group.items():
                if series.open():
                    answer = process.ask(load=series.subject, number=number, unwanted=[*series.failed])
                    series.facts = series.facts or answer
                    for name, reason in answer["failed"].items():
                        series.fail(name, reason)
            ready = True
        except ProcessEndedError as ended:
            series.fail(ended.stage, str(ended))


def _is_settled(stage: str, found: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the interval of the median is narrow enough."""
    name = STAGES[stage][0]
    interval = median_interval([each["seconds"][name] / (each["reference"] or 1.0) for each in found], LEVEL)
    if interval is None:
        return False
    return max(interval.high - interval.value, interval.value - interval.low) <= WIDTH * interval.value


def _measurement(case: Case, device: str, parts: Mapping[str, _Series]) -> Measurement:
    """The measurement of a case. parts: the series of each of its stages."""
    model = parts["inference"]
    sizes = {"batch_size": case.spec.measure.batch_size}
    if "training" in parts:
        sizes["training_batch_size"] = case.recipe.batch_size
    minima = [each.reference_minimum for each in parts.values() if each.reference_minimum is not None]
    # The stage of ONNX measures the size of its file; that of inference measures the others.
    owners = {name: parts.get(name) if name == "onnx" else model for name in SIZES}
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
            "reference_minimum": min(minima, default=None),
            **{name: model.facts.get(name) for name in ("threads", "reference_version")},
            "device": device,
            "precision": case.spec.precision,
            "compute": case.spec.compute.model_dump(),
            "libraries": library_versions(),
        },
    )


def _timing(name: str, stage: str, series: _Series) -> Timing:
    unit, higher = MEASURED[name]
    if stage in series.failed:
        return Timing(None, (), unit, higher, series.failed[stage])
    found = series.rounds[stage]
    batch = series.subject.batch_size(stage)
    seconds = [each["seconds"][name] for each in found]
    rounds = tuple(1000 * each if unit == "ms" else batch / each for each in seconds)
    reference = tuple(each["reference"] for each in found if each["reference"] is not None)
    return Timing(median(rounds), rounds, unit, higher, "", reference)
