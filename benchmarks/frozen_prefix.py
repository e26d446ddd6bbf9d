"""Time saved by caching the output of a frozen prefix: the same case trained with the cache and without.

Both run in this process, in turns, on the same images and the same steps; medians over rounds.

    python benchmarks/frozen_prefix.py [--json] [--rounds 3] [--threads N]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

SUITE = """\
suite: frozen_prefix
base:
  image: {size: 128}
  dataset: {name: textimage, classes: 60, calibration_classes: 20, test_classes: 20, views: 8}
  backbone: {name: timm, model: tf_efficientnet_lite0, weights: bundled, trainable_from: none}
  neck: {name: squeeze, dim: 256}
  loss: {name: cosface}
  sampler: all
  batch_sampler: shuffle
  recipe: {name: standard, epochs: 6, batch_size: 64, evaluate_every: 6}
  metrics: [verification]
  threshold: best_f1
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()

    import torch

    from mlbench.environment import find_device
    from mlbench.planning.plan import make_plan
    from mlbench.planning.suite import load_suite
    from mlbench.plugins import load_plugins
    from mlbench.registry import Registry

    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "suite.yaml")
        path.write_text(SUITE)
        plan = make_plan(load_suite(path, Registry(load_plugins())), find_device("cpu"))
        seconds: dict[str, list[float]] = {"empty cache": [], "full cache": [], "no cache": []}
        for turn in range(arguments.rounds):
            os.environ["MLBENCH_CACHE"] = str(Path(folder, f"cache{turn}"))
            os.environ.pop("MLBENCH_CACHE_LIMIT", None)
            seconds["empty cache"].append(train_once(plan, folder))
            seconds["full cache"].append(train_once(plan, folder))
            os.environ.update(MLBENCH_CACHE=str(Path(folder, "empty")), MLBENCH_CACHE_LIMIT="1")
            seconds["no cache"].append(train_once(plan, folder))

    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratios = {name: medians["no cache"] / medians[name] for name in ("empty cache", "full cache")}
    if arguments.json:
        speedups = {f"speedup_{name.replace(' ', '_')}": ratio for name, ratio in ratios.items()}
        print(json.dumps({**speedups, "seconds": medians, "rounds": seconds}))
        return
    print(
        f"one case, 480 images, 6 epochs, {arguments.threads} threads, medians of {arguments.rounds} rounds"
    )
    for name, value in medians.items():
        print(f"{name:>12}: {value:7.2f} s   {medians['no cache'] / value:5.1f} x")


def train_once(plan, folder: str) -> float:
    """Seconds from the built model to the evaluated one, inputs included."""
    from mlbench.training.assembly import assemble
    from mlbench.training.experiment import experiment

    assembly = assemble(plan.cases[0], "cpu")
    assert assembly.objective  # built before the clock starts
    start = time.perf_counter()
    experiment(assembly, Path(folder, "checkpoints"), lambda *_: None)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
