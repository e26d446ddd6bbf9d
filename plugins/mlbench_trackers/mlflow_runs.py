"""MLflow: a run of an experiment for each case and seed."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from mlbench.plugin import (
    FinishedRun,
    TrackedCase,
    Tracker,
    TrackerContext,
    TrackerError,
    TrackerOptions,
    first_line,
)
from mlbench_trackers import values
from mlbench_trackers.surroundings import library_call, revision

__all__ = ["MLflow"]

#: No reports to MLflow's makers, no lines on new databases, and no minutes of retries where a server is gone.
_VARIABLES = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
}

#: Most parameters that one call may log, and most characters of a value.
_MOST_PARAMETERS, _MOST_CHARACTERS = 100, 6000

#: MLflow's names for how a run ended.
_STATUS = {"interrupted": "KILLED", "failed": "FAILED", "finished": "FINISHED"}


class MLflow(TrackerOptions):
    """Runs of an MLflow experiment, one for each case and seed, in a database on this machine or on a server.

    Settings are parameters; every epoch, the metrics with the ends of their intervals, sizes and speeds are
    metrics; notes, errors and the revision of the code are tags. The package mlflow-skinny is enough;
    `mlflow ui --backend-store-uri sqlite:///FILE` of the package mlflow shows the runs."""

    libraries: ClassVar[tuple[str, ...]] = ("mlflow-skinny",)

    uri: str = ""
    """Where runs are stored, such as "sqlite:///mlflow.db" or "http://localhost:5000"; empty for the variable
    MLFLOW_TRACKING_URI, and where it is not set for mlflow.db in the folder of the suite's records."""
    experiment: str = ""
    """Name of the experiment; empty for that of the suite."""

    def build(self, context: TrackerContext) -> Tracker:
        """The tracker. Raises TrackerError without the package mlflow-skinny or mlflow, version 3 or later,
        and for a folder in place of a database."""
        with library_call(_VARIABLES):
            try:
                from mlflow import __version__ as version
                from mlflow.tracking import MlflowClient
            except ImportError as error:
                raise TrackerError(_needs(first_line(error))) from None
        if int(version.partition(".")[0]) < 3:
            raise TrackerError(_needs(f"version 3 or later; {version} is installed"))
        uri = self.uri or os.environ.get("MLFLOW_TRACKING_URI", "")
        if uri and "://" not in uri and uri != "databricks":
            raise TrackerError(
                f"tracker 'mlflow': {uri!r} is a folder, where MLflow stores no more runs; expected a "
                "database or a server, such as sqlite:///mlflow.db"
            )
        artifacts = None
        if not uri:
            uri = f"sqlite:///{context.folder / 'mlflow.db'}"
            artifacts = (context.folder / "mlflow").as_uri()

        def connect() -> tuple[Any, str]:
            context.folder.mkdir(parents=True, exist_ok=True)
            client = MlflowClient(tracking_uri=uri)
            name = self.experiment or context.suite
            found = client.get_experiment_by_name(name)
            if found is not None:
                return client, str(found.experiment_id)
            return client, str(client.create_experiment(name, artifact_location=artifacts))

        return _Runs(connect, revision())


def _needs(problem: str) -> str:
    return f"tracker 'mlflow' needs mlbench[mlflow]: pip install 'mlbench[mlflow]' ({problem})"


class _Runs(Tracker):
    """connect: gives a client and the id of the experiment. revision: of the code, "" where not known."""

    def __init__(self, connect: Any, revision: str) -> None:
        self._connect = connect
        self._revision = revision
        self._client: Any = None
        self._experiment = ""
        self._runs: dict[tuple[str, int], str] = {}
        self._epochs: dict[tuple[str, int], int] = {}
        self._open: set[str] = set()

    def case_started(self, case: TrackedCase, position: int, total: int) -> None:
        from mlflow.entities import Param

        with library_call(_VARIABLES):
            if self._client is None:
                self._client, self._experiment = self._connect()
            tags = {f"mlbench.{name}": text for name, text in values.facts(case).items()}
            if self._revision:
                tags["mlflow.source.git.commit"] = self._revision
            tags["mlflow.source.name"] = "mlbench"
            created = self._client.create_run(
                self._experiment, run_name=f"{case.name} s{case.seed}", tags=tags
            )
            run = created.info.run_id
            self._open.add(run)
            self._runs[values.case_key(case)], self._epochs[values.case_key(case)] = run, case.epochs
            parameters = [
                Param(_name(name), str(value)[:_MOST_CHARACTERS])
                for name, value in (*values.flat(case.settings), ("seed", case.seed))
            ]
            for start in range(0, len(parameters), _MOST_PARAMETERS):
                self._client.log_batch(run, params=parameters[start : start + _MOST_PARAMETERS])

    def epoch(self, case: TrackedCase, epoch: int, values_: Mapping[str, float]) -> None:
        self._log(values.case_key(case), values.epoch_values(values_), epoch)

    def case_finished(self, record: Mapping[str, Any]) -> None:
        key = values.record_key(record)
        self._log(key, values.results(record), self._epochs[key])
        run = self._runs[key]
        with library_call(_VARIABLES):
            for name, text in values.remarks(record).items():
                self._client.set_tag(run, f"mlbench.{name}", text[:_MOST_CHARACTERS])
            if text := "\n\n".join(values.remarks(record).values()):
                self._client.set_tag(run, "mlflow.note.content", text[:_MOST_CHARACTERS])
            self._close(run, "FINISHED" if record["status"] == "done" else "FAILED")

    def run_finished(self, run: FinishedRun) -> None:
        if self._client is None:
            return
        for record in run.records:
            key = values.record_key(record)
            if key in self._runs:
                self._log(key, values.speeds(record), self._epochs[key])
        with library_call(_VARIABLES):
            for each in tuple(self._open):
                self._close(each, _STATUS[run.status])
            for claim in run.claims:
                name = _name(f"mlbench.claim.{claim['id']}")
                self._client.set_experiment_tag(self._experiment, name, claim["verdict"])
        self._client = None

    def _log(self, key: tuple[str, int], named: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(_name(name), value, now, step) for name, value in named.items()]
        if metrics:
            with library_call(_VARIABLES):
                self._client.log_batch(self._runs[key], metrics=metrics)

    def _close(self, run: str, status: str) -> None:
        self._client.set_terminated(run, status)
        self._open.discard(run)


def _name(text: str) -> str:
    """A name with the characters that MLflow allows."""
    return re.sub(r"[^\w\-. :/]", "_", text)
