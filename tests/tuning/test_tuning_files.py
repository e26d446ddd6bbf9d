"""Tuning files: what a report rests on, read back, and its section on the page of findings."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from conftest import TOY_SUITE
from made_records import planned_record
from made_tuning import CPU
from test_outcome import SCORES, TESTS, outcome, trial

from mlbench.claims.evidence_files import save_evidence
from mlbench.errors import StoreError
from mlbench.planning.suite import load_suite
from mlbench.registry import Registry
from mlbench.tuning import report
from mlbench.tuning.findings_section import tuning_section
from mlbench.tuning.tuning_files import read_tuning_file, save_tuning

TUNE = """\
tune:
  objective: f1
  repeats: 2
  trials: 3
  source: "A page: 31 trials"
  space:
    loss.margin: {low: 0.0, high: 0.4}
"""
CLAIM = """\
seeds: [0, 1]
claims:
  small: {name: trade, sentence: It is small., case: base, at_most: {bytes: 100}}
"""
POLICY = '''\
from mlbench.plugin import Component, ThresholdOptions, hookimpl


class Mine(ThresholdOptions):
    """Always the same threshold."""

    def __call__(self, curve):
        return 0.5


@hookimpl
def mlbench_components():
    return [Component("threshold", "mine", "mine:Mine", "always the same threshold")]
'''


@pytest.mark.parametrize("repeats", [[0.5, 0.52, 0.54], []])
def test_the_report_is_the_same_from_the_file(tmp_path: Path, repeats: Sequence[float]) -> None:
    given = outcome(SCORES, TESTS, repeats)
    path = save_tuning(given, tmp_path / "new")
    assert path == tmp_path / "new" / "toy+tune.json"
    found = read_tuning_file(path).outcome
    for part in (
        report.outcome_sentences,
        report.outcome_markdown,
        report.outcome_notes,
        report.spread_table,
    ):
        assert part(found) == part(given)
    assert (found.noise, found.chance) == (given.noise, given.chance)
    assert save_tuning(given, tmp_path / "again").read_text() == path.read_text()
    assert len(path.read_text()) < 6_000


def test_without_a_result_there_is_nothing_to_save(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no trial is done"):
        save_tuning(outcome([], []), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_section_in_markdown() -> None:
    lines = report.outcome_markdown(outcome(SCORES, TESTS, [0.5, 0.52, 0.54]))
    assert lines[0] == "|  | least | lower quartile | median | upper quartile | greatest |"
    assert lines[2] == "| f1 calibration | 0.500 | 0.550 | 0.600 | 0.650 | 0.700 |"
    listed = [line.partition(":")[0] for line in lines[5:]]
    assert listed == [
        "- winner",
        "- default settings",
        "- chance",
        "- optimism",
        "- 1 of 6 trials pruned",
        "- 1 of 6 trials running",
        "- t091 failed",
    ]
    assert lines[5].endswith("0.500 [.400–.600] on test; loss.margin 0.03125, neck gem")


@pytest.mark.parametrize(
    "change",
    [
        {"tuning": 2},
        {"facts": {}},
        {"trials": [{"number": 0}]},
        {"trials": []},
        {"records": {"r0": 5}},
        {"trials": [{**asdict(trial(0, 0.5)), "objective": "high"}]},
        {"machine": 3},
    ],
)
def test_other_files_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    path = save_tuning(outcome(SCORES, TESTS), tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(StoreError, match=f"^{re.escape(str(path))}: "):
        read_tuning_file(path)


@pytest.fixture
def saved(run: Callable[..., Result], write: Callable[..., Path], registry: Registry) -> Path:
    """The suite, tuned and saved by the command line into the folder "kept", beside evidence of its claim."""
    path = write(CLAIM + TUNE, whole=TOY_SUITE + "  evaluation: {resamples: 0}\n")
    run("tune", path, "--device", "cpu")
    assert run("tune", "show", "toy", "--save", "kept").stderr == "kept/toy+tune.json written\n"
    plan = CPU.plan(path, registry)
    facts: dict[str, Any] = {"size": {"bytes": 50}, "environment": {"device": "cpu", "cpu": "x", "cores": 2}}
    save_evidence(plan.suite, [planned_record(case, **facts) for case in plan.cases], {}, Path("kept"))
    return path


def test_a_saved_tuning_is_on_the_page_of_findings(
    saved: Path, run: Callable[..., Result], registry: Registry
) -> None:
    lines = run("findings", saved, "--records", "kept").stdout.splitlines()
    start = lines.index("### tune: the best of 3 trials")
    assert lines.index("### small: supported") < start
    assert lines[start + 2] == "Trials of base vary loss.margin; f1 of the calibration split decides."
    assert "- source: A page: 31 trials" in lines
    assert "3 trials and 2 runs of the default settings, on " in lines[-1]
    suite = load_suite(saved, registry)
    assert tuning_section(suite, Path("kept"), registry) == ["", *lines[start:]]
    assert tuning_section(suite, Path("elsewhere"), registry) == []
    Path("kept/toy+tune.json").write_text("{}")
    refused = run("findings", saved, "--records", "kept", code=1).stderr
    assert refused.startswith(
        "mlbench: kept/toy+tune.json: no tuning file of schema 1; make one with: mlbench"
    )


def test_a_tuning_of_other_settings_is_refused(saved: Path, registry: Registry) -> None:
    text = saved.read_text()
    for old, new, message in (
        ("high: 0.4", "high: 0.5", "the section tune of .* was another one; tune again"),
        ("dim: 8", "dim: 12", "'base' had other settings; tune again"),
    ):
        saved.write_text(text.replace(old, new))
        with pytest.raises(StoreError, match=rf"^kept/toy\+tune\.json: {message}$"):
            tuning_section(load_suite(saved, registry), Path("kept"), registry)
    saved.write_text(text.replace("trials: 3", "trials: 31"))
    assert tuning_section(load_suite(saved, registry), Path("kept"), registry)


def test_a_tuned_case_may_have_a_component_of_a_file_that_the_suite_names(
    saved: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLBENCH_LOCAL_MODULES", "{}")
    saved.with_name("mine.py").write_text(POLICY)
    saved.write_text(
        saved.read_text().replace("threshold: best_f1", "threshold: mine") + "plugins: [mine.py]\n"
    )
    file = Path("kept/toy+tune.json")
    data = json.loads(file.read_text())
    data["settings"]["threshold"] = {"name": "mine"}
    file.write_text(json.dumps(data))
    assert tuning_section(load_suite(saved, registry), Path("kept"), registry)
