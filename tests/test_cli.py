from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import TOY_SUITE, mlbench
from stub_measuring import stub_measuring

from mlbench.cli import main
from mlbench.measurement.result import Measurement
from mlbench.records.record import Estimate, Record, Timing
from mlbench.records.store import Store

Write = Callable[..., Path]


def refused(result: Result) -> str:
    """The one line that a user is given."""
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("mlbench: ")
    return line.removeprefix("mlbench: ")


def test_commands_that_answer_at_once_import_no_torch(tmp_path: Path, installed_toys: dict[str, str]) -> None:
    """In a fresh process, where no other test has imported anything."""
    suite = tmp_path / "toy.yaml"
    suite.write_text(TOY_SUITE)
    code = f"""
import sys
from mlbench.cli import main
for command in (["--help"], ["plugins"], ["list"], ["results", "none"], ["show", "neck", "gap"],
                ["validate", {str(suite)!r}], ["plan", {str(suite)!r}], ["claims", {str(suite)!r}]):
    try:
        main(command, prog_name="mlbench")
    except SystemExit as exit:
        print("@", command[0], exit.code, *{{name.partition(".")[0] for name in sys.modules}})
"""
    process = subprocess.run(
        [sys.executable, "-c", code],
        env=installed_toys,
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    found = [line.split()[1:] for line in process.stdout.splitlines() if line.startswith("@ ")]
    assert [" ".join(each[:2]) for each in found] == [
        "--help 0",
        "plugins 0",
        "list 0",
        "results 1",
        "show 0",
        "validate 0",
        "plan 0",
        "claims 1",
    ]
    for each in found:
        assert not {"torch", "timm", "torchvision", "lightning_fabric"} & set(each)
    assert not {"numpy", "PIL", "pydantic", "rich", "yaml"} & set(found[0])


def test_help_names_every_command(run: Callable[..., Result]) -> None:
    text = run("--help").stdout
    for command in (
        "data",
        "doctor",
        "export",
        "init",
        "list",
        "match",
        "plan",
        "plugins",
        "results",
        "run",
        "show",
        "validate",
    ):
        assert f"\n  {command} " in text
        assert run(command, "--help").stdout.startswith(f"Usage: mlbench {command}")
    assert run("--version").stdout.startswith("mlbench, version ")


def test_list_shows_all_or_one_kind(run: Callable[..., Result]) -> None:
    assert "cosface" in run("list").stdout
    names = [each["name"] for each in json.loads(run("list", "neck", "--json").stdout)]
    assert names == sorted(names)
    assert "gap" in names
    assert "cosface" not in run("list", "neck").stdout
    message = "unknown kind 'nek' (did you mean 'neck'?)"
    assert refused(run("list", "nek", code=2)) == message


def test_the_core_works_without_any_component(run: Callable[..., Result], write: Write) -> None:
    assert run("--block", "*", "list").stdout.split() == [
        "kind",
        "name",
        "what",
        "it",
        "is",
        "package",
        "─" * 31,
    ]
    assert json.loads(run("--block", "*", "list", "--json").stdout) == []
    assert json.loads(run("--block", "*", "plugins", "--json").stdout) == []
    message = refused(run("--block", "*", "plan", write(), code=2))
    assert message.endswith(
        "toy.yaml:4: base.dataset: unknown dataset 'toy' (none is available); plugins that were left "
        "out may have it: augmentations, "
        "backbones, claims, datasets, distillers, losses, metrics, necks, recipes, samplers, sections, toys, "
        "trackers"
    )
    assert "gap" not in run("--block", "neck*", "list").stdout
    assert (
        CliRunner(env={"MLBENCH_BLOCK": "samplers losses"}).invoke(main, ["list", "sampler", "--json"]).stdout
        == "[]\n"
    )
    typo = run("--block", "losess", "--block", "neck*", "list", "loss", "--json")
    assert "cosface" in typo.stdout
    assert typo.stderr.splitlines() == [
        "note: no plugin has a name like 'losess', so none is blocked (did you mean 'losses'?)"
    ]


def test_show_a_component(run: Callable[..., Result]) -> None:
    assert run("show", "neck", "gap").stdout.startswith("neck gap: ")
    assert json.loads(run("show", "neck", "gap", "--json").stdout)["options"][0]["name"] == "dim"
    assert refused(run("show", "neck", "gpa", code=1)) == "unknown neck 'gpa' (did you mean 'gap'?)"
    assert refused(run("show", "nek", "gap", code=2)) == "unknown kind 'nek' (did you mean 'neck'?)"


def test_an_options_class_that_cannot_be_imported_fails_show_and_its_suite(
    run: Callable[..., Result], third_party: Callable[..., object], write: Write
) -> None:
    third_party(
        "acme_lazy",
        """
        from mlbench.plugin import Component, hookimpl
        @hookimpl
        def mlbench_components():
            return [Component("neck", "mine", "nowhere_to_be_found:mine", "")]
        """,
    )
    reason = "nowhere_to_be_found:mine: ModuleNotFoundError: No module named 'nowhere_to_be_found'"
    assert refused(run("show", "neck", "mine", code=1)).endswith(reason)
    assert "mine" in run("list").stdout
    assert refused(run("validate", write(), "--set", "neck=mine", code=2)).endswith(reason)


def test_validate_says_what_a_record_would_say_of_the_data(run: Callable[..., Result], write: Write) -> None:
    shared = "note: test may share classes with training: expect optimistic numbers"
    assert run("validate", write(), "--set", "dataset.disjoint=false").stderr.splitlines() == [shared]


def test_plan_and_validate_count_cases_and_runs(run: Callable[..., Result], write: Write) -> None:
    suite = write("seeds: [0, 1]\nmatrix:\n  neck.dim: [4, 16]\n")
    assert run("validate", suite).stdout == f"{suite}: fine; cases: 2, runs: 4\n"
    assert len(json.loads(run("plan", suite, "--json").stdout)) == 4
    lines = run("plan", suite).stdout.splitlines()
    assert len(lines) == 5
    assert lines[-1] == "duration: not known, as no such case has run on this machine"
    chosen = json.loads(run("plan", suite, "--json", "--cases", "4", "--seeds", "7,3").stdout)
    assert [(each["case"], each["seed"]) for each in chosen] == [("4", 7), ("4", 3)]


def test_a_size_is_named_with_the_others_unless_it_was_chosen(
    run: Callable[..., Result], write: Write
) -> None:
    suite = write("sizes: {cpu: {about: A look.}, gpu: {base: {neck.dim: 16}, seeds: [0, 1]}}\n")
    for command in ("plan", "validate"):
        both = ["note: size cpu: A look.", "note: other sizes: gpu (choose with --size)"]
        assert run(command, suite).stderr.splitlines() == both
        assert run(command, suite, "--size", "gpu").stderr.splitlines() == ["note: size gpu"]
    cases = json.loads(run("plan", suite, "--size", "gpu", "--json").stdout)
    assert [(case["suite"], case["seed"]) for case in cases] == [("toy-gpu", 0), ("toy-gpu", 1)]
    assert "no size 'gpo' (did you mean 'gpu'?)" in refused(run("plan", suite, "--size", "gpo", code=2))
    assert "has no sizes" in refused(run("results", write(), "--size", "gpu", code=2))
    assert "has no sizes" in refused(run("export", write(), "base", "--size", "gpu", code=2))


def test_set_and_precision_change_every_case(run: Callable[..., Result], write: Write) -> None:
    options = ("--set", "recipe.epochs=5", "--set", "image={size: 32}", "--precision", "bf16", "--json")
    (case,) = json.loads(run("plan", write(), *options).stdout)
    assert case["settings"]["recipe"]["epochs"] == 5
    assert case["settings"]["image"]["size"] == 32
    assert case["settings"]["precision"] == "bf16"


@pytest.mark.parametrize("command", ["validate", "plan", "run"])
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--set", "neck.dim"], 2, "--set neck.dim: expected key=value, such as recipe.epochs=2"),
        (
            ["--set", "neck.dmi=3"],
            2,
            "--set neck.dmi=3: unknown key 'dmi' (did you mean 'dim'?) of neck 'gap'",
        ),
        (["--cases", "zzz"], 2, "toy.yaml: no case matches 'zzz' (choose from: base)"),
        (["--device", "gpu"], 1, "unknown device 'gpu'; expected auto, cpu, cuda, cuda:1 or mps"),
        (["--device", "cuda:99"], 1, "; use --device auto or cpu"),
        (
            ["--precision", "fp16", "--device", "cpu"],
            1,
            "case 'base': fp16 needs a GPU; use --precision bf16 or fp32 on the CPU",
        ),
    ],
)
def test_wrong_choices_are_one_line_and_leave_nothing(
    run: Callable[..., Result], write: Write, command: str, arguments: list[str], code: int, message: str
) -> None:
    assert refused(run(command, write(), *arguments, code=code)).endswith(message)
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("seeds", ["a", "-1", "1,1", "", "1,", "1 2", "1.5", "4294967296", "9" * 5000])
def test_wrong_seeds_are_a_usage_error(run: Callable[..., Result], write: Write, seeds: str) -> None:
    result = run("plan", write(), "--seeds", seeds, code=2)
    message = "'--seeds': expected different whole numbers from 0 to 4294967295, such as 0,1,2\n"
    assert result.stderr.endswith(message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, ": no such suite file"),
        ("", ":1: the file is empty; expected a mapping with the keys suite, "),
        ("a: [", ":1: not valid YAML: while parsing a flow node, did not find expected node content"),
        (b"\xff", ": is not UTF-8 text (byte 0)"),
        ("suite: s\nbase:\n\tneck: gap", ":3: not valid YAML: "),
    ],
)
def test_a_wrong_file_is_one_line(
    run: Callable[..., Result], tmp_path: Path, content: str | bytes | None, message: str
) -> None:
    path = tmp_path / "s.yaml"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    for command in ("validate", "plan", "run"):
        assert f"s.yaml{message}" in refused(run(command, path, code=2))


def test_a_folder_is_no_suite(run: Callable[..., Result], tmp_path: Path) -> None:
    assert (
        refused(run("validate", tmp_path, code=2))
        == f"{tmp_path}: is a folder; expected a suite file (.yaml)"
    )


def finished(run: Callable[..., Result], suite: Path) -> list[Record]:
    """Records in results/ as if every run of the suite were done."""
    made = json.loads(run("plan", suite, "--json").stdout)
    names = ("recall_at_1", "f1", "precision", "recall", "threshold", "f1_optimistic")
    metrics = {name: Estimate(0.5, heading=name, headline=name == "recall_at_1") for name in names}
    records = [
        Record(
            suite=each["suite"],
            case=each["case"],
            seed=each["seed"],
            fingerprint=each["fingerprint"],
            status="done",
            axes=each["axes"],
            settings=each["settings"],
            metrics=metrics,
            size={"parameters": 1, "bytes": 4},
            speed={"images_per_second": Timing(9.0)},
            notes=("mind this",),
        )
        for each in made
    ]
    for record in records:
        Store(Path("results"), record.suite).put(record)
    return records


def test_run_shows_what_is_finished_and_does_not_run_it_again(
    run: Callable[..., Result], write: Write
) -> None:
    suite = write("title: Which?\nseeds: [0, 1]\nmatrix:\n  neck.dim: [4, 16]\n")
    records = finished(run, suite)
    shown = run("run", suite)
    assert shown.stdout.splitlines()[0] == "Which? (mean ± standard deviation over 2 seeds)"
    assert [line.split()[:2] for line in shown.stdout.splitlines()[3:5]] == [["4", "0.500"], ["16", "0.500"]]
    assert shown.stderr == "note: mind this\n"
    assert [
        Record.from_plain(each, "x") for each in json.loads(run("run", suite, "--json").stdout)
    ] == records


def test_run_can_measure_again_what_is_finished(
    run: Callable[..., Result], write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = write()
    finished(run, suite)
    faster = Measurement(
        {"images_per_second": Timing(99.0, (99.0,), "images/s")}, measured={"batch_size": 32}
    )
    stub_measuring(monkeypatch, faster)
    (record,) = json.loads(run("run", suite, "--measure-again", "--json").stdout)
    assert record["speed"]["images_per_second"]["value"] == 99
    assert record["metrics"]["f1"]["value"] == 0.5


def test_run_can_leave_measuring_to_a_later_run(
    run: Callable[..., Result], write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*arguments: object) -> None:
        raise AssertionError

    monkeypatch.setattr("mlbench.runner.measure", never)
    suite = write()
    (record,) = finished(run, suite)
    Store(Path("results"), record.suite).put(replace(record, speed={}))
    (kept,) = json.loads(run("run", suite, "--no-measure", "--json").stdout)
    assert (kept["fingerprint"], kept["speed"]) == (record.fingerprint, {})
    assert "contradict each other" in run("run", suite, "--no-measure", "--measure-again", code=2).stderr


def test_results_by_name_and_by_file(run: Callable[..., Result], write: Write) -> None:
    suite = write()
    finished(run, suite)
    assert run("results", "toy").stdout == run("results", suite).stdout != ""
    assert run("results", "toy", "--markdown").stdout.startswith("### toy (1 seed)\n\n| case |")
    assert len(json.loads(run("results", "toy", "--json").stdout)) == 1
    message = "no records of the suite 'toi' in results (did you mean 'toy'?); "
    message += "make some with: mlbench run SUITE.yaml"
    assert refused(run("results", "toi", code=1)) == message
    message = f"no records of the suite 'toy' in elsewhere; make some with: mlbench run {suite}"
    assert refused(run("results", suite, "--results", "elsewhere", code=1)) == message
    assert refused(run("results", "none.yaml", code=2)) == "none.yaml: no such suite file"


def test_doctor_finds_the_same_as_json(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlbench.commands.doctor.check_torch", lambda device: None)
    findings = json.loads(run("doctor", "--json").stdout)
    assert {"what": "plugin toys", "value": "toys 1.0, components: 15", "problem": ""} in findings
    assert len(run("doctor").stdout.splitlines()) == len(findings) + 2


def test_init_refuses_a_folder_without_images(run: Callable[..., Result]) -> None:
    Path("photos").mkdir()
    assert "photos: no images" in refused(run("init", "photos", code=1))
    assert [path.name for path in Path().iterdir()] == ["photos"]


def test_a_full_disk_is_one_line() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with open("/dev/full", "w") as full:
        process = subprocess.run(
            [sys.executable, "-m", "mlbench", "list"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert process.returncode in (1, 120)
    assert process.stderr.splitlines()[0] == "mlbench: [Errno 28] No space left on device"
    assert "Traceback" not in process.stderr


def test_a_reader_that_stops_reading_is_no_error() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "mlbench", "list", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    process.wait()


def test_the_installed_command_finds_an_installed_plugin(
    installed_toys: dict[str, str], tmp_path: Path
) -> None:
    result = mlbench("list", "backbone", env=installed_toys)
    assert (result.returncode, "Traceback" in result.stderr) == (0, False)
    assert "two convolutions" in result.stdout
    result = mlbench("plan", tmp_path / "none.yaml", env=installed_toys)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1] == f"mlbench: {tmp_path}/none.yaml: no such suite file"
