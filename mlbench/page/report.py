"""The report of a suite: its page, from the records of a run."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mlbench.atomic_write import write_atomically
from mlbench.claims.suite_claims import claims_of_store
from mlbench.errors import StoreError
from mlbench.page.context import PageContext
from mlbench.page.gather import gather_findings
from mlbench.page.images import Images
from mlbench.page.sections import add_sections, section_options
from mlbench.page.writer import PageWriter
from mlbench.planning.plan import Plan
from mlbench.planning.request import PlanRequest
from mlbench.planning.selection import Selection, suite_records
from mlbench.records.record import Record
from mlbench.records.store import Store
from mlbench.registry import Registry

__all__ = ["ReportRequest", "page_html", "plan_report", "report_path", "suite_report"]


@dataclass(frozen=True, kw_only=True)
class ReportRequest:
    """What to report. results: folder of the records. plan: as a run of the suite's file was asked for.
    output: the file, None for report.html in the folder of the suite's records. case: glob pattern of the
    cases that are shown in detail, "" for the best ones. images: whether the page may have small copies of
    the data set's images. sections: "NAME.OPTION=VALUE" texts, options of sections."""

    results: Path = Path("results")
    plan: PlanRequest = field(default_factory=PlanRequest)
    output: Path | None = None
    case: str = ""
    images: bool = True
    sections: tuple[str, ...] = ()


def report_path(store: Store) -> Path:
    """Where the page of a suite is written."""
    return store.folder / "report.html"


def suite_report(
    suite: str, request: ReportRequest, registry: Callable[[], Registry], note: Callable[[str], None]
) -> Path:
    """Write the page of a suite, by its file or by its name, and return its path.

    note: takes what the page lacks, one line each. Raises StoreError where there is no record, or the page
    cannot be written, and SuiteError for a file that cannot be planned.
    """
    found = suite_records(suite, request.results, request.plan, registry)
    store = Store(request.results, found.heading.name)
    return _write(found, store, request, registry(), note)


def plan_report(
    plan: Plan,
    records: Sequence[Record],
    store: Store,
    request: ReportRequest,
    registry: Registry,
    note: Callable[[str], None],
) -> Path:
    """Write the page of a plan that was run, and return its path. Raises StoreError."""
    from mlbench.planning.heading import Heading

    suite = plan.suite
    heading = Heading(suite.name, suite.heading, suite.path, suite.tolerances, True, suite.size)
    found = Selection(heading, tuple(records), plan=plan)
    return _write(found, store, request, registry, note)


def page_html(
    context: PageContext,
    registry: Registry,
    note: Callable[[str], None],
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:
    """The page of a suite. options: of sections, by their names."""
    writer = PageWriter(
        context.title,
        kind="mlbench report",
        cases=list(context.findings),
        images=context.images,
    )
    add_sections(writer, context, registry, note, options or {})
    return writer.html()


def _write(
    found: Selection, store: Store, request: ReportRequest, registry: Registry, note: Callable[[str], None]
) -> Path:
    options = section_options(request.sections, registry)
    context = _context(found, store, request, registry, note)
    path = request.output or report_path(store)
    write_atomically(
        path, page_html(context, registry, note, options).encode(), advice="name another file with -o"
    )
    return path


def _context(
    found: Selection, store: Store, request: ReportRequest, registry: Registry, note: Callable[[str], None]
) -> PageContext:
    plan, heading = found.plan, found.heading
    remarks = list(found.remarks)
    judgements = []
    if plan is not None and plan.suite.claims:
        try:
            judgements = claims_of_store(plan, store, request.plan.seeds)
        except StoreError as error:
            remarks.append(f"claims are not judged: {error}")
    context = PageContext(
        title=heading.title,
        question=plan.suite.question if plan else "",
        source=plan.suite.source if plan else "",
        records=found.records,
        judgements=judgements,
        tolerances=heading.tolerances or {},
        command=_command(heading.path, request) if plan else "",
        lacking=[str(each) for each in found.lacking],
        remarks=remarks,
        images=Images(shown=request.images),
    )
    ranked = list(context.rankings[0].means) if context.rankings else []
    order = dict.fromkeys(filter(None, (context.choice.case, *ranked, *(row.name for row in context.rows))))
    headline = next(iter(context.headlines), "")
    findings, text = gather_findings(found, store, list(order), headline, request.case, registry, note)
    return replace(context, findings=findings, findings_note=text)


def _command(path: Path | None, request: ReportRequest) -> str:
    """What a user types to get the records."""
    asked, words = request.plan, ["mlbench", "run", str(path)]
    if asked.size:
        words += ["--size", asked.size]
    for each in asked.overrides:
        words += ["--set", each]
    if asked.cases != "*":
        words += ["--cases", asked.cases]
    if asked.seeds:
        words += ["--seeds", ",".join(map(str, asked.seeds))]
    if asked.limit:
        words += ["--limit", str(asked.limit)]
    if asked.device != "auto":
        words += ["--device", asked.device]
    if asked.precision:
        words += ["--precision", asked.precision]
    return shlex.join(words)
