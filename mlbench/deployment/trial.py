"""A trial: metrics of a model file on the images of a case, compared with those of the PyTorch model."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import normalize

from mlbench.contracts import SplitName
from mlbench.deployment.file_speed import file_rounds
from mlbench.deployment.model_file import Draft
from mlbench.errors import ExportError, StoreError
from mlbench.evaluation.disagreement import disagreement_share
from mlbench.evaluation.embeddings import Embeddings, collapse_note
from mlbench.evaluation.threshold import Threshold
from mlbench.records.record import Estimate
from mlbench.records.report import remarks_of
from mlbench.seeding import deterministic
from mlbench.training.assembly import Assembly
from mlbench.training.case_evaluation import build_engine, fitted_threshold, score
from mlbench.training.comparisons import compared
from mlbench.training.embed import with_labels
from mlbench.training.image_reader import batched
from mlbench.training.inputs import ENCODE_BATCH, InputSpec, SplitInputs

__all__ = ["Progress", "Score", "Trial"]

#: Images that every file also embeds one at a time, as exporters may make the batch size a constant.
ALONE = 4

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Score:
    """Metrics of a model on the test images.

    metrics: at the threshold of the case. width: numbers of an embedding. threshold: of this model; refitted:
    metrics at it, where it is not the case's. file, bytes, images_per_second, rounds: None or empty for the
    PyTorch model. difference: largest absolute difference of a component of an embedding from PyTorch's.
    answers_differ: share of the test pairs that are a match to one of this model and PyTorch's but not to the
    other, at the threshold of the case; None without one. refitted_answers_differ: likewise at this model's
    own threshold. notes: for the user, such as why there is no speed.
    """

    name: str
    metrics: Mapping[str, Estimate]
    threshold: Threshold
    width: int
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
    """Embeds the scored images with one model after the other, and takes the metrics of a run.

    assembly: of the case. model: what is exported of it, in evaluation mode on the CPU. folder: for model
    files that are tried. progress: called with (what, done, total).
    """

    def __init__(
        self, assembly: Assembly, model: nn.Module, threshold: Threshold, folder: Path, progress: Progress
    ) -> None:
        self._case = assembly.case
        self._scored_split = assembly.case.spec.evaluation.split
        self._model = model
        self._inputs = cache(assembly.inputs.get)
        self._threshold = threshold
        self._folder = folder
        self._progress = progress
        self._spec = InputSpec(self._case.spec.image, raw=True)
        self._engine = replace(build_engine(self._case), resamples=0)

    def torch(self) -> Score:
        """Metrics of the PyTorch model."""
        metrics, notes = self._scored(self._expected, self._threshold)
        return Score("PyTorch", metrics, self._threshold, self._expected.vectors.shape[1], notes=notes)

    def file(self, draft: Draft, metadata: Mapping[str, str], *, refit: bool) -> Score:
        """Metrics of a model file, whose bytes stay in the folder. refit: whether to fit a new threshold, as
        for 8-bit weights.

        A file with 8-bit weights quantises the images of a batch together, so that an embedding depends on
        the batch. It embeds one image at a time here, as it should in use. Raises ExportError for a file that
        fails on images.
        """
        name, file = draft.name, self.path(draft)
        file.write_bytes(draft.content(metadata))
        count = 1 if refit else ENCODE_BATCH
        try:
            session = draft.open(file, None)
            embed = cache(lambda split: self._embeddings(split, name, session.embed, count))
            found = compared(self._case, self._scored_split, embed)
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
            found.vectors.shape[1],
            difference=difference,
            answers_differ=self._differing(found, self._threshold),
            notes=_said_of(name, notes),
        )
        if calibration is None:
            return score
        fitted = fitted_threshold(self._case, calibration, self._engine)
        metrics, notes = self._scored(found, fitted)
        return replace(
            score,
            threshold=fitted,
            refitted=metrics,
            refitted_answers_differ=self._differing(found, fitted),
            notes=_said_of(name, notes),
        )

    def timed(self, drafts: Sequence[Draft], scores: Sequence[Score]) -> list[Score]:
        """The scores of `file` with the speed of each, or a note with the reason why it is not known."""
        self._progress("measuring speed", 0, 1)
        spec = self._case.spec
        try:
            speeds = file_rounds(
                [self.path(draft) for draft in drafts],
                spec.image.size,
                batch_size=spec.measure.batch_size,
                threads=torch.get_num_threads(),
            )
        except ExportError as error:
            return [replace(score, notes=(*score.notes, str(error))) for score in scores]
        return [_with_speed(score, speed) for score, speed in zip(scores, speeds, strict=True)]

    def path(self, draft: Draft) -> Path:
        """Place of the tried file."""
        return self._folder / f"{draft.name}{draft.end}"

    @cached_property
    def _expected(self) -> Embeddings:
        with deterministic(self._case.spec.compute.deterministic):
            return compared(
                self._case,
                self._scored_split,
                lambda split: self._embeddings(split, "PyTorch", self._by_torch, ENCODE_BATCH),
            )

    def _by_torch(self, images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            embeddings = normalize(self._model(torch.from_numpy(images)).float())
        return embeddings.numpy()

    def _embeddings(
        self, split: SplitName, name: str, function: Callable[[np.ndarray], np.ndarray], count: int
    ) -> Embeddings:
        """Embeddings of a split, `count` images at a time."""
        inputs = self._inputs(split, self._spec)
        vectors = self._vectors(inputs, f"{name} over {split} images", function, count)
        return with_labels(np.concatenate(list(vectors)), inputs, split)

    def _alone(self, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Embeddings of the first scored images, one at a time."""
        inputs = self._inputs(self._scored_split, self._spec)
        few = min(ALONE, len(inputs.split))
        return np.concatenate([function(image.numpy()) for image in inputs.batches(batched(few, 1))])

    def _vectors(
        self, inputs: SplitInputs, what: str, function: Callable[[np.ndarray], np.ndarray], count: int
    ) -> Iterator[np.ndarray]:
        total, done = len(inputs.split), 0
        for images in inputs.batches(batched(total, count)):
            self._progress(what, done, total)
            yield function(images.numpy())
            done += len(images)

    def _scored(
        self, embeddings: Embeddings, threshold: Threshold
    ) -> tuple[dict[str, Estimate], tuple[str, ...]]:
        """Metrics, and remarks on the embeddings or the threshold."""
        found = score(self._case, embeddings, threshold, self._engine)
        collapsed = collapse_note(found.facts["mean_similarity"], f"the {self._scored_split} images")
        metrics = {name: each for name, each in found.metrics.items() if each.value is not None}
        return metrics, tuple(filter(None, (collapsed, *remarks_of(found.facts).values())))

    def _differing(self, found: Embeddings, threshold: Threshold) -> float | None:
        own = self._threshold.similarity
        if own is None or threshold.similarity is None:
            return None
        return disagreement_share(self._expected, own, found, threshold.similarity)


def _said_of(name: str, notes: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{name}: {note}" for note in notes)


def _with_speed(score: Score, speed: Sequence[float] | str) -> Score:
    if isinstance(speed, str):
        return replace(score, notes=(*score.notes, speed))
    return replace(score, images_per_second=statistics.median(speed), rounds=tuple(speed))
