"""The command `mlbench report`, and the page that `mlbench run` writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlbench.commands.installed import installed_registry
from mlbench.parameters import case_options, results_option

if TYPE_CHECKING:
    from mlbench.planning.plan import Plan
    from mlbench.records.record import Record
    from mlbench.records.store import Store

__all__ = ["report", "write_run_report"]


@click.command()
@click.argument("suite", required=False)
@click.option(
    "--compare", "compared", nargs=2, metavar="BEFORE AFTER",
    help="Write about two sets of records instead, named as for mlbench compare.",
)  # fmt: skip
@case_options
@results_option
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False),
    help="File to write; default report.html or comparison.html beside the records.",
)  # fmt: skip
@click.option("--open", "opened", is_flag=True, help="Show the page in a browser.")
@click.option("--case", default="", metavar="GLOB", help="Cases to show in detail; default the best ones.")
@click.option(
    "--section", "sections", multiple=True, metavar="NAME.OPTION=VALUE",
    help="Set an option of a section: map.method=umap (mlbench list section).",
)  # fmt: skip
@click.option("--no-images", "images", is_flag=True, flag_value=False, default=True, help="No images on it.")
def report(
    suite: str | None,
    compared: tuple[str, str] | None,
    results: Path,
    output: Path | None,
    opened: bool,
    case: str,
    sections: tuple[str, ...],
    images: bool,
    **request: Any,
) -> None:
    """Write a page about a SUITE: which case to take, what it gets wrong, and whether the numbers are real.

    By its file, of the records of the current file; by its name, of the newest. With --compare, about what
    got worse and better between two sets of records, and which queries changed sides."""
    from mlbench.history.compared import compared_report
    from mlbench.page.report import ReportRequest, suite_report
    from mlbench.planning.request import PlanRequest

    asked = ReportRequest(
        results=results,
        plan=PlanRequest(**request),
        output=output,
        case=case,
        images=images,
        sections=sections,
    )
    if (suite is None) == (compared is None):
        raise click.UsageError("give either a SUITE or --compare BEFORE AFTER")
    if suite is not None:
        path = suite_report(suite, asked, installed_registry, _note)
    elif compared is not None:
        if asked.plan != PlanRequest(size=asked.plan.size) or sections:
            raise click.UsageError("--compare takes neither --section nor options of a run but --size")
        path = compared_report(*compared, asked, installed_registry, _note)
    click.echo(f"{path} written")
    if opened:
        import webbrowser

        if not webbrowser.open(path.resolve().as_uri()):
            _note(f"no browser was found; open {path}")


def write_run_report(
    plan: Plan, records: Sequence[Record], store: Store, request: dict[str, Any], *, quiet: bool
) -> None:
    """Write the page of a run and print its path; to stderr where stdout has JSON (`quiet`). A page that
    cannot be written costs a note."""
    from mlbench.errors import MlbenchError, first_line
    from mlbench.page.report import ReportRequest, plan_report
    from mlbench.planning.request import PlanRequest

    try:
        asked = ReportRequest(results=store.folder.parent, plan=PlanRequest(**request))
        path = plan_report(plan, records, store, asked, installed_registry(), _note)
    # Sections may be foreign code; the results of the run stand.
    except Exception as error:
        reason = str(error) if isinstance(error, MlbenchError) else first_line(error)
        _note(f"the report page could not be written: {reason}")
    else:
        click.echo(f"report: {path}", err=quiet)


def _note(line: str) -> None:
    click.echo(f"note: {line}", err=True)
