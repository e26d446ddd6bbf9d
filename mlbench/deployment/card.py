"""The card of a model file: its input and output, its threshold and its origin.

It is stored in the file's metadata as texts by name, which ONNX Runtime reads in every language.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from mlbench.errors import StoreError
from mlbench.images.preprocess import PADDING, Resize

__all__ = ["EVERY_FILE", "Card"]

#: Metadata of every file.
EVERY_FILE = {
    "input": "images: uint8 (N, 3, image_size, image_size); scaling and normalisation are in the graph",
    "output": "embeddings: float32 (N, D) of unit length; similarity is their dot product",
    "colour_order": "RGB",
    "decode": (
        "a JPEG by PIL.Image.draft(None, (ceil(w*f), ceil(h*f))) with f = min(1, 2*image_size/min(w, h)); "
        "then upright by EXIF; from the ICC profile to sRGB; what is transparent on white; with more than 8 "
        "bits by white, or as mlbench.images.bit_depth finds it"
    ),
    "crop": "first the middle with the share crop_ratio of height and width, rounded",
    "resize_meaning": (
        "squash: the whole image to a square; crop: the middle square first; pad: the middle of a square of "
        "pad_value with the longer side first"
    ),
    "resize_filter": "bilinear, antialiased (PIL.Image.resize with BILINEAR)",
    "pad_value": str(PADDING),
}

#: Metadata "batch" of a file with 8-bit weights.
_INT8 = "embed one image at a time: those of a batch are quantised together"


@dataclass(frozen=True, kw_only=True)
class Card:
    """The description of a model file.

    version: of mlbench. weights: origin of the initial weights, whose licence still applies. model: hash of
    the trained weights (`Record.training`), "" in a file of an earlier version. precision: "float32" or
    "int8". size, resize, crop_ratio: as `mlbench.planning.spec.ImageSettings` has them.
    white: white level of images with more than 8 bits, None to find it for each image (see
    `mlbench.images.bit_depth`).
    width: numbers of an embedding, None in a file of an earlier version. widths: nested widths (see
    `mlbench.planning.widths`), of which the first numbers are embeddings too; () for none.
    similarity: smallest similarity of a match; None without a threshold, for the reason in note.
    """

    suite: str
    case: str
    seed: int
    fingerprint: str
    version: str
    weights: str
    precision: str
    size: int
    resize: str
    crop_ratio: float
    similarity: float | None
    note: str = ""
    model: str = ""
    white: float | None = None
    width: int | None = None
    widths: tuple[int, ...] = ()

    @property
    def distance(self) -> float | None:
        """The threshold as a cosine distance."""
        return None if self.similarity is None else 1.0 - self.similarity

    def metadata(self) -> dict[str, str]:
        """The card as texts by name."""
        return {
            "mlbench": self.version,
            "suite": self.suite,
            "case": self.case,
            "seed": str(self.seed),
            "fingerprint": self.fingerprint,
            "weights": self.weights,
            "model": self.model,
            "precision": self.precision,
            "image_size": str(self.size),
            "resize": self.resize,
            "crop_ratio": repr(self.crop_ratio),
            "white": "" if self.white is None else repr(self.white),
            "threshold_similarity": "" if self.similarity is None else repr(self.similarity),
            "threshold_distance": "" if self.distance is None else repr(self.distance),
            "threshold_note": self.note,
            "width": "" if self.width is None else str(self.width),
            "nested_widths": ", ".join(map(str, self.widths)),
            **EVERY_FILE,
            **({"batch": _INT8} if self.precision == "int8" else {}),
        }

    @classmethod
    def read(cls, metadata: Mapping[str, str], where: str) -> Card:
        """A card from a file's metadata. Raises StoreError, naming `where`, for other metadata."""
        try:
            similarity, white = metadata["threshold_similarity"], metadata.get("white")
            width, widths = metadata.get("width"), metadata.get("nested_widths")
            found = cls(
                suite=metadata["suite"],
                case=metadata["case"],
                seed=int(metadata["seed"]),
                fingerprint=metadata["fingerprint"],
                version=metadata["mlbench"],
                weights=metadata["weights"],
                precision=metadata["precision"],
                size=int(metadata["image_size"]),
                resize=metadata["resize"],
                crop_ratio=float(metadata["crop_ratio"]),
                similarity=float(similarity) if similarity else None,
                note=metadata["threshold_note"],
                model=metadata.get("model", ""),
                white=float(white) if white else None,
                width=int(width) if width else None,
                widths=tuple(map(int, widths.split(","))) if widths else (),
            )
        except (KeyError, ValueError) as error:
            raise StoreError(
                f"{where}: was not written by mlbench export: how to prepare its images is not known "
                f"(metadata: {error})"
            ) from None
        wrong = found._wrong() or [name for name, value in EVERY_FILE.items() if metadata.get(name) != value]
        if wrong:
            from mlbench import __version__

            raise StoreError(
                f"{where}: cannot be used with mlbench {__version__} ({wrong[0]}: "
                f"{metadata.get(wrong[0])}); it was written by {found.version}"
            )
        return found

    def _wrong(self) -> list[str]:
        """Names of values that are not valid."""
        sound = {
            "image_size": self.size > 0,
            "resize": self.resize in get_args(Resize),
            "crop_ratio": 0 < self.crop_ratio <= 1,
            "white": self.white is None or 0 < self.white < math.inf,
            "width": self.width is None or self.width > 0,
            "threshold_similarity": self.similarity is None or math.isfinite(self.similarity),
        }
        return [name for name, fine in sound.items() if not fine]
