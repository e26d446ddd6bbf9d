"""Embeddings of image files by an exported ONNX file (with numpy, Pillow and ONNX Runtime alone) or a program
of torch.export (with torch in place of ONNX Runtime).

`mlbench.deployment.embed_script` makes embed.py of this module and of what it uses of mlbench.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlbench.deployment.card import EVERY_FILE
from mlbench.images.formats import IMAGE_SUFFIXES, UnreadableImageError
from mlbench.images.prepare import prepare

__all__ = ["EmbedError", "Model", "embed", "main"]

#: Images in a batch.
_BATCH = 16


class EmbedError(Exception):
    """A model or an image that cannot be used, in one line."""


class Model:
    """An ONNX file, or a .pt2 file, that mlbench export wrote. Raises EmbedError for another file.

    threshold: largest cosine distance (1 - the dot product of two embeddings) of two images that are the
    same; None without one. metadata: see the file.
    """

    def __init__(self, file: str | os.PathLike[str]) -> None:
        try:
            data = Path(file).read_bytes()
            self._run, self.metadata = (_open_pt2 if Path(file).suffix == ".pt2" else _open_onnx)(data)
        except ImportError as error:
            raise EmbedError(f"{file}: needs {error.name}; pip install {error.name}") from None
        except OSError as error:
            raise EmbedError(f"{file}: cannot be read ({error.strerror or error})") from None
        # Both runtimes raise errors of many types.
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise EmbedError(f"{file}: is no model that can be run ({reason})") from None
        if "mlbench" not in self.metadata:
            raise EmbedError(f"{file}: was not written by mlbench export")
        if any(self.metadata.get(name) != value for name, value in EVERY_FILE.items()):
            version = self.metadata["mlbench"]
            raise EmbedError(f"{file}: prepares images otherwise; use the embed.py of mlbench {version}")
        distance = self.metadata["threshold_distance"]
        self.threshold = float(distance) if distance else None

    def load(self, image: str | os.PathLike[str]) -> np.ndarray:
        """An image file as the model's input, (3, S, S) uint8. Raises EmbedError."""
        found, white = self.metadata, self.metadata["white"]
        size, ratio = int(found["image_size"]), float(found["crop_ratio"])
        try:
            data = Path(image).read_bytes()
            return prepare(data, size, found["resize"], ratio, float(white) if white else None)
        except OSError as error:
            raise EmbedError(f"{image}: cannot be read ({error.strerror or error})") from None
        except UnreadableImageError as error:
            raise EmbedError(f"{image}: is no image that can be read ({error})") from None

    def embed(self, images: Iterable[str | os.PathLike[str]]) -> np.ndarray:
        """Embeddings (N, D) float32 of unit length of image files. Raises EmbedError."""
        # A file with 8-bit weights quantises the images of a batch together.
        most = 1 if self.metadata["precision"] == "int8" else _BATCH
        found, batch = [], []
        for image in images:
            batch.append(self.load(image))
            if len(batch) == most:
                found.append(self._run(np.stack(batch)))
                batch = []
        if batch:
            found.append(self._run(np.stack(batch)))
        return np.concatenate(found) if found else np.zeros((0, int(self.metadata["width"])), np.float32)


def _open_onnx(data: bytes) -> tuple[Callable[[np.ndarray], np.ndarray], dict[str, str]]:
    """A function from images (N, 3, S, S) uint8 to embeddings (N, D) float32, and the metadata."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session: Any = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def run(images: np.ndarray) -> np.ndarray:
        embeddings: np.ndarray = session.run(["embeddings"], {"images": images})[0]
        return embeddings

    return run, dict(session.get_modelmeta().custom_metadata_map)


def _open_pt2(data: bytes) -> tuple[Callable[[np.ndarray], np.ndarray], dict[str, str]]:
    """The same of a program of torch.export."""
    import torch

    extra: dict[str, Any] = {"mlbench.json": ""}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torch.export.load(io.BytesIO(data), extra_files=extra).module()

    def run(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            embeddings: np.ndarray = model(torch.from_numpy(images)).numpy()
        return embeddings

    return run, json.loads(str(extra["mlbench.json"]) or "{}")


def embed(paths: Iterable[str | os.PathLike[str]], model: str | os.PathLike[str] | None = None) -> np.ndarray:
    """Embeddings (N, D) float32 of unit length of image files, in their order.

    model: its file; None for the ONNX file, else the .pt2 file, in the folder of this script. Raises
    EmbedError.
    """
    return Model(_beside() if model is None else model).embed(paths)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the embeddings of image files. Returns the exit code."""
    parser = argparse.ArgumentParser(description="Embed images with a model of mlbench export.")
    parser.add_argument("model", metavar="MODEL", type=Path, help="FILE.onnx or FILE.pt2")
    parser.add_argument("images", metavar="IMAGE", nargs="+", type=Path, help="a file, or a folder of images")
    parser.add_argument(
        "-o", "--output", metavar="FILE", type=Path,
        help="FILE.csv, or FILE.npy for an array with a row for each image; default CSV to the terminal",
    )  # fmt: skip
    given = parser.parse_args(arguments)
    if given.output and given.output.suffix not in (".csv", ".npy"):
        parser.error(f"--output {given.output}: expected FILE.csv or FILE.npy")
    try:
        images = list(_files(given.images))
        found = Model(given.model).embed(images)
        if given.output is None:
            _write_csv(sys.stdout, images, found)
        else:
            _write(given.output, images, found)
    except EmbedError as error:
        print(f"embed.py: {error}", file=sys.stderr)
        return 1
    return 0


def _beside() -> Path:
    """The model file in the folder of this script, the one with float32 weights where there are two."""
    here = Path(__file__).resolve().parent
    found = sorted(here.glob("*.onnx")) or sorted(here.glob("*.pt2"))
    found = [file for file in found if not file.name.endswith("-int8.onnx")] or found
    if len(found) != 1:
        raise EmbedError(f"{here}: holds {len(found)} model files; name one")
    return found[0]


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    """The given files, and the image files below the given folders, sorted. Raises EmbedError for a folder
    without any."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        found = sorted(each for each in path.rglob("*") if each.suffix.lower() in IMAGE_SUFFIXES)
        if not found:
            raise EmbedError(f"{path}: holds no image files")
        yield from found


def _write(file: Path, images: Sequence[Path], embeddings: np.ndarray) -> None:
    """Write a whole file or none. Raises EmbedError."""
    part = file.with_name(f".{file.name}.part")
    try:
        if file.suffix == ".npy":
            with part.open("wb") as binary:
                np.save(binary, embeddings)
        else:
            with part.open("w", encoding="utf-8", errors="surrogateescape", newline="") as text:
                _write_csv(text, images, embeddings)
        part.replace(file)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise EmbedError(f"{file}: cannot be written ({error.strerror or error})") from None


def _write_csv(target: Any, images: Sequence[Path], embeddings: np.ndarray) -> None:
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(["image", *(f"e{at}" for at in range(embeddings.shape[1]))])
    for image, row in zip(images, embeddings, strict=True):
        writer.writerow([image, *(f"{value:.9g}" for value in row)])  # 9 digits give a float32 back


if __name__ == "__main__":
    sys.exit(main())
