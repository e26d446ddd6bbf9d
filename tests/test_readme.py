"""What the README shows is true: its suite is the suite, its plugin works, its commands exist."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import TESTS, TOY_SUITE, install_plugin, mlbench

from mlbench.cli import main
from mlbench.planning.suite import load_suite
from mlbench.registry import Registry

ROOT = TESTS.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_readme_shows_the_suite_as_it_is() -> None:
    assert blocks("yaml")[0] == (ROOT / "suites" / "textimage.yaml").read_text()


@pytest.mark.parametrize("block", blocks("yaml")[1:], ids=lambda block: block.split(":")[1].strip())
def test_readme_shows_settings_that_a_suite_can_have(block: str, registry: Registry, tmp_path: Path) -> None:
    shown = yaml.safe_load(block)
    changed = {key.partition(".")[0] for key in shown["base"]}
    dropped = {"loss"} if changed & {"losses", "recipe"} else set()
    base = {
        key: value for key, value in yaml.safe_load(TOY_SUITE)["base"].items() if key not in changed | dropped
    }
    suite = {"suite": "shown", "base": base | shown["base"], "cases": shown.get("cases", {})}
    path = tmp_path / "shown.yaml"
    path.write_text(yaml.safe_dump(suite))
    assert load_suite(path, registry).specs


def test_readme_names_every_component(registry: Registry) -> None:
    section = README.partition("## What there is")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(\w+)`", section))
    ours = {entry.component.name for entry in registry if entry.plugin.package == "mlbench"}
    assert ours <= named


def test_readme_plugin_is_15_lines_and_works(tmp_path: Path, write: Callable[..., Path]) -> None:
    code = blocks("python")[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    (tmp_path / "meanmax.py").write_text(code)
    install_plugin(tmp_path / "site", "meanmax")
    env = install_plugin(tmp_path / "site", "toys", tmp_path, TESTS)
    shown = mlbench("show", "neck", "meanmax", env=env)
    assert shown.returncode == 0, shown.stderr
    assert re.search(r"dim +int +default 256", shown.stdout)
    choices = ("--set", "neck.name=meanmax", "--device", "cpu", "--no-measure")
    ran = mlbench("run", write(), "--results", tmp_path / "results", *choices, "--json", env=env)
    assert ran.returncode == 0, ran.stderr
    record = json.loads(ran.stdout)[0]
    assert (record["components"]["neck"]["package"], record["size"]["parameters"]) == ("meanmax", 400 + 136)


def test_readme_plugin_passes_the_checks_as_the_readme_runs_them(tmp_path: Path) -> None:
    (tmp_path / "meanmax.py").write_text(blocks("python")[0])
    (tmp_path / "test_meanmax.py").write_text(blocks("python")[1])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_meanmax.py"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
    assert re.search(r"^\d\d passed", ran.stdout, flags=re.MULTILINE)


@pytest.mark.parametrize("name", sorted(main.commands))
def test_readme_names_every_command(name: str) -> None:
    assert f"`mlbench {name}" in README


def test_readme_shows_no_placeholder() -> None:
    assert "@@" not in README
