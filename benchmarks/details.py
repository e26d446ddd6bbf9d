"""What details cost: an evaluation with its calibration, all metrics and intervals, without details and with
them, and the file that they are written to.

One thread, five images a class; the calibration images are half as many. Processor times, taken in turns in
one process, medians over rounds.

    python benchmarks/details.py [--sizes 1000 10000 50000] [--dim 128] [--rounds 5] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import evaluation  # sets the number of threads, so it comes before NumPy
import numpy as np

#: Noise beside each class's centre, by the name of the row.
KINDS = {"trained": 1.0, "half right": 2.0, "random": 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 50_000])
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    evaluation.DIM = arguments.dim
    evaluation.NOISE.update(KINDS)
    evaluate(500, "trained", with_details=True)  # compiles and imports everything
    if not arguments.json:
        print(f"{arguments.dim} dimensions, one thread, medians of {arguments.rounds} rounds", flush=True)
    rows = []
    for size in arguments.sizes:
        for kind in arguments.kinds:
            rows.append(row := measured(size, kind, arguments.rounds))
            if not arguments.json:
                print(
                    f"{size:>7,} {kind:<10}  {row['without']:7.3f} s without, {row['with']:7.3f} s with "
                    f"({row['share']:+.1%}); Recall@1 {row['recall_at_1']:.3f}; written in "
                    f"{row['write']:.3f} s, {row['bytes'] / 1e6:.2f} MB",
                    flush=True,
                )
    if arguments.json:
        print(json.dumps(rows))


def measured(size: int, kind: str, rounds: int) -> dict:
    from mlbench.evaluation.details import write_details

    times: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(rounds):
        for with_details, taken in times.items():
            start = time.process_time()
            details = evaluate(size, kind, with_details=with_details)
            taken.append(time.process_time() - start)
    without, whole = (statistics.median(times[each]) for each in (False, True))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "details.npz"
        start = time.process_time()
        write_details(path, details)
        written, count = time.process_time() - start, path.stat().st_size
    return {
        "size": size,
        "kind": kind,
        "without": without,
        "with": whole,
        "share": whole / without - 1,
        "recall_at_1": float(details.right.mean()),
        "write": written,
        "bytes": count,
    }


KNOWN: dict = {}


def evaluate(size: int, kind: str, *, with_details: bool):
    """Fit a threshold on half as many images, evaluate, and return the details, if wanted."""
    from mlbench.evaluation.all_pairs_evaluation import evaluate_all_pairs
    from mlbench.evaluation.calibration import calibrate
    from mlbench.evaluation.engine import Engine
    from mlbench.evaluation.estimates import BuiltMetric
    from mlbench.plugins import load_plugins
    from mlbench.registry import Registry

    if "registry" not in KNOWN:
        KNOWN["registry"] = Registry(load_plugins())
    built = [KNOWN["registry"].get("metric", name).make({}) for name in ("retrieval", "verification")]
    metrics = [BuiltMetric(each.build(), each.quantities()) for each in built]
    policy = KNOWN["registry"].get("threshold", "best_f1").make({}).build()
    for count in (size, size // 2):
        if (count, kind) not in KNOWN:
            KNOWN[count, kind] = evaluation.embeddings(count, kind)
    engine = Engine(threads=1)
    threshold = calibrate(policy, KNOWN[size // 2, kind], engine, np.random.default_rng(0))
    details = np.random.default_rng(1) if with_details else None
    generator = np.random.default_rng(0)
    return evaluate_all_pairs(KNOWN[size, kind], threshold, metrics, generator, engine, details).details


if __name__ == "__main__":
    main()
