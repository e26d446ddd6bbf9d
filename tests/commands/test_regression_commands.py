"""`mlbench compare`, `baseline`, `check` and `plan --power`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result
from conftest import TOY_SUITE
from made_records import BEFORE, NOISE, planned_record, scored

from mlbench.cli import main
from mlbench.planning.request import PlanRequest
from mlbench.records.record import Estimate
from mlbench.records.store import Store
from mlbench.registry import Registry


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run a command in a folder with a suite "s" whose records are worse than those in "before"."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text("suite: s\ntolerances: {recall_at_1: 0.02}\n")
    after = [value - 0.04 + noise for value, noise in zip(BEFORE, NOISE, strict=True)]
    for folder, values in (("before", BEFORE), ("results", after)):
        for record in scored(values):
            Store(Path(folder), "s").put(replace(record, finished=f"2026-01-0{record.seed + 1}"))

    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == code, result.output
        return result

    return run


def test_compare_shows_a_table(run: Callable[..., Result]) -> None:
    shown = run("compare", "before/s", "s.yaml")
    assert "before/s → s.yaml (95% intervals)" in shown.stdout
    (row,) = [line for line in shown.stdout.splitlines() if "recall_at_1" in line]
    assert row.split()[:5] == ["gap", "recall_at_1", "0.9050", "0.8650", "-0.0400"]
    assert row.endswith("0.02  worse")


def test_compare_in_other_formats(run: Callable[..., Result]) -> None:
    sides = ("compare", "before/s", "s", "--suite", "s.yaml")
    (change,) = json.loads(run(*sides, "--json").stdout)["changes"]
    assert (change["verdict"], change["samples"], change["tolerance"]) == ("worse", 4, 0.02)
    assert "| gap | recall_at_1 | 0.9050 |" in run(*sides, "--markdown").stdout


def test_compare_takes_the_level(run: Callable[..., Result]) -> None:
    widths = []
    for level in ("0.5", "0.99"):
        (change,) = json.loads(run("compare", "before/s", "s", "--level", level, "--json").stdout)["changes"]
        widths.append(change["high"] - change["low"])
    assert widths[0] < widths[1]


def test_baseline_is_saved_and_shown(run: Callable[..., Result]) -> None:
    saved = run("baseline", "save", "s.yaml", "--results", "before")
    path = Path("results/baselines/s.x.2-cores.json")
    assert str(path) in saved.stdout
    assert json.loads(path.read_text())["tolerances"] == {"recall_at_1": 0.02}
    assert "s on x, 2" in run("baseline", "show", str(path)).stdout
    assert len(json.loads(run("baseline", "show", str(path), "--json").stdout)) == 4


def test_check_exits_with_3_on_a_regression_and_0_otherwise(run: Callable[..., Result]) -> None:
    run("baseline", "save", "s.yaml", "--results", "before")
    failed = run("check", "s.yaml", code=3)
    assert failed.stdout.endswith("1 regression (1 worse)\n")
    fine = run("check", "s.yaml", "--results", "before")
    assert fine.stdout.endswith("no regression (1 same)\n")


def test_check_takes_tolerances_of_the_suite_before_those_of_the_baseline(run: Callable[..., Result]) -> None:
    run("baseline", "save", "s.yaml", "--results", "before")
    run("check", "s", code=3)
    Path("s.yaml").write_text("suite: s\ntolerances: {recall_at_1: 0.1}\n")
    run("check", "s", code=3)
    run("check", "s.yaml")


def test_check_notes_what_would_decide_inconclusive_changes(run: Callable[..., Result]) -> None:
    run("baseline", "save", "s.yaml", "--results", "before")
    for path in Path("results/s").glob("*-s[123]-*.json"):
        path.unlink()
    shown = run("check", "s.yaml")
    assert shown.stdout.endswith("no regression (1 too few samples)\n")
    assert (
        "note: gap recall_at_1: the spread over seeds is unknown with 1 seed; run 3 or more" in shown.stderr
    )


def test_check_in_other_formats(run: Callable[..., Result]) -> None:
    run("baseline", "save", "s.yaml", "--results", "before", "-o", "b.json")
    against = ("check", "s.yaml", "--baseline", "b.json", "--format")
    assert run(*against, "github", code=3).stdout.startswith(
        "::error title=mlbench s::gap recall_at_1: worse"
    )
    assert ElementTree.fromstring(run(*against, "junit", code=3).stdout).get("failures") == "1"
    assert json.loads(run(*against, "json", code=3).stdout)["regressions"] == 1
    assert run(*against, "markdown", code=3).stdout.startswith("### s against b.json")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("compare", "before/s", "nowhere"), "nowhere: not found"),
        (("check", "s", "--baseline", "s.yaml"), "s.yaml: cannot be read"),
        (("baseline", "save", "t"), "no records of the suite 't' in results (choose from: s); make"),
        (("baseline", "save", "t.yaml"), "t.yaml"),
    ],
)
def test_wrong_input_is_one_line(
    run: Callable[..., Result], arguments: tuple[str, ...], message: str
) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code in (1, 2)
    *notes, line = result.stderr.splitlines()
    assert message in line
    assert all(note.startswith("note: s: the newest records") for note in notes)


def test_plan_power_shows_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: Registry) -> None:
    monkeypatch.chdir(tmp_path)
    text = TOY_SUITE.replace("dataset: toy", "dataset: {name: textimage, classes: 4, views: 2}")
    text = text.replace("backbone: toy", "backbone: {name: timm, weights: none}").replace(
        "size: 16", "size: 64"
    )
    suite = tmp_path / "toy.yaml"
    suite.write_text(text + "tolerances: {recall_at_1: 0.02}\n")
    plan = PlanRequest(device="cpu", seeds=(0, 1, 2)).plan(suite, registry)
    for case, value in zip(plan.cases, [0.90, 0.91, 0.92], strict=True):
        metrics = {"recall_at_1": Estimate(value)}
        Store(Path("results"), "toy").put(planned_record(case, metrics=metrics))
    arguments = ["plan", "toy.yaml", "--power", "--device", "cpu"]
    shown = CliRunner().invoke(main, arguments)
    assert shown.exit_code == 0, shown.output
    (row,) = [line for line in shown.stdout.splitlines() if line.startswith("base ")]
    assert row.split() == ["base", "recall_at_1", "0.02", "3", "0.0100", "7", "-0.0245"]
    (found,) = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)
    assert found["seeds"] == 7
    (other,) = json.loads(CliRunner().invoke(main, [*arguments, "--json", "--set", "neck.dim=4"]).stdout)
    assert (other["known"], other["note"]) == (0, "spread not known: no seed has been run")


def test_compare_and_check_import_neither_torch_nor_scipy_stats(run: Callable[..., Result]) -> None:
    run("baseline", "save", "s.yaml", "--results", "before")
    for command, code in ((["compare", "before/s", "s"], 0), (["check", "s"], 3)):
        script = (
            "import sys\nfrom mlbench.cli import main\n"
            f"try: main({command})\nexcept SystemExit as end: assert end.code == {code}, end.code\n"
            "print({'torch', 'scipy.stats', 'timm'} & sys.modules.keys())"
        )
        process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert process.stdout.endswith("set()\n")


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: Registry) -> Callable[..., Path]:
    """Write a suite of the case "gap" that can be planned, and store records of it with these `values`."""
    monkeypatch.chdir(tmp_path)
    text = TOY_SUITE.replace("dataset: toy", "dataset: {name: textimage, classes: 4, views: 2}")
    text = text.replace("backbone: toy", "backbone: {name: timm, weights: none}")

    def suite(size: int, values: Sequence[float] = (), finished: str = "2026", more: str = "") -> Path:
        path = Path("toy.yaml")
        cases = "cases: {gap: {}}\nseeds: [0, 1, 2, 3]\ntolerances: {recall_at_1: 0.02}\n"
        path.write_text(text.replace("size: 16", f"size: {size}") + cases + more)
        for case in PlanRequest(device="cpu").plan(path, registry).cases[: len(values)]:
            metrics = {"recall_at_1": Estimate(values[case.seed])}
            Store(Path("results"), "toy").put(planned_record(case, metrics=metrics, finished=finished))
        return path

    return suite


def test_check_uses_the_records_of_the_current_file(suite, run: Callable[..., Result]) -> None:
    """A later run at size 112 does not count for a file with size 64."""
    worse, good = [value - 0.1 for value in BEFORE], BEFORE
    for name, at_64, at_112, code in (("passes", worse, good, 3), ("blames", good, worse, 0)):
        suite(112, good)
        run("baseline", "save", "toy.yaml", "-o", f"{name}.json", "--device", "cpu")
        suite(112, at_112, finished="2027")
        suite(64, at_64, finished="2026")
        shown = run("check", "toy.yaml", "--baseline", f"{name}.json", "--device", "cpu", code=code)
        assert ("1 worse" in shown.stdout) == (code == 3)
        table = run("results", "toy.yaml", "--device", "cpu", "--json")
        assert [each["metrics"]["recall_at_1"]["value"] for each in json.loads(table.stdout)] == at_64
        overridden = run("results", "toy.yaml", "--device", "cpu", "--json", "--set", "image.size=112")
        assert [e["metrics"]["recall_at_1"]["value"] for e in json.loads(overridden.stdout)] == at_112


def test_a_size_has_its_own_records_and_tolerances(
    suite, run: Callable[..., Result], registry: Registry
) -> None:
    sizes = "sizes: {cpu: {}, gpu: {base: {image.size: 32}, tolerances: {recall_at_1: 0.2}}}\n"
    path = suite(64, more=sizes)
    for name, change in (("cpu", 0.0), ("gpu", 0.1)):
        plan = PlanRequest(device="cpu", size=name)
        for case in plan.plan(path, registry).cases:
            metrics = {"recall_at_1": Estimate(BEFORE[case.seed] + change)}
            Store(Path("results"), f"toy-{name}").put(planned_record(case, metrics=metrics))
    shown = run("results", "toy.yaml", "--size", "gpu", "--device", "cpu")
    assert "toy-gpu" in shown.stdout
    saved = run("baseline", "save", "toy.yaml", "--size", "gpu", "-o", "b.json", "--device", "cpu")
    assert "check with: mlbench check toy.yaml --size gpu --baseline b.json" in saved.stdout
    checked = run("check", "toy.yaml", "--size", "gpu", "--baseline", "b.json", "--device", "cpu")
    assert "toy-gpu against b.json" in checked.stdout
    assert "0.2 " in checked.stdout
    compared = run("compare", "results/toy-cpu", "results/toy-gpu", "--suite", "toy.yaml", "--size", "gpu")
    assert "+0.1000" in compared.stdout
    assert "--size is for suite files" in run("compare", "a", "b", "--size", "cpu", code=2).stderr


def test_check_fails_on_cases_and_seeds_without_a_record(suite, run: Callable[..., Result]) -> None:
    suite(64, BEFORE[:3])
    saved = run("baseline", "save", "toy.yaml", "-o", "b.json", "--device", "cpu")
    assert saved.stderr.splitlines() == [
        "note: gap seed 3: no record; left out",
        "note: 3 records have no measured speed, so their speed is not watched",
    ]
    check = ("check", "toy.yaml", "--baseline", "b.json", "--device", "cpu")
    shown = run(*check, code=3)
    assert shown.stdout.endswith("gap: missing (1 of 4 seeds: no record)\n1 regression (1 same; 1 missing)\n")
    run(*check, "--seeds", "0,1,2")
    text = Path("toy.yaml").read_text()
    Path("toy.yaml").write_text(text.replace("cases: {gap: {}}", "cases: {gap: {}, new: {neck.dim: 4}}"))
    shown = run(*check, "--seeds", "0,1,2", code=3)
    assert shown.stdout.endswith("new: missing (no record)\n1 regression (1 same; 1 missing)\n")
    assert run("results", "toy.yaml", "--device", "cpu", "--seeds", "0,1,2").stderr.startswith(
        "note: new seed 0: no record\nnote: new seed 1: no record\n"
    )


def test_compare_notes_different_conditions(run: Callable[..., Result]) -> None:
    for folder, threads in (("before", 1), ("results", 2)):
        for record in scored(BEFORE):
            conditions = {"core": folder, "threads": threads, "libraries": {"torch": "2.15"}}
            Store(Path(folder), "s").put(replace(record, conditions=conditions))
    notes = run("compare", "before/s", "results/s").stderr.splitlines()
    assert "note: the sides differ in code of mlbench" in notes
    assert "note: the sides differ in threads (1 then, 2 now; see OMP_NUM_THREADS)" in notes
    assert len(notes) == 2
    run("baseline", "save", "s", "--results", "before", "-o", "b.json")
    assert "threads (1 then, 2 now; see OMP_NUM_THREADS)" in run("check", "s", "--baseline", "b.json").stderr


def test_a_missing_case_is_shown(run: Callable[..., Result]) -> None:
    renamed = [replace(record, case="new", finished="2026") for record in scored(BEFORE)]
    for record in renamed:
        Store(Path("later"), "s").put(record)
    run("baseline", "save", "s.yaml", "--results", "before", "-o", "b.json")
    shown = run("check", "s.yaml", "--baseline", "b.json", "--results", "later", code=3)
    assert shown.stdout.endswith("gap: missing (no record)\n1 regression (1 missing)\n")
    assert "no metric is watched" not in shown.stderr


def test_a_level_that_is_no_number_is_refused(run: Callable[..., Result]) -> None:
    assert "nan is not a finite number" in run("compare", "before/s", "s", "--level", "nan", code=2).stderr
    assert "(99.5% intervals)" in run("compare", "before/s", "s", "--level", "0.995").stdout
