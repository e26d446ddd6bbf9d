"""The command line: each command parses, calls one function and prints its result.

Results go to stdout, progress and notes to stderr. Exit codes: 0 fine, 1 error, 2 usage, 3 a
regression or a required claim without support.
"""

from __future__ import annotations

import io
import json
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from mlbench.commands.claims_commands import (
    check_required,
    claims,
    decided_plan,
    findings,
    require_option,
    show_claims,
)
from mlbench.commands.component_commands import list_components, show
from mlbench.commands.data_commands import data
from mlbench.commands.embed_commands import embed
from mlbench.commands.export_commands import export, match
from mlbench.commands.history_commands import publish
from mlbench.commands.installed import Loading, installed_plugins, installed_registry, note_idle
from mlbench.commands.package_commands import plugin
from mlbench.commands.plugin_commands import plugins
from mlbench.commands.regression_commands import baseline, check, compare
from mlbench.commands.report_commands import report as report_page
from mlbench.commands.report_commands import write_run_report
from mlbench.commands.search_commands import search
from mlbench.commands.tune_commands import tune
from mlbench.deprecation import show_deprecations
from mlbench.errors import MlbenchError, SuiteError
from mlbench.parameters import FiniteRange, case_options, json_option, plugin_option, results_option
from mlbench.seeding import MAX_SEED

if TYPE_CHECKING:
    from mlbench.planning.plan import Plan
    from mlbench.records.record import Record
    from mlbench.table import Table

__all__ = ["main"]


class _Group(click.Group):
    """Turns errors into one line and an exit code."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except MlbenchError as error:
            _fail(str(error), 2 if isinstance(error, SuiteError) else 1)
        except KeyboardInterrupt as interrupt:
            if str(interrupt):  # it names the plugin that was being imported
                _fail(str(interrupt), 130)
            kept = {"run": "cases", "tune": "trials"}.get(str(context.invoked_subcommand), "")
            kept = kept and f"; finished {kept} are kept, and the same command continues from there"
            _fail(f"stopped{kept}", 130)
        except BrokenPipeError:
            raise  # the reader has closed the pipe; click ends quietly
        except OSError as error:  # such as a full disk or a missing permission, which the message names
            _fail(str(error), 1)


def _fail(message: str, code: int) -> NoReturn:
    click.echo(f"mlbench: {message}", err=True)
    sys.exit(code)


@click.group("mlbench", cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--block",
    multiple=True,
    metavar="GLOB",
    envvar="MLBENCH_BLOCK",
    help="Do not load plugins whose names match.",
)
@plugin_option
@click.option("--no-plugins", is_flag=True, help="Load no plugins but the built-in ones.")
@click.version_option(package_name="mlbench")
@click.pass_context
def main(context: click.Context, block: tuple[str, ...], no_plugins: bool) -> None:
    """Benchmarks for metric learning: choose, ship and monitor an embedding model."""
    context.obj = Loading.chosen(block, no_plugins)
    show_deprecations()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # for characters that the terminal lacks
    note_idle(context.obj)


for command in (
    *(list_components, show, data, export, match, claims, findings),
    *(compare, baseline, check, tune, plugin, plugins),
):
    main.add_command(command)
main.add_command(report_page)
main.add_command(publish)
main.add_command(embed)
main.add_command(search)


def _plan(suite: Path, note: Callable[[str], None] | None = None, **request: Any) -> Plan:
    """The plan of a suite. note: prints notes on its size; default to stderr."""
    from mlbench.planning.request import PlanRequest
    from mlbench.planning.sizes import size_notes

    made = PlanRequest(**request).plan(suite, installed_registry())
    found = made.suite
    for line in size_notes(found.size, found.about, found.sizes, chosen=request["size"] is not None):
        (note or _note)(line)
    return made


def _note_leaks(plan: Plan, results: Path, note: Callable[[str], None]) -> None:
    """Say what `mlbench data check` has found in two splits of the same data."""
    from mlbench.inspection.findings import kept_leaks

    versions = {str(case.dataset.version) for case in plan.cases}
    for line in kept_leaks(results / plan.suite.name, versions, plan.suite.path):
        note(line)


def _note(line: str) -> None:
    click.echo(f"note: {line}", err=True)


def _tolerances(plan: Plan) -> dict[str, float]:
    """Tolerances of the suite, and the defaults that its metrics announce."""
    announced = {name: each for spec in plan.suite.specs for name, each in spec.quantities().items()}
    defaults = {name: each.tolerance for name, each in announced.items() if each.tolerance is not None}
    return {**defaults, **plan.suite.tolerances}


_wide = click.option("--wide", is_flag=True, help="Show every column, on narrow terminals too.")

_suite_file = click.argument("suite", type=click.Path(path_type=Path))


@main.command()
@_suite_file
@case_options
@results_option
@click.option("--force", is_flag=True, help="Run finished cases again.")
@click.option("--measure-again", "again", is_flag=True, help="Measure finished cases again.")
@click.option(
    "--no-measure",
    "measuring",
    is_flag=True,
    flag_value=False,
    default=True,
    help="Do not measure speed and memory; a later run will.",
)
@require_option
@click.option("--until-decided", "deciding", is_flag=True, help="Add seeds until every claim is decided.")
@click.option("--max-seeds", type=click.IntRange(2), show_default="20", help="Of --until-decided: at most.")
@click.option("--jobs", type=click.IntRange(1), metavar="N", help="Train N cases at once.")
@click.option("--devices", metavar="NAMES", help="Train cases at once on these, such as cuda:0,cuda:1.")
@click.option(
    "--track", multiple=True, metavar="NAME",
    help="Also send the run to: mlflow, '{name: wandb, mode: offline}'; none leaves the suite's out.",
)  # fmt: skip
@_wide
@json_option
def run(
    suite: Path,
    results: Path,
    force: bool,
    again: bool,
    measuring: bool,
    required: tuple[str, ...],
    deciding: bool,
    max_seeds: int | None,
    jobs: int | None,
    devices: str | None,
    track: tuple[str, ...],
    wide: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Run every case of a suite that has no record yet, and show the results and the suite's claims."""
    if again and not measuring:
        raise click.UsageError("--measure-again and --no-measure contradict each other")
    if deciding and (options["seeds"] or force):
        raise click.UsageError("--until-decided starts with the suite's seeds; leave --seeds and --force out")
    if max_seeds is not None and not deciding:
        raise click.UsageError("--max-seeds belongs to --until-decided; give both")
    from mlbench import runner
    from mlbench.claims.suite_claims import claims_of_store
    from mlbench.commands.places import places
    from mlbench.commands.progress import RunProgress
    from mlbench.console import open_console
    from mlbench.records.store import Store
    from mlbench.tracking import Tracking

    with RunProgress(open_console(stderr=True)) as progress:
        progress.stage("reading the suite and its data", 0, 1)
        options["device"], at_once = places(options["device"], devices, jobs, progress.note)
        plan = _plan(suite, progress.note, track=track, **options)
        _note_leaks(plan, results, progress.note)
        store = Store(results, plan.suite.name)
        check_required(plan.suite, required)
        if deciding and not plan.suite.claims:
            raise click.UsageError(f"--until-decided: {suite} states no claims")
        with Tracking(plan.suite.trackers, plan, store.folder, progress, progress.note) as tracking:
            if deciding:
                plan = decided_plan(plan, store, tracking, max_seeds or 20, options["limit"], at_once)
            records = runner.run(
                plan, store, tracking, force=force, again=again, measuring=measuring, devices=at_once
            )
            tracking.finish(records, lambda: claims_of_store(plan, store, options["seeds"]))
    form = "json" if as_json else "table"
    # Progress has said why a case failed.
    _show(records, plan.suite.heading, plan.suite.tolerances, form, wide=wide, errors=False)
    supported = show_claims(plan, store, options["seeds"], required, quiet=as_json)
    write_run_report(plan, records, store, options, quiet=as_json)
    if any(record.status != "done" and record.case not in plan.suite.optional for record in records):
        sys.exit(1)
    if not supported:
        sys.exit(3)


@main.command()
@click.argument("suite")
@case_options
@results_option
@click.option("--markdown", is_flag=True, help="Print Markdown.")
@_wide
@json_option
def results(suite: str, results: Path, markdown: bool, wide: bool, as_json: bool, **request: Any) -> None:
    """Show the records of a SUITE: by its file, those of the current file; by its name, the newest."""
    from mlbench.planning.request import PlanRequest
    from mlbench.planning.selection import suite_records

    found = suite_records(suite, results, PlanRequest(**request), installed_registry)
    for note in (*found.lacking, *found.remarks):
        _note(str(note))
    heading = found.heading
    form = "json" if as_json else "markdown" if markdown else "table"
    _show(found.records, heading.title, heading.tolerances or {}, form, wide=wide)


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--labels", type=click.Path(path_type=Path), help="Labels of an .npy: .npy, or one per line.")
@click.option(
    "--gallery",
    type=click.Path(path_type=Path),
    help="Other embeddings, searched by those of FILE: of other images, or of the same by an older model.",
)
@click.option(
    "--calibration", type=click.Path(path_type=Path), help="Other embeddings, to fit the threshold."
)
@click.option(
    "--calibration-share", "share", type=FiniteRange(0, 1, max_open=True), default=0.0,
    help="Or this share of the classes, excluded from everything else.",
)  # fmt: skip
@click.option(
    "--pairs", type=click.Path(path_type=Path), help="Evaluate these pairs: CSV left,right,same[,fold]."
)
@click.option(
    "--folds", type=click.IntRange(2), default=10, show_default=True, help="Of pairs without folds."
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="As in a suite: evaluation.level=0.9"
)
@click.option(
    "--classes", type=click.Path(path_type=Path), help="Write means of each class to this CSV file."
)
@click.option(
    "--details", type=click.Path(path_type=Path), help="Write details of images and pairs to this .npz file."
)
@click.option("--seed", type=click.IntRange(0, MAX_SEED), default=0, help="Of resamples and of the share.")
@click.option("--device", default="cpu", metavar="NAME", help="cpu, cuda, cuda:1 or auto.")
@click.option("--threads", type=click.IntRange(1), help="On the CPU; default all cores.")
@plugin_option
@json_option
def evaluate(file: Path, classes: Path | None, details: Path | None, as_json: bool, **options: Any) -> None:
    """Evaluate a FILE of embeddings from any model: .npz, .npy or .parquet."""
    from mlbench.atomic_write import write_atomically
    from mlbench.commands.progress import RunProgress
    from mlbench.console import open_console
    from mlbench.evaluation.file_evaluation import EvaluationRequest, evaluate_file
    from mlbench.records import report

    with RunProgress(open_console(stderr=True), file.name) as progress:
        progress.stage("reading", 0, 1)
        found = evaluate_file(
            EvaluationRequest(file=file, details=details is not None, **options),
            installed_registry(),
            lambda done, total: progress.stage("evaluating", done, total),
        )
    if classes is not None and found.evaluation is not None:
        names = [str(each) for each in found.evaluation.classes]
        write_atomically(classes, found.evaluation.classes_csv(names).encode())
    if details is not None and found.evaluation is not None and found.evaluation.details is not None:
        from mlbench.evaluation.details import write_details

        write_details(details, found.evaluation.details)
    if as_json:
        click.echo(report.assessment_json(found.metrics, found.facts, found.notes))
        return
    if found.beside:
        from mlbench.commands.compatibility import compatibility_table

        _print(compatibility_table(found, f"{file} (new) against {options['gallery']} (old)"))
    else:
        _print(report.assessment_table(found.metrics, found.facts, str(file)))
    for line in found.verdict:
        click.echo(line)
    for note in found.notes:
        _note(note)


@main.command()
@_suite_file
@case_options
@results_option
@click.option("--power", is_flag=True, help="Show how many seeds detect a change of each tolerance.")
@json_option
def plan(suite: Path, results: Path, power: bool, as_json: bool, **options: Any) -> None:
    """Show the cases of a suite with predicted sizes, steps and duration. Trains nothing."""
    from mlbench.commands.listing import plan_duration, plan_json, plan_table
    from mlbench.records.store import Store

    made = _plan(suite, **options)
    if power:
        from mlbench.planning.selection import all_seeds
        from mlbench.regression.power import plan_power, power_json, power_table

        names = list(dict.fromkeys(case.name for case in made.cases))
        records = all_seeds(made, Store(results, made.suite.name))
        found = plan_power(names, records, _tolerances(made))
        if not found:
            click.echo("note: neither the suite nor a metric states a tolerance of a metric", err=True)
        _print(power_json(found) if as_json else power_table(found))
        return
    _print(plan_json(made) if as_json else plan_table(made))
    if not as_json:
        click.echo(plan_duration(made, Store(results, made.suite.name)))


@main.command()
@_suite_file
@case_options
@results_option
def validate(suite: Path, results: Path, **options: Any) -> None:
    """Check a suite file and its data. Trains nothing."""
    made = _plan(suite, **options)
    from mlbench.planning.request import PlanRequest
    from mlbench.tuning.tuning import has_tuning, read_tuning

    if has_tuning(suite, options["size"]):
        read_tuning(suite, installed_registry(), PlanRequest(**options))
    names = {case.name for case in made.cases}
    click.echo(f"{suite}: fine; cases: {len(names)}, runs: {len(made.cases)}")
    for note in dict.fromkeys(note for case in made.cases for note in case.notes):
        _note(note)
    _note_leaks(made, results, _note)


@main.command()
@click.argument("sampler")
@click.option("--classes", "num_classes", type=click.IntRange(min=2), required=True, help="How many.")
@click.option("--dim", type=click.IntRange(min=1), required=True, help="Width of the embeddings.")
@click.option("--batch", "batch_size", type=click.IntRange(min=1), required=True, help="Images in a step.")
@click.option("--rate", type=float, help="Only this share of the centres in a step.")
@plugin_option
@json_option
def advise(sampler: str, as_json: bool, **question: Any) -> None:
    """Predict the cost of a SAMPLER of class centres on this machine, and whether it pays off."""
    from mlbench.commands.advice import advice_json, advice_table
    from mlbench.commands.advice import advise as ask

    advice = ask(installed_registry(), sampler, **question)
    _print(advice_json(advice) if as_json else advice_table(advice))
    if not as_json:
        click.echo(advice.recommendation)
        click.echo(f"note: {advice.basis}", err=True)


@main.command()
@plugin_option
@json_option
def doctor(as_json: bool) -> None:
    """Show devices, versions, plugins, folders and free disk, with their problems."""
    from mlbench.commands.doctor import examination_table, examine

    findings = examine(installed_plugins())
    _print(json.dumps(findings, indent=1) if as_json else examination_table(findings))


@main.command()
@click.argument("place", metavar="FOLDER", type=click.Path(path_type=Path))
@click.option(
    "--level", type=click.IntRange(1), metavar="N", help="Depth of the class folders; default: the leaves."
)
@click.option("--output", "-o", type=click.Path(path_type=Path), help="File to write; default NAME.yaml.")
def init(place: Path, level: int | None, output: Path | None) -> None:
    """Write a suite for your own images: a FOLDER with one folder per class, or a manifest."""
    from mlbench.commands.scaffold import write_suite
    from mlbench.commands.survey import survey

    found = survey(place, level)
    for line in found.lines():
        click.echo(line, err=True)
    path, notes = write_suite(found, installed_registry(), output)
    for note in notes:
        _note(note)
    click.echo(f"{path} written; next: mlbench run {shlex.quote(str(path))}")


def _show(
    records: Sequence[Record],
    title: str,
    tolerances: Mapping[str, float],
    form: str,
    *,
    wide: bool,
    errors: bool = True,
) -> None:
    from mlbench.records import report
    from mlbench.records.record import default_tolerances
    from mlbench.regression.ranking import ranking_sentences
    from mlbench.table import print_table

    if form == "json":
        click.echo(report.results_json(records))
        return
    headings = report.headline_metrics(records, tolerances)
    sentences = ranking_sentences(records, headings, {**default_tolerances(records), **tolerances})
    if form == "markdown":
        click.echo(report.results_markdown(records, title, tolerances, sentences), nl=False)
    else:
        left_out = print_table(report.results_table(records, title, tolerances), wide=wide)
        for sentence in sentences:
            click.echo(sentence)
        if left_out:
            click.echo(f"note: --wide also shows: {', '.join(left_out)}", err=True)
        for note in report.notes_of(records, errors=errors):
            _note(note)


def _print(what: str | Table) -> None:
    if isinstance(what, str):
        click.echo(what)
    else:
        from mlbench.table import print_table

        print_table(what)
