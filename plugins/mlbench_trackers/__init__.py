"""Trackers that come with mlbench."""

from __future__ import annotations

from collections.abc import Iterable

from mlbench.plugin import Component, hookimpl

# fmt: off
#: Name, options class within this package, source; summary.
_COMPONENTS = (
    ("tensorboard", "event_files:TensorBoard", "https://www.tensorflow.org/tensorboard",
     "event files for TensorBoard, one folder for each case and seed"),
    ("mlflow", "mlflow_runs:MLflow", "https://mlflow.org",
     "runs of an MLflow experiment, in a local database or on a server"),
    ("wandb", "wandb_runs:WandB", "https://docs.wandb.ai",
     "runs of a Weights & Biases project, on its server or in local files"),
)
# fmt: on


@hookimpl
def mlbench_components() -> Iterable[Component]:
    for name, options, source, summary in _COMPONENTS:
        yield Component("tracker", name, f"{__name__}.{options}", summary, source)
