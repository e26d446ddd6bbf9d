"""Measurement of a case: speed, memory and sizes, measured in rounds by a separate process."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, cast

from mlbench.contracts import Dataset
from mlbench.environment import library_versions
from mlbench.errors import MlbenchError, first_line
from mlbench.measurement.reference_minimum import DISTURBED
from mlbench.planning.plan import Case
from mlbench.planning.spec import Part
from mlbench.plugins import Plugin
from mlbench.records.record import MEASURED, Record, Timing
from mlbench.registry import Entry

__all__ = [
    "KEEP_MEMORY",
    "MARK",
    "SIZES",
    "STAGES",
    "Measurement",
    "MeasuringProcess",
    "measure",
    "measurement_key",
]

#: Speeds that each stage measures.
STAGES: Mapping[str, tuple[str, ...]] = {
    "inference": ("images_per_second",),
    "latency": ("latency_p50", "latency_p95"),
    "training": ("training_images_per_second",),
    "onnx": ("onnx_images_per_second",),
}

#: Sizes that the process measures; training records the others.
SIZES = ("flops", "checkpoint_float32", "checkpoint_float16", "onnx")

#: The timed process keeps freed memory. By default glibc returns it and requests it again, in every batch or
#: never, depending on the layout of the heap: the speeds of two such processes differ by a third.
KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(1 << 40), "MALLOC_MMAP_MAX_": "0"}

#: The process whose peak memory is measured returns every large block when it is freed, so that the peak is
#: the memory in use.
_RETURN_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(128 << 10)}

#: Parts by which a measurement's notes are recognised; `_OLDER` starts those in records of schema 2.
_UNKNOWN, _DISTURBED, _OLDER = " not known: ", "measured on a disturbed machine: ", "speed is not known: "

#: Start of an answer of the process.
MARK = "\x1e"


@dataclass(frozen=True)
class Measurement:
    """Speed, memory and sizes of one architecture; see the fields of `mlbench.records.record.Record`.

    remarks: why sizes are unknown, one line each.
    """

    speed: Mapping[str, Timing] = field(default_factory=dict)
    memory: Mapping[str, Timing] = field(default_factory=dict)
    size: Mapping[str, int | None] = field(default_factory=dict)
    measured: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """Why values are unknown or unreliable, one line each."""
        missing: dict[str, list[str]] = {}
        disturbed = []
        quiet = self.measured.get("quiet")
        for name, timing in self.speed.items():
            if timing.value is None:
                missing.setdefault(timing.note, []).append(name)
            elif quiet and timing.reference and statistics.median(timing.reference) > DISTURBED * quiet:
                disturbed.append(name)
        notes = [f"{', '.join(names)}{_UNKNOWN}{note}" for note, names in missing.items()]
        if disturbed:
            notes.append(f"{_DISTURBED}{', '.join(disturbed)}; see run --measure-again")
        return (*notes, *self.remarks)

    def facts(self, record: Record) -> dict[str, Any]:
        """Fields of a record, which replace those of an earlier measurement."""
        known = {name: value for name, value in record.size.items() if name not in SIZES}
        others = (note for note in record.notes if not _is_of_measurement(note))
        return {
            "speed": self.speed,
            "memory": self.memory,
            "size": {**known, **self.size},
            "measured": self.measured,
            "notes": tuple(dict.fromkeys((*others, *self.notes))),
        }


class MeasuringProcess:
    """Context manager: a process that measures a case.

    case: without its data set. device: torch name. variables: environment variables of the process, unless
    the user has set them. Entering the context takes as long as building the model and warming up. Raises
    MlbenchError if the model cannot be built.
    """

    def __init__(self, case: Case, device: str, variables: Mapping[str, str] = KEEP_MEMORY) -> None:
        self._case = case
        self._device = device
        self._variables = variables
        self._rounds: list[dict[str, Any]] = []
        self._facts: dict[str, Any] = {}
        self._failed: dict[str, str] = {}

    @property
    def rounds(self) -> int:
        """Number of rounds that the case states."""
        return self._case.spec.measure.rounds

    @property
    def stages(self) -> list[str]:
        """Stages to measure."""
        wanted = self._case.spec.measure
        chosen = {
            "inference": True,
            "latency": wanted.latency,
            "training": wanted.training and self._case.recipe.epochs > 0,
            "onnx": wanted.onnx,
        }
        return [stage for stage in STAGES if chosen[stage]]

    def __enter__(self) -> MeasuringProcess:
        self._launch()
        try:
            self._facts = self._ready()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._end()

    def round(self) -> None:
        """Measure every stage once. A stage that ends the process is left out of later rounds.

        Raises MlbenchError if the process ends between stages.
        """
        while (found := self._request()) is None:
            self._launch()
            self._ready()
        self._rounds.append(found)

    def _ready(self) -> dict[str, Any]:
        """Facts known before the first round. Starts another process, without the stage that ended this one,
        until there are some."""
        while (ready := self._answer()) is None:
            self._launch()
        self._failed |= {name: self._sized(name, reason) for name, reason in ready["failed"].items()}
        return ready

    def _request(self) -> dict[str, Any] | None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the process has ended; `_answer` handles that
            self._process.stdin.write(b"round\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any] | None:
        """The next answer after announcements of stages; None if the announced stage ended the process, which
        is stored as its failure. Raises MlbenchError if no stage was announced."""
        name = ""
        while (answer := self._line()) is not None and "stage" in answer:
            name = answer["stage"]
        if answer is None:
            reason = self._end()
            if name in ("", "model"):
                raise MlbenchError(reason)
            self._failed[name] = self._sized(name, reason)
        return answer

    def _line(self) -> dict[str, Any] | None:
        """The next answer; None if the process has ended."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            text = line.decode(errors="replace")
            if text.startswith(MARK):
                found: dict[str, Any] = json.loads(text.removeprefix(MARK))
                return found
        return None

    def result(self) -> Measurement:
        """The measurement so far."""
        return Measurement(
            speed=self._speed(),
            memory={
                name: Timing(value, unit="bytes", higher_is_better=False)
                for name, value in self._facts["memory"].items()
            },
            size=self._facts["size"],
            remarks=tuple(
                f"{name}{_UNKNOWN}{reason}" for name, reason in self._failed.items() if name not in STAGES
            ),
            measured={
                **self._sizes(),
                "rounds": len(self._rounds),
                "quiet": self._quiet(),
                "repeated": sum(each["repeated"] for found in self._rounds for each in found.values()),
                "threads": self._facts["threads"],
                "device": self._device,
                "precision": self._case.spec.precision,
                "compute": self._case.spec.compute.model_dump(),
                "reference_version": self._facts["reference_version"],
                "libraries": library_versions(),
            },
        )

    def _quiet(self) -> float | None:
        """Seconds of the reference workload on this machine when undisturbed, None if unknown."""
        known = [each["quiet"] for found in self._rounds for each in found.values() if each["quiet"]]
        return min(known, default=None)

    def _speed(self) -> dict[str, Timing]:
        sizes = self._sizes()
        forms: dict[str, Callable[[float], float]] = {
            "images_per_second": lambda seconds: sizes["batch_size"] / seconds,
            "latency_p50": lambda seconds: 1000 * seconds,
            "latency_p95": lambda seconds: 1000 * seconds,
            "training_images_per_second": lambda seconds: sizes["training_batch_size"] / seconds,
            "onnx_images_per_second": lambda seconds: sizes["batch_size"] / seconds,
        }
        speed = {}
        for stage in self.stages:
            for name in STAGES[stage]:
                if stage in self._failed:
                    speed[name] = _timing(name, note=self._failed[stage])
                    continue
                found = [each[stage] for each in self._rounds]
                rounds = [forms[name](each["seconds"][name]) for each in found]
                speed[name] = _timing(name, rounds, [each["reference"] for each in found])
        return speed

    def _sizes(self) -> dict[str, int]:
        sizes = {"batch_size": self._case.spec.measure.batch_size}
        if "training" in self.stages:
            sizes["training_batch_size"] = self._case.recipe.batch_size
        return sizes

    def _sized(self, stage: str, reason: str) -> str:
        many = self._case.spec.measure.batch_size
        sizes = {"inference": many, "latency": 1, "training": self._case.recipe.batch_size, "onnx": many}
        if stage in sizes and reason.startswith(("out of memory", "killed")):
            return f"{reason} at batch size {sizes[stage]}"
        return reason

    def _launch(self) -> None:
        """Start a process, without the stages that failed. Raises OSError if none can be started."""
        errors = tempfile.TemporaryFile()  # noqa: SIM115 -- closed in _end
        try:
            self._process = subprocess.Popen(
                # -P: a queue.py in the working folder must not replace Python's.
                [sys.executable, "-P", "-m", "mlbench.measurement.stopwatch"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**self._variables, **os.environ},
            )
        except BaseException:
            errors.close()
            raise
        self._errors = errors
        unwanted = [*(stage for stage in STAGES if stage not in self.stages), *self._failed]
        task = {"case": _portable(self._case), "device": self._device, "unwanted": unwanted}
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the process has ended; `_ready` handles that
            pickle.dump(task, self._process.stdin)
            self._process.stdin.flush()

    def _end(self) -> str:
        """Why the process ended."""
        code = self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None and not stream.closed:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        text = ""
        if not self._errors.closed:
            self._errors.seek(0)
            text = self._errors.read().decode(errors="replace").strip()
            self._errors.close()
        if code < 0:
            return f"killed by signal {-code}{' (out of memory?)' if code == -9 else ''}"
        return f"measuring failed: {(text.splitlines() or ['no message'])[-1]}"


def measure(case: Case, device: str) -> Measurement:
    """Measure speed, memory and sizes of a case. Values that cannot be measured are None, with the reason."""
    try:
        memory = _peaks(case, device)
        with MeasuringProcess(case, device) as measuring:
            for _ in range(measuring.rounds):
                measuring.round()
            return replace(measuring.result(), memory=memory)
    # No error may lose the training that came before.
    except Exception as error:
        reason = str(error) if isinstance(error, MlbenchError) else f"measuring failed: {first_line(error)}"
        return Measurement({"images_per_second": _timing("images_per_second", note=reason)})


def _peaks(case: Case, device: str) -> Mapping[str, Timing]:
    """Peak memory, measured by a separate process."""
    wanted = case.spec.measure.model_copy(update={"latency": False, "onnx": False})
    case = replace(case, spec=replace(case.spec, measure=wanted))
    with MeasuringProcess(case, device, _RETURN_MEMORY) as measuring:
        return measuring.result().memory


def measurement_key(case: Case) -> str:
    """The settings that a measurement depends on, as text: the same for all seeds of a case."""
    plain = case.spec.plain()
    sections = ["backbone", "neck", "image", "compute", "precision", "measure"]
    facts: list[Any] = []
    if case.spec.measure.training:
        sections += ["loss", "losses", "sampler", "mixing", "teacher", "distiller", "recipe", "augmentation"]
        facts = [case.forecast.classes, case.forecast.batch_labels]
    return json.dumps([*(plain.get(section) for section in sections), *facts])


def _is_of_measurement(note: str) -> bool:
    """Whether a record's note comes from a measurement."""
    names, unknown, _ = note.partition(_UNKNOWN)
    is_unknown = bool(unknown) and MEASURED.keys() >= set(names.split(", "))
    return is_unknown or note.startswith((_DISTURBED, _OLDER))


def _timing(
    name: str, rounds: Sequence[float] = (), reference: Sequence[float | None] = (), note: str = ""
) -> Timing:
    unit, more = MEASURED[name]
    value = statistics.median(rounds) if rounds else None
    beside = tuple(each for each in reference if each is not None)
    return Timing(value, tuple(rounds), unit, more, note, beside)


def _portable(case: Case) -> Case:
    """The case without the parts that cannot be pickled or that the process does not need."""

    def plain(part: Part) -> Part:
        return Part(Entry(part.entry.component, Plugin("", "", "", "")), dict(part.options), str)

    unused = ("dataset", "batch_sampler", "threshold", "recipe")
    spec = replace(
        case.spec,
        parts={name: plain(part) for name, part in case.spec.parts.items() if name not in unused},
        losses={name: replace(each, part=plain(each.part)) for name, each in case.spec.losses.items()},
        metrics={},
    )
    return replace(case, spec=spec, dataset=cast(Dataset, None))
