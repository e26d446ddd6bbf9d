"""Measurement: images per second of a deployed model, in a process of its own.

A fresh process has no cached kernels, no fragmented memory and no worker processes of the training
before it, so one case's speed does not depend on which case ran first.
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import time
from dataclasses import asdict
from typing import Any

from mlbench.contracts import Component
from mlbench.errors import MlbenchError
from mlbench.plugins import Plugin
from mlbench.registry import Entry
from mlbench.spec import ComputeSettings, EvaluationSettings, ImageSettings, Part, Spec

__all__ = ["measure_throughput"]

#: Images in a batch, batches before the clock starts, rounds, and least seconds of a round.
BATCH_SIZE, WARMUP, ROUNDS, ROUND_SECONDS = 32, 3, 7, 0.2


def measure_throughput(spec: Spec, device: str, precision: str) -> dict[str, Any]:
    """Images per second of inference, from uint8 images to embeddings: the median over rounds, and each
    round's value.

    device: torch name. precision: Lightning Fabric's name. Raises MlbenchError
    when the process fails, as it does when memory runs out.
    """
    parts = {
        kind: {
            "component": asdict(spec.parts[kind].entry.component),
            "options": dict(spec.parts[kind].options),
        }
        for kind in ("backbone", "neck")
    }
    task = {
        "parts": parts,
        "image": spec.image.model_dump(),
        "device": device,
        "precision": precision,
        "compute": spec.compute.model_dump(),
    }
    process = subprocess.run(
        # -P: a user's own queue.py in the working folder is not Python's.
        [sys.executable, "-P", "-m", "mlbench.measure"],
        input=json.dumps(task),
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode < 0:
        raise MlbenchError(
            f"measuring throughput was killed by signal {-process.returncode}; did memory run out?"
        )
    if process.returncode:
        reason = (process.stderr.strip().splitlines() or ["no message"])[-1]
        raise MlbenchError(f"measuring throughput failed: {reason}")
    return dict(json.loads(process.stdout.splitlines()[-1]))


def _measure(task: dict[str, Any]) -> dict[str, Any]:
    import torch
    from lightning_fabric import Fabric

    from mlbench.model import build_model

    parts = {}
    for kind, part in task["parts"].items():
        entry = Entry(Component(**part["component"]), Plugin("", "", "", ""))
        parts[kind] = Part(entry, part["options"], lambda option: option)
    image, compute = ImageSettings(**task["image"]), ComputeSettings(**task["compute"])
    device = torch.device(task["device"])
    fabric = Fabric(accelerator=device.type, devices=1, precision=task["precision"])
    torch.set_float32_matmul_precision(compute.matmul_precision)
    spec = Spec("", {}, parts, {}, {}, image, compute, EvaluationSettings(), "")
    model = build_model(spec, 0).eval().to(device)
    # Autocast keeps the cast weights of parameters that could be trained; the frozen ones are to count alike.
    model.requires_grad_(True)
    generator = torch.Generator().manual_seed(0)
    shape = (BATCH_SIZE, 3, image.size, image.size)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator).to(device)

    def run(batches: int) -> float:
        start = time.perf_counter()
        for _ in range(batches):
            model(images)
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        return time.perf_counter() - start

    with torch.inference_mode(), fabric.autocast():
        run(WARMUP)
        batches = math.ceil(ROUND_SECONDS * WARMUP / run(WARMUP))
        rounds = [BATCH_SIZE * batches / run(batches) for _ in range(ROUNDS)]
    return {
        "images_per_second": statistics.median(rounds),
        "rounds": rounds,
        "batch_size": BATCH_SIZE,
        "threads": torch.get_num_threads(),
    }


if __name__ == "__main__":
    print(json.dumps(_measure(json.load(sys.stdin))))
