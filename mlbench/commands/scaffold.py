"""A first suite for the user's own images: YAML with comments, ready to run and to edit."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from mlbench.commands.survey import Survey
from mlbench.contracts import SPLITS, Dataset
from mlbench.contracts.options import DatasetContext
from mlbench.environment import find_device
from mlbench.errors import DataError, StoreError
from mlbench.planning.document import parse_document
from mlbench.planning.gallery import check_protocol, suggest_gallery
from mlbench.planning.plan import make_plan
from mlbench.planning.suite import read_suite
from mlbench.planning.variants import MAX_SUITE_NAME
from mlbench.registry import Registry

__all__ = ["write_suite"]

_SAMPLED = 24  # images whose size is read
_STEPS = 1500  # of training, enough for a new head on a frozen backbone
_VIEWS = 4
_WHOLE = 1 << 16  # an image size above that of every image, so that none is read at a reduced size


def write_suite(found: Survey, registry: Registry, output: Path | None = None) -> tuple[Path, Sequence[str]]:
    """Write a suite to `output` (default: a file in this folder, named after the images) and return its path
    with notes on the data, one line each.

    The suite is checked as by `mlbench validate` before anything is written. Raises DataError for images that
    do not make a suite, StoreError when the file exists or cannot be written.
    """
    name = _suite_name(found.place)
    path = output or Path(f"{name}.yaml")
    if path.exists():  # before the images are read, which may take a while
        raise StoreError(f"{path}: exists already; name another file with --output")
    dataset, options = _dataset(found, registry)
    counts = _count(dataset)
    gallery, reason = suggest_gallery(dataset)
    text = _text(found, counts, options, gallery, reason)
    suite = read_suite(parse_document(text, path), registry)
    make_plan(suite, find_device("auto"))
    try:
        file = path.open("xb")
        try:
            with file:
                file.write(text.encode())
        except OSError:
            path.unlink(missing_ok=True)
            raise
    except FileExistsError:
        raise StoreError(f"{path}: exists already; name another file with --output") from None
    except OSError as error:
        raise StoreError(f"{path}: cannot be written ({error.strerror or error})") from None
    return path, (counts.splits, f"evaluation.gallery is {gallery}: {reason}", *dataset.notes)


def _text(found: Survey, counts: _Counts, options: Mapping[str, str | int], gallery: str, reason: str) -> str:
    """The text of a suite that compares three necks with the untrained backbone."""
    size = 224 if counts.images <= 3000 and counts.short_side >= 192 else 128
    trained = counts.trained
    # At least eight steps in an epoch, unless there are fewer than 64 images.
    batch_size = min(128, 1 << max(3, (trained // 8).bit_length() - 1))
    epochs = min(60, max(10, round(_STEPS * batch_size / trained)))
    pixels = f"their shorter side has {counts.short_side} pixels (median)"
    return textwrap.dedent(
        f"""\
        # {counts.images:,} images of {counts.classes:,} classes; {pixels}.
        # `mlbench validate` checks this file, `mlbench plan` predicts sizes and steps, `mlbench run` runs it.
        suite: {_quoted(_suite_name(found.place))}
        title: {_quoted(f"Which neck for {_title(found.place)}?")}
        base:
          # A larger size shows finer detail; the time grows with its square. pad keeps the proportions,
          # squash distorts the image to a square, crop cuts out its middle.
          image: {{size: {size}, resize: pad}}
          # {_division(found, options)}
          # That makes, {counts.splits}.
          dataset: {_flow({"name": "image_folder", **options})}
          # {reason[0].upper()}{reason[1:]}.
          # {_other_protocol(found, gallery)}
          evaluation: {{gallery: {gallery}}}
          # Random changes of training images as in photographs of flat things; null for none.
          augmentation: camera
          # ImageNet weights that come with mlbench. The whole backbone is frozen, so it runs once for each
          # image and training is quick; another `trainable_from` costs more and usually scores higher.
          backbone: {{name: timm, model: tf_efficientnet_lite0, weights: bundled, trainable_from: none}}
          neck: {{name: flatten, dim: 256, norm: ln}}
          loss: {{name: cosface, scale: 64, margin: 0.4}}
          # Every step uses all class centres; partial_fc draws some, for 100,000 classes and more.
          sampler: all
          batch_sampler: shuffle
          # About {max(1, trained // batch_size) * epochs:,} steps, {_VIEWS} augmented views of each image.
          recipe: {{name: standard, epochs: {epochs}, batch_size: {batch_size}, lr: 1e-3, views: {_VIEWS}}}
          metrics: [retrieval, verification]
          threshold: best_f1
        # Each neck is one case, run with each seed; the spread over seeds is the noise of the results.
        matrix:
          neck.name: [flatten, gap, squeeze]
        cases:
          # The mean of the backbone's features, untrained: the baseline that training must beat.
          untrained: {{neck: pooled, recipe.epochs: 0}}
        seeds: [0, 1]
        # The largest loss of a later run that still counts as the same.
        tolerances: {{recall_at_1: 0.02}}
        """
    )


@dataclass(frozen=True, slots=True)
class _Counts:
    """Counts of a data set. trained: training images. short_side: median of some images, in pixels. splits:
    classes and images of each split, as text."""

    classes: int
    images: int
    trained: int
    short_side: int
    splits: str


def _options(found: Survey) -> dict[str, str | int]:
    """Options of the data set, with the level where there are several."""
    level = {} if found.level is None or len(found.levels) < 2 else {"level": found.level}
    return {"path": str(found.place), **level}


def _dataset(found: Survey, registry: Registry) -> tuple[Dataset, dict[str, str | int]]:
    """The data set and its options. It divides the images of each class where there are too few classes to
    divide."""
    entry = registry.get("dataset", "image_folder")
    context = DatasetContext(found.place.parent, _WHOLE)
    options = _options(found)
    try:
        dataset: Dataset = entry.make(options).build(context)
    except DataError as error:
        options |= {"divide": "images"}
        try:
            dataset = entry.make(options).build(context)
            check_protocol(dataset, suggest_gallery(dataset)[0])
        except DataError:
            raise error from None
    return dataset, options


def _flow(options: Mapping[str, str | int]) -> str:
    """Options as YAML on one line."""
    values = {name: _quoted(str(each)) if name == "path" else each for name, each in options.items()}
    return f"{{{', '.join(f'{name}: {each}' for name, each in values.items())}}}"


def _other_protocol(found: Survey, gallery: str) -> str:
    if gallery == "test" and not found.divided and found.level is not None:
        return "To recognise the same classes in other images: divide: images above, and gallery: train."
    return "test: test images search each other; train: they search training images; gallery: stated roles."


def _division(found: Survey, options: Mapping[str, str | int]) -> str:
    divided = "images of each class" if "divide" in options else "classes"
    shares = (
        f"half of the {divided} train, 20 % fit the threshold, 30 % are scored (calibration, test: shares)."
    )
    if "divide" in options:
        return f"Too few classes to keep some for the test: {shares}"
    if found.level is None:
        return f"The manifest's column split divides the images. Without it: {shares}"
    if found.divided:
        return "The folders divide training, calibration and test images."
    return f"H{shares[1:]}"


def _count(dataset: Dataset) -> _Counts:
    splits = {name: dataset.split(name) for name in SPLITS}
    names = {each.class_name(label) for each in splits.values() for label in range(each.num_classes)}
    images = sum(map(len, splits.values()))
    step = max(1, images // _SAMPLED)
    sides = []
    for split in splits.values():
        for index in range(0, len(split), step):
            try:
                sides.append(min(split.image(index).size))
            except DataError:  # removed in the meantime
                continue
    shown = ", ".join(f"{name} {len(each):,} of {each.num_classes:,}" for name, each in splits.items())
    median = sorted(sides)[len(sides) // 2] if sides else 0
    return _Counts(len(names), images, len(splits["train"]), median, f"images of classes: {shown}")


def _title(place: Path) -> str:
    return place.stem if place.is_file() else place.name


def _suite_name(place: Path) -> str:
    """The name of a folder or file, reduced to the characters that a suite's name may have."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", _title(place)).strip("-._")
    return name[:MAX_SUITE_NAME].rstrip("-._") or "images"


def _quoted(text: str) -> str:
    """`text` as a quoted YAML scalar on one line."""
    return yaml.safe_dump(text, default_style='"', allow_unicode=True, width=float("inf")).rstrip("\n")
