"""The commands `mlbench tune` and `tune show`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlbench.commands.installed import installed_registry
from mlbench.errors import StoreError, SuiteError
from mlbench.parameters import FiniteRange, json_option, plan_options, results_option

if TYPE_CHECKING:
    from mlbench.tuning.outcome import Outcome

__all__ = ["tune"]

_limit = click.option(
    "--limit", type=click.IntRange(min=8), metavar="N", help="About N images of each split, for a first look."
)


class _Tune(click.Group):
    """A group whose command `run` need not be named: `mlbench tune SUITE`."""

    def parse_args(self, context: click.Context, arguments: list[str]) -> list[str]:
        names = (*self.commands, *context.help_option_names)
        if arguments and arguments[0] not in names:
            arguments = ["run", *arguments]
        return super().parse_args(context, arguments)


@click.group(cls=_Tune)
def tune() -> None:
    """Vary the settings of a case within the suite's section `tune`: mlbench tune SUITE."""


@tune.command()
@click.argument("suite", type=click.Path(path_type=Path))
@click.option("--trials", type=click.IntRange(1), metavar="N", help="Trials in all; default: the suite's.")
@click.option(
    "--timeout",
    type=FiniteRange(0),
    metavar="SECONDS",
    help="Start no run after this time; the same command continues.",
)
@plan_options
@_limit
@results_option
@json_option
def run(
    suite: Path, trials: int | None, timeout: float | None, results: Path, as_json: bool, **request: Any
) -> None:
    """Run the trials that a SUITE lacks, and report. `run` may be left out: mlbench tune SUITE.

    Trials are chosen by the calibration split; the test split only shows what that is worth. Several
    processes may run the same command at once.
    """
    from mlbench.commands.progress import RunProgress
    from mlbench.console import open_console
    from mlbench.planning.request import PlanRequest
    from mlbench.planning.sizes import size_notes
    from mlbench.records.store import Store
    from mlbench.tuning.optuna_package import check_optuna
    from mlbench.tuning.tuning import read_tuning

    check_optuna()
    from mlbench.tuning.search import Search
    from mlbench.tuning.study import Study

    with RunProgress(open_console(stderr=True)) as progress:
        progress.stage("reading the suite and its data", 0, 1)
        tuning = read_tuning(suite, installed_registry(), PlanRequest(**request))
        found = tuning.suite
        for line in size_notes(found.size, found.about, found.sizes, chosen=request["size"] is not None):
            progress.note(line)
        store = Store(results, found.name)
        study = Study(store.folder, tuning.name, tuning.facts)
        Search(tuning, store, study, progress, trials or tuning.section.trials, timeout).run()
    outcome = study.outcome(store)
    _show(outcome, as_json=as_json)
    if outcome.winner is None:
        sys.exit(1)


@tune.command()
@click.argument("suite")
@plan_options
@_limit
@results_option
@click.option(
    "--save", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
    help="Write what the report rests on into a small file there.",
)  # fmt: skip
@json_option
def show(suite: str, results: Path, save: Path | None, as_json: bool, **request: Any) -> None:
    """Report the trials of a SUITE: by its file, those of the current file; by its name, the newest."""
    from mlbench.planning.heading import read_heading
    from mlbench.planning.request import PlanRequest
    from mlbench.records.store import Store
    from mlbench.tuning.optuna_package import check_optuna
    from mlbench.tuning.tuning import STORE_SUFFIX, read_tuning

    check_optuna()
    from mlbench.tuning.study import find_study, newest_study

    heading = read_heading(suite, request["size"])
    if heading.path is None:
        if PlanRequest(**request) != PlanRequest():
            raise SuiteError(
                f"{suite}: size, settings, device and limit are chosen from a suite file; give that"
            )
        store = Store(results, f"{heading.name.removesuffix(STORE_SUFFIX)}{STORE_SUFFIX}")
        study = newest_study(store.folder)
    else:
        tuning = read_tuning(heading.path, installed_registry(), PlanRequest(**request))
        store = Store(results, tuning.suite.name)
        study = find_study(store.folder, tuning.name)
        if study is None and newest_study(store.folder) is not None:
            raise StoreError(
                f"no trials of {heading.path} as it is now, with these options; "
                f"those that are there: mlbench tune show {heading.name}"
            )
    if study is None:
        file = heading.path or "SUITE.yaml"
        raise StoreError(
            f"no trials of the suite {heading.name!r} in {results}; make some with: mlbench tune {file}"
        )
    outcome = study.outcome(store)
    _show(outcome, as_json=as_json)
    if save is not None:
        from mlbench.tuning.tuning_files import save_tuning

        click.echo(f"{save_tuning(outcome, save)} written", err=True)


def _show(outcome: Outcome, *, as_json: bool) -> None:
    from mlbench.table import print_table
    from mlbench.tuning import report

    if as_json:
        click.echo(report.outcome_json(outcome))
        return
    print_table(report.trials_table(outcome))
    spread = report.spread_table(outcome)
    if spread is not None:
        click.echo()
        print_table(spread)
        click.echo()
    for sentence in report.outcome_sentences(outcome):
        click.echo(sentence)
    for note in report.outcome_notes(outcome):
        click.echo(f"note: {note}", err=True)
