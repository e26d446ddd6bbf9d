"""Weights & Biases: a run of a project for each case and seed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

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

__all__ = ["WandB"]

#: No reports to the makers of W&B besides the runs, and no lines on the terminal.
_VARIABLES = {"WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"}

#: Seconds after which a server counts as gone.
_INIT_TIMEOUT = 20.0

#: Runs that are open at once, as each keeps three files open.
_MOST_OPEN = 100

#: Exit codes with which W&B shows a run as finished, killed or failed.
_EXIT_CODES = {"finished": 0, "interrupted": 255, "failed": 1}


class WandB(TrackerOptions):
    """Runs of a Weights & Biases project, one for each case and seed, in a group for each suite.

    Settings are the configuration; every epoch is a step of the history; metrics with the ends of their
    intervals, sizes and speeds are the summary. The runs stay open until the speeds are measured; of more
    than 100 the first are closed before, without speeds. Offline runs are sent later with `wandb sync
    FOLDER/wandb/offline-run-*`."""

    libraries: ClassVar[tuple[str, ...]] = ("wandb",)

    project: str = "mlbench"
    """The project."""
    entity: str = ""
    """The user or team that owns the project; empty for the default of the account."""
    mode: Literal["online", "offline"] | None = None
    """Whether runs are sent to the server or only stored; null for the variable WANDB_MODE, and online where
    it is not set."""
    folder: str = ""
    """Where the folder wandb with local files is made, from the current folder on; empty for the folder of
    the suite's records."""

    def build(self, context: TrackerContext) -> Tracker:
        """The tracker. Raises TrackerError without the package wandb, and online without a key of the
        account: nothing asks for one."""
        with library_call(_VARIABLES):
            try:
                import wandb
            except ImportError as error:
                raise TrackerError(
                    "tracker 'wandb' needs mlbench[wandb]: pip install 'mlbench[wandb]' "
                    f"({first_line(error)})"
                ) from None
            mode = self.mode or os.environ.get("WANDB_MODE", "") or "online"
            if mode == "online" and not _has_key(wandb):
                raise TrackerError(
                    "tracker 'wandb' has no key for the W&B server; set WANDB_API_KEY, run `wandb login`, or "
                    "track offline: {name: wandb, mode: offline}"
                )
        return _Runs(
            {
                "project": self.project,
                "entity": self.entity or None,
                "mode": mode,
                "dir": str(Path(self.folder).absolute() if self.folder else context.folder),
                "group": context.suite,
            },
            revision(),
        )


def _has_key(wandb: Any) -> bool:
    """Whether the account's key is in the environment, in W&B's settings or in .netrc."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    settings = wandb.setup().settings
    if settings.api_key:
        return True
    from wandb.sdk.lib.wbauth import read_netrc_auth

    return bool(read_netrc_auth(host=settings.base_url))


class _Runs(Tracker):
    """where: arguments of wandb.init for every run. revision: of the code, "" where not known."""

    def __init__(self, where: Mapping[str, Any], revision: str) -> None:
        self._where = where
        self._revision = revision
        self._runs: dict[tuple[str, int], Any] = {}
        self._codes: dict[tuple[str, int], int] = {}

    def case_started(self, case: TrackedCase, position: int, total: int) -> None:
        import wandb

        Path(self._where["dir"]).mkdir(parents=True, exist_ok=True)
        key = values.case_key(case)
        facts = values.facts(case) | ({"revision": self._revision} if self._revision else {})
        with library_call(_VARIABLES):
            self._runs[key] = wandb.init(
                **self._where,
                name=f"{case.name} s{case.seed}",
                config={**case.settings, "mlbench": facts},
                reinit="create_new",  # the runs of several cases are open at once
                settings=wandb.Settings(
                    silent=True,
                    console="off",
                    disable_git=True,
                    save_code=False,
                    init_timeout=_INIT_TIMEOUT,
                    x_disable_stats=True,  # a thread that would disturb the measurement of speeds
                ),
            )

    def epoch(self, case: TrackedCase, epoch: int, values_: Mapping[str, float]) -> None:
        self._runs[values.case_key(case)].log(values.epoch_values(values_), step=epoch)

    def case_finished(self, record: Mapping[str, Any]) -> None:
        key = values.record_key(record)
        self._runs[key].summary.update({**values.results(record), **values.remarks(record)})
        self._codes[key] = 0 if record["status"] == "done" else 1
        if self._codes[key]:
            self._finish(key)
        while len(self._runs) > _MOST_OPEN:
            self._finish(next(iter(self._runs)))

    def run_finished(self, run: FinishedRun) -> None:
        if not self._runs and not self._codes:
            return
        import wandb

        for record in run.records:
            key = values.record_key(record)
            if key in self._runs:
                self._runs[key].summary.update(values.speeds(record))
        for key in tuple(self._runs):
            self._codes.setdefault(key, _EXIT_CODES[run.status])
            self._finish(key)
        with library_call(_VARIABLES):
            wandb.teardown()  # ends the process that sends and stores

    def _finish(self, key: tuple[str, int]) -> None:
        with library_call(_VARIABLES):
            self._runs.pop(key).finish(exit_code=self._codes[key])
