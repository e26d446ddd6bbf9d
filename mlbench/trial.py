"""A trial: what a model file does on the images of a case, beside PyTorch."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch.nn.functional import normalize

from mlbench.contracts import GALLERY, QUERY, SplitName, ThresholdPolicy
from mlbench.embeddings import Embeddings
from mlbench.evaluate import Threshold, fit_threshold, verification_curve
from mlbench.experiment import build_engine, score
from mlbench.features import ENCODE_BATCH, Inputs, InputSource, Look
from mlbench.model import EmbeddingModel
from mlbench.onnx_session import OnnxSession
from mlbench.onnx_speed import onnx_rounds
from mlbench.plan import Case
from mlbench.reading import batched
from mlbench.seeding import deterministic

__all__ = ["Progress", "Score", "Trial"]

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Score:
    """A model and what it does on the test images.

    metrics: at the threshold of the case. threshold: of this model; refitted: metrics there, where it is not
    the case's. file, bytes, images_per_second, rounds: not known of PyTorch's own. difference: the largest
    of a component of an embedding from PyTorch's.
    """

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

    def __init__(
        self, case: Case, model: EmbeddingModel, threshold: Threshold, folder: Path, progress: Progress
    ) -> None:
        self._case = case
        self._model = model
        self._threshold = threshold
        self._folder = folder
        self._progress = progress
        self._source = InputSource(case, model, Fabric(accelerator="cpu", devices=1), progress)
        self._policy: ThresholdPolicy = case.spec.parts["threshold"].build()
        self._engine = replace(build_engine(case), resamples=0)

    def torch(self) -> Score:
        """The model itself."""
        return Score("PyTorch", self._scored(self._expected, self._threshold), self._threshold)

    def onnx(self, name: str, graph: bytes, *, refit: bool) -> Score:
        """A model file's bytes. refit: whether it needs a threshold of its own."""
        file = self._file(name)
        file.write_bytes(graph)
        session = OnnxSession(file)
        found = self._embeddings("test", name, session.embed)
        difference = float(np.abs(found.vectors - self._expected.vectors).max())
        as_it_is = Score(name, self._scored(found, self._threshold), self._threshold, difference=difference)
        if not refit:
            return as_it_is
        calibration = self._embeddings("calibration", name, session.embed)
        fitted = fit_threshold(self._policy, verification_curve(calibration, self._engine))
        return replace(as_it_is, threshold=fitted, refitted=self._scored(found, fitted))

    def timed(self, scores: Sequence[Score]) -> list[Score]:
        """The scores of `onnx` with the speed of each."""
        self._progress("measuring speed", 0, 1)
        files = [self._file(score.name) for score in scores]
        speeds = onnx_rounds(files, self._case.spec.image.size, threads=torch.get_num_threads())
        return [
            replace(score, images_per_second=statistics.median(rounds), rounds=tuple(rounds))
            for score, rounds in zip(scores, speeds, strict=True)
        ]

    @cached_property
    def _expected(self) -> Embeddings:
        with deterministic():
            return self._embeddings("test", "PyTorch", self._by_torch)

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.onnx"

    def _by_torch(self, images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            embeddings = normalize(self._model(torch.from_numpy(images)).float())
        return embeddings.numpy()

    def _embeddings(
        self, split: SplitName, name: str, function: Callable[[np.ndarray], np.ndarray]
    ) -> Embeddings:
        inputs = self._source.get(split, Look(self._case.spec.image, raw=True))
        what = f"{name} over {split} images"
        vectors = list(self._vectors(inputs, what, function))
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

    def _scored(self, embeddings: Embeddings, threshold: Threshold) -> dict[str, float]:
        found = score(self._case, embeddings, threshold, self._engine)
        return {name: each.value for name, each in found.metrics.items() if each.value is not None}
