from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mlbench import environment
from mlbench.environment import Device, cache_dir, data_root, find_device, library_versions
from mlbench.errors import DeviceError

DEVICES = (Device("cuda:0", "H200"), Device("cuda:1", "A100"), Device("cpu", "EPYC"))


@pytest.mark.parametrize(
    ("wanted", "name"),
    [("auto", "cuda:0"), ("cuda", "cuda:0"), ("cuda:0", "cuda:0"), ("cuda:1", "cuda:1"), ("cpu", "cpu")],
)
def test_find_device(monkeypatch: pytest.MonkeyPatch, wanted: str, name: str) -> None:
    monkeypatch.setattr(environment, "devices", lambda: DEVICES)
    assert find_device(wanted).name == name


def test_auto_is_the_cpu_where_there_is_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "devices", lambda: DEVICES[2:])
    assert find_device("auto").kind == "cpu"


@pytest.mark.parametrize("wanted", ["cuda:2", "mps"])
def test_an_absent_device_is_named_with_those_found(monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    monkeypatch.setattr(environment, "devices", lambda: DEVICES)
    message = (
        rf"^no device '{wanted}' on this machine \(found: cuda:0, cuda:1, cpu\); use --device auto or cpu$"
    )
    with pytest.raises(DeviceError, match=message):
        find_device(wanted)


@pytest.mark.parametrize("wanted", ["gpu", "", "cuda:", "cuda:x", "CPU", "cuda:-1", "cpu\n"])
def test_an_unknown_device_is_refused(wanted: str) -> None:
    with pytest.raises(DeviceError, match=r"unknown device .* expected auto, cpu, cuda, cuda:1 or mps"):
        find_device(wanted)


def test_the_cpu_is_always_here_last_with_a_product_name() -> None:
    assert environment.devices()[-1].name == "cpu"
    assert environment.devices()[-1].product


def test_data_root_is_the_suite_s_folder_unless_it_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = tmp_path / "suites" / "s.yaml"
    assert data_root(suite) == suite.parent.resolve()
    monkeypatch.chdir(tmp_path)
    assert data_root(Path("s.yaml")) == tmp_path.resolve()
    monkeypatch.setenv("MLBENCH_DATA", "~/images")
    assert data_root(suite) == Path.home() / "images"


def test_cache_dir_follows_its_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLBENCH_CACHE", "~/c")
    assert cache_dir() == Path.home() / "c"
    monkeypatch.delenv("MLBENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "mlbench"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_dir() == Path.home() / ".cache" / "mlbench"


def test_library_versions_names_every_library_that_can_change_a_result() -> None:
    versions = library_versions()
    assert list(versions) == ["mlbench", *environment.LIBRARIES]
    assert all(version[0].isdigit() for version in versions.values())
    assert environment._version("nowhere-to-be-found") == "not installed"


def test_environment_is_plain_data() -> None:
    described = environment.environment(Device("cpu", "EPYC"), 3)
    assert (described["device"], described["device_product"], described["threads"]) == ("cpu", "EPYC", 3)
    assert described["libraries"] == library_versions()


def test_a_torch_that_cannot_be_imported_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so.13: no such file\\nmore')")
    code = (
        "from mlbench.environment import *\n"
        "from mlbench.errors import DeviceError\n"
        "try: check_torch(Device('cpu', ''))\n"
        "except DeviceError as error: print(error)\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert process.stdout == "torch cannot be imported: ImportError: libcudart.so.13: no such file\n"


def test_cache_dir_of_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("MLBENCH_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert cache_dir().name == "mlbench"
    assert cache_dir().parent.is_dir()


def test_auto_never_is_mps(monkeypatch: pytest.MonkeyPatch) -> None:
    here = (Device("mps", "M3"), Device("cpu", "M3"))
    monkeypatch.setattr(environment, "devices", lambda: here)
    assert find_device("auto").name == "cpu"
    assert find_device("mps").name == "mps"
    monkeypatch.setattr(environment, "devices", lambda: here[:1])
    with pytest.raises(DeviceError, match="'auto' on this machine"):
        find_device("auto")
