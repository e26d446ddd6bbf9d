"""What evaluation costs: all metrics and curves against the similarity products alone, and against
pytorch-metric-learning's AccuracyCalculator.

One thread, 512 dimensions, five images a class. Times are taken in turns in one process, medians over rounds;
each peak of memory in a process of its own, above what it held with the embeddings ready.

    python benchmarks/evaluation.py [--json] [--rounds 5]
    python benchmarks/evaluation.py --scale 20000 60000 200000 [--threads N]   time and memory by size
    python benchmarks/evaluation.py --scale 200000 1000000 --device cuda --products tf32   the same on a GPU
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402  (the threads must be set before)

SIZE, DIM, PER_CLASS = 20_000, 512, 5
#: Noise beside each class's centre: easy as a trained model's embeddings, and none of the class at all.
NOISE = {"trained": 1.0, "random": 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=int, nargs="+", default=[])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="of --scale: cpu or cuda")
    parser.add_argument("--products", default="float32", choices=("float32", "tf32", "bf16"))
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    engine = {"threads": arguments.threads, "device": arguments.device, "products": arguments.products}
    if arguments.measure:
        what, size, rounds = arguments.measure
        print(json.dumps(measured(what, int(size), int(rounds), **engine)))
    elif arguments.scale:
        by_size(arguments.scale, engine, arguments.json)
    else:
        report(arguments.rounds, arguments.json)


def by_size(sizes: list[int], engine: dict, as_json: bool) -> None:
    where = f"{engine['threads']} threads" if engine["device"] == "cpu" else engine["device"]
    if not as_json:
        print(f"{where}, products in {engine['products']}, all metrics, 1,000 resamples", flush=True)
    found = {}
    for size in sizes:
        found[size] = each = alone("ours", size, engine, rounds=1 if engine["device"] == "cpu" else 3)
        if not as_json:
            print(
                f"{size:>9,} embeddings: {each['seconds']:8.2f} s, {each['gib']:5.2f} GiB above them, "
                f"{each['seconds'] / size**2 * 1e9:6.3f} ns a pair of rows"
                + (f"; {each['first']:.2f} s the first time" if engine["device"] != "cpu" else ""),
                flush=True,
            )
    if as_json:
        print(json.dumps(found))


def report(rounds: int, as_json: bool) -> None:
    def show(text: str) -> None:
        if not as_json:
            print(text, flush=True)

    warm_up()
    show(f"{SIZE:,} embeddings of {DIM} dimensions, one thread, medians of {rounds} rounds")
    medians, ratios = {}, {}
    for kind in NOISE:
        show(f"  {kind} embeddings")
        data = embeddings(SIZE, kind)
        tasks = {
            "products": lambda data=data: products(data.vectors),
            "metrics": lambda data=data: ours(data, 0),
            "metrics and intervals": lambda data=data: ours(data, 1000),
        }
        times = [[timed(run) for run in tasks.values()] for _ in range(rounds)]
        for task, taken in zip(tasks, zip(*times, strict=True), strict=True):
            medians[f"{kind} {task}"] = median = statistics.median(taken)
            ratios[kind, task] = median / medians[f"{kind} products"]
            show(f"{task:>28}: {median:6.2f} s   {ratios[kind, task]:5.2f} x")
    show("10,000 embeddings: precision_at_1 and mean_average_precision_at_r against all our metrics")
    theirs = alone("theirs", 10_000)
    show(f"{'AccuracyCalculator':>28}: {theirs['seconds']:6.2f} s   {theirs['gib']:5.2f} GiB")
    our = alone("ours", 10_000)
    our_time = statistics.median(timed(lambda: ours(embeddings(10_000, "trained"), 0)) for _ in range(3))
    faster = theirs["seconds"] / our_time
    show(f"{'mlbench':>28}: {our_time:6.2f} s   {our['gib']:5.2f} GiB   {faster:.0f} x faster")
    large = alone("ours", 60_000)
    show(f"60,000 embeddings: {large['seconds']:.1f} s, {large['gib']:.2f} GiB above the embeddings")
    if as_json:
        result = {
            "over_gemm": ratios["trained", "metrics"],
            "over_gemm_bootstrap": ratios["trained", "metrics and intervals"],
            "over_gemm_random": ratios["random", "metrics"],
            "over_gemm_bootstrap_random": ratios["random", "metrics and intervals"],
            "speedup_vs_pml": faster,
            "memory_vs_pml": our["gib"] / theirs["gib"],
            "extra_gib_60k": large["gib"],
        }
        print(json.dumps({**result, "seconds": medians, "pml": theirs, "ours_10k": our, "ours_60k": large}))


def embeddings(size: int, kind: str):
    """`size` embeddings, five a class around centres that are drawn at random."""
    from mlbench.evaluation.embeddings import Embeddings

    generator = np.random.default_rng(0)
    labels = np.arange(size) // PER_CLASS
    vectors = np.empty((size, DIM), np.float32)
    centres = generator.standard_normal((labels[-1] + 1, DIM), np.float32)
    for start in range(0, size, 4096):
        rows = labels[start : start + 4096]
        noise = generator.standard_normal((len(rows), DIM), np.float32)
        vectors[start : start + 4096] = centres[rows] + np.float32(NOISE[kind]) * noise
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Embeddings.of(vectors, labels)


def ours(data, resamples: int, threads: int = 1, products: str = "float32") -> None:
    """Every built-in metric and curve, with intervals when there are resamples."""
    from mlbench.evaluation.all_pairs_evaluation import evaluate_all_pairs
    from mlbench.evaluation.engine import Engine
    from mlbench.evaluation.estimates import BuiltMetric
    from mlbench.evaluation.threshold import Threshold
    from mlbench.plugins import load_plugins
    from mlbench.registry import Registry

    registry = Registry(load_plugins())
    metrics = []
    for name in ("retrieval", "verification"):
        component = registry.get("metric", name).make({})
        metrics.append(BuiltMetric(component.build(), component.quantities()))
    engine = Engine(resamples=resamples, threads=threads, products=products)
    evaluate_all_pairs(data, Threshold(0.3), metrics, np.random.default_rng(0), engine)


def products(vectors: np.ndarray) -> None:
    """The products of all rows with all rows, each pair of blocks once: the faster of NumPy and torch."""
    FASTEST(vectors)


def numpy_products(vectors: np.ndarray) -> None:
    for left, right in blocks(vectors):
        np.matmul(left, right.T, out=SCORES[: len(left), : len(right)])


def torch_products(vectors: np.ndarray) -> None:
    import torch

    scores = torch.from_numpy(SCORES)
    for left, right in blocks(torch.from_numpy(vectors)):
        torch.mm(left, right.T, out=scores[: len(left), : len(right)])


BLOCK = 1024
SCORES = np.empty((BLOCK, BLOCK), np.float32)
FASTEST = torch_products


def blocks(vectors):
    for top in range(0, len(vectors), BLOCK):
        for left in range(top, len(vectors), BLOCK):
            yield vectors[top : top + BLOCK], vectors[left : left + BLOCK]


def theirs(data) -> None:
    import torch
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    from pytorch_metric_learning.utils.inference import CustomKNN

    calculator = AccuracyCalculator(
        include=("precision_at_1", "mean_average_precision_at_r"),
        knn_func=CustomKNN(CosineSimilarity()),
        device=torch.device("cpu"),
    )
    calculator.get_accuracy(torch.from_numpy(data.vectors), torch.from_numpy(data.labels))


def timed(run) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def warm_up() -> None:
    """Compile and import everything, and choose the faster products."""
    global FASTEST
    small = embeddings(3000, "random")
    ours(small, 10)
    FASTEST = min(
        (numpy_products, torch_products),
        key=lambda run: (run(small.vectors), timed(lambda: run(small.vectors)))[1],
    )


def alone(what: str, size: int, engine: dict | None = None, rounds: int = 1) -> dict[str, float]:
    """Seconds and peak memory in a process of its own."""
    command = [sys.executable, __file__, "--measure", what, str(size), str(rounds)]
    command += [f"--{name}={value}" for name, value in (engine or {}).items()]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def measured(what: str, size: int, rounds: int, threads: int, device: str, products: str) -> dict[str, float]:
    """seconds: the median of the rounds. first: of the first, after a warm-up with few embeddings. gib: on
    the CPU, or at the peak on the GPU."""

    def run(data) -> None:
        if what == "theirs":
            theirs(data)
        else:
            ours(data, 1000, threads, products)

    first = timed(lambda: run(placed(embeddings(600, "trained"), device)))
    data = placed(embeddings(size, "trained"), device)
    before = reset_memory(device)
    times = [timed(lambda: run(data)) for _ in range(rounds)]
    gib = (peak_memory(device) - before) / 2**30
    return {"seconds": statistics.median(times), "gib": gib, "first": times[0], "warm_up": first}


def placed(data, device: str):
    """The embeddings on a device."""
    if device == "cpu":
        return data
    import torch

    return replace(data, vectors=torch.from_numpy(data.vectors).to(device))


def reset_memory(device: str) -> int:
    """Bytes in use; the peak is counted from here."""
    if device == "cpu":
        before = memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")
        return before
    import torch

    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


def peak_memory(device: str) -> int:
    """Most bytes in use since `reset_memory`."""
    if device == "cpu":
        return memory("VmHWM")
    import torch

    return torch.cuda.max_memory_allocated()


def memory(key: str) -> int:
    """Bytes, as Linux counts them for this process."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
