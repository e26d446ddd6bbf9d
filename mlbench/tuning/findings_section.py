"""The section on a suite's tuning, for the page of findings."""

from __future__ import annotations

from pathlib import Path

from mlbench.claims.evidence_files import machine_text
from mlbench.planning.suite import Suite
from mlbench.registry import Registry
from mlbench.tuning.report import outcome_markdown
from mlbench.tuning.tuning import tuning_source
from mlbench.tuning.tuning_files import check_current, read_tuning_file, tuning_path

__all__ = ["tuning_section"]


def tuning_section(suite: Suite, folder: Path, registry: Registry) -> list[str]:
    """Lines of Markdown on the tuning of a suite by its tuning file in `folder`; none where it has no file.

    Raises StoreError for a file that cannot be read or belongs to other settings.
    """
    path = tuning_path(folder, suite.name)
    if not path.is_file():
        return []
    found = read_tuning_file(path)
    check_current(found, suite, str(path), registry)
    section, outcome = found.outcome.facts["section"], found.outcome
    names = ", ".join(section["space"])
    source = tuning_source(suite.path, suite.size or None)
    repeats = len(outcome.default["calibration"])
    what = f"{len(outcome.trials)} trials and {repeats} runs of the default settings"
    return [
        "",
        f"### tune: the best of {len(outcome.trials)} trials",
        "",
        f"Trials of {section['case']} vary {names}; {outcome.objective} of the calibration split decides.",
        "",
        *([f"- source: {source}", ""] if source else []),
        *outcome_markdown(outcome),
        "",
        machine_text(
            found.machine["finished"], what, found.machine["environment"], found.machine["libraries"]
        ),
    ]
