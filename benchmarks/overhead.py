"""What mlbench costs on top of PyTorch and timm.

One epoch of its training loop against a bare loop, both training the same network with the same loss on the
same images; and its throughput of timm models against the procedure of timm's own benchmark script (warm-up,
then the bare model on one batch of random numbers). Each pair in turns, in one process:

    python benchmarks/overhead.py [--json] [--rounds N] [--threads N] [--device cpu] [--models NAME ...]

train_loop_vs_bare is the median over rounds of the ratio of seconds an epoch: 1 is as fast as the bare loop,
and 1.03 is 3 % slower. throughput_vs_timm is the median over rounds of the ratio of images per second, of the
model where that is lowest: 1 is as fast as timm, and 0.97 is 3 % slower.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

SUITE = """\
suite: overhead
base:
  image: {size: 96}
  dataset: {name: textimage, classes: 32, views: 8}
  backbone: {name: timm, model: tf_efficientnet_lite0, weights: none}
  neck: {name: gap, dim: 256, norm: bn}
  loss: {name: cosface, scale: 64, margin: 0.4}
  sampler: all
  batch_sampler: shuffle
  recipe: {name: standard, epochs: 1, batch_size: 32, select: last}
  metrics: [retrieval]
  threshold: best_f1
"""


#: Batch, pixels, and least seconds of a round of throughput.
BATCH, SIDE, SECONDS = 16, 224, 0.4
MODELS = ["tf_efficientnet_lite0", "mobilenetv3_large_100", "resnet18", "vit_tiny_patch16_224"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=25, help="fewer are not enough on a busy machine")
    parser.add_argument("--threads", type=int, default=0, help="0 for torch's own choice")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--models", nargs="*", default=MODELS, help="of timm, for images of 224 px")
    arguments = parser.parse_args()
    keep_memory()
    import torch

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    say = (lambda text: None) if arguments.json else partial(print, flush=True)
    speeds, ratios = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MLBENCH_CACHE"] = str(Path(folder) / "cache")
        say(f"one epoch, 8 steps of 32 images of 96 px, medians of {arguments.rounds} rounds")
        ours, bare = measure(Path(folder), arguments.rounds, arguments.device)
        ratio = statistics.median(a / b for a, b in zip(ours, bare, strict=True))
        say(f"  mlbench {statistics.median(ours):6.3f} s")
        say(f"  bare    {statistics.median(bare):6.3f} s")
        say(f"  train_loop_vs_bare {ratio:.3f}")
        say(f"images per second, batches of {BATCH} of {SIDE} px")
        for model in arguments.models:
            each = speeds[model] = throughputs(Path(folder), model, arguments.rounds, arguments.device)
            ratios[model] = statistics.median(a / b for a, b in zip(*each.values(), strict=True))
            numbers = (f"{name} {statistics.median(values):7.1f}" for name, values in each.items())
            say(f"  {model:24} {'  '.join(numbers)}  {ratios[model]:.3f}")
    lowest = min(ratios.values(), default=None)
    if arguments.json:
        found = {"train_loop_vs_bare": ratio, "throughput_vs_timm": lowest, "models": ratios}
        print(json.dumps({**found, "seconds": {"mlbench": ours, "bare": bare}, "images_per_second": speeds}))
    elif lowest is not None:
        print(f"  throughput_vs_timm {lowest:.3f}")


def keep_memory() -> None:
    """Start this process again as `mlbench run` starts those that it times; both sides are timed so."""
    from mlbench.measurement.process import KEEP_MEMORY

    if missing := {name: value for name, value in KEEP_MEMORY.items() if name not in os.environ}:
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **missing})


def throughputs(folder: Path, model: str, rounds: int, device: str) -> dict[str, list[float]]:
    """Images per second of each, in turns."""
    import timm
    import torch

    from mlbench.measurement.reference import synchronize
    from mlbench.measurement.reference_clock import ReferenceClock
    from mlbench.measurement.stopwatch import Stopwatch
    from mlbench.measurement.subject import Subject

    case = planned(
        folder,
        device,
        f"backbone.model={model}",
        f"image.size={SIDE}",
        f"measure.batch_size={BATCH}",
        "neck.name=gap",
    )
    watch = Stopwatch(Subject(case, ("inference",)), device, ReferenceClock(device), (), lambda stage: None)
    if watch.failed:
        raise SystemExit(f"{model}: {watch.failed}")
    network = timm.create_model(model).to(device, memory_format=torch.channels_last).eval()
    batch = torch.randn(BATCH, 3, SIDE, SIDE, device=device).contiguous(memory_format=torch.channels_last)

    def timm_speed(steps: int) -> float:
        with torch.no_grad():
            synchronize(batch.device)
            start = time.perf_counter()
            for _ in range(steps):
                network(batch)
                synchronize(batch.device)
            return steps * BATCH / (time.perf_counter() - start)

    turns = {
        "mlbench": lambda: BATCH / watch.round(["inference"])["inference"]["seconds"]["images_per_second"],
        "timm": lambda: timm_speed(steps),
    }
    timm_speed(10)
    steps = max(1, round(SECONDS * timm_speed(2) / BATCH))
    found: dict[str, list[float]] = {name: [] for name in turns}
    for index in range(rounds):
        # Whoever is first has the caches that the other left.
        for name in list(turns)[:: 1 if index % 2 else -1]:
            found[name].append(turns[name]())
    return found


def planned(folder: Path, device: str, *overrides: str):
    """The case of the suite above, with some of its keys set."""
    from mlbench.environment import find_device
    from mlbench.planning.plan import make_plan
    from mlbench.planning.suite import load_suite
    from mlbench.plugins import load_plugins
    from mlbench.registry import Registry

    path = folder / "overhead.yaml"
    path.write_text(SUITE)
    suite = load_suite(path, Registry(load_plugins()), overrides=overrides)
    return make_plan(suite, find_device(device)).cases[0]


def one_step(folder: Path, device: str):
    """A function that does a training step of the suite above, on inputs that are ready."""
    import torch

    from mlbench.seeding import deterministic
    from mlbench.training.assembly import assemble
    from mlbench.training.step import Step

    assembly = assemble(planned(folder, device), device)
    objective, feed, fabric = assembly.objective, assembly.feed, assembly.fabric
    step = Step(assembly.case, objective, fabric, 100)
    objective.train()
    labels = torch.from_numpy(feed.labels).to(fabric.device)
    stream = feed.batches([range(start, start + 32) for start in range(0, 224, 32)], labels, 0)

    def run() -> None:
        with deterministic():
            step(next(stream))

    return run


def measure(folder: Path, rounds: int, device: str, *overrides: str) -> tuple[list[float], list[float]]:
    """Seconds of an epoch of each, in turns, after one of each that does not count."""
    import torch

    from mlbench.records.record import Estimate
    from mlbench.seeding import deterministic
    from mlbench.training.assembly import assemble
    from mlbench.training.train import train

    case = planned(folder, device, *overrides)
    assembly = assemble(case, device)
    fabric, objective, feed = assembly.fabric, assembly.objective, assembly.feed
    images = torch.cat(list(feed.inputs.batches([range(256)])))
    labels = torch.from_numpy(feed.labels).to(fabric.device)
    loop = BareLoop(case, fabric.device)

    def wait() -> None:
        if fabric.device.type == "cuda":
            torch.cuda.synchronize()

    def mlbench_epoch() -> float:
        with deterministic(case.spec.compute.deterministic):
            result = train(
                case, objective, feed, list, lambda: Estimate(0.0), fabric, folder, lambda *_: None
            )
        return result.seconds

    def bare_epoch() -> float:
        wait()
        start = time.perf_counter()
        loop.epoch(images, labels)
        wait()
        return time.perf_counter() - start

    mlbench_epoch(), bare_epoch()
    pairs = [(mlbench_epoch(), bare_epoch()) for _ in range(rounds)]
    return [ours for ours, _ in pairs], [bare for _, bare in pairs]


class BareLoop:
    """What one would write by hand, without mlbench: timm, a projection, CosFace, AdamW, and a checkpoint."""

    def __init__(self, case, device) -> None:
        import timm
        import torch
        from torch import nn

        network = timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=[-1])
        channels = network.feature_info.channels()[-1]
        head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(channels, 256, bias=False),
            nn.BatchNorm1d(256),
            nn.Linear(256, 256, bias=False),
            nn.BatchNorm1d(256),
        )
        self.network = network.to(device, memory_format=torch.channels_last)
        self.head = head.to(device)
        self.centres = nn.Parameter(torch.empty(case.forecast.classes, 256, device=device).normal_(0, 0.01))
        self.parameters = [*self.network.parameters(), *self.head.parameters(), self.centres]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=1e-3, weight_decay=1e-3)

    def epoch(self, images, labels) -> None:
        import torch
        from torch.nn import functional as F

        self.network.train(), self.head.train()
        for indices in torch.randperm(len(images)).split(32):
            batch, targets = images[indices], labels[indices]
            pixels = (batch.float().contiguous(memory_format=torch.channels_last) - 127.5) / 127.5
            embeddings = self.head(self.network(pixels)[0])
            cosines = F.normalize(embeddings) @ F.normalize(self.centres).T
            margins = F.one_hot(targets, len(self.centres)) * 0.4
            loss = F.cross_entropy((cosines - margins) * 64, targets)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.parameters, 5)
            self.optimizer.step()
        with tempfile.TemporaryFile() as file:
            torch.save([self.network.state_dict(), self.head.state_dict(), self.centres], file)


if __name__ == "__main__":
    main()
