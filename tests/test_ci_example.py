"""The workflow in docs/, as far as it can be tried without GitHub."""

from __future__ import annotations

import re
import shlex

import pytest
import yaml
from conftest import TESTS

from mlbench.cli import main

WORKFLOW = yaml.safe_load((TESTS.parent / "docs" / "ci.yml").read_text())
STEPS = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]
COMMANDS = [
    line.replace("$SUITE", WORKFLOW["env"]["SUITE"]).replace("$SEEDS", WORKFLOW["env"]["SEEDS"])
    for step in STEPS
    for line in step.get("run", "").splitlines()
    if line.startswith("mlbench ")
]


def test_there_is_a_gate_and_a_job_for_its_baseline() -> None:
    assert WORKFLOW["jobs"].keys() == {"gate", "baseline"}
    assert {shlex.split(line)[1] for line in COMMANDS} == {"run", "check", "baseline"}
    assert "GITHUB_STEP_SUMMARY" in str(STEPS)


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_is_one_that_mlbench_has(line: str) -> None:
    _, name, *arguments = shlex.split(re.split(r">|\|\|", line)[0])
    command = main.commands[name]
    with command.make_context(name, arguments):
        pass


def test_its_suite_is_here() -> None:
    assert (TESTS.parent / WORKFLOW["env"]["SUITE"]).is_file()
