"""A first suite for somebody's folder of images: YAML with comments, ready to run and to be changed."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import yaml
from PIL import Image

from mlbench.errors import DataError, StoreError
from mlbench.images.image_files import IMAGE_SUFFIXES, SPLIT_NAMES, walk_images

__all__ = ["suite_for_folder", "write_suite"]

_SAMPLED = 64  # images whose size is looked up
_STEPS = 1500  # of training, about what a new head on a frozen backbone needs
_VIEWS = 4


def write_suite(folder: Path, output: Path | None = None) -> Path:
    """Write `suite_for_folder` to `output` (default: a file named after the folder, here) and say where.

    Raises DataError as that does, and StoreError when the file exists or cannot be written.
    """
    text = suite_for_folder(folder)
    path = output or Path(f"{_suite_name(folder)}.yaml")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise StoreError(f"{path}: exists already; name another file with --output") from None
    except OSError as error:
        raise StoreError(f"{path}: cannot be written ({error.strerror or error})") from None
    return path


def suite_for_folder(folder: Path) -> str:
    """The text of a suite that compares three necks on the images in `folder`.

    The folder has one sub-folder for each class, or train/ and test/ with such sub-folders. Files are counted
    and a few headers read; whether every image can be decoded shows when the suite is validated or run.
    Raises DataError when there is no such folder, or no images in it.
    """
    folder = folder.expanduser().resolve()
    if not folder.exists():
        raise DataError(f"{folder}: no such folder; name the folder that holds your images")
    found = _survey(folder)
    size = 224 if found.images <= 3000 and found.short_side >= 192 else 128
    trained = found.trained
    # Eight steps in an epoch at least, where there are so few images.
    batch_size = min(128, 1 << max(3, (trained // 8).bit_length() - 1))
    epochs = min(60, max(10, round(_STEPS * batch_size / trained)))
    splits = (
        "Training, calibration and test images are divided as the folders say."
        if found.is_split
        else "Half of the classes train, 20 % fit the threshold, 30 % are scored (calibration, test: shares)."
    )
    pixels = f"their shorter side has {found.short_side} pixels (median)"
    return textwrap.dedent(
        f"""\
        # {found.images:,} images of {found.classes:,} classes; {pixels}.
        # `mlbench validate` checks this file, `mlbench plan` says what it will do, `mlbench run` does it.
        suite: {_quoted(_suite_name(folder))}
        title: {_quoted(f"Which neck for {folder.name}?")}
        base:
          # More pixels show finer detail; the time grows with their square. pad keeps the proportions,
          # squash gives every image the whole square, crop cuts its middle out.
          image: {{size: {size}, resize: pad}}
          # {splits}
          dataset: {{name: image_folder, path: {_quoted(str(folder))}}}
          # Training images are shown as snapshots of flat things; null leaves them as they are.
          augmentation: camera
          # ImageNet weights that come with mlbench. All of the backbone is frozen, so it runs once for each
          # image and training is quick; another `trainable_from` costs more and usually scores higher.
          backbone: {{name: timm, model: tf_efficientnet_lite0, weights: bundled, trainable_from: none}}
          neck: {{name: flatten, dim: 256, norm: ln}}
          loss: {{name: cosface, scale: 64, margin: 0.4}}
          # All class centres take part in every step; partial_fc draws some, for 100,000 classes and more.
          sampler: all
          batch_sampler: shuffle
          # About {max(1, trained // batch_size) * epochs:,} steps, {_VIEWS} augmented views of each image.
          recipe: {{name: standard, epochs: {epochs}, batch_size: {batch_size}, lr: 1e-3, views: {_VIEWS}}}
          metrics: [retrieval, verification]
          threshold: best_f1
        # Each neck is a case of its own, and each is run with each seed: the seeds show what is chance.
        matrix:
          neck.name: [flatten, gap, squeeze]
        seeds: [0, 1]
        # How much a later run may lose and still count as equal.
        tolerances: {{recall_at_1: 0.02}}
        """
    )


@dataclass(frozen=True, slots=True)
class _Survey:
    """What lies in a folder. trained: images to train on. short_side: median of some images, in pixels."""

    classes: int
    images: int
    trained: int
    short_side: int
    is_split: bool


def _survey(folder: Path) -> _Survey:
    paths = walk_images(folder)
    if not paths:
        raise DataError(f"{folder}: no images; they end in {' '.join(sorted(IMAGE_SUFFIXES))}")
    tops = {path.split("/")[0] for path in paths if "/" in path}
    is_split = bool(tops) and tops <= SPLIT_NAMES.keys()
    depth = 2 if is_split else 1
    classes = Counter(path.split("/")[depth - 1] for path in paths if path.count("/") >= depth)
    if not classes:
        raise DataError(
            f"{folder}: images, but no class folders; put the images of each class into a folder of its own"
        )
    sample = paths[:: max(1, len(paths) // _SAMPLED)]
    sides = sorted(filter(None, (_short_side(folder / path) for path in sample)))
    images = classes.total()
    trained = sum(path.startswith("train/") for path in paths) if is_split else images // 2
    return _Survey(len(classes), images, max(1, trained), sides[len(sides) // 2] if sides else 0, is_split)


def _short_side(file: Path) -> int:
    """Pixels on the shorter side, from the header alone; 0 when it cannot be read."""
    try:
        with Image.open(file) as image:
            return min(image.size)
    except Exception:  # Pillow's readers raise nearly anything on damaged files
        return 0


def _suite_name(folder: Path) -> str:
    """The folder's name, of the characters that the name of a suite may have."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", folder.expanduser().resolve().name).strip("-._") or "images"


def _quoted(text: str) -> str:
    """`text` as a YAML scalar on one line, whatever is in it."""
    return yaml.safe_dump(text, default_style='"', allow_unicode=True, width=float("inf")).rstrip("\n")
