"""Every built-in component runs: the generated suite, in part with toys and, in slow tests, unchanged."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import toys
import yaml
from stub_measuring import stub_measuring

from mlbench import runner
from mlbench.environment import Device
from mlbench.measurement.result import Measurement
from mlbench.planning.plan import make_plan
from mlbench.planning.settings import COMPONENTS
from mlbench.planning.suite import load_suite
from mlbench.plugins import Plugin, load_plugins
from mlbench.records.record import Timing
from mlbench.records.store import Store
from mlbench.registry import Registry
from mlbench.testing import catalogue_suite

PLUGINS = load_plugins()
TOYS = [each for each in toys.mlbench_components() if each.kind in ("dataset", "backbone")]
REGISTRY = Registry((*PLUGINS, Plugin("toys", "toys", "toys", "1.0", tuple(TOYS))))
BASE = {
    "image": {"size": toys.SIZE, "train_size": toys.SIZE},
    "dataset": {"name": "toy", "classes": 8},
    "backbone": {"name": "toy"},
}
TEXT = catalogue_suite(REGISTRY, BASE)
CASES = {
    name: sections
    for name, sections in yaml.safe_load(TEXT)["cases"].items()
    if not name.startswith(("backbone", "dataset")) and not sections.get("backbone", {}).get("name")
}


class Deaf:
    """A listener that ignores all events."""

    def case(self, case, position, total, left) -> None: ...

    def stage(self, what, done, total) -> None: ...

    def epoch(self, case, epoch, values) -> None: ...

    def finished(self, record) -> None: ...


@pytest.fixture(autouse=True)
def _no_stopwatch(monkeypatch) -> None:
    speed = {"images_per_second": Timing(100.0, (100.0,))}
    stub_measuring(monkeypatch, Measurement(speed, measured={"batch_size": 32}))


def plan_of(text, registry, folder, *overrides):
    path = folder / "catalogue.yaml"
    path.write_text(text)
    return make_plan(load_suite(path, registry, overrides=overrides), Device("cpu", "test"))


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    text = yaml.safe_dump({**yaml.safe_load(TEXT), "cases": CASES})
    return plan_of(text, REGISTRY, tmp_path_factory.mktemp("catalogue"))


@pytest.mark.parametrize("name", CASES)
def test_component_runs_with_toys(name, plan, tmp_path) -> None:
    (case,) = (case for case in plan.cases if case.name == name)
    (record,) = runner.run(replace(plan, cases=(case,)), Store(tmp_path, "catalogue"), Deaf())
    assert (record.status, record.error) == ("done", "")


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_component_runs(precision, tmp_path) -> None:
    registry = Registry(PLUGINS)
    plan = plan_of(catalogue_suite(registry), registry, tmp_path, f"precision={precision}")
    records = runner.run(plan, Store(tmp_path, "catalogue"), Deaf())
    assert {record.case: record.error for record in records if record.status != "done"} == {}
    used = {(kind, record.settings[section]["name"]) for record in records
            for section, kind in COMPONENTS.items() if section in record.settings}  # fmt: skip
    used |= {("metric", name) for record in records for name in record.settings["metrics"]}
    used |= {("claim", claim.part.entry.component.name) for claim in plan.suite.claims}
    never = {(entry.component.kind, entry.component.name) for entry in registry} - used
    assert {kind for kind, _ in never} <= {"dataset", "tracker"}


def test_only_data_sets_that_need_files_and_trackers_are_left_out() -> None:
    """Left out components are listed in comments."""
    lines = [line for line in catalogue_suite(Registry(PLUGINS)).splitlines() if line.startswith("#")]
    assert [
        line for line in lines if not line.startswith(("# Left out: dataset-", "# Left out: tracker-"))
    ] == []
    assert any(line.startswith("# Left out: dataset-image_folder: missing key 'path'") for line in lines)


def test_base_replaces_sections() -> None:
    data = yaml.safe_load(TEXT)
    assert data["base"]["dataset"] == BASE["dataset"]
    assert data["cases"]["loss-arcface"]["loss"] == {"name": "arcface"}


def test_preset_sets_options_except_unknown_ones() -> None:
    case = yaml.safe_load(TEXT)["cases"]["recipe-a2"]
    assert case["recipe"] == {"name": "a2", "epochs": 1, "batch_size": 12, "workers": 0}
    assert {"loss", "batch_sampler", "mixing", "augmentation"}.isdisjoint(case)
    assert case["backbone"] == {"drop_path": None}


def test_module_prints_the_suite() -> None:
    command = [sys.executable, "-P", "-m", "mlbench.testing"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed == catalogue_suite(Registry(PLUGINS))
