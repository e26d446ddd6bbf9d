"""The context of a page: the records of a suite, and what follows from them, for its sections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mlbench.claims.formats import claim_facts
from mlbench.page.cases import CaseRow, case_rows
from mlbench.page.choice import Choice, choose
from mlbench.page.images import Images
from mlbench.records.record import Record, default_tolerances
from mlbench.records.report import headline_metrics, metric_headings, notes_of, protocols_of
from mlbench.regression.ranking import Ranking, rankings

if TYPE_CHECKING:
    from mlbench.claims.judgement import Judgement
    from mlbench.page.findings import CaseFindings

__all__ = ["PageContext"]


@dataclass(frozen=True)
class PageContext:
    """What a section is built of.

    title, question, source: of the suite. records: those that the page is about, of every case and seed, in
    the order of the suite. judgements: the claims of the suite with their verdicts. tolerances: of metrics,
    by name. command: what a user types to get the records. lacking: cases without a record, one line each.
    remarks: on records that are left out, one line each. findings: of single images, by case, for the cases
    that are shown in detail (see `CaseFindings`); findings_note: which cases these are. images: of the page.
    """

    title: str = ""
    question: str = ""
    source: str = ""
    records: Sequence[Record] = ()
    judgements: Sequence[Judgement] = ()
    tolerances: Mapping[str, float] = field(default_factory=dict)
    command: str = ""
    lacking: Sequence[str] = ()
    remarks: Sequence[str] = ()
    findings: Mapping[str, CaseFindings] = field(default_factory=dict)
    findings_note: str = ""
    images: Images = field(default_factory=Images)

    @cached_property
    def rows(self) -> tuple[CaseRow, ...]:
        """The cases with their values over seeds."""
        return case_rows(self.records)

    @cached_property
    def done(self) -> tuple[Record, ...]:
        """The records that have results."""
        return tuple(record for record in self.records if record.status == "done")

    @cached_property
    def headlines(self) -> Mapping[str, str]:
        """Headings of the headline metrics, by name: those for which the suite states a tolerance first."""
        return {**headline_metrics(self.records, self.tolerances), **headline_metrics(self.records)}

    @cached_property
    def metrics(self) -> Mapping[str, str]:
        """Headings of all metrics that the records have, by name, in the order of their columns; the name
        itself for one without a heading."""
        return metric_headings(self.records, self.tolerances)

    @cached_property
    def rankings(self) -> Sequence[Ranking]:
        """The rankings of the cases by each headline metric."""
        return rankings(self.records, self.headlines, {**default_tolerances(self.records), **self.tolerances})

    @cached_property
    def choice(self) -> Choice:
        """The case that the page recommends."""
        return choose(self.rankings, self.rows)

    @cached_property
    def verdicts(self) -> Sequence[Mapping[str, Any]]:
        """Each claim as text by key: id, sentence, verdict, effect, claimed, samples, p, details (lines)."""
        return [claim_facts(each) for each in self.judgements]

    @property
    def notes(self) -> Sequence[str]:
        """Notes and errors of the records, one line each."""
        return notes_of(self.records)

    @property
    def protocols(self) -> Sequence[str]:
        """What was searched by what, one line for each protocol."""
        return protocols_of(self.records)

    def higher_is_better(self, name: str) -> bool | None:
        """Whether more of a metric is better; None where neither direction is, and for what no record has."""
        return next((r.metrics[name].higher_is_better for r in self.done if name in r.metrics), None)

    def image(self, case: str, index: int) -> int | None:
        """The number of an image of a case of `findings`, to be shown by a template or a chart; None where
        the page has no images. The same image has the same number. index: as in the details."""
        found = self.findings.get(case)
        return None if found is None else self.images.number(*found.source(index))
