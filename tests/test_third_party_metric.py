"""A metric of a third party, installed as a plugin, is shown and watched as the built-in ones are."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result
from conftest import TOY_SUITE

from mlbench.contracts import Quantity
from mlbench.errors import ComponentError
from mlbench.records.record import Record
from mlbench.records.store import Store

PLUGIN = """
import numpy as np
from mlbench.plugin import Component, MetricOptions, Quantity, hookimpl

class Wait(MetricOptions):
    def quantities(self):
        return {
            "found": Quantity("constant", heading="Found"),
            "wait": Quantity(
                "mean rank of the first hit",
                "images",
                higher_is_better=False,
                heading="Mean wait",
                headline=True,
                tolerance=0.25,
            ),
            "reach": Quantity("no better direction", higher_is_better=None),
        }

    def per_query(self, ranks):
        return {"wait": ranks.best.astype(np.float64), "found": np.ones(len(ranks.counts))}

    def of_curve(self, curve, threshold):
        return {"reach": np.ones(curve.true_positives.shape[:-1]) * (2.0 if threshold is None else 3.0)}

@hookimpl
def mlbench_components():
    return [Component("metric", "wait", "acme_wait:Wait", "ranks")]
"""
SUITE = TOY_SUITE.replace("[retrieval, verification]", "[wait]") + "seeds: [0, 1, 2]\n"


@pytest.fixture
def run(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, third_party: Callable[..., object]
) -> Callable[..., Result]:
    """The command line with the metric installed too, beside a suite toy.yaml."""
    third_party("acme_wait", PLUGIN)
    monkeypatch.setenv("COLUMNS", "80")
    Path("toy.yaml").write_text(SUITE)
    return run


def worsen(record: Record, by: float) -> None:
    """Store the record as if its images were found later."""
    wait = record.metrics["wait"]
    metrics = {**record.metrics, "wait": replace(wait, value=wait.value + by)}
    Store(Path("results"), "toy").put(replace(record, metrics=metrics))


def test_it_is_shown_compared_and_watched_as_built_in_metrics_are(run: Callable[..., Result]) -> None:
    ran = run("run", "toy.yaml", "--no-measure", "--set", "recipe.epochs=1")
    assert ran.stderr.count(": Mean wait ") == 3
    heading = next(line for line in ran.stdout.splitlines() if line.startswith("case"))
    assert heading.split()[:4] == ["case", "Mean", "wait", "MB"]
    assert len(heading) <= 80
    options = ("--set", "recipe.epochs=1")
    markdown = run("results", "toy.yaml", "--markdown", *options).stdout
    assert "| case | Mean wait | MB | at distance | Found |" in markdown

    baseline = run("baseline", "save", "toy.yaml", "-o", "b.json", *options)
    assert "b.json written" in baseline.stdout
    (row,) = [line for line in run("compare", "b.json", "toy").stdout.splitlines() if " wait " in line]
    assert row.split()[-2:] == ["0.25", "same"]
    fine = run("check", "toy.yaml", "--baseline", "b.json", *options)
    assert "no metric is watched" not in fine.stderr
    for seed, record in enumerate(Store(Path("results"), "toy").read()[0]):
        worsen(record, 1 + seed / 100)
    failed = run("check", "toy.yaml", "--baseline", "b.json", *options, code=3)
    assert "1 regression (1 worse, 1 same)" in failed.stdout
    stated = Path("toy.yaml").read_text() + "tolerances: {wait: 9}\n"
    Path("toy.yaml").write_text(stated)
    run("check", "toy.yaml", "--baseline", "b.json", *options)

    power = json.loads(run("plan", "toy.yaml", "--power", "--json", *options).stdout)
    assert [(each["metric"], each["tolerance"], each["known"]) for each in power] == [("wait", 9, 3)]
    Path("toy.yaml").write_text(SUITE)
    power = json.loads(run("plan", "toy.yaml", "--power", "--json", *options).stdout)
    assert [(each["metric"], each["tolerance"]) for each in power] == [("wait", 0.25)]


def test_it_selects_the_checkpoint(run: Callable[..., Result]) -> None:
    options = ("--set", "recipe.select_by=wait", "--set", "recipe.epochs=3", "--seeds", "0")
    run("run", "toy.yaml", "--no-measure", *options)
    (record,) = Store(Path("results"), "toy").read()[0]
    curve = record.training["curves"]["calibration_wait"]
    assert len(curve) == 3
    assert all(value >= 1 and math.isfinite(value) for value in curve)
    assert record.training["best_epoch"] == 1 + curve.index(min(curve))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wate", "but no metric of the case measures it; did you mean 'wait'?"),
        ("reach", "but neither direction is better; choose from: found, wait"),
    ],
)
def test_a_score_that_cannot_select_is_refused_when_the_suite_is_validated(
    run: Callable[..., Result], name: str, message: str
) -> None:
    refused = run("validate", "toy.yaml", "--set", f"recipe.select_by={name}", code=2)
    (line,) = refused.stderr.splitlines()
    assert line == f"mlbench: --set recipe.select_by={name}: recipe.select_by is {name!r}, {message}"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tolerance": -0.1}, r"^quantity 'share of x': tolerance -0\.1; expected a number >= 0$"),
        ({"tolerance": math.nan}, r"tolerance nan; expected a number >= 0$"),
        (
            {"tolerance": 0.1, "higher_is_better": None},
            "^quantity 'share of x' has a tolerance but no better direction; set higher_is_better$",
        ),
    ],
)
def test_a_tolerance_that_cannot_be_watched_is_refused(fields: dict[str, float | None], message: str) -> None:
    with pytest.raises(ComponentError, match=message):
        Quantity("share of x", **fields)
