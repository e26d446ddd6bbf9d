"""Plugins of one file: named on the command line or in a suite, in every process, with their own hash."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import TESTS, TOY_SUITE, install_plugin, mlbench

from mlbench.cli import main
from mlbench.environment import Device
from mlbench.errors import SuiteError
from mlbench.local_modules import file_hash
from mlbench.planning.plan import make_plan
from mlbench.planning.plugin_code import raised_in
from mlbench.planning.suite import load_suite
from mlbench.plugin_files import FILE_PACKAGE, PluginFile, add_plugin_files
from mlbench.plugins import Plugin
from mlbench.provenance import code_hash
from mlbench.registry import Registry

LOSS = '''\
from mlbench.plugin import Component, LossOptions, hookimpl


class Mine(LossOptions):
    """Mean square of the embeddings."""

    factor: float = 2.0
    """Factor."""

    def build(self, context):
        return self

    def __call__(self, embeddings, labels):
        return self.factor * embeddings.square().mean()


@hookimpl
def mlbench_components():
    return [Component("loss", "mine", "mine:Mine", "mean square of the embeddings")]
'''
SPLIT = """
class Pixels:
    def __getitem__(self, index):
        return index
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plugin of one file in the working folder."""
    monkeypatch.setenv("MLBENCH_LOCAL_MODULES", "{}")
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.py"
    path.write_text(LOSS)
    return path


def added(path: Path, *plugins: Plugin) -> Plugin:
    return add_plugin_files(plugins, [PluginFile(path, "here")])[-1]


def problem(path: Path, code: str) -> str:
    """What is said of a file with this code."""
    path.write_text(code)
    with pytest.raises(SuiteError) as raised:
        added(path)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def cli(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_a_file_is_a_plugin_whose_version_is_its_hash(file: Path) -> None:
    plugin = added(file)
    entry = Registry((plugin,)).get("loss", "mine")
    assert (plugin.package, plugin.error, plugin.name) == (FILE_PACKAGE, "", str(file))
    assert entry.provenance == {"package": FILE_PACKAGE, "version": plugin.version, "code": plugin.version}
    assert entry.make({"factor": 3.0}).factor == 3.0
    assert entry.options[0].description == "Factor."
    file.write_text(LOSS.replace("2.0", "4.0"))
    changed = added(file)
    assert changed.version != plugin.version
    assert Registry((changed,)).get("loss", "mine").make({}).factor == 4.0
    assert entry.make({}).factor == 2.0


def test_a_file_is_named_without_double_brackets(file: Path) -> None:
    plugin = added(file)
    assert str(plugin) == f"plugin '{file}' (file {plugin.version})"


@pytest.mark.parametrize("target", ["my-loss", "my_loss"])
def test_a_file_whose_name_is_no_identifier_may_call_itself_either_way(file: Path, target: str) -> None:
    other = file.with_name("my-loss.py")
    other.write_text(LOSS.replace("mine:Mine", f"{target}:Mine"))
    assert Registry((added(other),)).get("loss", "mine").make({}).factor == 2.0


def test_the_hash_is_the_same_in_every_folder(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "mine.py"
    other.parent.mkdir()
    other.write_text(LOSS)
    assert added(file).version == added(other).version
    assert added(file).target != added(other).target


def test_two_files_of_one_stem_do_not_clash(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "mine.py"
    other.parent.mkdir()
    other.write_text(LOSS.replace('"loss", "mine"', '"loss", "other"').replace("2.0", "9.0"))
    found = Registry(add_plugin_files((), [PluginFile(file, "a"), PluginFile(other, "b")]))
    assert (found.get("loss", "mine").make({}).factor, found.get("loss", "other").make({}).factor) == (2, 9)


def test_a_file_that_is_named_twice_is_loaded_once(file: Path) -> None:
    twice = [PluginFile(file, "a"), PluginFile(Path(os.path.relpath(file)), "b")]
    assert len(add_plugin_files((), twice)) == 1


def test_a_component_of_another_plugin_is_refused(file: Path, registry: Registry) -> None:
    file.write_text(LOSS.replace('"loss", "mine"', '"loss", "cosface"'))
    with pytest.raises(SuiteError, match=r"registers the loss 'cosface', which plugin 'losses' \(mlbench "):
        added(file, *registry.plugins)


def test_nothing_is_written_beside_the_file_and_its_folder_is_no_place_to_import_from(file: Path) -> None:
    added(file)
    assert [path.name for path in file.parent.iterdir()] == ["mine.py"]
    assert str(file.parent) not in sys.path


@pytest.mark.parametrize(
    ("code", "line", "said"),
    [
        ("\n\nx = 1 +\n", 3, "SyntaxError: invalid syntax"),
        ("import os\nimport no_such_module\n", 2, "No module named 'no_such_module'"),
        ("def f():\n    raise KeyError('why')\n\nf()\n", 2, "KeyError: 'why'"),
        ("raise SystemExit(3)\n", 1, "SystemExit: 3"),
        ("x = 1\n", 1, "mark mlbench_components with mlbench.plugin.hookimpl"),
        (LOSS.replace("@hookimpl\n", ""), 17, "mark mlbench_components with mlbench.plugin.hookimpl"),
        ("MLBENCH_CONTRACT = 99\n" + LOSS, 18, "contract 99"),
        (LOSS.replace('"loss", "mine"', '"lost", "mine"'), 17, "did you mean 'loss'?"),
    ],
)
def test_a_file_that_is_no_plugin_is_named_with_its_line(file: Path, code: str, line: int, said: str) -> None:
    message = problem(file, code)
    assert message.startswith(f"here: {file}:{line}: ")
    assert said in message


def test_an_import_of_a_file_beside_it_is_answered_with_a_package(file: Path) -> None:
    (file.parent / "helper.py").write_text("raise RuntimeError('was run')\n")
    assert problem(file, "import helper\n").endswith("make a package: mlbench plugin new NAME")


@pytest.mark.parametrize(
    ("name", "said"),
    [("none.py", "here: no such file: "), ("a.txt", "not a Python file"), ("folder", "pip install -e")],
)
def test_what_is_no_python_file_is_refused(file: Path, name: str, said: str) -> None:
    (file.parent / "folder").mkdir()
    (file.parent / "a.txt").touch()
    with pytest.raises(SuiteError, match=said):
        added(file.parent / name)


def test_other_processes_import_the_file(file: Path) -> None:
    file.write_text(LOSS + SPLIT)
    module = sys.modules[added(file).target]
    data = pickle.dumps((module.Pixels(), module.Mine(factor=5.0)))
    program = (
        "import pickle, sys; split, loss = pickle.load(sys.stdin.buffer); print(split[7], loss.factor)\n"
        "print(loss.__class__.__module__)"
    )
    done = subprocess.run([sys.executable, "-c", program], input=data, capture_output=True, check=True)
    assert done.stdout.decode().split() == ["7", "5.0", module.__name__]


def test_another_process_refuses_a_file_that_has_changed_since(file: Path) -> None:
    module = added(file).target
    file.write_text(LOSS + "# edited\n")
    done = subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True, text=True)
    assert f"{file} has changed since the command started" in done.stderr


def test_the_hash_of_a_file_is_not_that_of_a_module_beside_it(file: Path) -> None:
    plugin = added(file)
    assert code_hash(plugin.target) == plugin.version
    assert code_hash("mlbench.local_modules") != plugin.version


@pytest.mark.parametrize("before", [True, False])
def test_commands_take_the_file_before_or_after_their_name(file: Path, before: bool) -> None:
    option = ("--plugin", "mine.py")
    for command in (("show", "loss", "mine"), ("list", "loss"), ("plugins",)):
        shown = cli(*option, *command) if before else cli(*command, *option)
        assert shown.exit_code == 0, shown.output
        assert "mine" in shown.stdout
        assert FILE_PACKAGE in shown.stdout
    assert cli("show", "loss", "mine").exit_code == 1


COMMANDS = """
    run, results, validate, plan, claims, findings, export, check, compare, baseline save, tune run,
    tune show, evaluate, advise, list, show, plugins, plugins doctor, doctor, data list, data fetch,
    data check
"""


@pytest.mark.parametrize("command", [name.strip() for name in COMMANDS.split(",")])
def test_every_command_with_components_takes_the_file(command: str) -> None:
    group = main
    for name in command.split():
        group = group.commands[name]  # type: ignore[attr-defined]
    assert "--plugin" in [option for each in group.params for option in each.opts]


def suite_of(path: Path, plugins: str, loss: str = "mine") -> Path:
    loss_line = "  loss: {name: cosface, scale: 16, margin: 0.1}\n"
    text = TOY_SUITE.replace(loss_line, f"  loss: {loss}\n").replace("  sampler: all\n", "")
    path.write_text(text.replace("base:\n", f"plugins: {plugins}\nbase:\n"))
    return path


def test_what_the_import_of_a_suites_file_prints_is_noted(
    file: Path, tmp_path: Path, registry: Registry
) -> None:
    file.write_text('print("hello")\n' + LOSS)
    suite = suite_of(tmp_path / "s.yaml", "[mine.py]")
    notes: list[str] = []
    noting = Registry(registry.plugins, note=notes.append)
    load_suite(suite, noting)
    load_suite(suite, noting)  # the file is imported once
    (note,) = notes
    assert note.startswith(f"plugin '{file}' (")
    assert note.endswith(f": its import prints 'hello'; remove the print from {file}")


def fingerprint(suite: Path, registry: Registry) -> str:
    return make_plan(load_suite(suite, registry), Device("cpu", "test")).cases[0].fingerprint


def test_a_suite_names_files_relative_to_itself(
    file: Path, tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "suites"
    folder.mkdir()
    suite = suite_of(folder / "s.yaml", "[../mine.py]")
    monkeypatch.chdir("/")
    found = load_suite(suite, registry)
    assert found.specs[0].provenance()["loss"]["package"] == FILE_PACKAGE
    assert fingerprint(suite, registry) == fingerprint(suite, registry)


def test_the_hash_of_the_file_is_in_the_fingerprint(file: Path, tmp_path: Path, registry: Registry) -> None:
    suite = suite_of(tmp_path / "s.yaml", "[mine.py]")
    without = suite_of(tmp_path / "w.yaml", "[mine.py]", "pair")
    first, other = fingerprint(suite, registry), fingerprint(without, registry)
    file.write_text(LOSS + "# edited\n")
    assert fingerprint(suite, registry) != first
    assert fingerprint(without, registry) == other  # the case does not use the file


def test_a_suite_at_another_size_has_the_same_files(file: Path, tmp_path: Path, registry: Registry) -> None:
    suite = suite_of(tmp_path / "s.yaml", "[mine.py]")
    suite.write_text(suite.read_text() + "sizes:\n  a: {}\n  b: {base: {loss.factor: 3.0}}\n")
    assert load_suite(suite, registry, size="b").specs[0].parts["loss"].options["factor"] == 3.0
    suite.write_text(suite.read_text().replace("a: {}", "a: {plugins: [other.py]}"))
    with pytest.raises(SuiteError, match="plugins"):
        load_suite(suite, registry)


@pytest.mark.parametrize(
    ("plugins", "said"),
    [
        ("[mine.py, none.py]", r"s.yaml:2: plugins.1 none.py: no such file: "),
        ("mine.py", r"s.yaml:2: plugins: expected a list of Python files, such as \[./my_loss.py\]"),
        ("[3]", r"s.yaml:2: plugins: expected a list"),
        ("[broken.py]", r"s.yaml:2: plugins.0 broken.py: .*broken.py:1: ZeroDivisionError"),
    ],
)
def test_a_mistake_in_the_key_plugins_has_its_place(
    file: Path, tmp_path: Path, registry: Registry, plugins: str, said: str
) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    with pytest.raises(SuiteError, match=said):
        load_suite(suite_of(tmp_path / "s.yaml", plugins), registry)


def test_an_error_in_the_file_names_it_and_one_in_the_core_does_not(
    file: Path, tmp_path: Path, registry: Registry
) -> None:
    part = load_suite(suite_of(tmp_path / "s.yaml", "[mine.py]"), registry).specs[0].parts["loss"]
    with pytest.raises(AttributeError) as raised:
        part.component(None, None)
    assert raised_in(raised.value, [part]).endswith(", Mine.__call__ at mine.py:14")
    with pytest.raises(FileNotFoundError) as raised:
        file_hash(tmp_path / "none.py")
    assert raised_in(raised.value, [part]) == ""


def test_a_missing_file_of_the_command_line_is_a_mistake_there(file: Path) -> None:
    shown = cli("list", "--plugin", "none.py")
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert shown.stderr.startswith("mlbench: --plugin none.py: no such file: ")


@pytest.fixture
def trained(file: Path, tmp_path: Path) -> dict[str, str]:
    """A suite s.yaml whose file `mine.py` trains and is measured; environment variables of its commands."""
    suite_of(tmp_path / "s.yaml", "[mine.py]", "{name: mine, factor: 0.5}")
    space = "{loss.factor: {low: 0.1, high: 0.6}}"
    with (tmp_path / "s.yaml").open("a") as stream:
        stream.write("  measure: {rounds: 1, latency: false}\n")
        stream.write(f"tune: {{case: base, objective: f1, trials: 1, repeats: 0, space: {space}}}\n")
    here = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    return install_plugin(tmp_path / "site", "toys", TESTS, *map(Path, here))


@pytest.mark.slow
def test_a_suite_with_a_file_runs_measures_exports_and_is_tuned(trained: dict[str, str]) -> None:
    ran = mlbench("run", "s.yaml", "--device", "cpu", "--json", env=trained)
    assert ran.returncode == 0, ran.stderr
    (record,) = json.loads(ran.stdout)
    assert record["components"]["loss"]["package"] == FILE_PACKAGE
    # The measuring process has trained with the loss.
    assert record["speed"]["training_images_per_second"]["value"] > 0
    for command in (("results", "s.yaml", "--json"), ("export", "s.yaml", "base"), ("tune", "s.yaml")):
        done = mlbench(*command, "--device", "cpu", env=trained)
        assert done.returncode == 0, (command, done.stderr)
    by_name = mlbench("export", "toy", "base", env=trained)
    assert by_name.returncode == 2
    assert by_name.stderr.endswith(
        "the case has components of a Python file: give the suite's file, or --plugin FILE\n"
    )


@pytest.mark.slow
def test_pytest_runs_a_suite_with_a_file(trained: dict[str, str], tmp_path: Path) -> None:
    suite = tmp_path / "s.yaml"
    suite.write_text(suite.read_text().replace("plugins: [mine.py]\n", ""))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "s.yaml"]
    options = ["--mlbench-plugin", "mine.py", "--mlbench-device", "cpu"]
    done = subprocess.run([*command, *options], env=trained, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    failed = subprocess.run(command, env=trained, capture_output=True, text=True, check=False)
    assert "unknown loss 'mine'" in failed.stdout
