"""Measurement: speed, memory and sizes of a case, taken in rounds from a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, cast

from mlbench.contracts import Dataset
from mlbench.environment import library_versions
from mlbench.errors import MlbenchError
from mlbench.plan import Case
from mlbench.plugins import Plugin
from mlbench.record import MEASURED, Timing
from mlbench.registry import Entry
from mlbench.spec import Part

__all__ = ["KEEP_MEMORY", "Drive", "Measurement", "Measuring", "measure", "subject"]

#: Speeds that each stage gives.
_STAGES: Mapping[str, tuple[str, ...]] = {
    "inference": ("images_per_second",),
    "latency": ("latency_p50", "latency_p95"),
    "training": ("training_images_per_second",),
    "onnx": ("onnx_images_per_second",),
}


#: The process keeps what memory it was given. Else glibc hands it back and asks for it again, every batch or
#: not at all, as its heap happens to lie: speeds of two such processes differ by a third.
KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(1 << 40), "MALLOC_MMAP_MAX_": "0"}


@dataclass(frozen=True)
class Measurement:
    """What was measured of one architecture; see the fields of `mlbench.record.Record`."""

    speed: Mapping[str, Timing] = field(default_factory=dict)
    memory: Mapping[str, Timing] = field(default_factory=dict)
    size: Mapping[str, int | None] = field(default_factory=dict)
    measured: Mapping[str, Any] = field(default_factory=dict)

    @property
    def notes(self) -> tuple[str, ...]:
        """Why something is not known, one line each."""
        missing: dict[str, list[str]] = {}
        for name, timing in self.speed.items():
            if timing.value is None:
                missing.setdefault(timing.note, []).append(name)
        return tuple(f"{', '.join(names)} not known: {note}" for note, names in missing.items())

    def facts(self, size: Mapping[str, int | None]) -> dict[str, Any]:
        """Fields of a record, together with the sizes that are known already."""
        return {
            "speed": self.speed,
            "memory": self.memory,
            "size": {**size, **self.size},
            "measured": self.measured,
        }


class Measuring:
    """A process that measures a case, from entering the context to leaving it.

    case: its data set is not needed. device: torch name. Entering it takes as long as building the model and
    warming up. Raises MlbenchError when not even the model can be built.
    """

    def __init__(self, case: Case, device: str) -> None:
        self._case = case
        self._device = device
        self._rounds: list[dict[str, float]] = []
        self._facts: dict[str, Any] = {}
        self._failed: dict[str, str] = {}

    @property
    def rounds(self) -> int:
        """How many rounds are wanted."""
        return self._case.spec.measure.rounds

    @property
    def stages(self) -> list[str]:
        """What is to be measured."""
        wanted = self._case.spec.measure
        chosen = {
            "inference": True,
            "latency": wanted.latency,
            "training": wanted.training and self._case.recipe.epochs > 0,
            "onnx": wanted.onnx,
        }
        return [stage for stage in _STAGES if chosen[stage]]

    def __enter__(self) -> Measuring:
        self._launch()
        try:
            while (ready := self._ready()) is None:
                self._launch()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self._facts = ready
        self._failed |= {stage: self._sized(stage, reason) for stage, reason in ready["failed"].items()}
        return self

    def _ready(self) -> dict[str, Any] | None:
        """What is known before the first round; None when a stage, which is left out from then on, ended the
        process."""
        stage = ""
        while (answer := self._answer()) is not None and "stage" in answer:
            stage = answer["stage"]
        if answer is None:
            reason = self._end()
            if stage not in self.stages:
                raise MlbenchError(reason)
            self._failed[stage] = self._sized(stage, reason)
        return answer

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._end()

    def round(self) -> None:
        """Measure everything once more. Raises MlbenchError when the process dies of it."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(b"round\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise MlbenchError(self._end()) from None
        answer = self._answer()
        if answer is None:
            raise MlbenchError(self._end())
        self._rounds.append(answer)

    def clock(self) -> float:
        """Seconds of embedding one batch, added up over the rounds so far: a clock that stands still while
        anything else is done, as a timer of pytest-benchmark."""
        return sum(found.get("inference", 0.0) for found in self._rounds)

    def result(self) -> Measurement:
        """What has been measured so far."""
        return Measurement(
            speed=self._speed(),
            memory={
                name: Timing(value, unit="bytes", higher_is_better=False)
                for name, value in self._facts["memory"].items()
            },
            size=self._facts["size"],
            measured={
                **self._sizes(),
                "rounds": len(self._rounds),
                "repeated": sum(int(found["repeated"]) for found in self._rounds),
                "threads": self._facts["threads"],
                "device": self._device,
                "precision": self._case.spec.precision,
                "compute": self._case.spec.compute.model_dump(),
                "reference_version": self._facts["reference_version"],
                "libraries": library_versions(),
            },
        )

    def _speed(self) -> dict[str, Timing]:
        sizes = self._sizes()
        forms: dict[str, Callable[[dict[str, float]], float]] = {
            "images_per_second": lambda found: sizes["batch_size"] / found["inference"],
            "latency_p50": lambda found: 1000 * found["latency_p50"],
            "latency_p95": lambda found: 1000 * found["latency_p95"],
            "training_images_per_second": lambda found: sizes["training_batch_size"] / found["training"],
            "onnx_images_per_second": lambda found: sizes["batch_size"] / found["onnx"],
        }
        speed = {}
        for stage in self.stages:
            for name in _STAGES[stage]:
                speed[name] = (
                    _timing(name, [], self._failed[stage])
                    if stage in self._failed
                    else _timing(name, [forms[name](found) for found in self._rounds])
                )
        speed["reference"] = _timing("reference", [found["reference"] for found in self._rounds])
        return speed

    def _sizes(self) -> dict[str, int]:
        sizes = {"batch_size": self._case.spec.measure.batch_size}
        if "training" in self.stages:
            sizes["training_batch_size"] = self._case.recipe.batch_size
        return sizes

    def _sized(self, stage: str, reason: str) -> str:
        if not reason.startswith(("out of memory", "killed")):
            return reason
        many = self._case.spec.measure.batch_size
        sizes = {"inference": many, "latency": 1, "training": self._case.recipe.batch_size, "onnx": many}
        return f"{reason} at batch size {sizes[stage]}"

    def _launch(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 -- closed in _end
        self._process = subprocess.Popen(
            # -P: a user's own queue.py in the working folder is not Python's.
            [sys.executable, "-P", "-m", "mlbench.stopwatch"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**KEEP_MEMORY, **os.environ},
        )
        unwanted = [stage for stage in _STAGES if stage not in self.stages or stage in self._failed]
        task = {"case": _portable(self._case), "device": self._device, "unwanted": unwanted}
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it is gone already, which the first answer tells
            pickle.dump(task, self._process.stdin)
            self._process.stdin.flush()

    def _answer(self) -> dict[str, Any] | None:
        """The next answer; None when the process has ended."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return json.loads(line) if line else None

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
        if code == -9:
            return "out of memory (killed by signal 9)"
        if code < 0:
            return f"killed by signal {-code}"
        return f"measuring failed: {(text.splitlines() or ['no message'])[-1]}"


#: Runs the rounds of a measurement.
Drive = Callable[[Measuring], None]


def _plainly(measuring: Measuring) -> None:
    for _ in range(measuring.rounds):
        measuring.round()


def measure(case: Case, device: str, drive: Drive = _plainly) -> Measurement:
    """Speed, memory and sizes of a case. What cannot be measured is None in it, with the reason."""
    try:
        with Measuring(case, device) as measuring:
            drive(measuring)
            return measuring.result()
    except MlbenchError as error:
        return Measurement({"images_per_second": _timing("images_per_second", [], str(error))})


def subject(case: Case) -> str:
    """What a measurement depends on, as text: the same for all seeds of a case."""
    plain = case.spec.plain()
    sections = ["backbone", "neck", "image", "compute", "precision", "measure"]
    facts: list[Any] = []
    if case.spec.measure.training:
        sections += ["loss", "losses", "sampler", "mixing", "teacher", "distiller", "recipe", "augmentation"]
        facts = [case.forecast.classes, case.forecast.batch_labels]
    return json.dumps([*(plain.get(section) for section in sections), *facts])


def _timing(name: str, rounds: list[float], note: str = "") -> Timing:
    unit, more = MEASURED[name]
    return Timing(statistics.median(rounds) if rounds else None, tuple(rounds), unit, more, note)


def _portable(case: Case) -> Case:
    """The case without what cannot go to another process, or is not needed there."""

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
