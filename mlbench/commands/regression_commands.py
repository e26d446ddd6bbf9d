"""The commands `mlbench compare`, `baseline save|show` and `check`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlbench.commands.installed import installed_registry
from mlbench.parameters import (
    FiniteRange,
    case_options,
    json_option,
    plugin_option,
    results_option,
    size_option,
)

if TYPE_CHECKING:
    from mlbench.regression.record_set import RecordSet

__all__ = ["baseline", "check", "compare"]

_level = click.option(
    "--level",
    type=FiniteRange(0.5, 0.9999),
    default=0.95,
    show_default=True,
    help="Level of the intervals.",
)
_suite_file = click.option(
    "--suite", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="File with the tolerances."
)

_BASELINES = Path("results") / "baselines"


@click.command()
@click.argument("before")
@click.argument("after")
@_suite_file
@size_option
@plugin_option
@results_option
@_level
@click.option("--markdown", is_flag=True, help="Print Markdown.")
@json_option
def compare(
    before: str,
    after: str,
    suite: Path | None,
    size: str | None,
    results: Path,
    level: float,
    markdown: bool,
    as_json: bool,
) -> None:
    """Compare records of a folder, a suite, a baseline, or REVISION:PATH of a folder or baseline in git.

    Shows every case and quantity with its difference, interval and verdict. Tolerances are those of --suite,
    else of a compared suite file or baseline. --size is for each suite file.
    """
    from mlbench.regression import comparison
    from mlbench.regression.comparison_formats import (
        comparison_json,
        comparison_markdown,
        comparison_notes,
        comparison_table,
    )
    from mlbench.regression.record_set import load_record_set

    if size is not None and not any(text.endswith((".yaml", ".yml")) for text in (before, after, str(suite))):
        raise click.UsageError("--size is for suite files, and none is given")
    old, new = (load_record_set(text, results, installed_registry, size) for text in (before, after))
    for side in (old, new):
        _remark(side)
    tolerances = _tolerances(suite, size, new, old)
    found = comparison.compare(
        old.records, new.records, tolerances, lacking=(old.lacking, new.lacking), level=level
    )
    title = f"{before} → {after} ({100 * level:g}% intervals)"
    if as_json:
        click.echo(comparison_json(found))
    elif markdown:
        click.echo(comparison_markdown(found, title), nl=False)
    else:
        from mlbench.table import print_table

        print_table(comparison_table(found, title))
        for note in comparison_notes(found):
            click.echo(f"note: {note}", err=True)


@click.group()
def baseline() -> None:
    """Baselines to commit: save one, show one."""


@baseline.command()
@click.argument("suite")
@case_options
@results_option
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), default=_BASELINES, show_default=True,
    help="Folder, or file that ends in .json.",
)  # fmt: skip
def save(suite: str, results: Path, output: Path, **request: Any) -> None:
    """Save the records of a SUITE as one baseline per hardware.

    SUITE is a file (the records of its current cases) or a name (the newest records).
    """
    from mlbench.regression.baseline import save_baselines

    side = _records(suite, results, request)
    for each in side.lacking:
        click.echo(f"note: {each}; left out", err=True)
    for record in side.records:
        if record.status != "done":
            click.echo(
                f"note: {record.case} seed {record.seed} failed and is left out: {record.error}", err=True
            )
    slow = sum(record.status == "done" and "images_per_second" not in record.speed for record in side.records)
    if slow:
        click.echo(f"note: {slow} records have no measured speed, so their speed is not watched", err=True)
    size = f" --size {request['size']}" if request["size"] else ""
    for path in save_baselines(side.records, _tolerances(None, None, side), output):
        click.echo(
            f"{path} written; commit it, and check with: mlbench check {suite}{size} --baseline {path}"
        )


@baseline.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@json_option
def show(file: Path, as_json: bool) -> None:
    """Show the records of a baseline FILE."""
    from mlbench.records import report
    from mlbench.regression.baseline import read_baseline
    from mlbench.table import print_table

    found = read_baseline(file.read_bytes(), str(file))
    if as_json:
        click.echo(report.results_json(found.records))
        return
    print_table(report.results_table(found.records, f"{found.suite} on {', '.join(found.hardware.values())}"))


@click.command()
@click.argument("suite")
@click.option(
    "--baseline", "against", type=click.Path(path_type=Path), default=_BASELINES,
    show_default=True, help="File, or folder with a baseline of this hardware.",
)  # fmt: skip
@case_options
@results_option
@_level
@click.option(
    "--format", "form", type=click.Choice(["text", "markdown", "github", "junit", "json"]), default="text",
    show_default=True,
)  # fmt: skip
def check(suite: str, against: Path, results: Path, level: float, form: str, **request: Any) -> None:
    """Compare the records of a SUITE with a baseline. Exit code 3 on a regression.

    If SUITE is a file, the records are those of its current cases, and a case or seed without a record is a
    regression; repeat the options of the run (--size, --set, --seeds, --device). If SUITE is a name, the
    records are the newest. The check watches images per second, parameters, and every quantity with a
    tolerance that the suite states or a metric announces.
    """
    from mlbench.records.record import MEASURED, default_tolerances
    from mlbench.regression import comparison, comparison_formats
    from mlbench.regression.baseline import choose_baseline

    side = _records(suite, results, request)
    path, old = choose_baseline(against, side.records[0].suite, side.records)
    tolerances = old.tolerances if side.tolerances is None else side.tolerances
    found = comparison.compare(old.records, side.records, tolerances, lacking=((), side.lacking), level=level)
    title = f"{old.suite} against {path} ({100 * level:g}% intervals)"
    if not {**default_tolerances(side.records), **tolerances}.keys() - MEASURED.keys():
        click.echo(
            "note: no metric is watched, as there is no tolerance; name the suite's file, or state "
            "tolerances in it",
            err=True,
        )
    if form == "text":
        from mlbench.table import print_table

        print_table(comparison_formats.comparison_table(found, title, gated=True))
        for note in comparison_formats.comparison_notes(found, gated=True):
            click.echo(f"note: {note}", err=True)
        for line in (*comparison_formats.missing_sentences(found), comparison_formats.summary(found)):
            click.echo(line)
    elif form == "markdown":
        click.echo(comparison_formats.comparison_markdown(found, title, gated=True), nl=False)
    elif form == "github":
        click.echo(comparison_formats.comparison_github(found, f"mlbench {old.suite}"))
    elif form == "junit":
        click.echo(comparison_formats.comparison_junit(found, old.suite))
    else:
        click.echo(comparison_formats.comparison_json(found))
    if found.regressions:
        sys.exit(3)


def _records(suite: str, results: Path, request: Mapping[str, Any]) -> RecordSet:
    """Records of a suite by its name or file."""
    from mlbench.planning.request import PlanRequest
    from mlbench.regression.record_set import suite_record_set

    side = suite_record_set(suite, results, PlanRequest(**request), installed_registry)
    _remark(side)
    return side


def _remark(side: RecordSet) -> None:
    for remark in side.remarks:
        click.echo(f"note: {remark}", err=True)


def _tolerances(suite: Path | None, size: str | None, *sides: RecordSet) -> Mapping[str, float]:
    """Tolerances of the suite file, else of the first set of records that has some."""
    from mlbench.planning.heading import read_heading

    if suite is not None:
        return read_heading(suite, size).tolerances or {}
    return next((side.tolerances for side in sides if side.tolerances is not None), {})
