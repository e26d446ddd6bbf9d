"""A trial: what a model file does on the images of a case, beside PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch.nn.functional import normalize

from mlbench.contracts import GALLERY, QUERY, PairedDataset, SplitName, ThresholdPolicy
from mlbench.embeddings import Embeddings
from mlbench.evaluate import Engine, Measure, Threshold, fit_threshold, verification_curve
from mlbench.features import ENCODE_BATCH, Inputs, InputSource, Look
from mlbench.folds import evaluate_split
from mlbench.model import EmbeddingModel
from mlbench.onnx_session import OnnxSession
from mlbench.onnx_speed import onnx_rounds
from mlbench.plan import Case
from mlbench.reading import batched
from mlbench.seeding import deterministic, numpy_generator

__all__ = ["Progress", "Score", "Trial"]

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Score:
    """A model and what it does on the test images. file, bytes, images_per_second: None for PyTorch's own.
    difference: the largest of a component of an embedding from PyTorch's. metrics: at the threshold of the
    case. threshold: the one that is fitted on the calibration images by this model's embeddings; refitted:
    metrics there, where it is another one."""

    name: str
    metrics: Mapping[str, float]
    threshold: Threshold
    file: Path | None = None
    bytes: int | None = None
    images_per_second: float | None = None
    rounds: Sequence[float] = ()
    difference: float = 0.0
    refitted: Mapping[str, float] = field(default_factory=dict)


class Trial:
    """Embeds the test images with one model after the other, and scores them as a run does."""

    def __init__(self, case: Case, model: EmbeddingModel, folder: Path, progress: Progress) -> None:
        self._case = case
        self._model = model
        self._folder = folder
        self._progress = progress
        fabric = Fabric(accelerator="cpu", devices=1)
        self._source = InputSource(case, model, fabric, progress)
        self._look = Look(case.spec.image, raw=True)
        self._policy: ThresholdPolicy = case.spec.parts["threshold"].build()
        self._expected: np.ndarray | None = None
        chosen = case.spec.evaluation
        self._engine = Engine(memory=chosen.memory_mib << 20, products=chosen.products, resamples=0)

    def torch(self, threshold: Threshold) -> Score:
        """The model itself."""
        with deterministic():
            embeddings = self._embed("test", "PyTorch", self._by_torch)
        self._expected = embeddings.vectors
        return Score("PyTorch", self._score(embeddings, threshold), threshold)

    def onnx(
        self, name: str, data: bytes, own: Score, threshold: Threshold, fitted: Threshold | None
    ) -> Score:
        """A model file's bytes; where no threshold was `fitted`, its own is."""
        file = self._file(name)
        file.write_bytes(data)
        session = OnnxSession(file)
        embeddings = self._embed("test", name, session.embed)
        difference = float(np.abs(embeddings.vectors - self._expected).max())
        metrics, refitted = self._score(embeddings, threshold), {}
        if fitted is None:
            calibration = self._embed("calibration", name, session.embed)
            fitted = fit_threshold(self._policy, verification_curve(calibration, self._engine))
            refitted = self._score(embeddings, fitted)
        return Score(name, metrics, fitted, difference=difference, refitted=refitted)

    def speeds(self, names: Sequence[str]) -> list[list[float]]:
        """Images per second of the files, round by round."""
        return onnx_rounds([self._file(name) for name in names], self._case.spec.image.size)

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.onnx"

    def _by_torch(self, images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            embeddings = normalize(self._model(torch.from_numpy(images)).float())
        return embeddings.numpy()

    def _embed(self, split: SplitName, name: str, function: Callable[[np.ndarray], np.ndarray]) -> Embeddings:
        inputs: Inputs = self._source.get(split, self._look)
        vectors = list(self._vectors(inputs, f"{name} over {split} images", function))
        roles = inputs.roles
        return Embeddings(
            np.concatenate(vectors), inputs.labels, (roles & QUERY) > 0, (roles & GALLERY) > 0, split
        )

    def _vectors(
        self, inputs: Inputs, what: str, function: Callable[[np.ndarray], np.ndarray]
    ) -> Iterator[np.ndarray]:
        total, done = len(inputs.split), 0
        for images in inputs.batches(batched(total, ENCODE_BATCH)):
            self._progress(what, done, total)
            yield function(images.numpy())
            done += len(images)

    def _score(self, embeddings: Embeddings, threshold: Threshold) -> dict[str, float]:
        case = self._case
        measures = [Measure(part.build(), part.predict()) for part in case.spec.metrics.values()]
        pairs = case.dataset.pairs() if isinstance(case.dataset, PairedDataset) else None
        generator = numpy_generator(case.seed, "bootstrap")
        found = evaluate_split(embeddings, pairs, self._policy, threshold, measures, generator, self._engine)
        return {name: each.value for name, each in found.metrics.items() if each.value is not None}
