"""`mlbench data`, with a third party's data sets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mlbench.cli import main

ACME = """
from dataclasses import dataclass
from pathlib import Path
from mlbench.plugin import Component, DataCheck, DataError, DatasetOptions, PartCount, hookimpl

@dataclass
class Boxes:
    folder: Path
    home: str = "https://acme.example/boxes"
    licence: str = "CC0"
    size: int = 1_500_000

    @property
    def instructions(self):
        return f"put box.txt into {self.folder}"

    def state(self):
        return "ready" if (self.folder / "box.txt").exists() else "missing"

    def check(self, progress):
        progress("looking", 0, 1)
        if self.state() == "missing":
            return DataCheck((), (self.instructions,))
        found = len((self.folder / "box.txt").read_text())
        return DataCheck([PartCount("test", 2, found, 2, 3)], [] if found == 3 else ["test: too few"])

    def fetch(self, progress):
        progress("downloading", 1, 2)
        if not self.folder.parent.is_dir():
            raise DataError("no network")
        self.folder.mkdir()
        (self.folder / "box.txt").write_text("abc")

@dataclass
class Secret(Boxes):
    fetch: None = None

class Free(DatasetOptions):
    def build(self, context):
        return context

class BoxesOptions(Free):
    @classmethod
    def source(cls, root):
        return Boxes(root / "boxes")

class SecretOptions(Free):
    @classmethod
    def source(cls, root):
        return Secret(root / "secret")

@hookimpl
def mlbench_components():
    return [Component("dataset", "acme_boxes", "acme_data:BoxesOptions", ""),
            Component("dataset", "acme_secret", "acme_data:SecretOptions", ""),
            Component("dataset", "acme_free", "acme_data:Free", "")]
"""


@pytest.fixture
def data(
    third_party: Callable[..., dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """`mlbench data` in this process, in an empty folder, with the third party's data sets alone."""
    third_party("acme_data", ACME)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("MLBENCH_BLOCK", "datasets")

    def data(*arguments: object, code: int = 0) -> Result:
        result = CliRunner().invoke(main, ["data", *map(str, arguments)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        assert result.exit_code == code, result.output
        return result

    return data


def test_list_says_what_is_here(data: Callable[..., Result], tmp_path: Path) -> None:
    before = json.loads(data("list", "--json").stdout)
    assert [(each["name"], each["state"]) for each in before] == [
        ("acme_boxes", "missing"),
        ("acme_secret", "missing"),
    ]
    assert before[0] == {
        "name": "acme_boxes",
        "state": "missing",
        "size": 1_500_000,
        "licence": "CC0",
        "home": "https://acme.example/boxes",
        "folder": str(tmp_path / "work" / "boxes"),
        "instructions": f"put box.txt into {tmp_path / 'work' / 'boxes'}",
    }
    data("fetch", "acme_boxes")
    lines = data("list").stdout.splitlines()
    assert lines[0].split() == ["data", "set", "state", "MB", "licence", "folder"]
    assert lines[2].split() == ["acme_boxes", "ready", "2", "CC0", str(tmp_path / "work" / "boxes")]
    assert lines[3].split()[:2] == ["acme_secret", "missing"]


def test_the_root_is_an_option_or_an_environment_variable(
    data: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLBENCH_DATA", str(tmp_path / "named"))
    assert json.loads(data("list", "--json").stdout)[0]["folder"] == str(tmp_path / "named" / "boxes")
    found = json.loads(data("list", "--root", "here", "--json").stdout)
    assert found[0]["folder"] == str(tmp_path / "work" / "here" / "boxes")
    assert list(Path().iterdir()) == []


def test_fetch_says_what_it_does_and_what_is_next(data: Callable[..., Result], tmp_path: Path) -> None:
    folder = tmp_path / "work" / "boxes"
    result = data("fetch", "acme_boxes")
    assert result.stdout == (
        f"acme_boxes: ready in {folder}; next: mlbench data check acme_boxes --root {folder.parent}\n"
    )
    assert result.stderr == (
        "acme_boxes: https://acme.example/boxes; licence: CC0\nacme_boxes: downloading\n"
    )
    again = data("fetch", "acme_boxes")
    assert (again.stdout, "downloading" in again.stderr) == (result.stdout, False)


def test_fetch_that_fails_is_one_line_and_code_1(data: Callable[..., Result]) -> None:
    result = data("fetch", "acme_boxes", "--root", "nowhere", code=1)
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1] == "mlbench: no network"
    result = data("fetch", "acme_secret", code=1)
    assert result.stderr.splitlines()[-1] == (
        f"mlbench: acme_secret cannot be fetched: put box.txt into {Path.cwd() / 'secret'} (licence: CC0)"
    )


def test_check_counts_and_its_code_says_whether_all_is_well(data: Callable[..., Result]) -> None:
    missing = data("check", "acme_boxes", code=1)
    assert missing.stdout == ""
    problem = f"put box.txt into {Path.cwd() / 'boxes'}"
    assert missing.stderr == f"acme_boxes: looking\nmlbench: acme_boxes: {problem}\n"
    data("fetch", "acme_boxes")
    fine = data("check", "acme_boxes")
    assert fine.stdout.splitlines()[-1].split() == ["test", "2", "2", "3", "3"]
    assert fine.stderr == "acme_boxes: looking\nacme_boxes: fine\n"
    Path("boxes/box.txt").write_text("ab")
    spoilt = data("check", "acme_boxes", "--json", code=1)
    assert json.loads(spoilt.stdout) == {
        "name": "acme_boxes",
        "folder": str(Path.cwd() / "boxes"),
        "parts": [{"part": "test", "classes": 2, "images": 2, "published_classes": 2, "published_images": 3}],
        "problems": ["test: too few"],
    }
    assert spoilt.stderr.endswith("mlbench: acme_boxes: test: too few\n")


@pytest.mark.parametrize("command", ["fetch", "check"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "acme_box",
            "unknown dataset 'acme_box' (did you mean 'acme_boxes'?); plugins that were left out may have "
            "it: datasets",
        ),
        (
            "acme_free",
            "the data set 'acme_free' has no files to fetch; these have: acme_boxes, acme_secret",
        ),
    ],
)
def test_a_wrong_name_is_one_line_and_code_1(
    data: Callable[..., Result], command: str, name: str, message: str
) -> None:
    result = data(command, name, code=1)
    assert (result.stdout, result.stderr) == ("", f"mlbench: {message}\n")


def test_data_commands_import_no_torch(third_party: Callable[..., dict[str, str]], tmp_path: Path) -> None:
    environment = third_party("acme_data", ACME)
    environment["PYTHONPATH"] = os.pathsep.join([environment["PYTHONPATH"], *sys.path])
    code = """
import sys
from mlbench.cli import main
for command in (["list"], ["list", "--json"], ["fetch", "acme_boxes"], ["check", "acme_boxes"]):
    try:
        main(["data", *command], prog_name="mlbench")
    except SystemExit as exit:
        print("@", exit.code, {"torch", "timm", "torchvision"} & sys.modules.keys())
"""
    process = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert [line for line in process.stdout.splitlines() if line[0] == "@"] == ["@ 0 set()"] * 4
