"""What the report page costs: seconds and bytes, by number of cases and of test images.

Records and details of single images are made up at the largest size that a run stores; the images are those
of the textimage data set, rendered when the page asks for them. The whole of `mlbench report NAME` is timed,
with the chart script in the cache:

    python benchmarks/report.py [--json]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

#: Cases, test images, and wrong queries that are asked for of each case, 0 for the default.
ROWS = ((1, 200, 0), (4, 1_000, 0), (20, 20_000, 0), (20, 20_000, 50), (1_000, 200_000, 0))

#: Cases that have details; a page shows fewer.
DETAILED = 25

SUITE = """\
suite: made-up
base:
  image: {{size: 96}}
  dataset:
    {{name: textimage, classes: 8, calibration_classes: 8, test_classes: {classes}, eval_views: {views}}}
  backbone: {{name: timm, model: test_resnet, weights: none}}
  neck: {{name: gap, dim: 64}}
  loss: {{name: cosface, scale: 16, margin: 0.1}}
  sampler: all
  batch_sampler: shuffle
  recipe: {{name: standard, epochs: 1, batch_size: 16}}
  metrics: [retrieval, verification]
  threshold: best_f1
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = []
    for cases, images, wrong in ROWS:
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder), cases, images)
            row = measured(Path(folder), cases, images, wrong)
        rows.append(row)
        if not arguments.json:
            print(", ".join(f"{name} {value:,}" for name, value in row.items()), flush=True)
    if arguments.json:
        print(json.dumps(rows))


def measured(folder: Path, cases: int, images: int, wrong: int) -> dict[str, float]:
    from mlbench.page.report import ReportRequest, suite_report
    from mlbench.page.script import chart_script
    from mlbench.plugins import load_plugins
    from mlbench.registry import Registry

    chart_script()
    before = time.perf_counter()
    sections = (f"errors.rows={wrong}",) if wrong else ()
    request = ReportRequest(results=folder / "results", output=folder / "page.html", sections=sections)
    path = suite_report("made-up", request, lambda: Registry(load_plugins()), lambda line: None)
    seconds = time.perf_counter() - before
    text = path.read_text(encoding="utf-8")
    return {
        "cases": cases,
        "test images": images,
        "seconds": round(seconds, 1),
        "MB": round(len(text.encode()) / 1e6, 2),
        "thumbnails": text.count("data:image/webp"),
        "places of images": text.count("data-image="),
        "gallery rows": text.count('aria-label="Query '),
    }


def make(folder: Path, cases: int, images: int) -> None:
    """Records of a suite, with details of some of its cases."""
    from mlbench.evaluation.details import DETAILS, write_details
    from mlbench.planning.request import PlanRequest
    from mlbench.plugins import load_plugins
    from mlbench.records.record import Estimate, Record, Timing
    from mlbench.records.store import Store
    from mlbench.registry import Registry
    from mlbench.seeding import numpy_generator

    views = 10
    suite = folder / "made-up.yaml"
    suite.write_text(SUITE.format(classes=images // views, views=views))
    plan = PlanRequest(device="cpu").plan(suite, Registry(load_plugins()))
    (case,) = plan.cases
    quantities = case.spec.quantities()
    store = Store(folder / "results", "made-up")
    for number in range(cases):
        generator = numpy_generator(0, "case", number)
        values = {name: float(generator.random()) for name in quantities}
        speed = float(100 + 900 * generator.random())
        record = Record(
            suite="made-up",
            case=f"case-{number:04d}",
            seed=0,
            fingerprint=f"{number:064x}",
            status="done",
            settings=case.spec.plain(),
            components=case.spec.provenance(),
            conditions=case.conditions,
            metrics={
                name: Estimate(values[name], values[name] - 0.02, values[name] + 0.02).announced(each)
                for name, each in quantities.items()
            },
            size={"bytes": int(1e6 + 9e6 * generator.random()), "parameters": 10**6, "flops": 10**9},
            speed={
                "images_per_second": Timing(speed, (speed,) * 7, "images/s"),
                "latency_p50": Timing(1000 / speed, (1000 / speed,) * 7, "ms", higher_is_better=False),
            },
            data={"version": str(case.dataset.version), "disjoint": True},
            training={"curves": {"loss": generator.random(30).tolist(), "lr": generator.random(30).tolist()}},
            notes=(f"note of case {number % 50}",),
            environment={"device": "cpu"},
            finished="2026-01-01T00:00:00",
        )
        store.put(record)
        if number < DETAILED:
            found = details(generator, images, images // views)
            write_details(store.checkpoints(record.key) / DETAILS, found)


def details(generator: np.random.Generator, images: int, classes: int) -> object:
    """Details with every table as long as it can be."""
    from mlbench.evaluation.detail_tables import (
        Classes,
        Confusions,
        Histogram,
        ImageMap,
        Neighbours,
        Pairs,
        Sweep,
    )
    from mlbench.evaluation.details import Details

    def some(*shape: int) -> np.ndarray:
        return generator.integers(0, images, shape).astype(np.int32)

    def share(*shape: int) -> np.ndarray:
        return generator.random(shape).astype(np.float32)

    def pairs(count: int) -> Pairs:
        return Pairs(some(count), some(count), share(count), share(count) > 0.5, count)

    mapped = min(2000, images)
    distance = np.linspace(0, 2, 400)
    return Details(
        split="test",
        images=images,
        gallery="test",
        queries=np.arange(images, dtype=np.int32),
        rank=generator.integers(1, 9, images).astype(np.int32),
        worst=Neighbours(
            some(200), some(200, 5), share(200, 5), share(200, 5) > 0.5, some(200), share(200), some(200) + 2
        ),
        hardest_positives=pairs(100),
        hardest_negatives=pairs(100),
        near=replace(pairs(200), total=5000),
        confused=Confusions(some(100) % classes, some(100) % classes, some(100)),
        classes=Classes(
            tuple(f"test/{number:06d}" for number in range(classes)),
            np.arange(classes),
            np.full(classes, 10, np.int32),
            np.full(classes, 10, np.int32),
            share(classes),
            share(classes),
        ),
        sweep=Sweep(
            distance,
            np.sort(generator.integers(0, 10**6, 400)),
            np.sort(generator.integers(0, 10**6, 400)),
            10**6,
            10**9,
            float(distance[200]),
        ),
        histogram=Histogram(
            np.linspace(-1, 1, 101), generator.integers(0, 9999, 100), generator.integers(0, 9999, 100), 0.0
        ),
        map=ImageMap(
            np.sort(generator.permutation(images)[:mapped]).astype(np.int32),
            (some(mapped) % classes).astype(np.int32),
            share(mapped),
            share(mapped),
            share(2),
            share(mapped, 64).astype(np.float16),
            True,
        ),
        sampled=112,
    )


if __name__ == "__main__":
    main()
