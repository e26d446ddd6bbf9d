"""Everything worth knowing of one GPU, most valuable first.

    python benchmarks/gpu.py [--minutes 8] [--only PART ...]
    python benchmarks/gpu.py --device cpu --small       try the script itself, in small sizes

Each part runs in a process of its own with its own limit. Each row is printed as soon as it is measured, and
results/gpu-<card>.json is written after every part; a part that did not finish keeps its rows and is named.
Needs mlbench without its dev extra, and no network.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

#: Start of a line with a row; other lines of a part are shown as they are.
MARK = "\x1e"

#: Parts in their order: the largest number of seconds of each.
LIMITS = {
    "smoke": 45,
    "measuring": 45,
    "forward": 60,
    "loop": 60,
    "evaluate": 90,
    "partialfc": 120,
    "textimage": 120,
    "catalogue": 300,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0, help="for all parts together")
    parser.add_argument("--only", nargs="+", choices=list(LIMITS), default=list(LIMITS), metavar="PART")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="sizes that take a CPU seconds")
    parser.add_argument("--part", choices=list(LIMITS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        PARTS[arguments.part](arguments.device, arguments.small)
        return
    machine = machine_facts(arguments.device)
    card = re.sub(r"\W+", "-", machine["device"]).strip("-").lower()
    path = ROOT / "results" / f"gpu-{card}.json"
    found: dict[str, Any] = {"machine": machine, "parts": {}}
    if path.exists():  # parts of an earlier call stay, until they run again
        found["parts"] = json.loads(path.read_text())["parts"]
    print(json.dumps(machine), flush=True)
    end = time.monotonic() + 60 * arguments.minutes
    for name in arguments.only:
        limit = min(LIMITS[name], end - time.monotonic())
        if limit < 10:
            found["parts"][name] = {"rows": [], "ended": "not started: out of time"}
        else:
            options = ["--device", arguments.device, *(["--small"] if arguments.small else [])]
            found["parts"][name] = run_part(name, limit, options)
        if not arguments.small:
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(found, indent=1) + "\n")
    for name, part in found["parts"].items():
        if part["ended"] != "done":
            print(f"{name}: {part['ended']}", flush=True)


def machine_facts(device: str) -> dict[str, Any]:
    import timm
    import torch

    facts = {
        "device": torch.cuda.get_device_name() if device == "cuda" else platform.processor() or "cpu",
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "timm": timm.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }
    if device == "cuda":
        free, total = torch.cuda.mem_get_info()
        facts |= {"memory": total, "free": free, "cuda": torch.version.cuda}
        facts["cudnn"] = torch.backends.cudnn.version()
    return facts


def run_part(name: str, limit: float, options: list[str]) -> dict[str, Any]:
    """Rows of a part, and how it ended."""
    print(f"== {name} (at most {limit:.0f} s)", flush=True)
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, __file__, "--part", name, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    timer = threading.Timer(limit, lambda: os.killpg(process.pid, signal.SIGKILL))
    timer.start()
    rows: list[dict[str, Any]] = []
    last = ""
    assert process.stdout is not None
    for line in process.stdout:
        line = line.rstrip()
        if line.startswith(MARK):
            rows.append(json.loads(line.removeprefix(MARK)))
            print(as_line(rows[-1]), flush=True)
        elif line and not line.startswith("USDT:"):  # the profiler's own
            last = line
            print(f"   | {line[:160]}", flush=True)
    code = process.wait()
    timed_out = not timer.is_alive()
    timer.cancel()
    ended = "done" if code == 0 else f"not finished after {limit:.0f} s" if timed_out else f"failed: {last}"
    return {"rows": rows, "ended": ended, "seconds": round(time.monotonic() - start, 2)}


def as_line(row: dict[str, Any]) -> str:
    shown = [f"{value:,.4g}" if isinstance(value, float) else str(value) for value in row.values()]
    return "   " + "  ".join(f"{name} {text}" for name, text in zip(row, shown, strict=True))


def tell(**row: Any) -> None:
    """Print a row of this part."""
    print(MARK + json.dumps(row), flush=True)


# ----------------------------------------------------------------------------------------------- the parts


def suite(path: str, device: str, *options: str) -> None:
    """Run a suite as a user does; a row for each case with the seconds of its stages, and one for all."""
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "MLBENCH_CACHE": str(Path(folder) / "cache")}
        here = [sys.executable, "-m", "mlbench"]
        arguments = ["--results", folder, "--device", device, *options]
        start = time.monotonic()
        ran = subprocess.Popen(
            [*here, "run", path, *arguments, "--json"], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True
        )
        seen: set[str] = set()
        while ran.poll() is None:
            tell_records(Path(folder), seen)
            with contextlib.suppress(subprocess.TimeoutExpired):
                ran.wait(timeout=1.0)
        took = time.monotonic() - start
        tell_records(Path(folder), seen)
        if ran.returncode:
            raise SystemExit(f"mlbench run ended with {ran.returncode}")
        tell(suite=path, seconds=took)


def tell_records(folder: Path, seen: set[str]) -> None:
    for path in sorted(folder.glob("*/*.json")):
        if path.name not in seen:
            with contextlib.suppress(ValueError):
                record = json.loads(path.read_text())
                seen.add(path.name)
                seconds = {name: round(value, 2) for name, value in record["seconds"].items()}
                metrics = record.get("metrics", {})
                tell(
                    case=f"{record['case']} {record['seed']}",
                    status=record["status"],
                    recall_at_1=(metrics.get("recall_at_1") or {}).get("value"),
                    **seconds,
                )


def smoke(device: str, small: bool) -> None:
    suite("suites/smoke.yaml", device, "--precision", "bf16")


def textimage(device: str, small: bool) -> None:
    quick = ["--set", "dataset.classes=8", "--cases", "gap", "--seeds", "0"] if small else []
    suite("suites/textimage.yaml", device, *quick)


def catalogue(device: str, small: bool) -> None:
    """A case for every installed component."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "catalogue.yaml"
        text = subprocess.run(
            [sys.executable, "-m", "mlbench.testing"], capture_output=True, check=True
        ).stdout
        path.write_bytes(text)
        quick = ["--cases", "neck*gap*"] if small else []
        suite(str(path), device, "--precision", "bf16", "--no-measure", *quick)


def measuring(device: str, small: bool) -> None:
    """Seconds of the measuring process: its start, each stage before the first round, and a round."""
    start = time.perf_counter()
    import torch

    from mlbench.measurement.reference_clock import ReferenceClock
    from mlbench.measurement.stopwatch import Stopwatch
    from mlbench.measurement.subject import subjects_of

    plan = planned(device, "suites/smoke.yaml", "measure.latency=true", "measure.training=true")
    tell(what="imports and plan", seconds=time.perf_counter() - start)
    start = time.perf_counter()
    clock = ReferenceClock(device)
    tell(what="reference workload, warm-up", seconds=time.perf_counter() - start)
    for precision in ("fp32", "bf16"):
        plan = planned(
            device,
            "suites/smoke.yaml",
            *("measure.latency=true", "measure.training=true", f"precision={precision}"),
        )
        (subject, *_), _ = subjects_of(plan.cases[:1])
        laps: list[tuple[str, float]] = []
        watch = Stopwatch(
            subject, device, clock, (), lambda stage, laps=laps: laps.append((stage, time.perf_counter()))
        )
        laps.append(("", time.perf_counter()))
        for (stage, begin), (_, after) in itertools.pairwise(laps):
            tell(what=f"{precision} start of {stage}", seconds=after - begin)
        for number in (1, 2, 3):
            for stage in subject.stages:
                begin = time.perf_counter()
                found = watch.round([stage])[stage]
                tell(
                    what=f"{precision} round {number} of {stage}",
                    seconds=time.perf_counter() - begin,
                    **{f"{name}_ms": 1000 * value for name, value in found["seconds"].items()},
                    reference_ms=1000 * (found["reference"] or 0),
                )
        if device == "cuda":
            tell(what=f"{precision} memory", allocated=torch.cuda.memory_allocated())


def planned(device: str, path: str, *overrides: str) -> Any:
    from mlbench.environment import find_device
    from mlbench.planning.plan import make_plan
    from mlbench.planning.suite import load_suite
    from mlbench.plugins import load_plugins
    from mlbench.registry import Registry

    suite = load_suite(ROOT / path, Registry(load_plugins()), overrides=overrides)
    return make_plan(suite, find_device(device))


def forward(device: str, small: bool) -> None:
    """Forward passes of tf_efficientnet_lite0 at 224 px: precisions, layouts, CUDA graphs, torch.compile."""
    import timm
    import torch

    from mlbench.seeding import matmul_precision

    network = timm.create_model("tf_efficientnet_lite0", num_classes=0).to(device).eval()
    half = timm.create_model("tf_efficientnet_lite0", num_classes=0).to(device, torch.bfloat16).eval()
    ways = {
        "fp32": (network, "highest", False),
        "tf32": (network, "high", False),
        "bf16 autocast": (network, "highest", True),
        "bf16 weights": (half, "highest", False),
    }
    side = 64 if small else 224

    def timed(run: Callable[[], Any]) -> float:
        """Milliseconds, the median of ten rounds."""
        for _ in range(5):
            run()
        times = []
        for _ in range(3 if small else 10):
            wait(device)
            begin = time.perf_counter()
            for _ in range(5):
                run()
            wait(device)
            times.append((time.perf_counter() - begin) / 5)
        return 1000 * statistics.median(times)

    for batch in (1, 32):
        for layout in (torch.channels_last, torch.contiguous_format):
            for name, (model, precision, autocast) in ways.items():
                model.to(memory_format=layout)
                dtype = torch.bfloat16 if model is half else torch.float32
                images = torch.rand(batch, 3, side, side, device=device, dtype=dtype)
                images = images.contiguous(memory_format=layout)
                context = (
                    (lambda: torch.autocast(device, torch.bfloat16)) if autocast else contextlib.nullcontext
                )
                with torch.inference_mode(), matmul_precision(precision):
                    with context():
                        inside = timed(lambda model=model, images=images: model(images))
                    each = timed(lambda m=model, i=images, c=context: within(c, m, i))
                    row = {"way": name, "batch": batch, "channels_last": layout is torch.channels_last}
                    tell(**row, ms=inside, ms_autocast_entered_each_time=each)
    if device == "cuda":
        graphs(network, half, timed)
    for batch in (1, 32):
        images = torch.rand(batch, 3, side, side, device=device).contiguous(memory_format=torch.channels_last)
        network.to(memory_format=torch.channels_last)
        begin = time.perf_counter()
        compiled = torch.compile(network)
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16):
            compiled(images)
            tell(way="compile, first call", batch=batch, seconds=time.perf_counter() - begin)
            tell(way="bf16 autocast, compile", batch=batch, ms=timed(lambda c=compiled, i=images: c(i)))


def within(context: Callable[[], Any], model: Callable[[Any], Any], images: Any) -> Any:
    with context():
        return model(images)


def graphs(network: Any, half: Any, timed: Callable[[Callable[[], Any]], float]) -> None:
    """The same as one CUDA graph: no kernel is launched by the host."""
    import torch

    for name, model, dtype in (("fp32", network, torch.float32), ("bf16 weights", half, torch.bfloat16)):
        for batch in (1, 32):
            images = torch.rand(batch, 3, 224, 224, device="cuda", dtype=dtype)
            with torch.inference_mode():
                stream = torch.cuda.Stream()
                stream.wait_stream(torch.cuda.current_stream())
                with torch.cuda.stream(stream):
                    for _ in range(3):
                        model(images)
                torch.cuda.current_stream().wait_stream(stream)
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph):
                    model(images)
                tell(way=f"{name}, CUDA graph", batch=batch, ms=timed(graph.replay))


def wait(device: str) -> None:
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


def loop(device: str, small: bool) -> None:
    """The training loop against the bare loop, with deterministic algorithms and without, and what a step
    costs the host."""
    import torch

    sys.path.insert(0, str(ROOT / "benchmarks"))
    import overhead

    for value in ("true", "false"):
        with tempfile.TemporaryDirectory() as folder:
            os.environ["MLBENCH_CACHE"] = str(Path(folder) / "cache")
            rounds = 2 if small else 9
            ours, bare = overhead.measure(Path(folder), rounds, device, f"compute.deterministic={value}")
            tell(
                deterministic=value,
                mlbench_s=statistics.median(ours),
                bare_s=statistics.median(bare),
                ratio=statistics.median(a / b for a, b in zip(ours, bare, strict=True)),
            )
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MLBENCH_CACHE"] = str(Path(folder) / "cache")
        step = overhead.one_step(Path(folder), device)
        step(), step()
        if device == "cuda":
            torch.cuda.set_sync_debug_mode("error")
            step()
            torch.cuda.set_sync_debug_mode("default")
            tell(what="a step does not wait for the GPU")
        activities = [torch.profiler.ProfilerActivity.CPU]
        activities += [torch.profiler.ProfilerActivity.CUDA] if device == "cuda" else []
        with torch.profiler.profile(activities=activities) as profile:
            step()
            wait(device)
    order = "self_cuda_time_total" if device == "cuda" else "self_cpu_time_total"
    print(profile.key_averages().table(sort_by=order, row_limit=12), flush=True)


def evaluate(device: str, small: bool) -> None:
    """All metrics with intervals over embeddings of 512 dimensions."""
    sizes = ("2000",) if small else ("200000", "1000000")
    for products in ("float32", "tf32", "bf16"):
        for size in sizes:
            options = ["--scale", size, "--device", device, "--products", products, "--json"]
            ran = subprocess.run(
                [sys.executable, str(ROOT / "benchmarks" / "evaluation.py"), *options],
                capture_output=True,
                text=True,
                check=False,
            )
            if ran.returncode:
                tell(size=size, products=products, failed=(ran.stderr.strip().splitlines() or ["?"])[-1])
                continue
            tell(size=size, products=products, **json.loads(ran.stdout.splitlines()[-1])[size])


def partialfc(device: str, small: bool) -> None:
    """A step of PartialFC's head, from few classes to many."""
    import torch

    sys.path.insert(0, str(ROOT / "benchmarks"))
    import partialfc as table

    torch.set_float32_matmul_precision("high")
    for classes in (10_000,) if small else table.CUDA_CLASSES:
        for head, dtype in table.CUDA_HEADS:
            tell(**table.cuda_row(head, classes, classes // 10, dtype, device))
    if device == "cuda":
        for classes in (400_000, 2_000_000):
            tell(**table.cuda_row("rows", classes, 40_000, "float32", device))
        for dtype in ("float32", "bfloat16"):
            table.largest(dtype, lambda row: tell(**row))


PARTS: dict[str, Callable[[str, bool], None]] = {
    "smoke": smoke,
    "measuring": measuring,
    "forward": forward,
    "loop": loop,
    "evaluate": evaluate,
    "partialfc": partialfc,
    "textimage": textimage,
    "catalogue": catalogue,
}


if __name__ == "__main__":
    main()
