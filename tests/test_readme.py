"""What the README shows is true: its suite is the suite, its plugin works, its commands exist."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import TESTS, install_plugin, mlbench

from mlbench.cli import main

ROOT = TESTS.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_readme_shows_the_suite_as_it_is() -> None:
    assert blocks("yaml")[0] == (ROOT / "suites" / "textimage.yaml").read_text()


def test_readme_plugin_is_15_lines_and_works(tmp_path: Path, write: Callable[..., Path]) -> None:
    code = blocks("python")[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    (tmp_path / "meanmax.py").write_text(code)
    install_plugin(tmp_path / "site", "meanmax")
    env = install_plugin(tmp_path / "site", "toys", tmp_path, TESTS)
    shown = mlbench("show", "neck", "meanmax", env=env)
    assert shown.returncode == 0, shown.stderr
    assert re.search(r"dim +int +default 256", shown.stdout)
    choices = ("--set", "neck.name=meanmax", "--device", "cpu")
    ran = mlbench("run", write(), "--results", tmp_path / "results", *choices, "--json", env=env)
    assert ran.returncode == 0, ran.stderr
    record = json.loads(ran.stdout)[0]
    assert (record["components"]["neck"]["package"], record["size"]["parameters"]) == ("meanmax", 400 + 136)


@pytest.mark.parametrize("name", sorted(main.commands))
def test_readme_names_every_command(name: str) -> None:
    assert f"`mlbench {name}" in README


def test_readme_shows_no_placeholder() -> None:
    assert "@@" not in README
