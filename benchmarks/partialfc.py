"""What a training step of PartialFC costs, against the method that indexes a dense parameter.

Three heads on 512 dimensions, each taking embeddings and labels to updated centres (SGD with momentum and
weight decay): `rows` is mlbench's; `dense` keeps one parameter and indexes it, so that its gradient, momentum
and weight decay touch all classes; `products` are just the three matrix products of the sampled size, the
least that any method needs. On a GPU also `full`, every class in every step.

    python benchmarks/partialfc.py [--json] [--rounds 7]      one thread, up to 17 GB
    python benchmarks/partialfc.py --cuda [--json]            one GPU; writes results/partialfc-<gpu>.json
    python benchmarks/partialfc.py --cuda --only 29000000 rows bfloat16 [SAMPLED]      one row of that table

Every row is printed, and the file written, as soon as it is measured. On a CPU, what is compared runs in
turns in one process, and medians are compared; only the dense head of two million classes, for which there is
no room beside another, has a process of its own. So has what measures memory.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

DIM, BATCH, LR, DECAY, MOMENTUM = 512, 128, 0.1, 5e-4, 0.9
CUDA_CLASSES, CUDA_BATCH, CUDA_STEPS = (125_000, 1_000_000, 5_500_000, 29_000_000), 1024, 20
#: Seconds after which a row on the GPU is not measured for longer.
CUDA_SECONDS = 4.0
#: Head and type of the stored centres of each row.
CUDA_HEADS = (("rows", "float32"), ("rows", "bfloat16"), ("dense", "float32"), ("full", "float32"))

#: print without a buffer.
say = partial(print, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cuda", action="store_true")
    parser.add_argument("--only", nargs="+", metavar="CLASSES HEAD [DTYPE [SAMPLED]]", help=argparse.SUPPRESS)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        name, *numbers = json.loads(arguments.child)
        print(json.dumps(CHILDREN[name](*numbers)))
    elif arguments.cuda and arguments.only:
        find_gpu()
        classes, name, dtype, sampled = arguments.only + ["float32", "0"][len(arguments.only) - 2 :]
        row = cuda_row(name, int(classes), int(sampled) or int(classes) // 10, dtype)
        say(json.dumps(row) if arguments.json else as_line(row))
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


def dense_head(classes: int, sampled: int, device: str = "cpu", dtype: str = "float32") -> Callable:
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


def full_head(classes: int, sampled: int, device: str = "cpu", dtype: str = "float32") -> Callable:
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


CHILDREN = {"in_turns": in_turns, "peak_memory": peak_memory}


def child(name: str, *numbers):
    """What a function gives in a process of its own."""
    command = [sys.executable, __file__, "--child", json.dumps([name, *numbers])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


# --------------------------------------------------------------------------------------------- on the CPU


def on_cpu(rounds: int, as_json: bool) -> None:
    sampled = 40_000
    show = (lambda text: None) if as_json else say
    show(f"{DIM} dimensions, batch {BATCH}, {sampled:,} classes sampled, one thread, medians of {rounds}")
    show(f"{'classes':>10} {'products':>10} {'rows':>10} {'dense':>10}")
    heads = [[name, 400_000, sampled] for name in ("products", "rows", "dense")]
    small = child("in_turns", rounds, *heads)
    show(f"{400_000:>10,} " + " ".join(f"{small[f'{name} 400000']:>8.3f} s" for name, *_ in heads))
    large = child("in_turns", rounds, ["rows", 400_000, sampled], ["rows", 2_000_000, sampled])
    dense = child("in_turns", 2, ["dense", 2_000_000, sampled])
    show(f"{2_000_000:>10,} {'':>10} {large['rows 2000000']:>8.3f} s {dense['dense 2000000']:>8.3f} s")
    huge = child("in_turns", 3, ["rows", 4_000_000, sampled])
    show(f"{4_000_000:>10,} {'':>10} {huge['rows 4000000']:>8.3f} s {'':>10}")
    extra = child("peak_memory", "rows", 400_000, sampled) - 2 * 400_000 * DIM * 4
    figures = {
        "speedup_400k": small["dense 400000"] / small["rows 400000"],
        "over_floor_400k": small["rows 400000"] / small["products 400000"],
        "speedup_2m": dense["dense 2000000"] / large["rows 2000000"],
        "cost_2m_over_400k": large["rows 2000000"] / large["rows 400000"],
        "extra_memory_ratio": extra / (sampled * DIM * 4),
    }
    if as_json:
        say(json.dumps({**figures, "seconds": {**large, **small, **dense, **huge}}))
        return
    say(f"rows over dense, 400,000 classes:         {figures['speedup_400k']:6.1f} x faster")
    say(f"rows over products, 400,000 classes:      {figures['over_floor_400k']:6.2f} x the time")
    say(f"rows over dense, 2,000,000 classes:       {figures['speedup_2m']:6.1f} x faster")
    say(f"rows, 2,000,000 over 400,000 classes:     {figures['cost_2m_over_400k']:6.2f} x the time")
    say(f"memory beyond centres and their momentum: {figures['extra_memory_ratio']:6.2f} x the sampled rows")


# --------------------------------------------------------------------------------------------- on one GPU


def find_gpu():
    """The first GPU; ends the program where there is none."""
    from mlbench.environment import find_device
    from mlbench.errors import DeviceError

    try:
        return find_device("cuda")
    except DeviceError as error:
        sys.exit(str(error))


def cuda_row(name: str, classes: int, sampled: int, dtype: str = "float32", device: str = "cuda") -> dict:
    """One row of the table: examples a second, seconds a step and peak bytes of a head, or an `error`.

    Leaves the device's memory as it was."""
    import torch

    row: dict = {"head": name, "dtype": dtype, "classes": classes, "sampled": sampled}
    clear(device)
    free = torch.cuda.mem_get_info()[0] if device == "cuda" else None
    if free is not None and least_bytes(name, classes, dtype) > free:
        return {**row, "error": f"does not fit: {least_bytes(name, classes, dtype) / 1e9:.0f} GB or more"}
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        row |= step_costs(HEADS[name](classes, sampled, device, dtype), classes, device)
        if device == "cuda":
            row["bytes"] = torch.cuda.max_memory_allocated()
    except torch.OutOfMemoryError:
        row["error"] = "does not fit"
    except Exception as error:  # shown as a row, so that the others are measured
        row["error"] = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
    torch.set_float32_matmul_precision(precision)
    clear(device)
    return row


def step_costs(step: Callable, classes: int, device: str) -> dict[str, float]:
    """Examples a second and seconds of a step, a mean over up to `CUDA_STEPS`, after three for warmth."""
    import torch

    torch.manual_seed(0)
    draws = {"generator": torch.Generator(device).manual_seed(0), "device": device}

    def run(steps: int) -> float:
        start = time.perf_counter()
        for _ in range(steps):
            embeddings = torch.randn(CUDA_BATCH, DIM, **draws).requires_grad_()
            step(embeddings, torch.randint(classes, (CUDA_BATCH,), **draws))
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    run(2)
    steps = max(min(CUDA_STEPS, int(CUDA_SECONDS / run(1))), 3)
    seconds = run(steps) / steps
    return {"samples_per_second": CUDA_BATCH / seconds, "seconds": seconds}


def least_bytes(name: str, classes: int, dtype: str) -> int:
    """Bytes of what a head certainly holds at once: the centres, their momentum, the cosines, and a gradient,
    which is as large as the sampled centres for `rows` and as all centres for the others."""
    each = (2 if dtype == "bfloat16" else 4) * DIM
    sampled = classes if name == "full" else classes // 10
    products = 4 * sampled * CUDA_BATCH
    return (
        2 * classes * each + 4 * sampled * DIM + products if name == "rows" else 3 * classes * each + products
    )


def largest(dtype: str, record: Callable[[dict], None]) -> None:
    """Record the row with the most classes, in steps of a hundredth, whose step fits in the GPU's memory."""
    import torch

    clear("cuda")
    # Beside what a step certainly holds, a few blocks and the library's own memory.
    free = torch.cuda.mem_get_info()[0] - 3 * 2**30
    classes = int(free / least_bytes("rows", 1_000_000, dtype) * 1_000_000)
    for _ in range(10):
        row = cuda_row("rows", classes, classes // 10, dtype)
        if "error" not in row:
            record({**row, "largest": True})
            return
        classes = int(0.97 * classes)
    record(row)


def clear(device: str) -> None:
    """Free what a row has left."""
    import torch

    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def as_line(row: dict) -> str:
    start = f"{row['head']:>6} {row['dtype']:>9} {row['classes']:>12,} {row['sampled']:>11,}"
    if "error" in row:
        return f"{start}  {row['error']}"
    memory = f"{row['bytes'] / 2**20:>9,.0f}" if "bytes" in row else f"{'':>9}"
    return f"{start} {row['samples_per_second']:>10,.0f} {1000 * row['seconds']:>9.2f} {memory}"


def on_cuda(as_json: bool) -> None:
    from mlbench.environment import environment

    device = find_gpu()
    path = Path("results", f"partialfc-{device.product.replace(' ', '-').lower()}.json")
    path.parent.mkdir(exist_ok=True)
    table: list[dict] = []
    facts: dict = {
        "what": "the head alone: embeddings and labels to updated centres; SGD with momentum, TF32",
        "dim": DIM,
        "batch": CUDA_BATCH,
        "table": table,
        "environment": environment(device, os.cpu_count() or 1),
    }

    def record(row: dict) -> None:
        table.append(row)
        path.write_text(json.dumps(facts, indent=1) + "\n")
        if not as_json:
            say(as_line(row))

    if not as_json:
        say(f"{device.product}, {DIM} dimensions, batch {CUDA_BATCH}, the head alone; in {path}")
        say(f"{'head':>6} {'dtype':>9} {'classes':>12} {'sampled':>11} {'samples/s':>10} {'ms':>9} {'MB':>9}")
    for classes in CUDA_CLASSES:
        for name, dtype in CUDA_HEADS:
            record(cuda_row(name, classes, classes // 10, dtype))
    # The same number of sampled classes: the cost that depends on the number of all classes.
    costs = []
    for classes in (400_000, 2_000_000):
        record(cuda_row("rows", classes, 40_000))
        costs.append(table[-1].get("seconds"))
    if all(costs):
        facts["cost_2m_over_400k"] = costs[1] / costs[0]
    for dtype in ("float32", "bfloat16"):
        largest(dtype, record)
    if as_json:
        say(json.dumps(facts))
    elif "cost_2m_over_400k" in facts:
        say(f"rows, 2,000,000 over 400,000 classes: {facts['cost_2m_over_400k']:.2f} x the time")


if __name__ == "__main__":
    main()
