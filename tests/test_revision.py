from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from conftest import TOY_SUITE

from mlbench.records.store import Store
from mlbench.regression.baseline import read_baseline
from mlbench.revision import revision_facts


def git(folder: Path, *arguments: str) -> str:
    names = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    process = subprocess.run(
        ["git", *arguments], cwd=folder, check=True, capture_output=True, text=True,
        env={**os.environ, **names},
    )  # fmt: skip
    return process.stdout.strip()


def test_the_revision_is_the_commit_of_the_folder(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.yaml").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "Add a suite\n\nWhy.")
    found = revision_facts(tmp_path)["revision"]
    assert found["commit"] == git(tmp_path, "rev-parse", "HEAD")
    assert (found["subject"], found["changed"]) == ("Add a suite", False)
    (tmp_path / "new.txt").write_text("not tracked")
    (tmp_path / "a.yaml").write_text("2")
    assert revision_facts(tmp_path / "sub")["revision"] == {**found, "changed": True}


def test_without_git_ci_names_the_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_SHA", "CI_COMMIT_SHA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    assert revision_facts(tmp_path / "a") == {}
    monkeypatch.setenv("GITHUB_SHA", "1" * 40)
    assert revision_facts(tmp_path / "b") == {"revision": {"commit": "1" * 40}}
    monkeypatch.setenv("PATH", str(tmp_path))  # no git at all
    assert revision_facts(tmp_path / "c") == {"revision": {"commit": "1" * 40}}


def test_a_record_and_its_baseline_name_the_revision_which_outdates_nothing(
    run: Callable[..., Result],
) -> None:
    git(Path(), "init", "-q")
    Path("toy.yaml").write_text(TOY_SUITE + "matrix: {neck.dim: [8]}\n")
    git(Path(), "add", "toy.yaml")
    git(Path(), "commit", "-q", "-m", "Add the toys")
    first = git(Path(), "rev-parse", "HEAD")
    for _ in range(2):
        run("run", "toy.yaml", "--device", "cpu", "--no-measure")
        (record,) = Store(Path("results"), "toy").read()[0]
        found = record.environment["revision"]
        assert (found["commit"], found["subject"], found["changed"]) == (first, "Add the toys", False)
        git(Path(), "commit", "-q", "--allow-empty", "-m", "Change nothing")
        revision_facts.cache_clear()
    run("baseline", "save", "toy", "-o", "b.json")
    (kept,) = read_baseline(Path("b.json").read_bytes(), "b.json").records
    assert kept.environment["revision"] == found
