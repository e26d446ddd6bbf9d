"""How much faster `mlbench run --jobs 2` trains cases on frozen features than one process does.

Each round runs the same suite three ways, in turn with the others, with the features in the cache: one
process with every core, one with one thread, and two with one thread each. Prints each row when it is there,
and the ratios of the medians: python benchmarks/jobs.py [--rounds 3] [--cases 6]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

SUITE = """\
suite: jobs
title: Heads on frozen features
base:
  image: {{size: 96}}
  dataset: {{name: textimage, classes: 60, test_classes: 24, views: 6}}
  backbone: {{name: timm, model: tf_efficientnet_lite0, weights: bundled, trainable_from: none}}
  neck: {{name: flatten, dim: 256, norm: ln}}
  loss: {{name: cosface, scale: 64, margin: 0.4}}
  sampler: all
  batch_sampler: shuffle
  recipe: {{name: standard, epochs: 30, batch_size: 64, lr: 1e-3, evaluate_every: 10}}
  metrics: [retrieval, verification]
  threshold: best_f1
seeds: [{seeds}]
"""
WAYS = {
    "in turn, every core": ([], None),
    "in turn, 1 thread": ([], "1"),
    "--jobs 2, 1 thread each": (["--jobs", "2"], "1"),
}


def seconds(suite: Path, options: list[str], threads: str | None) -> float:
    """Of a whole command with no record yet."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    if threads:
        environment["OMP_NUM_THREADS"] = threads
    with tempfile.TemporaryDirectory() as results:
        command = [sys.executable, "-m", "mlbench", "run", str(suite), "--no-measure", "--device", "cpu"]
        start = time.perf_counter()
        subprocess.run(
            [*command, "--results", results, *options], env=environment, check=True, capture_output=True
        )
        return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", type=int, default=6)
    chosen = parser.parse_args()
    taken: dict[str, list[float]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        suite = Path(folder) / "jobs.yaml"
        suite.write_text(SUITE.format(seeds=", ".join(map(str, range(chosen.cases)))))
        for name, way in WAYS.items():  # fills the cache for each number of threads
            print(f"warm-up, {name:24} {seconds(suite, *way):8.1f} s", flush=True)
        for number in range(chosen.rounds):
            for name, way in WAYS.items():
                taken[name].append(seconds(suite, *way))
                print(f"round {number + 1}, {name:24} {taken[name][-1]:8.1f} s", flush=True)
    ours = median(taken["--jobs 2, 1 thread each"])
    for name in list(WAYS)[:2]:
        print(f"--jobs 2 is {median(taken[name]) / ours:.2f} times as fast as {name}", flush=True)


if __name__ == "__main__":
    main()
