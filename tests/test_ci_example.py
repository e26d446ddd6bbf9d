"""The workflow in docs/, as far as it can be tried without GitHub."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import Result
from conftest import TESTS
from made_records import record

from mlbench.cli import main
from mlbench.records.store import Store

WORKFLOW = yaml.safe_load((TESTS.parent / "docs" / "ci.yml").read_text())
STEPS = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]
COMMANDS = [
    line.replace("$SUITE", WORKFLOW["env"]["SUITE"]).replace("$SEEDS", WORKFLOW["env"]["SEEDS"])
    for step in STEPS
    for line in step.get("run", "").splitlines()
    if line.startswith("mlbench ")
]


def test_there_is_a_gate_a_job_for_its_baseline_and_one_for_the_history() -> None:
    assert WORKFLOW["jobs"].keys() == {"gate", "baseline", "history"}
    assert {shlex.split(line)[1] for line in COMMANDS} == {"run", "check", "baseline", "publish"}
    assert "GITHUB_STEP_SUMMARY" in str(STEPS)


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_is_one_that_mlbench_has(line: str) -> None:
    _, name, *arguments = shlex.split(re.split(r">|\|\|", line)[0])
    command = main.commands[name]
    with command.make_context(name, arguments):
        pass


def test_its_suite_is_here() -> None:
    assert (TESTS.parent / WORKFLOW["env"]["SUITE"]).is_file()


def test_the_site_has_this_run_and_the_earlier_ones(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "checkout").mkdir()
    monkeypatch.chdir(tmp_path / "checkout")
    (Path("earlier") / "12").mkdir(parents=True)  # a run without records
    for number, folder in enumerate(("earlier/10", "earlier/11", "results")):
        Store(Path(folder), "s").put(record(finished=f"2026-01-0{number + 1}", size={"parameters": 5}))
    (line,) = [line for line in COMMANDS if line.startswith("mlbench publish")]
    result = run(*shlex.split(line)[1:])
    assert result.exit_code == 0, result.output
    assert "s: 1 case, 3 runs" in result.stdout
    upload = next(step for step in STEPS if "upload-pages-artifact" in step.get("uses", ""))
    assert Path(upload["with"]["path"], "index.html").is_file()
