"""How many images a second does `mlbench data check` read, and how long does it compare them?

Prints one row as soon as it is measured: reading and hashing alone (--no-near), reading with the features of
near duplicates; the comparison of all pairs of
vectors, whose time grows with their square; and the notes of `mlbench validate` on the same files, which are
by bytes: the first time, and from then on. The last column is the peak memory so far.

    python benchmarks/data_check.py [--images 600] [--side 256] [--vectors 5000 20000] [--workers 2]
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from mlbench.contracts.options import DatasetContext
from mlbench.inspection.findings import LOOSER, NEAR
from mlbench.inspection.inspect_images import NearSearch, inspect_images
from mlbench.inspection.near import near_pairs
from mlbench.inspection.subject import of_folder
from mlbench.plugins import load_plugins
from mlbench.registry import Registry

CLASSES = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--vectors", type=int, nargs="*", default=[5000, 20000])
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    registry = Registry(load_plugins())
    print(f"{'':34} {'seconds':>8} {'per second':>11} {'MB':>7}")
    with tempfile.TemporaryDirectory() as place:
        os.environ["MLBENCH_CACHE"] = f"{place}/cache"
        folder = Path(place, "images")
        write_images(folder, arguments.images, arguments.side)
        check(write_images(Path(place, "few"), CLASSES, 64), NearSearch(registry), 0)  # imports and loads
        for name, near in (("read, hash", None), ("read, hash, features", NearSearch(registry))):
            row(name, arguments.images, partial(check, folder, near, arguments.workers))
        component = registry.get("dataset", "image_folder").make({"path": str(folder)})
        for name in ("validate, first", "validate, again"):
            row(name, arguments.images, lambda: component.build(DatasetContext(folder, 128)))
    for count in arguments.vectors:
        vectors = np.random.default_rng(0).normal(size=(count, 1280)).astype(np.float32)
        vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
        pairs = count * (count - 1) // 2
        row(f"compare {count:,} vectors", pairs, partial(near_pairs, vectors, NEAR - LOOSER))


def check(folder: Path, near: NearSearch | None, workers: int) -> None:
    inspect_images(of_folder(folder), near, lambda what, done, total: None, workers)


def row(name: str, count: int, run: Callable[[], object]) -> None:
    """Measure a run and print its row. The memory is the peak of this process so far."""
    start = time.perf_counter()
    run()
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"{name:34} {seconds:8.1f} {count / seconds:11,.0f} {peak:7,.0f}", flush=True)


def write_images(folder: Path, count: int, side: int) -> Path:
    """JPEG files of random shapes with fine noise, in class folders."""
    generator = np.random.default_rng(0)
    for index in range(count):
        coarse = Image.fromarray(generator.integers(0, 256, (8, 8, 3)).astype(np.uint8))
        pixels = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), np.int16)
        noisy = pixels + generator.integers(-8, 9, pixels.shape, np.int16)
        place = folder / f"class{index % CLASSES:02d}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(place / f"{index}.jpg", quality=90)
    return folder


if __name__ == "__main__":
    main()
