"""The command `mlbench publish`."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["publish"]


@click.command()
@click.argument("places", metavar="RESULTS...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, file_okay=False), required=True, metavar="SITE",
    help="Folder of the site: new, empty, or with an older site.",
)  # fmt: skip
@click.option("--title", default="Benchmarks over time", show_default=True, help="Heading of the front page.")
@click.option("--by-commit", is_flag=True, help="In the order of commits instead of the times of the runs.")
def publish(places: tuple[Path, ...], output: Path, title: str, by_commit: bool) -> None:
    """Write a site about the history of suites: every metric and speed over time, with the steps in it.

    RESULTS are folders of records of any depth, such as the artefacts of many runs, and baselines. The site
    is plain files, which open without a server.
    """
    from mlbench.history.pages import search_text
    from mlbench.history.reading import read_records
    from mlbench.history.site import check_folder, site_files, write_site
    from mlbench.history.steps import check_ruptures
    from mlbench.history.suite_history import suite_history
    from mlbench.history.texts import counted
    from mlbench.regression.change import Verdict

    check_ruptures()
    check_folder(output)
    found = read_records(places)
    for remark in found.remarks:
        click.echo(f"note: {remark}", err=True)
    histories = [
        suite_history(name, records, found.tolerances.get(name), by_commit=by_commit)
        for name, records in found.suites.items()
    ]
    for history in histories:
        for remark in history.remarks:
            click.echo(f"note: {history.name}: {remark}", err=True)
    write_site(output, site_files(histories, title, found.remarks))
    for history in histories:
        counts = (
            (len(history.of_verdict(Verdict.WORSE)), "to the worse"),
            (len(history.of_verdict(Verdict.BETTER)), "to the better"),
        )
        steps = ", ".join(f"{counted(count, 'step')} {what}" for count, what in counts)
        runs = counted(max(len(runs) for runs in history.runs.values()), "run")
        failing = f"; failing now: {', '.join(each.run.case for each in history.failures)}"
        cases = counted(len(history.runs), "case")
        click.echo(f"{history.name}: {cases}, {runs}, {steps}{failing if history.failures else ''}")
        if any(each.remark for each in history.series):
            click.echo(f"note: {history.name}: searched for steps: {search_text(history)}", err=True)
    click.echo(f"{output / 'index.html'} written")
