"""A trial: what a model file does on the images of a case, beside PyTorch."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch.nn.functional import normalize

from mlbench.contracts import GALLERY, QUERY, SplitName, ThresholdPolicy
from mlbench.deployment.onnx_session import OnnxSession
from mlbench.deployment.onnx_speed import onnx_rounds
from mlbench.errors import ExportError, StoreError
from mlbench.evaluation.calibration import fit_threshold
from mlbench.evaluation.disagreement import disagreement_share
from mlbench.evaluation.embeddings import Embeddings, collapse_note
from mlbench.evaluation.engine import verification_curve
from mlbench.evaluation.threshold import Threshold
from mlbench.planning.plan import Case
from mlbench.records.record import Estimate
from mlbench.records.report import remarks_of
from mlbench.seeding import deterministic
from mlbench.training.comparisons import compared
from mlbench.training.experiment import build_engine, score
from mlbench.training.features import ENCODE_BATCH, Inputs, InputSource, Look
from mlbench.training.model import EmbeddingModel
from mlbench.training.reading import batched

__all__ = ["Progress", "Score", "Trial"]

#: Images that every file embeds one at a time, too: an exporter may take a batch size for a constant.
ALONE = 4

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Score:
    """A model and what it does on the test images.

    metrics: at the threshold of the case. threshold: of this model; refitted: metrics there, where it is not
    the case's. file, bytes, images_per_second, rounds: not known of PyTorch's own. difference: the largest
    of a component of an embedding from PyTorch's. answers_differ: share of the test pairs that this model
    takes for the same and PyTorch's for different, or the other way round, at the threshold of the case; None
    without one. refitted_answers_differ: likewise at this model's own. notes: what a user must know, such as
    why there is no speed.
    """

    name: str
    metrics: Mapping[str, Estimate]
    threshold: Threshold
    file: Path | None = None
    bytes: int | None = None
    images_per_second: float | None = None
    rounds: Sequence[float] = ()
    difference: float = 0.0
    answers_differ: float | None = None
    refitted: Mapping[str, Estimate] = field(default_factory=dict)
    refitted_answers_differ: float | None = None
    notes: tuple[str, ...] = ()


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
        self._policy: ThresholdPolicy = case.spec.parts["threshold"].component.build()
        self._engine = replace(build_engine(case), resamples=0)

    def torch(self) -> Score:
        """The model itself."""
        metrics, notes = self._scored(self._expected, self._threshold)
        return Score("PyTorch", metrics, self._threshold, notes=notes)

    def onnx(self, name: str, graph: bytes, *, refit: bool) -> Score:
        """A model file's bytes. refit: whether it needs a threshold of its own, as one with 8-bit weights
        does.

        Such a file quantises the images of a batch together, so that an embedding depends on its neighbours;
        it is tried as it will be used, one image at a time. Raises ExportError when the file fails on images.
        """
        file = self._file(name)
        file.write_bytes(graph)
        session = OnnxSession(file)
        count = 1 if refit else ENCODE_BATCH
        try:
            embed = cache(lambda split: self._embeddings(split, name, session.embed, count))
            found = compared(self._case, "test", embed)
            alone = found.vectors if refit else self._alone(session.embed)
            calibration = compared(self._case, "calibration", embed) if refit else None
        except StoreError as error:
            raise ExportError(
                f"the exported model fails on images of the case ({error}); nothing was written"
            ) from None
        difference = max(
            float(np.abs(each - self._expected.vectors[: len(each)]).max()) for each in (found.vectors, alone)
        )
        metrics, notes = self._scored(found, self._threshold)
        score = Score(
            name,
            metrics,
            self._threshold,
            difference=difference,
            answers_differ=self._differing(found, self._threshold),
            notes=_said_of(name, notes),
        )
        if calibration is None:
            return score
        fitted = fit_threshold(self._policy, verification_curve(calibration, self._engine))
        metrics, notes = self._scored(found, fitted)
        return replace(
            score,
            threshold=fitted,
            refitted=metrics,
            refitted_answers_differ=self._differing(found, fitted),
            notes=_said_of(name, notes),
        )

    def timed(self, scores: Sequence[Score]) -> list[Score]:
        """The scores of `onnx` with the speed of each, or a note that says why it is not known."""
        self._progress("measuring speed", 0, 1)
        files = [self._file(score.name) for score in scores]
        spec = self._case.spec
        try:
            speeds = onnx_rounds(
                files,
                spec.image.size,
                batch_size=spec.measure.batch_size,
                threads=torch.get_num_threads(),
            )
        except ExportError as error:
            return [replace(score, notes=(*score.notes, str(error))) for score in scores]
        return [
            replace(score, images_per_second=statistics.median(rounds), rounds=tuple(rounds))
            for score, rounds in zip(scores, speeds, strict=True)
        ]

    @cached_property
    def _expected(self) -> Embeddings:
        with deterministic():
            return compared(
                self._case,
                "test",
                lambda split: self._embeddings(split, "PyTorch", self._by_torch, ENCODE_BATCH),
            )

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.onnx"

    def _by_torch(self, images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            embeddings = normalize(self._model(torch.from_numpy(images)).float())
        return embeddings.numpy()

    def _embeddings(
        self, split: SplitName, name: str, function: Callable[[np.ndarray], np.ndarray], count: int
    ) -> Embeddings:
        """Of a split, `count` images at a time."""
        inputs = self._inputs(split)
        what = f"{name} over {split} images"
        vectors = list(self._vectors(inputs, what, function, count))
        roles = inputs.roles
        return Embeddings(
            np.concatenate(vectors),
            inputs.labels,
            (roles & QUERY) > 0,
            (roles & GALLERY) > 0,
            split,
            groups=inputs.groups,
        )

    def _alone(self, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Embeddings of the first test images, one at a time."""
        inputs = self._inputs("test")
        few = min(ALONE, len(inputs.split))
        return np.concatenate([function(image.numpy()) for image in inputs.batches(batched(few, 1))])

    def _inputs(self, split: SplitName) -> Inputs:
        return self._source.get(split, Look(self._case.spec.image, raw=True))

    def _vectors(
        self, inputs: Inputs, what: str, function: Callable[[np.ndarray], np.ndarray], count: int
    ) -> Iterator[np.ndarray]:
        total, done = len(inputs.split), 0
        for images in inputs.batches(batched(total, count)):
            self._progress(what, done, total)
            yield function(images.numpy())
            done += len(images)

    def _scored(
        self, embeddings: Embeddings, threshold: Threshold
    ) -> tuple[dict[str, Estimate], tuple[str, ...]]:
        """Metrics, and what is wrong with the embeddings or the threshold."""
        found = score(self._case, embeddings, threshold, self._engine)
        collapsed = collapse_note(found.facts["mean_similarity"], "the test images")
        metrics = {name: each for name, each in found.metrics.items() if each.value is not None}
        return metrics, tuple(filter(None, (collapsed, *remarks_of(found.facts).values())))

    def _differing(self, found: Embeddings, threshold: Threshold) -> float | None:
        own = self._threshold.similarity
        if own is None or threshold.similarity is None:
            return None
        return disagreement_share(self._expected, own, found, threshold.similarity)


def _said_of(name: str, notes: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{name}: {note}" for note in notes)
