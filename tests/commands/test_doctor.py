from __future__ import annotations

from pathlib import Path

import pytest

from mlbench.commands import doctor
from mlbench.contracts import Component
from mlbench.environment import Device
from mlbench.errors import DeviceError
from mlbench.plugins import Plugin

GOOD = Plugin("good", "good", "acme", "1.0", (Component("neck", "mine", "a:b", ""),))
BROKEN = Plugin("broken", "broken", "acme", "1.0", error="ImportError: no lib", fix="install lib")


@pytest.fixture(autouse=True)
def _two_devices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A GPU that torch cannot use, and a CPU that it can."""

    def check(device: Device) -> None:
        if device.kind == "cuda":
            raise DeviceError("no CUDA build")

    monkeypatch.setattr(doctor, "devices", lambda: (Device("cuda:0", "H200"), Device("cpu", "EPYC")))
    monkeypatch.setattr(doctor, "check_torch", check)
    monkeypatch.chdir(tmp_path)


def examined(*plugins: Plugin) -> dict[str, tuple[str, str]]:
    return {each["what"]: (each["value"], each["problem"]) for each in doctor.examine(plugins)}


def test_devices_plugins_and_libraries_are_found_with_their_problems() -> None:
    found = examined(GOOD, BROKEN)
    assert found["device cuda:0"] == ("H200", "no CUDA build")
    assert found["device cpu"] == ("EPYC", "")
    assert found["plugin good"] == ("acme 1.0, components: 1", "")
    assert found["plugin broken"] == (
        "acme 1.0, components: 0",
        "plugin 'broken' (acme 1.0) is set aside: ImportError: no lib; install lib",
    )
    assert found["components"] == ("1", "")
    assert found["torch"][1] == ""
    assert found["results folder"][1] == found["cache folder"][1] == ""


def test_a_data_folder_that_is_not_there_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert examined()["MLBENCH_DATA"][1] == ""
    monkeypatch.setenv("MLBENCH_DATA", str(tmp_path / "none"))
    assert examined()["MLBENCH_DATA"] == (str(tmp_path / "none"), "no such folder")
    monkeypatch.setenv("MLBENCH_DATA", str(tmp_path))
    assert examined()["MLBENCH_DATA"] == (str(tmp_path), "")


def test_little_disk_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LOW_DISK", 10**18)
    assert examined()["results folder"][1] == "little free disk"


def test_nothing_is_created(tmp_path: Path) -> None:
    examined(GOOD)
    assert list(tmp_path.iterdir()) == []


def test_the_table_has_a_row_for_each_finding() -> None:
    findings = doctor.examine([GOOD])
    table = doctor.examination_table(findings)
    assert table.headings == ("what", "value", "problem")
    assert [row[0] for row in table.rows] == [finding["what"] for finding in findings]


def test_a_cache_that_is_a_file_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MLBENCH_CACHE", str(tmp_path / "file"))
    problems = {each["what"]: each["problem"] for each in doctor.examine(())}
    assert problems["cache folder"] == "is no folder"
