"""Runs are read back with MLflow's own client."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from tracked_runs import expected, tracked_run

from mlbench.contracts.options import TrackerContext
from mlbench.errors import TrackerError
from mlbench.registry import Registry

pytest.importorskip("mlflow", exc_type=ImportError)
pytestmark = [
    pytest.mark.skipif(int(version("mlflow-skinny").partition(".")[0]) < 3, reason="needs MLflow 3"),
    # SQLAlchemy's, of the way in which MLflow uses it.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Any]:
    def client(database: Path) -> Any:
        from mlflow.tracking import MlflowClient

        return MlflowClient(tracking_uri=f"sqlite:///{database}")

    return client


@pytest.fixture(autouse=True)
def _nothing_global_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    before = dict(os.environ)
    yield
    changed = {name: os.environ.get(name) for name in os.environ.keys() | before.keys()}
    assert {name for name, value in changed.items() if before.get(name) != value} <= {"PYTEST_CURRENT_TEST"}
    import mlflow

    assert mlflow.active_run() is None
    assert [each.name for each in threading.enumerate() if "elemetry" in each.name] == []


def runs_of(client: Any, experiment: str) -> dict[str, Any]:
    found = client.get_experiment_by_name(experiment)
    return {run.data.tags["mlbench.case"]: run for run in client.search_runs([found.experiment_id])}


def test_a_run_is_read_back(
    monkeypatch: pytest.MonkeyPatch, registry: Registry, tmp_path: Path, client: Callable[[Path], Any]
) -> None:
    good, bad = tracked_run(monkeypatch, registry, tmp_path, "mlflow")
    reader = client(tmp_path / "results" / "toy" / "mlflow.db")
    runs = runs_of(reader, "toy")
    assert {name: run.info.status for name, run in runs.items()} == {"good": "FINISHED", "bad": "FAILED"}
    run = runs["good"]
    assert {name: run.data.metrics[name] for name in expected(good)} == pytest.approx(expected(good))
    losses = good.training["curves"]["loss"]
    history = reader.get_metric_history(run.info.run_id, "training/loss")
    assert [(each.step, each.value) for each in history] == list(enumerate(losses, 1))
    assert run.data.params["recipe.lr"] == str(good.settings["recipe"]["lr"])
    assert run.data.params["neck.dim"] == "8"
    assert run.data.tags["mlbench.fingerprint"] == good.fingerprint
    assert runs["bad"].data.tags["mlbench.error"] == bad.error
    experiment = reader.get_experiment_by_name("toy")
    assert experiment.tags == {"mlbench.claim.much": "not measurable here"}


@pytest.mark.slow
def test_a_stopped_run_is_killed_and_the_next_joins_its_experiment(
    monkeypatch: pytest.MonkeyPatch, registry: Registry, tmp_path: Path, client: Callable[[Path], Any]
) -> None:
    database = tmp_path / "x.db"
    tracker = f"{{name: mlflow, uri: 'sqlite:///{database}', experiment: heads}}"
    with pytest.raises(KeyboardInterrupt):
        tracked_run(monkeypatch, registry, tmp_path, tracker, stop_after=2)
    assert runs_of(client(database), "heads")["good"].info.status == "KILLED"
    tracked_run(monkeypatch, registry, tmp_path, tracker)
    reader = client(database)
    found = reader.search_runs([reader.get_experiment_by_name("heads").experiment_id])
    assert sorted(run.info.status for run in found) == ["FAILED", "FINISHED", "KILLED"]


def test_a_folder_is_no_store(registry: Registry, tmp_path: Path) -> None:
    options = registry.get("tracker", "mlflow").make({"uri": "mlruns"})
    with pytest.raises(TrackerError, match=r"'mlruns' is a folder, .* sqlite:///mlflow.db"):
        options.build(TrackerContext("toy", "", tmp_path))
