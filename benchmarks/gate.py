"""Whether the gate can be believed: planted regressions, and trials in which nothing has changed.

    python benchmarks/gate.py [--json] [--trials 20] [--rounds 15] [--threads 1] [--neighbour]
    python benchmarks/gate.py --slower 0.1 --tolerance 0.05      a smaller regression, a narrower tolerance

Speed: in every trial three fresh processes measure a small network, the way `mlbench run` does, in random
order: the baseline, the same again, and one that is planted to be slower, by 20 % of its time unless --slower
says otherwise (it waits after every batch). The gate judges the second and the third against the first.

Accuracy: values over seeds, drawn from normal distributions, whose drop is twice or half the tolerance; as
many seeds as `mlbench plan --power` advises. Half of the spread over seeds is common to both sides.

caught: share of trials in which the gate failed what was planted. false_alarms: share of trials in which it
failed what had not changed. Whatever else the machine does meanwhile is part of the trial; --neighbour adds a
process that fights for the memory, for seconds at a time.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mlbench.plugin import BackboneOptions, Component
from mlbench.records.record import Estimate, Record
from mlbench.regression.change import Verdict
from mlbench.regression.comparison import compare
from mlbench.regression.statistics import samples_needed

TOLERANCE, SPREAD, ACCURACY_TRIALS = 0.02, 0.01, 1000

SUITE = """\
suite: gate
base:
  image: {{size: 96}}
  dataset: {{name: textimage, classes: 8, views: 4}}
  backbone: {{name: timm, model: lcnet_050, weights: none}}
  neck: {{name: gap, dim: 64}}
  loss: softmax
  sampler: all
  batch_sampler: shuffle
  recipe: {{name: standard, epochs: 1, batch_size: 16}}
  metrics: [retrieval]
  threshold: best_f1
  measure: {{rounds: {rounds}, latency: false, training: false}}
matrix:
  backbone:
    unchanged: {{name: timm, model: lcnet_050, weights: none}}
    slower: {{name: gate_slower, more: {slower}}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--slower", type=float, default=0.2, help="share of the time that is added")
    parser.add_argument("--tolerance", type=float, default=0.1, help="of the gate, for the speed")
    parser.add_argument("--neighbour", action="store_true", help="disturb the measurements")
    arguments = parser.parse_args()
    if arguments.trials < 1 or arguments.rounds < 4:
        parser.error("at least 1 trial of 4 rounds is needed")
    # Before torch is there; and the processes that measure find the slower backbone in this folder.
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    here = str(Path(__file__).resolve().parent)
    sys.path.insert(0, here)
    search = [here, os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, search))
    start = time.perf_counter()
    with neighbour() if arguments.neighbour else contextlib.nullcontext():
        speed = speed_trials(arguments.trials, arguments.rounds, arguments.slower, arguments.tolerance)
    accuracy = accuracy_trials(random.Random(0))
    found = {
        "caught": share(speed["slower"]),
        "false_alarms": share(speed["unchanged"]),
        "trials": arguments.trials,
        "accuracy_caught_at_twice_the_tolerance": accuracy[2.0],
        "accuracy_caught_at_the_tolerance": accuracy[1.0],
        "accuracy_false_alarms_at_half_the_tolerance": accuracy[0.5],
        "accuracy_false_alarms_unchanged": accuracy[0.0],
        "seconds": time.perf_counter() - start,
    }
    if arguments.json:
        print(json.dumps({**found, "changes": speed}))
        return
    beside = ", a neighbour" if arguments.neighbour else ""
    print(
        f"speed: {arguments.trials} trials, {arguments.rounds} rounds, {arguments.threads} thread(s){beside}"
    )
    for name, what in (("slower", f"{arguments.slower:.0%} slower"), ("unchanged", "unchanged")):
        failed = sum(each["failed"] for each in speed[name])
        changes = [each["difference"] for each in speed[name]]
        middle, least, most = statistics.median(changes), min(changes), max(changes)
        counts = f"failed {failed:2} of {arguments.trials}"
        print(f"  {what:>12}: {counts}   images/s {middle:+.1%} ({least:+.1%} to {most:+.1%})")
    print(f"accuracy: {ACCURACY_TRIALS:,} simulated trials, {seeds()} seeds, tolerance {TOLERANCE}")
    for drop, rate in accuracy.items():
        print(f"  drop of {drop:3} x tolerance: failed {rate:6.1%}")
    print(f"caught {found['caught']:.2f}, false_alarms {found['false_alarms']:.2f}, {found['seconds']:.0f} s")


@contextlib.contextmanager
def neighbour() -> Iterator[None]:
    """A process that, on and off, does nothing but move memory."""
    code = """
import random, time
import numpy as np
draws, numbers = random.Random(0), np.ones(1 << 22)
copy = np.empty_like(numbers)
while True:
    end = time.time() + draws.uniform(2, 12)
    while time.time() < end:
        np.multiply(numbers, 1.1, out=copy)
    time.sleep(draws.uniform(2, 15))
"""
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def speed_trials(
    trials: int, rounds: int, slower: float, tolerance: float
) -> dict[str, list[dict[str, Any]]]:
    """What the gate said to each trial."""
    from mlbench.environment import find_device
    from mlbench.planning.plan import make_plan
    from mlbench.planning.suite import load_suite
    from mlbench.plugins import Plugin, load_plugins
    from mlbench.registry import Registry

    slower_backbone = Component(
        "backbone", "gate_slower", "gate:SlowerOptions", "more time for every batch", "mlbench"
    )
    planted = Plugin("gate", "gate", "gate", "1.0", (slower_backbone,))
    device = find_device("cpu")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "gate.yaml")
        path.write_text(SUITE.format(rounds=rounds, slower=slower))
        plan = make_plan(load_suite(path, Registry((*load_plugins(), planted))), device)
        cases = {case.spec.axes["backbone"]: case for case in plan.cases}
        order = random.Random(0)
        said: dict[str, list[dict[str, Any]]] = {"unchanged": [], "slower": []}
        for trial in range(1, trials + 1):
            turns = ["baseline", "unchanged", "slower"]
            order.shuffle(turns)
            records = {turn: measured(cases["slower" if turn == "slower" else "unchanged"]) for turn in turns}
            for name, verdicts in said.items():
                verdicts.append(judged(records["baseline"], records[name], tolerance))
            counts = ", ".join(f"{name} {sum(e['failed'] for e in all_)}" for name, all_ in said.items())
            print(f"{trial}/{trials} trials; failed: {counts}", file=sys.stderr)
    return said


def measured(case: Any) -> Record:
    """A record of a case with nothing but its speed, as `mlbench run` measures it."""
    from mlbench.environment import environment, find_device
    from mlbench.measurement.measure import measure
    from mlbench.measurement.process import MeasuringProcess

    with MeasuringProcess("cpu") as process:
        ((_, found),) = measure([case], process, lambda *_: None)
    if (speed := found.speed["images_per_second"]).value is None:
        sys.exit(f"a trial could not be measured: {speed.note}")
    return Record(
        suite="gate",
        case="gate",
        seed=0,
        fingerprint="",
        status="done",
        speed=found.speed,
        measured=found.measured,
        environment=environment(find_device("cpu"), found.measured["threads"]),
    )


def judged(before: Record, after: Record, tolerance: float) -> dict[str, Any]:
    comparison = compare([before], [after], {"images_per_second": tolerance})
    change = next(each for each in comparison.changes if each.name == "images_per_second")
    timings = [each.speed["images_per_second"] for each in (before, after)]
    return {
        "failed": bool(comparison.regressions),
        "verdict": change.verdict,
        "difference": change.difference,
        "low": change.low,
        "high": change.high,
        "rounds": [each.rounds for each in timings],
        "reference": [each.reference for each in timings],
    }


def seeds() -> int:
    needed = samples_needed(math.sqrt(2) * SPREAD, TOLERANCE)
    assert needed is not None
    return needed


def accuracy_trials(generator: random.Random) -> dict[float, float]:
    """Share of trials that the gate failed, by the drop in tolerances."""
    count = seeds()
    failed = {}
    for drop in (2.0, 1.0, 0.5, 0.0):
        verdicts = []
        for _ in range(ACCURACY_TRIALS):
            common = [generator.gauss(0.9, SPREAD * math.sqrt(0.5)) for _ in range(count)]
            sides = [
                [
                    scored(seed, each + generator.gauss(-loss, SPREAD * math.sqrt(0.5)))
                    for seed, each in enumerate(common)
                ]
                for loss in (0.0, drop * TOLERANCE)
            ]
            verdicts.append(compare(*sides, {"recall_at_1": TOLERANCE}).changes[0].verdict)
        failed[drop] = verdicts.count(Verdict.WORSE) / ACCURACY_TRIALS
    return failed


def scored(seed: int, value: float) -> Record:
    metrics = {"recall_at_1": Estimate(value)}
    return Record(suite="gate", case="gate", seed=seed, fingerprint="", status="done", metrics=metrics)


def share(verdicts: Sequence[dict[str, Any]]) -> float:
    return sum(each["failed"] for each in verdicts) / len(verdicts)


class SlowerOptions(BackboneOptions):
    """The timm backbone, with more time for every batch."""

    model: str = "lcnet_050"
    """As the timm backbone."""
    weights: str = "none"
    """As the timm backbone."""
    trainable_from: str = "all"
    """As the timm backbone."""
    more: float = 0.2
    """Time that is added, as a share."""

    def build(self, image_size: int) -> Any:
        import torch

        from mlbench_backbones.timm_backbone import Timm

        factor = 1 + self.more

        class Slower(torch.nn.Module):
            def __init__(self, network: torch.nn.Module) -> None:
                super().__init__()
                self.network = network

            def forward(self, images: torch.Tensor) -> torch.Tensor:
                start = time.perf_counter()
                features = self.network(images)
                end = start + factor * (time.perf_counter() - start)
                while time.perf_counter() < end:
                    pass
                return features

        backbone = Timm(**self.model_dump(exclude={"more"})).build(image_size)
        backbone.trained = Slower(backbone.trained)
        return backbone


if __name__ == "__main__":
    main()
