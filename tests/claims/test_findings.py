"""The page of findings, from evidence files alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from conftest import TESTS
from made_records import planned_record

from mlbench.claims.evidence_files import save_evidence
from mlbench.claims.findings import findings_page
from mlbench.errors import StoreError
from mlbench.planning.plan import Plan
from mlbench.plugins import load_plugins
from mlbench.records.record import Estimate
from mlbench.registry import Registry
from mlbench.tuning.findings_section import tuning_section

MORE = """\
title: Heads
question: Which one?
source: A page
matrix:
  neck.name: [gap, squeeze]
seeds: [0, 1, 2]
claims:
  larger:
    name: better
    sentence: Squeeze is better.
    source: A table
    caveat: Toys.
    case: squeeze
    than: gap
    metric: recall_at_1
    by: 0.1
    differ: [neck]
"""


def evidence(plan: Plan, folder: Path, gain: float = 0.3) -> None:
    records = [
        planned_record(
            case,
            metrics={"recall_at_1": Estimate(0.4 + (gain + 0.01 * case.seed) * (case.name == "squeeze"))},
            environment={"cpu": "x", "cores": 2, "device": "cpu"},
        )
        for case in plan.cases
    ]
    save_evidence(plan.suite, records, {}, folder)


def test_page_has_every_claim_with_its_verdict_and_its_words(
    planned: Callable[..., Plan], registry: Registry, tmp_path: Path
) -> None:
    plan = planned(MORE)
    evidence(plan, tmp_path / "kept")
    page = findings_page([plan.suite.path], tmp_path / "kept", registry, "the command")
    lines = page.splitlines()
    assert lines[:4] == ["# Findings", "", "```console", "$ the command"]
    assert "## Heads" in lines
    assert "Which one?" in lines
    assert "Study: A page" in lines
    assert "### larger: supported" in lines
    assert {"Squeeze is better.", "- source: A table", "- caveat: Toys."} <= {*lines}
    assert any("0.310" in line and "3 seeds" in line for line in lines)
    assert "2 cases, 3 seeds each, on x, 2 cores" in page


def test_page_refuses_evidence_of_other_settings(
    planned: Callable[..., Plan], registry: Registry, tmp_path: Path
) -> None:
    evidence(planned(MORE), tmp_path / "kept")
    path = planned(MORE).suite.path
    path.write_text(path.read_text().replace("dim: 8", "dim: 12"))
    with pytest.raises(StoreError, match=r"toy\.json: 'gap' had other settings; run the suite again"):
        findings_page([path], tmp_path / "kept", registry, "the command")


def test_page_needs_an_evidence_file_of_every_suite(
    planned: Callable[..., Plan], registry: Registry, tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match=r"no evidence file of .*toy\.yaml; make one with: mlbench claims"):
        findings_page([planned(MORE).suite.path], tmp_path, registry, "the command")


def test_page_names_sizes_that_were_not_run(
    planned: Callable[..., Plan], registry: Registry, tmp_path: Path
) -> None:
    more = """\
sizes:
  small: {claims: {larger: null}}
  large: {about: The rest., claims: {wider: {name: trade, sentence: Wide., case: gap, at_most: {bytes: 1.0}}}}
"""
    plan = planned(MORE + more)
    evidence(plan, tmp_path / "kept")
    page = findings_page([plan.suite.path], tmp_path / "kept", registry, "the command")
    assert "## Heads, size small" in page
    assert "Size large was not run: The rest. Only there: larger, wider." in page.splitlines()


def test_the_page_of_findings_in_docs_is_that_of_the_committed_evidence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(TESTS.parent)
    page = Path("docs/findings.md").read_text()
    (command,) = re.findall(r"^\$ (mlbench findings .*)$", page, re.MULTILINE)
    suites = [Path(word) for word in command.split() if word.endswith(".yaml")]
    assert suites == sorted(Path("suites").glob("study*.yaml"))
    folder, registry = Path("results/studies"), Registry(load_plugins())
    made = findings_page(
        suites, folder, registry, command, lambda suite: tuning_section(suite, folder, registry)
    )
    assert made == page, f"docs/findings.md is stale; run: {command}"


def test_the_page_names_the_command_with_its_plugins(
    planned: Callable[..., Plan], tmp_path: Path, run: Callable[..., Result]
) -> None:
    plan = planned(MORE)
    evidence(plan, tmp_path / "the records")
    file = tmp_path / "mine.py"
    file.write_text(
        "from mlbench.plugin import hookimpl\n\n\n@hookimpl\ndef mlbench_components():\n    return []\n"
    )
    told = ("findings", plan.suite.path, "--records", tmp_path / "the records", "--plugin", file)
    page = run(*told).stdout
    assert (
        f"$ mlbench findings {plan.suite.path} --records '{tmp_path}/the records' --plugin {file}\n" in page
    )
