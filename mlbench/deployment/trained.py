"""The trained model of a record: its weights, loaded from a checkpoint, and its threshold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import normalize

from mlbench import __version__
from mlbench.deployment.card import Card
from mlbench.deployment.choice import Choice, fitted_distance
from mlbench.errors import ExportError, StoreError, first_line
from mlbench.evaluation.similarity_grid import on_grid
from mlbench.evaluation.threshold import Threshold
from mlbench.planning.plugin_code import named
from mlbench.planning.spec import Spec
from mlbench.records.record import Record
from mlbench.records.widths import widths_of
from mlbench.seeding import deterministic, matmul_precision
from mlbench.training.model import EmbeddingModel, build_model, state_hash

__all__ = ["TrainedModel", "card_of", "load_weights", "threshold_of"]


class TrainedModel:
    """The model of a record on a device, a torch name such as "cuda:1". It computes in float32.

    Takes images and gives embeddings as `mlbench.deployment.onnx_session.OnnxSession` does; the data set of
    the case is not needed. network: images to embeddings of any length. Raises what `load_weights` raises,
    and the errors of the components.
    """

    def __init__(self, choice: Choice, device: str = "cpu") -> None:
        spec: Spec = choice.suite.specs[0]
        record = choice.record
        with named(spec.every_part()):
            self.network = build_model(spec, record.seed)
            load_weights(self.network, spec, record, choice.checkpoints)
        self.network.to(device)
        self._device = device
        self._compute = spec.compute
        self._width = choice.width or self.network.neck.dim
        image = spec.image
        self.card = card_of(
            record,
            precision="float32",
            size=image.size,
            resize=image.resize,
            crop_ratio=image.crop_ratio,
            # An option of the data sets that read image files.
            white=getattr(spec.parts["dataset"].component, "white", None),
            width=self._width,
            threshold=threshold_of(record),
        )

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Embeddings (N, D) float32 of unit length, of images (N, 3, S, S) uint8."""
        with (
            torch.inference_mode(),
            deterministic(self._compute.deterministic),
            matmul_precision(self._compute.matmul_precision),
        ):
            found = self.network(torch.from_numpy(images).to(self._device)).float()
            embeddings: np.ndarray = normalize(found[:, : self._width]).cpu().numpy()
        return embeddings


def threshold_of(record: Record) -> Threshold:
    """The fitted threshold of a record."""
    distance, note = fitted_distance(record), record.evaluation.get("threshold", {}).get("note", "")
    return Threshold(None if distance is None else float(on_grid(1 - distance)), note)


def card_of(
    record: Record,
    *,
    precision: str,
    size: int,
    resize: str,
    crop_ratio: float,
    white: float | None,
    width: int,
    threshold: Threshold,
) -> Card:
    """The card of a record's model. width: numbers of an embedding; the others: as in `Card`."""
    return Card(
        suite=record.suite,
        case=record.case,
        seed=record.seed,
        fingerprint=record.fingerprint,
        version=__version__,
        weights=str(record.training.get("weights", "")),
        model=str(record.training.get("model", "")),
        precision=precision,
        size=size,
        resize=resize,
        crop_ratio=crop_ratio,
        similarity=threshold.similarity,
        note=threshold.note,
        white=white,
        width=width,
        widths=tuple(each for each in widths_of(record) if each < width),
    )


def load_weights(model: EmbeddingModel, spec: Spec, record: Record, folder: Path) -> None:
    """Load the weights that the record is about, and leave the model in evaluation mode.

    model: of the spec, newly built. folder: of the checkpoints. Raises StoreError for another model's
    checkpoint, ExportError for initial weights that have changed.
    """
    recipe = spec.parts["recipe"].component.build()
    best = recipe.select == "best" and recipe.epochs > 0
    path = folder / ("best.pt" if best else "last.pt")
    case, seed = record.case, record.seed
    again = f"run the case again: mlbench run SUITE.yaml --cases {case} --seeds {seed} --force"
    try:
        # Memory-mapped, as class centres may be large and are not needed.
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)["model"]
    except FileNotFoundError:
        raise StoreError(f"{path}: no such checkpoint; {again}") from None
    # torch raises errors of many types for damaged files.
    except Exception as error:
        raise StoreError(f"{path}: cannot be read ({first_line(error)}); {again}") from None
    model.eval()
    expected = {name: value.shape for name, value in model.trained_state().items()}
    if expected != {name: value.shape for name, value in state.items()}:
        raise StoreError(f"{path}: holds another model than the case now describes; {again}")
    model.load_trained_state(state)
    then, now = record.training.get("weights"), model.backbone.weights
    if then not in (None, now):
        raise ExportError(f"case {case!r} began with the weights {then}, which are {now} now; {again}")
    scored = record.training.get("model")
    if scored is not None and scored != state_hash(model.state_dict().values()):
        raise StoreError(f"{path}: is not the model that the record of case {case!r} is about; {again}")
