"""How fast does one core draw the images of textimage, and the photographs of document_pool?

Prints milliseconds an image and images a second, for all of an image and for each stage of it, one row as
soon as it is measured. The last column compares machines and versions: the time as a multiple of a reference,
measured in turns with it, which does not depend on the code of mlbench: Pillow transforms an image in
perspective (bicubic) to the image's size, and encodes and decodes it as JPEG.

In the first row each round draws other documents than all before, as a run does, so glyphs are drawn as well;
in the others they are cached.

    python benchmarks/drawing.py [--size 128] [--rounds 5] [--json]
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402  (the threads must be set before)
from PIL import Image  # noqa: E402

from mlbench.plugin import SPLITS, DatasetContext, numpy_generator  # noqa: E402
from mlbench_datasets import camera, textimage  # noqa: E402
from mlbench_datasets.documents import catalogue  # noqa: E402
from mlbench_datasets.textimage import TextImage  # noqa: E402

#: A ninth of the classes of suites/textimage.yaml in each round.
CLASSES = {"classes": 32, "calibration_classes": 12, "test_classes": 12, "views": 6}

#: Functions that are timed within the drawing of an image: what each does, its module and name.
STAGES: tuple[tuple[str, ModuleType, str], ...] = (
    ("document drawn", catalogue, "draw_document"),
    ("document drawn and resized", textimage, "_sheet"),
    ("surface", camera, "surface"),
    ("noise drawn", camera, "_noise"),
    ("laid down in perspective", camera, "_lay_down"),
    ("shaken", camera, "_shake"),
    ("light, glare, noise", camera, "_expose"),
    ("tones, JPEG and back", camera, "_develop"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    size, rounds = arguments.size, arguments.rounds
    rows: dict[str, dict[str, float]] = {}

    def row(name: str, measure: Callable[[int], float]) -> None:
        taken = [(reference(size), measure(index)) for index in range(rounds)]
        milliseconds = 1e3 * statistics.median(seconds for _, seconds in taken)
        ratio = statistics.median(seconds / fixed for fixed, seconds in taken)
        rows[name] = {"ms": milliseconds, "images_per_s": 1e3 / milliseconds, "x_reference": ratio}
        if not arguments.json:
            print(f"{name:28} {milliseconds:9.3f} {1e3 / milliseconds:9.0f} {ratio:9.2f}", flush=True)

    if not arguments.json:
        print(f"{f'{size} px, one core':28} {'ms/image':>9} {'images/s':>9} {'x ref.':>9}")
    reference(size)
    row("textimage, first", lambda index: text_images(size, index))
    row("textimage", lambda index: text_images(size, index))
    for name, module, function in STAGES:
        row("  " + name, lambda index, timed=(module, function): text_images(size, index, *timed))
    documents = synthetic_documents(size)
    row("camera at strength 1", lambda index: photographs(documents, size, index))
    row("reference", lambda index: reference(size))
    if arguments.json:
        print(json.dumps(rows))


def text_images(size: int, seed: int, module: ModuleType | None = None, function: str = "") -> float:
    """Seconds to draw an image of a textimage data set, or those spent in one function of a module."""
    data = TextImage(seed=seed, **CLASSES).build(DatasetContext(Path(), size))
    textimage._sheet.cache_clear()
    splits = [data.split(name) for name in SPLITS]
    spent = 0.0

    def draw() -> float:
        start = time.perf_counter()
        for split in splits:
            for index in range(len(split)):
                split.image(index)
        return time.perf_counter() - start

    if module is None:
        spent = draw()
    else:
        original = getattr(module, function)

        def timed(*values: Any, **options: Any) -> Any:
            nonlocal spent
            start = time.perf_counter()
            result = original(*values, **options)
            spent += time.perf_counter() - start
            return result

        with mock.patch.object(module, function, timed):
            draw()
    return spent / sum(map(len, splits))


def synthetic_documents(size: int, count: int = 32) -> list[Image.Image]:
    """Square documents twice as large as their photographs, as document_pool keeps them."""
    return [
        catalogue.draw_document(0, "train", label, family_size=1, pixels=2 * size).resize(
            (2 * size, 2 * size), Image.Resampling.BILINEAR
        )
        for label in range(count)
    ]


def photographs(documents: list[Image.Image], size: int, seed: int) -> float:
    """Seconds to photograph a document."""
    start = time.perf_counter()
    for label, document in enumerate(documents):
        for view in range(4):
            camera.photograph(document, numpy_generator(seed, "view", label, view), size=size)
    return (time.perf_counter() - start) / (4 * len(documents))


def reference(size: int, repeats: int = 40) -> float:
    """Seconds for the fixed work by Pillow."""
    noise = np.random.default_rng(0).integers(0, 256, (size // 4, size // 4, 3), dtype=np.uint8)
    document = Image.fromarray(noise).resize((2 * size, 2 * size), Image.Resampling.BICUBIC)
    coefficients = (2.1, 0.2, -9.0, -0.1, 2.2, -7.0, 0.1 / size, -0.1 / size)
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        seen = document.transform(
            (size, size), Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BICUBIC
        )
        buffer = io.BytesIO()
        seen.save(buffer, "JPEG", quality=85)
        buffer.seek(0)
        Image.open(buffer).convert("RGB")
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


if __name__ == "__main__":
    main()
