"""The page of findings: every claim of several suites, by their evidence files, in Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mlbench.claims.evidence_files import EvidenceFile, machine_text, read_evidence
from mlbench.claims.formats import claims_markdown
from mlbench.claims.judgement import Answer, Judgement
from mlbench.claims.suite_claims import claims_of_file
from mlbench.errors import StoreError
from mlbench.planning.document import load_document
from mlbench.planning.sizes import choose_size
from mlbench.planning.suite import Suite, read_suite
from mlbench.planning.suite_plugins import suite_registry
from mlbench.registry import Registry

__all__ = ["findings_page"]


@dataclass(frozen=True)
class _Study:
    """A suite at one size with what its evidence file says. lacking: its other sizes that were not run."""

    suite: Suite
    file: EvidenceFile
    judgements: Sequence[Judgement]
    lacking: Sequence[Suite] = ()


def findings_page(
    suites: Sequence[Path],
    folder: Path,
    registry: Registry,
    command: str,
    more: Callable[[Suite], Sequence[str]] = lambda suite: (),
) -> str:
    """The page. suites: files, each of which has an evidence file for one size at least in `folder`. command:
    that makes the page, to be named on it. more: lines that follow the claims of a suite, such as on its
    tuning. Raises StoreError, SuiteError."""
    studies = [study for path in suites for study in _studies(path, folder, registry)]
    counts = Counter(each.verdict for study in studies for each in study.judgements)
    total = ", ".join(f"{counts[verdict]} {verdict.value}" for verdict in Answer if counts[verdict])
    lines = [
        "# Findings",
        "",
        "```console",
        f"$ {command}",
        "```",
        "",
        "<!-- Made by this command; do not edit. -->",
        "",
        f"Claims of published studies, tested by the suites of this repository: {total}. A verdict is about "
        "the data and the size that stand with it: its interval is over seeds of the training, with the same "
        "images in each. What the verdicts mean: [claims.md](claims.md).",
    ]
    for study in studies:
        lines += ["", *_section(study, more(study.suite))]
    return "\n".join(lines).rstrip() + "\n"


def _studies(path: Path, folder: Path, registry: Registry) -> list[_Study]:
    """The suite at every size that has an evidence file."""
    document = load_document(path)
    registry = suite_registry(document, registry)
    found, lacking = [], []
    for size in choose_size(document).names or (None,):
        suite = read_suite(document, registry, size=size)
        file = folder / f"{suite.name}.json"
        if file.is_file():
            evidence = read_evidence(file)
            found.append(_Study(suite, evidence, claims_of_file(suite, evidence, str(file), registry)))
        else:
            lacking.append(suite)
    if not found:
        raise StoreError(
            f"{folder}: no evidence file of {path}; make one with: mlbench claims {path} --save {folder}"
        )
    found[-1] = replace(found[-1], lacking=lacking)
    return found


def _section(study: _Study, more: Sequence[str]) -> Iterator[str]:
    suite, file = study.suite, study.file
    yield claims_markdown(study.judgements, suite.heading, intro=[*_intro(suite), _made(file)]).rstrip()
    yield from more
    for other in study.lacking:
        answered = {each.claim.id for each in study.judgements if each.verdict is not Answer.NOT_MEASURABLE}
        only = [claim.id for claim in other.claims if claim.id not in answered]
        yield ""
        about = f": {other.about}" if other.about else "."
        yield f"Size {other.size} was not run{about} Only there: {', '.join(only) or 'no claim'}."


def _intro(suite: Suite) -> Iterator[str]:
    if suite.question:
        yield suite.question
    if suite.source:
        yield f"Study: {suite.source}"
    if suite.about:
        yield f"This size ({suite.size}): {suite.about}"


def _made(file: EvidenceFile) -> str:
    seeds = Counter(record.case for record in file.records if record.status == "done")
    counts = sorted(set(seeds.values()))
    several = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0] if counts else 0)
    what = f"{len(seeds)} cases, {several} seeds each"
    return machine_text(file.finished, what, file.environment, file.libraries)
