"""What README and docs/ show works: suites load, plugins run, commands exist, links lead to files."""

from __future__ import annotations

import inspect
import json
import re
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import SkipTest

import pytest
import yaml
from conftest import TESTS, TOY_SUITE, install_plugin, mlbench

from mlbench.cli import main
from mlbench.commands.kinds import KindContract, kind_text
from mlbench.commands.listing import component_text
from mlbench.commands.prose import formula_of
from mlbench.planning.suite import load_suite
from mlbench.plugins import load_plugins
from mlbench.registry import Entry, Registry
from mlbench.testing import Check, checks

ROOT = TESTS.parent
README = (ROOT / "README.md").read_text()
PAGES = {path.stem: path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))}


@pytest.fixture(scope="module")
def generated() -> Mapping[Path, str]:
    """The generated pages, as `make docs` writes them."""
    namespace = runpy.run_path(str(ROOT / "docs" / "generate.py"))
    texts: Mapping[Path, str] = namespace["generated"]()
    return texts


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


SETTINGS = [
    pytest.param(block, id=f"{name}-{number}")
    for name, page in PAGES.items()
    if name != "first-plugin"  # a whole suite, with the component of the page
    for number, block in enumerate(blocks(page, "yaml"))
]


@pytest.mark.parametrize("page", ["README.md", "docs/components.md", "docs/kinds.md", "docs/plugins.md"])
def test_generated_text_is_that_of_the_components_now(page: str, generated: Mapping[Path, str]) -> None:
    committed = (ROOT / page).read_text(encoding="utf-8")
    assert committed == generated[ROOT / page], f"{page} is not what the components say now; run: make docs"


OURS = [entry for entry in Registry(load_plugins()) if entry.plugin.package == "mlbench"]
WITH_FORMULA = [entry for entry in OURS if entry.component.kind in ("distiller", "loss", "metric", "neck")]


@pytest.mark.parametrize("entry", WITH_FORMULA, ids=str)
def test_documentation_of_a_component_has_its_formula(entry: Entry) -> None:
    formula = formula_of(inspect.getdoc(entry.options_class) or "")
    if entry.component.name == "pml":  # any loss of a library
        return
    assert "=" in formula, "write the formula into the docstring, indented by four columns more than the text"
    assert max(map(len, formula.splitlines())) <= 76


def test_readme_is_short() -> None:
    assert len(README.splitlines()) <= 250


def test_readme_shows_the_suite_as_it_is() -> None:
    assert blocks(README, "yaml") == [(ROOT / "suites" / "smoke.yaml").read_text()]


def test_readme_links_to_every_page_and_links_lead_somewhere() -> None:
    assert all(f"(docs/{name}.md)" in README for name in PAGES)
    for folder, text in ((ROOT, README), *((ROOT / "docs", page) for page in PAGES.values())):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
            assert (folder / target).is_file(), target


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_with_a_command_that_was_run(name: str) -> None:
    title, blank, fence, command = PAGES[name].splitlines()[:4]
    assert title.startswith("# ")
    assert (blank, fence) == ("", "```console")
    assert command.startswith("$ mlbench ")


@pytest.mark.parametrize("block", SETTINGS)
def test_a_page_shows_settings_that_a_suite_can_have(block: str, registry: Registry, tmp_path: Path) -> None:
    shown = yaml.safe_load(block)
    changed = {key.partition(".")[0] for key in shown["base"]}
    dropped = {"loss"} if changed & {"losses", "recipe"} else set()
    dropped |= shown.get("matrix", {}).keys()
    base = {
        key: value for key, value in yaml.safe_load(TOY_SUITE)["base"].items() if key not in changed | dropped
    }
    suite = {"suite": "shown", **shown, "base": base | shown["base"]}
    path = tmp_path / "shown.yaml"
    path.write_text(yaml.safe_dump(suite))
    assert load_suite(path, registry).specs


def test_readme_names_every_component(registry: Registry) -> None:
    section = README.partition("## Components")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(\w+)`", section))
    ours = {entry.component.name for entry in registry if entry.plugin.package == "mlbench"}
    assert ours <= named


def test_readme_plugin_is_short_and_works(tmp_path: Path, write: Callable[..., Path]) -> None:
    (code,) = blocks(README, "python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 17
    (tmp_path / "meanmax.py").write_text(code)
    install_plugin(tmp_path / "site", "meanmax")
    env = install_plugin(tmp_path / "site", "toys", tmp_path, TESTS)
    shown = mlbench("show", "neck", "meanmax", env=env)
    assert shown.returncode == 0, shown.stderr
    assert "  dim: int, default 256\n      Width of the embeddings.\n" in shown.stdout
    choices = ("--set", "neck.name=meanmax", "--device", "cpu", "--no-measure")
    ran = mlbench("run", write(), "--results", tmp_path / "results", *choices, "--json", env=env)
    assert ran.returncode == 0, ran.stderr
    record = json.loads(ran.stdout)[0]
    assert (record["components"]["neck"]["package"], record["size"]["parameters"]) == ("meanmax", 400 + 136)


def test_readme_plugin_passes_the_checks_as_the_page_runs_them(tmp_path: Path) -> None:
    (tmp_path / "meanmax.py").write_text(blocks(README, "python")[0])
    (tmp_path / "test_meanmax.py").write_text(blocks(PAGES["plugins"], "python")[-1])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_meanmax.py"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
    assert re.search(r"^\d+ passed", ran.stdout, flags=re.MULTILINE)


@pytest.mark.parametrize("name", sorted(main.commands))
def test_readme_names_every_command(name: str) -> None:
    assert f"`mlbench {name}" in README


BEST = {"sentence": "It is so.", "case": "a", "others": ["b", "c"], "metric": "recall_at_1"}


@pytest.mark.parametrize(
    ("number", "name", "options"),
    [
        (0, "gap_hinge", {}),
        (1, "first_rank", {}),
        (2, "best", BEST),
        (3, "halved", {"inner": {"name": "supcon", "temperature": 0.2}}),
    ],
)
def test_components_of_the_page_keep_the_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, name: str, options: dict[str, Any]
) -> None:
    (tmp_path / f"{name}.py").write_text(blocks(PAGES["plugins"], "python")[number])
    monkeypatch.syspath_prepend(tmp_path)
    (component,) = import_module(name).mlbench_components()
    assert [check.name for check in checks(component, **options) if not passes(check)] == []


FIRST = PAGES["first-plugin"]


def test_first_plugin_passes_its_tests_and_its_suite_loads(
    tmp_path: Path, third_party: Callable[..., dict[str, str]]
) -> None:
    module, tests = blocks(FIRST, "python")
    third_party("circle", module)
    registry = Registry(load_plugins())
    entry = registry.get("loss", "circle")
    assert "target logit = scale * max(0, 1 + m - s) * (s - (1 - m))" in component_text(entry)

    (project,) = map(tomllib.loads, blocks(FIRST, "toml"))
    assert project["project"]["entry-points"]["mlbench"] == {"circle": "circle"}
    assert project["tool"]["setuptools"]["py-modules"] == ["circle"]

    (tmp_path / "test_circle.py").write_text(tests)
    namespace = runpy.run_path(str(tmp_path / "test_circle.py"))
    namespace["test_logits_by_hand"]()
    assert [check.name for check in checks(namespace["component"]) if not passes(check)] == []

    (suite,) = blocks(FIRST, "yaml")
    (tmp_path / "circle.yaml").write_text(suite)
    loaded = load_suite(tmp_path / "circle.yaml", registry)
    assert {spec.name for spec in loaded.specs} == {"cosface", "circle"}


def test_first_plugin_opens_with_the_contract_of_a_loss() -> None:
    shown = blocks(FIRST, "console")[0].partition("\n")[2].removesuffix("...\n")
    assert kind_text(KindContract.of("loss"), [], width=80).startswith(shown)


def passes(check: Check) -> bool:
    try:
        check()
    except AssertionError:
        return False
    except SkipTest:  # it does not apply to the component
        return True
    return True


def test_nothing_shows_a_placeholder() -> None:
    assert not [text for text in (README, *PAGES.values()) if "@@" in text]
