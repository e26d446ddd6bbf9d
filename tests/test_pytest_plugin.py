from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import TOY_SUITE, install_plugin

SMALL = (
    TOY_SUITE.replace("epochs: 2", "epochs: 1, workers: 0")
    + "  measure: {rounds: 2, batch_size: 4, latency: false, training: false}\n"
)


@pytest.fixture
def pytest_run(tmp_path: Path, installed_toys: dict[str, str]) -> Callable[..., Any]:
    """Run pytest in a process and a folder of its own."""
    # A process of pytest-xdist hands its place down, and pytest-benchmark would leave its files to the first.
    env = {name: value for name, value in installed_toys.items() if not name.startswith("PYTEST_")}

    def run(*arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-m", "pytest", "-p", "no:cacheprovider", *map(str, arguments)]
        return subprocess.run(
            command, cwd=tmp_path, env={**env, **more}, capture_output=True, text=True, check=False
        )

    return run


#: A stand-in for the process that measures, which one test here starts for real. Each time is another.
MEASURED = """
import itertools, mlbench.runner
from mlbench.measurement.result import Measurement
from mlbench.records.record import Timing
speeds = itertools.count(100.0)
processes = set()
def measure(cases, process, *_):
    processes.add(process)
    open("processes", "w").write(str(len(processes)))
    for case in cases:
        speed = next(speeds)
        timing = Timing(speed, (speed, speed + 0.5))
        yield case, Measurement({"images_per_second": timing}, measured={"batch_size": 4})
mlbench.runner.measure = measure
mlbench.runner.MeasuringProcess.prepare = lambda self: None
"""


def test_a_suite_is_a_file_of_benchmarks(pytest_run, write, tmp_path) -> None:
    suite = write(whole=SMALL)
    ran = pytest_run("toy.yaml", "--mlbench-device=cpu", "--benchmark-json=out.json", "--benchmark-save=x")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (found,) = json.loads((tmp_path / "out.json").read_text())["benchmarks"]
    record = stored(tmp_path)
    rounds = record["speed"]["images_per_second"]["rounds"]
    assert found["stats"]["data"] == pytest.approx([4 / speed for speed in rounds])
    assert found["extra_info"]["f1"] == record["metrics"]["f1"]["value"]
    assert found["extra_info"]["threshold"] == record["metrics"]["threshold"]["value"]
    assert found["extra_info"]["parameters"] == record["size"]["parameters"]
    assert list(tmp_path.glob(".benchmarks/*/0001_x.json"))

    (checkpoint,) = (tmp_path / "results" / "toy").glob("*/last.pt")
    stamp = checkpoint.stat().st_mtime_ns
    (tmp_path / "conftest.py").write_text(MEASURED)
    suite.write_text(suite.read_text() + "seeds: [0, 1]\n")
    compared = ("--benchmark-compare", "--benchmark-histogram=plot", "--benchmark-json=again.json")
    again = pytest_run("toy.yaml", "--mlbench-device=cpu", *compared)
    assert again.returncode == 0, again.stdout + again.stderr
    found = json.loads((tmp_path / "again.json").read_text())["benchmarks"]
    assert [each["fullname"] for each in found] == ["toy::base[0]", "toy::base[1]"]
    assert "base[0] (NOW)" in again.stdout
    assert "base[0] (0001_x)" in again.stdout
    assert (tmp_path / "processes").read_text() == "1"
    assert checkpoint.stat().st_mtime_ns == stamp  # measured, not trained
    plots = [path.read_text() for path in tmp_path.glob("plot*.svg")]
    assert any("base[0]" in plot for plot in plots)


def test_pytest_with_processes_is_refused_with_a_reason(pytest_run, write) -> None:
    write()
    ran = pytest_run("toy.yaml", "-n", "2")
    assert ran.returncode == pytest.ExitCode.USAGE_ERROR
    assert ran.stderr.strip() == (
        "ERROR: pytest -n would time cases while others run on the same cores; run suites without -n"
    )


def test_a_mistake_in_a_suite_is_one_line(pytest_run, write) -> None:
    write(whole=TOY_SUITE.replace("neck: {name: gap", "neck: {name: gpa"))
    ran = pytest_run("toy.yaml", "-q")
    assert ran.returncode == pytest.ExitCode.INTERRUPTED
    assert re.search(r"toy.yaml:6: base.neck.name: .*'gpa'", ran.stdout)
    assert "Traceback" not in ran.stdout


def test_a_size_is_chosen_for_every_suite(pytest_run, write) -> None:
    write("sizes: {cpu: {}, gpu: {seeds: [0, 1]}}\n")
    ran = pytest_run("toy.yaml", "-q", "--collect-only", "--mlbench-size=gpu", "--mlbench-device=cpu")
    assert re.findall(r"toy.yaml::(\S+)", ran.stdout) == ["base[0]", "base[1]"]
    ran = pytest_run("toy.yaml", "-q", "--mlbench-size=gpo")
    assert "toy.yaml:13: sizes: no size 'gpo' (did you mean 'gpu'?)" in ran.stdout
    assert "Traceback" not in ran.stdout


def test_a_failed_case_is_a_failed_test_in_one_line(pytest_run, write) -> None:
    write(whole=TOY_SUITE.replace("loss: {name: cosface, scale: 16, margin: 0.1}", "loss: nan"))
    ran = pytest_run("toy.yaml", "-q", "--mlbench-device=cpu")
    assert ran.returncode == pytest.ExitCode.TESTS_FAILED
    assert "\nloss 'nan' of plugin 'toys' (toys 1.0) returned nan at step 1, " in ran.stdout
    assert "Traceback" not in ran.stdout


def test_only_suites_that_are_named_are_collected(pytest_run, write, tmp_path) -> None:
    write()
    (tmp_path / "other.yaml").write_text("services: [web]\n")
    (tmp_path / "test_x.py").write_text("def test_x(): pass\n")
    (tmp_path / "test_light.py").write_text(
        "import sys\ndef test_light(): assert not {'torch', 'numpy', 'yaml'} & sys.modules.keys()\n"
    )
    ran = pytest_run()
    assert ran.returncode == 0, ran.stdout
    assert "2 passed" in ran.stdout
    assert pytest_run("other.yaml", "test_x.py").returncode == pytest.ExitCode.USAGE_ERROR


def stored(folder: Path) -> dict[str, Any]:
    (path,) = (folder / "results" / "toy").glob("*.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_a_case_without_a_time_is_no_benchmark(pytest_run, write, tmp_path) -> None:
    """Zero seconds would be the fastest of all."""
    write(whole=SMALL)
    nothing = 'Timing(None, note="out of memory at batch size 65536")'
    failing = MEASURED.replace("Timing(speed, (speed, speed + 0.5))", nothing)
    (tmp_path / "conftest.py").write_text(failing)
    ran = pytest_run("toy.yaml", "--mlbench-device=cpu", "--benchmark-json=out.json")
    assert ran.returncode == pytest.ExitCode.TESTS_FAILED, ran.stdout
    assert "out of memory at batch size 65536" in ran.stdout
    assert "Traceback" not in ran.stdout
    # Without any benchmark, pytest-benchmark writes nothing.
    assert not (tmp_path / "out.json").exists() or not (tmp_path / "out.json").read_text()


def test_disabled_benchmarks_leave_measurements_as_they_are(pytest_run, write, tmp_path) -> None:
    write(whole=SMALL)
    (tmp_path / "conftest.py").write_text(MEASURED)
    assert pytest_run("toy.yaml", "--mlbench-device=cpu").returncode == 0
    before = stored(tmp_path)
    assert pytest_run("toy.yaml", "--mlbench-device=cpu", "--benchmark-disable").returncode == 0
    assert stored(tmp_path) == before


def test_an_item_that_runs_twice_is_timed_twice(pytest_run, write, tmp_path) -> None:
    write(whole=SMALL)
    (tmp_path / "conftest.py").write_text(
        f"{MEASURED}\nimport pytest\nfrom _pytest.runner import runtestprotocol\n"
        "def pytest_runtest_protocol(item, nextitem):\n"
        "    runtestprotocol(item, nextitem=nextitem, log=False)\n"
    )
    assert pytest_run("toy.yaml", "--mlbench-device=cpu", "--benchmark-json=out.json").returncode == 0
    found = json.loads((tmp_path / "out.json").read_text())["benchmarks"]
    assert [each["stats"]["data"] for each in found] == [
        pytest.approx([4 / speed, 4 / (speed + 0.5)]) for speed in (100, 101)
    ]


@pytest.mark.parametrize("text", ['"suite": toy\nbase: {}\n', "\ufeffsuite: toy\n", "siute: toy\nbase: {}\n"])
def test_whatever_looks_like_a_suite_is_told_what_is_wrong_with_it(pytest_run, tmp_path, text) -> None:
    (tmp_path / "toy.yaml").write_text(text)
    ran = pytest_run("toy.yaml", "-q")
    assert ran.returncode == pytest.ExitCode.INTERRUPTED
    assert re.search(r"^toy.yaml:\d+: ", ran.stdout, re.MULTILINE)
    assert pytest_run("toy.yaml", "-n", "2").returncode == pytest.ExitCode.USAGE_ERROR


def test_plugins_can_be_left_out_under_pytest_too(pytest_run, write, monkeypatch) -> None:
    write()
    ran = pytest_run("toy.yaml", "-q", MLBENCH_BLOCK="toys")
    assert ran.returncode == pytest.ExitCode.INTERRUPTED
    assert "'toy'" in ran.stdout


def test_what_is_set_aside_is_noted_once(pytest_run, write, tmp_path, installed_toys) -> None:
    write()
    (tmp_path / "other.yaml").write_text((tmp_path / "toy.yaml").read_text())
    install_plugin(tmp_path / "torn", "acme_torn")
    (tmp_path / "torn" / "acme_torn.py").write_text("1 / 0")
    paths = os.pathsep.join((str(tmp_path / "torn"), installed_toys["PYTHONPATH"]))
    arguments = ("toy.yaml", "other.yaml", "-q", "--collect-only", "--mlbench-device=cpu")
    ran = pytest_run(*arguments, PYTHONPATH=paths)
    assert ran.returncode == 0, ran.stdout
    (note,) = [line for line in ran.stdout.splitlines() if "acme_torn" in line]
    assert note.startswith("note: plugin 'acme_torn' (acme_torn 1.0) is set aside: ZeroDivisionError")
