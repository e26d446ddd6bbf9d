"""The command `mlbench claims`, and the claims of `mlbench run`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlbench.commands.installed import installed_registry
from mlbench.parameters import PLUGIN_FILES, case_options, json_option, plugin_option, results_option

if TYPE_CHECKING:
    from mlbench.claims.judgement import Judgement
    from mlbench.planning.plan import Plan
    from mlbench.planning.suite import Suite
    from mlbench.records.store import Store
    from mlbench.runner import Listener

__all__ = ["check_required", "claims", "decided_plan", "findings", "require_option", "show_claims"]

require_option = click.option(
    "--require",
    "required",
    multiple=True,
    metavar="ID",
    help="Exit with code 3 unless this claim is supported.",
)


@click.command()
@click.argument("suite", type=click.Path(path_type=Path))
@case_options
@results_option
@require_option
@click.option(
    "--save", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
    help="Write what the verdicts rest on into a small file there.",
)  # fmt: skip
@click.option("--markdown", is_flag=True, help="Print Markdown.")
@json_option
def claims(
    suite: Path,
    results: Path,
    required: tuple[str, ...],
    save: Path | None,
    markdown: bool,
    as_json: bool,
    **request: Any,
) -> None:
    """Show the verdict on every claim of a SUITE, by its records. Trains nothing."""
    from mlbench.claims.evidence_files import save_evidence
    from mlbench.claims.formats import claims_json, claims_markdown, claims_text
    from mlbench.claims.looks import read_looks
    from mlbench.claims.suite_claims import claims_of_store, stored_records
    from mlbench.planning.request import PlanRequest
    from mlbench.records.store import Store

    plan = PlanRequest(**request).plan(suite, installed_registry())
    check_required(plan.suite, required)
    store = Store(results, plan.suite.name)
    if not plan.suite.claims:
        click.echo(f"note: {suite} states no claims", err=True)
    found = claims_of_store(plan, store, request["seeds"])
    if as_json:
        click.echo(claims_json(found))
    elif markdown:
        click.echo(claims_markdown(found, plan.suite.heading), nl=False)
    else:
        _print_claims(found, plan.suite.heading)
        for line in claims_text(found):
            click.echo(line)
    if save is not None:
        path = save_evidence(plan.suite, stored_records(plan, store), read_looks(store.folder), save)
        click.echo(f"{path} written", err=True)
    if not _supported(found, required):
        sys.exit(3)


@click.command()
@click.argument("suites", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--records", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True,
    help="Folder of files written by mlbench claims --save and mlbench tune show --save.",
)  # fmt: skip
@click.option("--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="File to write.")
@plugin_option
def findings(suites: tuple[Path, ...], records: Path, output: Path | None) -> None:
    """Make a page of the claims of SUITES and their verdicts, and of their tunings, in Markdown."""
    from mlbench.atomic_write import write_atomically
    from mlbench.claims.findings import findings_page
    from mlbench.tuning.findings_section import tuning_section

    registry = installed_registry()
    files = click.get_current_context().meta.get(PLUGIN_FILES, ())
    words = ["mlbench", "findings", *suites, "--records", records, *(("-o", output) if output else ())]
    words += [word for file in files for word in ("--plugin", file)]
    command = shlex.join(map(str, words))
    page = findings_page(
        suites, records, registry, command, lambda suite: tuning_section(suite, records, registry)
    )
    if output is None:
        click.echo(page, nl=False)
    else:
        write_atomically(output, page.encode())
        click.echo(f"{output} written")


def check_required(suite: Suite, required: Sequence[str]) -> None:
    """Raise UsageError for a required claim that the suite does not state."""
    from mlbench.errors import hint

    known = [claim.id for claim in suite.claims]
    for name in required:
        if name not in known:
            raise click.UsageError(
                f"--require {name}: {suite.path} states no such claim ({hint(name, known)})"
            )


def decided_plan(
    plan: Plan, store: Store, listener: Listener, most: int, limit: int | None, devices: Sequence[str] = ()
) -> Plan:
    """The plan with the seeds that were added until its claims were decided. most: seeds of a case. devices:
    as `mlbench.runner.run` has it."""
    from mlbench import runner
    from mlbench.claims.suite_claims import stored_records
    from mlbench.deciding import decide
    from mlbench.planning.plan import make_plan

    decide(
        plan,
        store,
        lambda part: runner.run(part, store, listener, measuring=False, benchmarks=False, devices=devices),
        lambda text: click.echo(text, err=True),
        most=most,
        limit=limit,
    )
    records = stored_records(plan, store)
    seeds = list(dict.fromkeys((*plan.suite.seeds, *sorted(record.seed for record in records))))
    known = {(record.case, record.seed) for record in records}
    whole = make_plan(plan.suite, plan.device, seeds=seeds, limit=limit)
    cases = tuple(case for case in whole.cases if (case.name, case.seed) in known)
    return replace(whole, cases=cases)


def show_claims(
    plan: Plan, store: Store, seeds: Sequence[int], required: Sequence[str], *, quiet: bool = False
) -> bool:
    """Print the claims of a suite after a run, and return whether every required one is supported."""
    if not plan.suite.claims:
        return True
    from mlbench.claims.formats import claims_notes
    from mlbench.claims.suite_claims import claims_of_store

    found = claims_of_store(plan, store, seeds)
    if not quiet:
        click.echo()
        _print_claims(found, "Claims")
        for note in claims_notes(found):
            click.echo(f"note: {note}", err=True)
    return _supported(found, required)


def _print_claims(judgements: Sequence[Judgement], title: str) -> None:
    from mlbench.claims.formats import claims_table
    from mlbench.table import print_table

    print_table(claims_table(judgements, title))


def _supported(judgements: Sequence[Judgement], required: Sequence[str]) -> bool:
    """Whether every required claim is supported; the others are named."""
    from mlbench.claims.judgement import Answer

    lacking = [
        each for each in judgements if each.claim.id in required and each.verdict is not Answer.SUPPORTED
    ]
    for each in lacking:
        click.echo(f"required claim {each.claim.id}: {each.verdict.value}", err=True)
    return not lacking
