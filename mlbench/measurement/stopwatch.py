"""Measures one case on a device: speed, memory and sizes, in the measuring process."""

from __future__ import annotations

import copy
import gc
import itertools
import math
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from mlbench.contracts import SplitName
from mlbench.errors import MlbenchError, first_line
from mlbench.measurement.memory import is_out_of_memory, peak_allocated
from mlbench.measurement.reference import synchronize
from mlbench.measurement.reference_clock import ReferenceClock
from mlbench.measurement.size import checkpoint_bytes, flops
from mlbench.measurement.subject import Subject
from mlbench.planning.plan import Case
from mlbench.seeding import deterministic, matmul_precision
from mlbench.training.assembly import assemble
from mlbench.training.feed import build_feed
from mlbench.training.inputs import InputSpec, encode
from mlbench.training.model import Encoder
from mlbench.training.step import Step

__all__ = ["Stopwatch"]

#: Shortest duration of a round in seconds.
ROUND_SECONDS = 0.15

#: Least and largest number of single images in a round.
SINGLE_IMAGES = 10, 100


class Stopwatch:
    """Measures a subject on one device, a torch name.

    unwanted: stages and sizes to leave out. announce: called with each stage before it starts. failed:
    reasons of the stages and sizes that could not be measured. size, memory: measured before the first round.
    """

    def __init__(
        self,
        subject: Subject,
        device: str,
        clock: ReferenceClock,
        unwanted: Collection[str],
        announce: Callable[[str], None],
    ) -> None:
        case = subject.case
        self.failed: dict[str, str] = {}
        self.memory: dict[str, int] = {}
        self.size: dict[str, int] = {}
        self._announce = announce
        self._device = torch.device(device)
        self._clock = clock
        # The rate is too small to change the weights; a step does the same work.
        changes = {"lr": 1e-12, "min_lr": 0.0, "schedule": "constant", "milestones": (), "warmup": 0.0}
        self._case = replace(case, recipe=case.recipe.model_copy(update=changes))
        self._assembly = assemble(self._case, device)
        self._fabric = self._assembly.fabric
        self._took: dict[str, float] = {}
        self._rounds: dict[str, Callable[[], dict[str, float]]] = {}
        with self._precision():
            announce("model")
            self._model = self._assembly.model
            self._assembly.compile()
            self._frozen = [each for each in self._model.parameters() if not each.requires_grad]
            self._prepare_inference()
            starts = {
                "inference": self._start_inference,
                "latency": self._start_latency,
                "training": self._start_training,
                "onnx": self._start_onnx,
            }
            wanted = [*subject.stages]
            if "inference" in subject.stages:
                side = case.spec.image.size
                starts |= {
                    "flops": self._size("flops", lambda: flops(self._model, side)),
                    "checkpoint_float32": self._checkpoint(torch.float32),
                    "checkpoint_float16": self._checkpoint(torch.float16),
                }
                wanted += ["flops", "checkpoint_float32", "checkpoint_float16"]
            for stage in wanted:
                if stage not in unwanted:
                    announce(stage)
                    self._try(stage, starts[stage])

    def round(self, stages: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Measure one round of some stages. For each stage that did not fail: the seconds of a batch by the
        name of the speed, and those of the reference workload beside it, None if it does not run on the
        stage's device."""
        found: dict[str, dict[str, Any]] = {}
        with self._precision():
            for stage in stages:
                self._announce(stage)
                self._try(stage, partial(self._round, stage, found))
        return found

    def _round(self, stage: str, found: dict[str, dict[str, Any]]) -> None:
        if stage == "training":
            self._prepare_training()
        else:
            self._prepare_inference()
        reference = None
        if stage == "onnx" and self._device.type != "cpu":  # ONNX Runtime works on the CPU
            seconds = self._timed(stage)
        else:
            expected = self._took.get(stage, 0.0)
            seconds, reference = self._clock.beside(partial(self._timed, stage), expected)
        found[stage] = {"seconds": seconds, "reference": reference}

    def _timed(self, stage: str) -> dict[str, float]:
        start = time.perf_counter()
        seconds = self._rounds[stage]()
        self._took[stage] = time.perf_counter() - start
        return seconds

    def _precision(self) -> Any:
        return matmul_precision(self._case.spec.compute.matmul_precision)

    def _try(self, stage: str, start: Callable[[], None]) -> None:
        try:
            start()
        # A plugin's bug or a batch that is too large fails one stage; the others are still measured.
        except Exception as error:
            reason = str(error) if isinstance(error, MlbenchError) else first_line(error)
            self.failed[stage] = "out of memory" if is_out_of_memory(error) else reason
        # Outside the except clause, because the error keeps the allocated tensors alive.
        if stage in self.failed:
            gc.collect()
            if self._device.type == "cuda":
                torch.cuda.empty_cache()

    def _checkpoint(self, dtype: torch.dtype) -> Callable[[], None]:
        name = f"checkpoint_{str(dtype).removeprefix('torch.')}"
        return self._size(name, lambda: checkpoint_bytes(self._model, dtype))

    def _size(self, name: str, count: Callable[[], int]) -> Callable[[], None]:
        def start() -> None:
            self.size[name] = count()

        return start

    def _start_inference(self) -> None:
        images = self._images(self._case.spec.measure.batch_size)
        self._embed(images, 1)  # what torch and its libraries allocate once belongs to no model
        model = sum(each.nbytes for each in (*self._model.parameters(), *self._model.buffers()))
        peak = peak_allocated(self._device, lambda: self._embed(images, 1))
        self.memory[f"peak_{self._device.type}"] = model + images.nbytes + peak
        self._rounds["inference"] = self._repeated("images_per_second", partial(self._embed, images))

    def _start_latency(self) -> None:
        image = self._images(1)
        self._embed(image, 2)
        least, most = SINGLE_IMAGES
        count = min(max(math.ceil(ROUND_SECONDS / self._embed(image, 1)), least), most)

        def measure() -> dict[str, float]:
            self._embed(image, 1)
            seconds = [self._embed(image, 1) for _ in range(count)]
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
        case, objective, teacher = self._case, self._assembly.objective, self._assembly.teacher
        self._prepare_training()
        source = _RandomSource(case, self._model, self._fabric, self._images)
        taught = None if teacher is None else _RandomSource(case, teacher, self._fabric, self._images)
        feed = build_feed(case, objective, source, taught, self._fabric)
        count = case.recipe.batch_size
        # The largest number of different labels in a batch of this case, each equally often.
        labels = torch.arange(count, device=self._fabric.device) % case.forecast.batch_labels
        order = itertools.repeat(range(count))
        stream = feed.batches(order, labels, 0)
        step = Step(case, objective, self._fabric, 1)

        def run(steps: int) -> float:
            with deterministic(case.spec.compute.deterministic):
                synchronize(self._device)
                start = time.perf_counter()
                for _ in range(steps):
                    step(next(stream))
                synchronize(self._device)
                return time.perf_counter() - start

        held = self._assembly.bytes() + source.bytes + (taught.bytes if taught else 0)
        held += step.mean.bytes if step.mean is not None else 0
        # Two steps, as the first makes the gradients and the optimiser's state that the second starts with.
        peak = peak_allocated(self._device, lambda: run(2))
        self.memory[f"training_peak_{self._device.type}"] = held + peak
        self._rounds["training"] = self._repeated("training_images_per_second", run)

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

        run(2)
        self._rounds["onnx"] = self._repeated("onnx_images_per_second", run)

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

    @staticmethod
    def _repeated(speed: str, run: Callable[[int], float]) -> Callable[[], dict[str, float]]:
        """A round of a stage: as many repeats as fill it. run: returns the seconds of that many repeats, and
        is warmed up."""
        repeats = math.ceil(ROUND_SECONDS / run(1))

        def measure() -> dict[str, float]:
            if repeats > 3:  # the first after another model finds the caches cold
                run(1)
            return {speed: run(repeats) / repeats}

        return measure


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
        self.bytes = self._images.nbytes

    @property
    def labels(self) -> np.ndarray:
        return self._labels

    def batches(
        self, order: Iterable[Sequence[int]], epoch: int = 0, start: int = 0
    ) -> Iterator[torch.Tensor]:
        for _ in itertools.islice(order, start, None):
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
        #: Bytes of the inputs of a batch.
        self.bytes = 0

    def get(self, split: SplitName, spec: InputSpec) -> _RandomInputs:
        images = self._make(self._batch_size, spec.image.size)
        inputs = _RandomInputs(images, self._network, self._fabric, spec)
        self.bytes += inputs.bytes
        return inputs
