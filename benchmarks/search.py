"""What `mlbench search` costs: exact search against the graphs of usearch and faiss, and their recall.

Embeddings lie around class centres, five a class, as those of a trained model do. Times of a query are
medians over rounds, in which the searches take turns; --queries at a time. The graphs are built once.

    python benchmarks/search.py [--sizes 10000 100000] [--dim 256] [--queries 100] [--rounds 3] [--json]
        [--libraries usearch faiss]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402  (the threads must be set before)

TOP, PER_CLASS, NOISE = 10, 5, 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--libraries", nargs="*", default=["usearch", "faiss"])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as cache:
        os.environ["MLBENCH_CACHE"] = cache
        for size in arguments.sizes:
            if not arguments.json:
                print(
                    f"{size:,} embeddings of {arguments.dim} dimensions, {arguments.queries} queries at a "
                    f"time, the {TOP} nearest, one thread",
                    flush=True,
                )
            found[size] = measured(
                size,
                arguments.dim,
                arguments.queries,
                arguments.rounds,
                arguments.libraries,
                quiet=arguments.json,
            )
    if arguments.json:
        print(json.dumps(found))


def embeddings(size: int, dim: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((size // PER_CLASS, dim), np.float32)
    vectors = centres.repeat(PER_CLASS, 0) + NOISE * rng.standard_normal((size, dim), np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def measured(size: int, dim: int, count: int, rounds: int, libraries: list[str], *, quiet: bool) -> dict:
    from mlbench.deployment.approximate import ApproximateSearch
    from mlbench.deployment.nearest import nearest

    vectors = embeddings(size, dim)
    rows = np.random.default_rng(1).permutation(size)[:count]
    searches: dict[str, Callable] = {"exact": nearest}
    facts: dict[str, dict] = {"exact": {"built": 0.0, "recall": 1.0}}

    def show(name: str, text: str) -> None:
        if not quiet:
            print(f"  {name:>8}: {text}", flush=True)

    for library in libraries:
        made = ApproximateSearch(library, vectors, threads=1)
        recall, _ = made.recall(TOP)
        searches[library], facts[library] = made, {"built": made.built, "recall": recall}
        show(library, f"built in {made.built:.1f} s, recall@{TOP} {recall:.4f}")
    times: dict[str, list[float]] = {name: [] for name in searches}
    for _ in range(rounds):
        for name, search in searches.items():
            started = time.perf_counter()
            search(vectors, vectors[rows], TOP, rows.tolist())
            times[name].append((time.perf_counter() - started) / count)
    exact = statistics.median(times["exact"])
    for name, seconds in times.items():
        facts[name]["seconds"] = each = statistics.median(seconds)
        built = facts[name]["built"]
        pays = (
            f", pays for its building after {built / (exact - each):,.0f} queries"
            if each < exact and built
            else ""
        )
        show(name, f"{each * 1e3:7.3f} ms a query, {exact / each:6.1f} x exact{pays}")
    return facts


if __name__ == "__main__":
    main()
