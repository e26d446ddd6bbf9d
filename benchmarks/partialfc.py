"""What a training step of PartialFC costs, against the method that indexes a dense parameter.

Three heads on 512 dimensions, each taking embeddings and labels to updated centres (SGD with momentum and
weight decay): `rows` is mlbench's; `dense` keeps one parameter and indexes it, so that its gradient, momentum
and weight decay touch all classes; `products` are just the three matrix products of the sampled size, the
least that any method needs.

    python benchmarks/partialfc.py [--json] [--rounds 7]      one thread, up to 17 GB
    python benchmarks/partialfc.py --cuda [--json]            one GPU; writes results/partialfc-<gpu>.json

What is compared runs in turns in one process, and medians are compared; only the dense head of two million
classes, for which there is no room beside another, has a process of its own. So has what measures memory.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

DIM, BATCH, LR, DECAY, MOMENTUM = 512, 128, 0.1, 5e-4, 0.9
CUDA_CLASSES, CUDA_BATCH, CUDA_STEPS = (125_000, 1_000_000, 5_500_000, 29_000_000), 1024, 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cuda", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        name, *numbers = json.loads(arguments.child)
        print(json.dumps(CHILDREN[name](*numbers)))
    elif arguments.cuda:
        on_cuda(arguments.json)
    else:
        on_cpu(arguments.rounds, arguments.json)


# ---------------------------------------------------------------------------------------------- the heads


def rows_head(classes: int, sampled: int, device: str = "cpu", dtype: str = "float32") -> Callable:
    """mlbench's sampler: only sampled rows are read and written."""
    import torch

    from mlbench_losses.margin import CosFace
    from mlbench_samplers.row_optimizers import RowSGD
    from mlbench_samplers.sampled_centres import SampledCentres

    sampler = SampledCentres(
        classes,
        DIM,
        1,
        sampled=sampled,
        seed=0,
        optimizer=lambda weights: RowSGD(weights, momentum=MOMENTUM),
        dtype=getattr(torch, dtype),
        device=device,
    )
    loss = CosFace(scale=64.0, margin=0.4)

    def step(embeddings, labels):
        sampler.stand_in.grad = None
        sampler(embeddings, labels, loss).backward()
        sampler.update(LR, DECAY)

    return step


def dense_head(classes: int, sampled: int, device: str = "cpu") -> Callable:
    """One dense parameter that is indexed: the logits shrink, gradient and update do not."""
    import torch
    from torch.nn import functional as F

    weight = torch.nn.Parameter(torch.empty(classes, DIM, device=device).normal_(0, 0.01))
    optimizer = torch.optim.SGD([weight], lr=LR, momentum=MOMENTUM, weight_decay=DECAY)

    def step(embeddings, labels):
        with torch.no_grad():
            draws = torch.rand(classes, device=device)
            draws[torch.unique(labels)] = 2.0
            index = draws.topk(sampled).indices.sort().values
            targets = torch.searchsorted(index, labels)
        optimizer.zero_grad()
        cosines = (F.normalize(embeddings) @ F.normalize(weight[index]).T).clamp(-1, 1)
        margins = torch.zeros_like(cosines).scatter_(1, targets.unsqueeze(1), 0.4)
        F.cross_entropy(64.0 * (cosines - margins), targets).backward()
        optimizer.step()

    return step


def full_head(classes: int, sampled: int, device: str = "cpu") -> Callable:
    """Every class in every step: the sampler `all`."""
    import torch

    from mlbench_losses.margin import CosFace
    from mlbench_samplers.class_centres import ClassCentres

    with torch.device(device):  # made there: the host may not have the room
        head = ClassCentres(classes, DIM, 1)
    optimizer = torch.optim.SGD(head.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=DECAY)
    loss = CosFace(scale=64.0, margin=0.4)

    def step(embeddings, labels):
        optimizer.zero_grad()
        head(embeddings, labels, loss).backward()
        optimizer.step()

    return step


def products(classes: int, sampled: int) -> Callable:
    """The three matrix products of the sampled size, into memory that is there."""
    import torch

    centres, slopes = torch.randn(sampled, DIM), torch.randn(BATCH, sampled)
    cosines, gradient = torch.empty_like(slopes), torch.empty_like(centres)
    by_embeddings = torch.empty(BATCH, DIM)

    @torch.no_grad()
    def step(embeddings, labels):
        torch.mm(embeddings, centres.T, out=cosines)
        torch.mm(slopes, centres, out=by_embeddings)
        torch.mm(slopes.T, embeddings, out=gradient)

    return step


HEADS = {"rows": rows_head, "dense": dense_head, "products": products, "full": full_head}


# ----------------------------------------------------------------------------------- measured in processes


def in_turns(rounds: int, *heads: list) -> dict[str, float]:
    """Median seconds of a step of each head [name, classes, sampled], in turns after one step for warmth."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    steps = {f"{name} {classes}": HEADS[name](classes, sampled) for name, classes, sampled in heads}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds + 1):
        for (name, step), (_, classes, _) in zip(steps.items(), heads, strict=True):
            embeddings = torch.randn(BATCH, DIM, requires_grad=True)
            labels = torch.randint(classes, (BATCH,))
            start = time.perf_counter()
            step(embeddings, labels)
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def peak_memory(name: str, classes: int, sampled: int) -> int:
    """Largest resident bytes of three steps, above those of the process before the head was made."""
    import torch

    torch.set_num_threads(1)
    small = HEADS[name](1000, 500)  # whatever is loaded or compiled on first use
    small(torch.randn(8, DIM, requires_grad=True), torch.randint(1000, (8,)))
    del small
    before = resident("VmRSS")
    step = HEADS[name](classes, sampled)
    for _ in range(3):
        step(torch.randn(BATCH, DIM, requires_grad=True), torch.randint(classes, (BATCH,)))
    return resident("VmHWM") - before


def resident(what: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) * 1024
    raise RuntimeError("needs Linux: /proc/self/status has no " + what)


def cuda_speed(name: str, classes: int, sampled: int, *more: str) -> dict[str, float] | None:
    """Examples a second and peak bytes of a head on the GPU; None where its memory is too small."""
    import torch

    torch.set_float32_matmul_precision("high")
    torch.manual_seed(0)
    try:
        step = HEADS[name](classes, sampled, "cuda", *more)
        generator = torch.Generator("cuda").manual_seed(0)
        draws = {"generator": generator, "device": "cuda"}
        for turn in range(5 + CUDA_STEPS):
            if turn == 5:
                torch.cuda.synchronize()
                start = time.perf_counter()
            embeddings = torch.randn(CUDA_BATCH, DIM, **draws).requires_grad_()
            step(embeddings, torch.randint(classes, (CUDA_BATCH,), **draws))
        torch.cuda.synchronize()
    except torch.cuda.OutOfMemoryError:
        return None
    seconds = time.perf_counter() - start
    return {
        "samples_per_second": CUDA_BATCH * CUDA_STEPS / seconds,
        "bytes": torch.cuda.max_memory_allocated(),
    }


CHILDREN = {"in_turns": in_turns, "peak_memory": peak_memory, "cuda_speed": cuda_speed}


def child(name: str, *numbers):
    """What a function gives in a process of its own."""
    command = [sys.executable, __file__, "--child", json.dumps([name, *numbers])]
    environment = {**os.environ}
    if name != "cuda_speed":
        environment["OMP_NUM_THREADS"] = environment["MKL_NUM_THREADS"] = "1"
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


# ---------------------------------------------------------------------------------------------- the tables


def on_cpu(rounds: int, as_json: bool) -> None:
    sampled = 40_000
    heads = [[name, 400_000, sampled] for name in ("products", "rows", "dense")]
    small = child("in_turns", rounds, *heads)
    large = child("in_turns", rounds, ["rows", 400_000, sampled], ["rows", 2_000_000, sampled])
    dense = child("in_turns", 2, ["dense", 2_000_000, sampled])
    huge = child("in_turns", 3, ["rows", 4_000_000, sampled])
    extra = child("peak_memory", "rows", 400_000, sampled) - 2 * 400_000 * DIM * 4
    figures = {
        "speedup_400k": small["dense 400000"] / small["rows 400000"],
        "over_floor_400k": small["rows 400000"] / small["products 400000"],
        "speedup_2m": dense["dense 2000000"] / large["rows 2000000"],
        "cost_2m_over_400k": large["rows 2000000"] / large["rows 400000"],
        "extra_memory_ratio": extra / (sampled * DIM * 4),
    }
    if as_json:
        print(json.dumps({**figures, "seconds": {**large, **small, **dense, **huge}}))
        return
    print(f"{DIM} dimensions, batch {BATCH}, {sampled:,} classes sampled, one thread, medians of {rounds}")
    print(f"{'classes':>10} {'products':>10} {'rows':>10} {'dense':>10}")
    print(
        f"{400_000:>10,} {small['products 400000']:>8.3f} s {small['rows 400000']:>8.3f} s "
        f"{small['dense 400000']:>8.3f} s"
    )
    print(f"{2_000_000:>10,} {'':>10} {large['rows 2000000']:>8.3f} s {dense['dense 2000000']:>8.3f} s")
    print(f"{4_000_000:>10,} {'':>10} {huge['rows 4000000']:>8.3f} s {'':>10}")
    print(f"rows over dense, 400,000 classes:         {figures['speedup_400k']:6.1f} x faster")
    print(f"rows over products, 400,000 classes:      {figures['over_floor_400k']:6.2f} x the time")
    print(f"rows over dense, 2,000,000 classes:       {figures['speedup_2m']:6.1f} x faster")
    print(f"rows, 2,000,000 over 400,000 classes:     {figures['cost_2m_over_400k']:6.2f} x the time")
    print(
        f"memory beyond centres and their momentum: {figures['extra_memory_ratio']:6.2f} x the sampled rows"
    )


def on_cuda(as_json: bool) -> None:
    from mlbench.environment import devices, environment, find_device

    device = find_device("cuda")
    table: list[dict] = []

    def measure(name: str, classes: int, *more: str) -> dict | None:
        result = child("cuda_speed", name, classes, classes // 10, *more)
        table.append({"head": " ".join((name, *more)), "classes": classes, **(result or {})})
        return result

    for classes in CUDA_CLASSES:
        for head in (("full",), ("dense",), ("rows", "float32"), ("rows", "bfloat16")):
            measure(head[0], classes, *head[1:])
    for dtype in ("float32", "bfloat16"):
        classes = CUDA_CLASSES[-1] * 8
        while measure("rows", classes, dtype) is None:  # steps of a tenth, down to the largest that fits
            table.pop()
            classes = int(0.9 * classes)
    record = {
        "what": "the head alone: embeddings and labels to updated centres; SGD with momentum, rate 0.1",
        "dim": DIM,
        "batch": CUDA_BATCH,
        "table": table,
        "environment": environment(device, os.cpu_count() or 1),
    }
    path = Path("results", f"partialfc-{devices()[0].product.replace(' ', '-').lower()}.json")
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")
    if as_json:
        print(json.dumps(record))
        return
    print(f"{device.product}, {DIM} dimensions, batch {CUDA_BATCH}, rate 0.1, the head alone; in {path}")
    print(f"{'head':>14} {'classes':>12} {'samples/s':>10} {'MB':>9}")
    for row in table:
        values = (
            (f"{row['samples_per_second']:.0f}", f"{row['bytes'] / 2**20:.0f}") if "bytes" in row else "--"
        )
        print(f"{row['head']:>14} {row['classes']:>12,} {values[0]:>10} {values[1]:>9}")


if __name__ == "__main__":
    main()
