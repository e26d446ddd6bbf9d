"""The measuring process: measures speed, memory and sizes of one case, one round at a time.

`mlbench.measurement.measure` starts it, writes the case to its stdin, and then one line per round. Each
answer is one line of JSON after a record separator (RFC 7464), which tells it from output of libraries. A
fresh process has no cached kernels, no fragmented memory and no worker processes of an earlier training, so
the speed of a case does not depend on which case ran first.
"""

from __future__ import annotations

import copy
import gc
import itertools
import json
import math
import os
import pickle
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from operator import itemgetter
from pathlib import Path
from statistics import fmean
from typing import Any, TextIO

import numpy as np
import torch
from lightning_fabric import Fabric

from mlbench.contracts import SplitName
from mlbench.environment import environment, find_device, threads
from mlbench.errors import MlbenchError, first_line
from mlbench.measurement.measure import MARK, STAGES
from mlbench.measurement.memory import Peak, is_out_of_memory
from mlbench.measurement.reference import VERSION, Reference, synchronize
from mlbench.measurement.reference_minimum import DISTURBED, ReferenceMinimum
from mlbench.measurement.size import checkpoint_bytes, flops
from mlbench.planning.plan import Case
from mlbench.seeding import deterministic, matmul_precision
from mlbench.training.assembly import assemble
from mlbench.training.feed import build_feed
from mlbench.training.inputs import InputSpec, encode
from mlbench.training.model import Encoder
from mlbench.training.train import Step

__all__ = ["Stopwatch", "serve"]

#: Warm-up runs, and the shortest duration of a round in seconds.
WARMUP, ROUND_SECONDS = 3, 0.2

#: Duration of the reference workload before and after each measurement, as a share of the measurement.
SHARE = 0.1

#: Single images in a round: enough for a 95th percentile.
SINGLE_IMAGES = 20


class Stopwatch:
    """Measures a case on one device.

    unwanted: stages ("inference", "latency", "training", "onnx") and sizes to leave out. failed: reasons of
    the stages and sizes that could not be measured. size, memory: measured before the first round.
    announce: called with each stage before it starts.
    """

    def __init__(
        self, case: Case, device: str, unwanted: Iterable[str], announce: Callable[[str], None]
    ) -> None:
        spec = case.spec
        self.failed: dict[str, str] = {}
        self.memory: dict[str, int] = {}
        self._announce = announce
        self._device = torch.device(device)
        # The rate is too small to change the weights; a step does the same work.
        changes = {"lr": 1e-12, "min_lr": 0.0, "schedule": "constant", "milestones": (), "warmup": 0.0}
        recipe = case.recipe.model_copy(update=changes)
        self._case = replace(case, recipe=recipe)
        self._assembly = assemble(self._case, device)
        self._fabric = self._assembly.fabric
        self._reference = Reference(self._device)
        self._minimum = ReferenceMinimum(_reference_facts(device))
        self._patience = dict.fromkeys(STAGES, spec.measure.patience)
        self._took: dict[str, float] = {}
        self._rounds: dict[str, Callable[[], dict[str, float]]] = {}
        self.size: dict[str, int] = {}
        announce("model")
        self._peak = Peak(self._device)
        self._model = self._assembly.model
        self._assembly.compile()
        self._frozen = [each for each in self._model.parameters() if not each.requires_grad]
        self._prepare_inference()
        for stage, start in (
            ("inference", self._start_inference),
            ("latency", self._start_latency),
            ("training", self._start_training),
            ("onnx", self._start_onnx),
        ):
            if stage not in unwanted:
                announce(stage)
                self._try(stage, start)
        sizes: dict[str, Callable[[], int]] = {
            "flops": lambda: flops(self._model, spec.image.size),
            "checkpoint_float32": lambda: checkpoint_bytes(self._model, torch.float32),
            "checkpoint_float16": lambda: checkpoint_bytes(self._model, torch.float16),
        }
        for name, count in sizes.items():
            if name not in unwanted:
                announce(name)
                self._try(name, partial(self._count, name, count))

    def round(self) -> dict[str, Any]:
        """Measure one round of every stage.

        For each stage: seconds of a batch by the name of the speed, seconds of the reference workload,
        undisturbed seconds of it (None if it does not run on the stage's device), and the number of repeated
        measurements.

        A stage is measured again while the reference workload before and after it shows a disturbed machine,
        for at most `measure.patience` seconds; the least disturbed measurement counts.
        """
        found = {}
        for stage, measure in self._rounds.items():
            self._announce(stage)
            if stage == "training":
                self._prepare_training()
            else:
                self._prepare_inference()
            # ONNX Runtime always works on the CPU.
            without_reference = stage == "onnx" and self._device.type != "cpu"
            found[stage] = _found(measure()) if without_reference else self._undisturbed(stage, measure)
        return found

    def _undisturbed(self, stage: str, measure: Callable[[], dict[str, float]]) -> dict[str, Any]:
        tries: list[tuple[float, dict[str, float]]] = []
        while True:
            start = time.perf_counter()
            before = self._beside(stage)
            begin = time.perf_counter()
            seconds = measure()
            self._took[stage] = time.perf_counter() - begin
            tries.append(((before + self._beside(stage)) / 2, seconds))
            took = time.perf_counter() - start
            reference, seconds = min(tries, key=itemgetter(0))
            self._minimum.observe(reference)
            if reference <= DISTURBED * self._minimum.seconds:
                break
            if took > self._patience[stage]:
                if self._patience[stage] < self._case.spec.measure.patience:  # repeating did not help
                    self._patience[stage] = 0.0
                    self._minimum.raise_slightly()
                break
            self._patience[stage] -= took
        return _found(seconds, reference, len(tries) - 1, self._minimum.seconds)

    def _beside(self, stage: str) -> float:
        """Mean seconds of the reference workload, repeated for a tenth of the stage's last duration: a single
        run of a few milliseconds could miss the disturbance."""
        end = time.perf_counter() + SHARE * self._took.get(stage, 0.0)
        times = [self._reference.seconds()]
        while time.perf_counter() < end:
            times.append(self._reference.seconds())
        return fmean(times)

    def _try(self, stage: str, start: Callable[[], None]) -> None:
        try:
            start()
        # A plugin's bug or a batch that is too large fails one stage; the others are still measured.
        except Exception as error:
            reason = str(error) if isinstance(error, MlbenchError) else first_line(error)
            self.failed[stage] = "out of memory" if is_out_of_memory(error) else reason
        # Outside the except clause, because the error keeps the allocated tensors alive.
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _count(self, name: str, count: Callable[[], int]) -> None:
        self.size[name] = count()

    def _start_inference(self) -> None:
        images = self._images(self._case.spec.measure.batch_size)
        self._peak.restart()
        batches = _repeats(lambda count: self._embed(images, count))
        self.memory |= self._peak.bytes()
        self._rounds["inference"] = lambda: {"images_per_second": self._embed(images, batches) / batches}

    def _start_latency(self) -> None:
        image = self._images(1)
        self._embed(image, WARMUP)

        def measure() -> dict[str, float]:
            seconds = [self._embed(image, 1) for _ in range(SINGLE_IMAGES)]
            return {f"latency_p{rank}": float(np.percentile(seconds, rank)) for rank in (50, 95)}

        self._rounds["latency"] = measure

    def _prepare_inference(self) -> None:
        self._model.eval()
        # Autocast caches the cast weights of parameters that require gradients, so all of them do.
        self._model.requires_grad_(True)

    def _prepare_training(self) -> None:
        self._assembly.objective.train()
        for each in self._frozen:
            each.requires_grad_(False)

    def _start_training(self) -> None:
        try:
            self._warm_up_training()
        finally:
            self._prepare_inference()

    def _warm_up_training(self) -> None:
        peak, model = Peak(self._device), self._assembly.bytes()
        case, objective, teacher = self._case, self._assembly.objective, self._assembly.teacher
        self._prepare_training()
        source = _RandomSource(case, self._model, self._fabric, self._images)
        taught = None if teacher is None else _RandomSource(case, teacher, self._fabric, self._images)
        feed = build_feed(case, objective, source, taught, self._fabric)
        count = case.recipe.batch_size
        # The largest number of different labels in a batch of this case, each equally often.
        labels = torch.arange(count, device=self._fabric.device) % case.forecast.batch_labels
        order: Any = itertools.repeat(range(count))
        stream = feed.batches(order, labels, 0)
        step = Step(case, objective, self._fabric, 1)
        peak.restart()

        def run(steps: int) -> float:
            with deterministic():  # like training
                synchronize(self._device)
                start = time.perf_counter()
                for _ in range(steps):
                    step(next(stream))
                synchronize(self._device)
                return time.perf_counter() - start

        steps = _repeats(run)
        # The model was allocated earlier, but counts as memory of training.
        home = f"peak_{'cuda' if self._device.type == 'cuda' else 'host'}"
        self.memory |= {
            f"training_{name}": value + (model if name == home else 0) for name, value in peak.bytes().items()
        }
        self._rounds["training"] = lambda: {"training_images_per_second": run(steps) / steps}

    def _start_onnx(self) -> None:
        from mlbench.deployment.onnx_model import to_onnx
        from mlbench.deployment.onnx_session import OnnxSession

        spec = self._case.spec
        # A copy, because the exporter needs the model on the CPU; a copy has no compiled code.
        file = to_onnx(copy.deepcopy(self._model).cpu(), spec.image.size)
        self.size["onnx"] = len(file)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            path.write_bytes(file)
            session = OnnxSession(path, torch.get_num_threads())
        images = self._images(spec.measure.batch_size).cpu().numpy()

        def run(batches: int) -> float:
            start = time.perf_counter()
            for _ in range(batches):
                session.embed(images)
            return time.perf_counter() - start

        batches = _repeats(run)
        self._rounds["onnx"] = lambda: {"onnx_images_per_second": run(batches) / batches}

    def _images(self, count: int, side: int | None = None) -> torch.Tensor:
        side = side or self._case.spec.image.size
        generator = torch.Generator().manual_seed(0)
        shape = (count, 3, side, side)
        images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        return images.to(self._device)

    def _embed(self, images: torch.Tensor, batches: int) -> float:
        """Seconds of that many batches of the same images."""
        with torch.inference_mode(), self._fabric.autocast():
            synchronize(self._device)
            start = time.perf_counter()
            for _ in range(batches):
                self._model(images)
            synchronize(self._device)
            return time.perf_counter() - start


def _found(
    seconds: dict[str, float],
    reference: float | None = None,
    repeated: int = 0,
    quiet: float | None = None,
) -> dict[str, Any]:
    return {"seconds": seconds, "reference": reference, "repeated": repeated, "quiet": quiet}


def _reference_facts(device: str) -> dict[str, Any]:
    """Facts that the seconds of the reference workload depend on."""
    here = environment(find_device(device), torch.get_num_threads())
    named = ("device", "device_product", "cpu", "cores", "threads", "platform")
    return {**{name: here[name] for name in named}, "torch": torch.__version__, "version": VERSION}


def _repeats(run: Callable[[int], float]) -> int:
    """Number of repeats that fill a round, measured after a warm-up. run: returns the seconds of that many
    repeats."""
    run(WARMUP - 1)
    return math.ceil(ROUND_SECONDS / run(1))


class _RandomInputs:
    """Inputs of a training split: the same random images in every batch.

    The frozen prefix encodes them once, or in every step if training would not cache its output.
    """

    waited = 0.0

    def __init__(self, images: torch.Tensor, network: Encoder, fabric: Fabric, spec: InputSpec) -> None:
        encoded = not spec.raw
        cached = encoded and bool(spec.views)
        self._images = encode(network, images, fabric) if cached else images
        self._network = network if encoded and not cached else None
        self._fabric = fabric
        self._labels = np.zeros(len(images), np.int64)

    @property
    def labels(self) -> np.ndarray:
        return self._labels

    def batches(self, order: Iterable[Sequence[int]], epoch: int = 0) -> Iterator[torch.Tensor]:
        for _ in order:
            if self._network is None:
                yield self._images
            else:
                yield encode(self._network, self._images, self._fabric)


class _RandomSource:
    """Random inputs of a network. images: makes a number of images with a side in pixels."""

    def __init__(
        self, case: Case, network: Encoder, fabric: Fabric, images: Callable[[int, int], torch.Tensor]
    ) -> None:
        self._batch_size = case.recipe.batch_size
        self._network = network
        self._fabric = fabric
        self._make = images

    def get(self, split: SplitName, spec: InputSpec) -> _RandomInputs:
        images = self._make(self._batch_size, spec.image.size)
        return _RandomInputs(images, self._network, self._fabric, spec)


def serve(task: Mapping[str, Any], lines: Iterable[str], answer: Callable[[Mapping[str, Any]], None]) -> None:
    """Measure one task. Answers with each stage as it starts, then with the facts that are known before the
    first round, then with one round per line."""
    case: Case = task["case"]
    with matmul_precision(case.spec.compute.matmul_precision):
        watch = Stopwatch(case, task["device"], task["unwanted"], lambda stage: answer({"stage": stage}))
        answer(
            {
                "failed": watch.failed,
                "memory": watch.memory,
                "size": watch.size,
                "threads": torch.get_num_threads(),
                "reference_version": VERSION,
            }
        )
        for _ in lines:
            answer(watch.round())


def _main() -> None:
    task = pickle.load(sys.stdin.buffer)  # noqa: S301 -- from the process that started this one
    # Output of libraries goes to stderr, away from the answers.
    stdout: TextIO = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(data: Mapping[str, Any]) -> None:
        print(MARK + json.dumps(data), file=stdout, flush=True)

    torch.set_num_threads(threads())
    serve(task, iter(sys.stdin.buffer.readline, b""), answer)  # type: ignore[arg-type]


if __name__ == "__main__":
    _main()
