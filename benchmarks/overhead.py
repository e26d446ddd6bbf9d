"""What mlbench costs on top of PyTorch: one epoch of its training loop against a bare loop.

Both train the same network with the same loss on the same images, in turns, in one process:

    python benchmarks/overhead.py [--json] [--rounds N] [--threads N] [--device cpu]

train_loop_vs_bare is the median over rounds of the ratio of seconds an epoch: 1 is as fast as the bare loop,
and 1.03 is 3 % slower.
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=0, help="0 for torch's own choice")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MLBENCH_CACHE"] = str(Path(folder) / "cache")
        ours, bare = measure(Path(folder), arguments.rounds, arguments.threads, arguments.device)
    ratio = statistics.median(a / b for a, b in zip(ours, bare, strict=True))
    if arguments.json:
        print(json.dumps({"train_loop_vs_bare": ratio, "seconds": {"mlbench": ours, "bare": bare}}))
        return
    print(f"one epoch, 8 steps of 32 images of 96 px, medians of {arguments.rounds} rounds")
    print(f"  mlbench {statistics.median(ours):6.3f} s")
    print(f"  bare    {statistics.median(bare):6.3f} s")
    print(f"  train_loop_vs_bare {ratio:.3f}")


def measure(folder: Path, rounds: int, threads: int, device: str) -> tuple[list[float], list[float]]:
    """Seconds of an epoch of each, in turns, after one of each that does not count."""
    import torch
    from lightning_fabric import Fabric

    from mlbench.environment import find_device
    from mlbench.features import InputSource
    from mlbench.feed import build_feed
    from mlbench.model import build_model
    from mlbench.objective import build_objective
    from mlbench.plan import make_plan
    from mlbench.plugins import load_plugins
    from mlbench.registry import Registry
    from mlbench.seeding import deterministic
    from mlbench.suite import load_suite
    from mlbench.train import train

    if threads:
        torch.set_num_threads(threads)
    path = folder / "overhead.yaml"
    path.write_text(SUITE)
    case = make_plan(load_suite(path, Registry(load_plugins())), find_device(device)).cases[0]
    fabric = Fabric(accelerator=device, devices=1)
    model = fabric.to_device(build_model(case.spec, 0))
    objective = fabric.to_device(build_objective(case, model))
    feed = build_feed(case, objective, InputSource(case, model, fabric, lambda *_: None), None, fabric)
    images = torch.cat(list(feed.inputs.batches([range(256)])))
    labels = torch.from_numpy(feed.labels).to(fabric.device)
    loop = BareLoop(case, fabric.device)

    def wait() -> None:
        if fabric.device.type == "cuda":
            torch.cuda.synchronize()

    def mlbench_epoch() -> float:
        with deterministic():
            result = train(case, objective, feed, list, lambda: 0.0, fabric, folder, lambda *_: None)
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
