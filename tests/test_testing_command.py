"""`python -m mlbench.testing NAME`, expected failures, and the check of imports."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from unittest import SkipTest

import pytest
import toys
from click.testing import CliRunner, Result

from mlbench.contracts import Component
from mlbench.errors import ComponentError
from mlbench.plugins import Plugin, load_plugins
from mlbench.registration import Fault
from mlbench.testing import ExpectedFailure, checks, command, importing, imports_nothing_heavy

TOY = next(each for each in toys.mlbench_components() if each.kind == "augmentation")
MISSING = "ImportError: no module named 'x'"
BROKEN = Plugin("torn", "torn_plugin", "torn-package", "2.1", error=MISSING, fix="install x")
ASIDE = "plugin 'torn' (torn-package 2.1) is set aside: ImportError: no module named 'x'; install x"
FAULTY = Plugin(
    "part",
    "part",
    "part-package",
    "1.0",
    (replace(TOY, name="whole"),),
    faults=(Fault("its summary is None", "write one line", "loss", "half"),),
)
HALF = "loss 'half' of plugin 'part' (part-package 1.0) is set aside: its summary is None; write one line"


FILE = """\
from mlbench.plugin import Component, ThresholdOptions, hookimpl


class Half(ThresholdOptions):
    \'\'\'Half.\'\'\'

    def __call__(self, curve):
        if curve is None:
            raise ValueError("no curve")
        return 0.5


@hookimpl
def mlbench_components():
    return [Component("threshold", "kit_half", "kit_file:Half", "half of the way to one")]
"""


def named(component: Component, name: str, **given):
    (check,) = [each for each in checks(component, **given) if each.name == name]
    return check


def test_expected_failure_is_skipped_with_its_reason() -> None:
    nameless = Component("augmentation", "toy", TOY.options, "short")
    reasons = {"summary_is_one_line": "it is a toy"}
    with pytest.raises(SkipTest, match=r"it is a toy \(the summary of Component is 'short'; write") as raised:
        named(nameless, "summary_is_one_line", expected_failures=reasons)()
    assert isinstance(raised.value, ExpectedFailure)
    for check in checks(nameless, expected_failures=reasons):
        assert (check.outcome().state == "expected failure") == (check.name == "summary_is_one_line")


def test_expected_failure_that_passes_fails() -> None:
    check = named(TOY, "defaults_are_valid", expected_failures={"defaults_are_valid": "it is a toy"})
    with pytest.raises(AssertionError, match=r"defaults_are_valid passes; remove it from expected_failures"):
        check()


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        (
            {"defaults_are_vald": "why"},
            r"no check 'defaults_are_vald' \(did you mean 'defaults_are_valid'\?\)",
        ),
        (
            {"loss_has_a_finite_gradient": "why"},
            "the kind augmentation has no check 'loss_has_a_finite_gradient'",
        ),
        ({"defaults_are_valid": " "}, "defaults_are_valid has no reason; write why"),
        ({"defaults_are_valid": None}, "defaults_are_valid has no reason; write why"),
    ],
)
def test_expected_failures_are_checked_before_any_check_runs(expected, message) -> None:
    with pytest.raises(ComponentError, match=message):
        checks(TOY, expected_failures=expected)


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch):
    """Run the command with the built-in plugins, the toys as another plugin, and a broken plugin."""
    toy = Plugin("toys", "toys", "toy_package", "1.0", tuple(toys.mlbench_components()))
    monkeypatch.setattr(
        command, "load_plugins", lambda **choice: (*load_plugins(**choice), toy, BROKEN, FAULTY)
    )

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(command.main, arguments)

    return run


def test_command_prints_a_line_for_each_check(shell) -> None:
    result = shell("threshold/fixed", "--set", "distance=.25")
    lines = result.stdout.splitlines()
    assert lines[0].startswith("threshold fixed (mlbench ")
    assert lines[0].endswith(") with distance=0.25")
    assert "  passed  threshold_is_a_similarity" in lines
    assert any(line.startswith("  passed  module_imports_lightly: 0.") for line in lines)
    assert (lines[-1], result.exit_code) == (f"{len(lines) - 2} passed", 0)
    assert result.stderr.splitlines() == [f"note: {ASIDE}", f"note: {HALF}"]


def test_command_shows_failures_skips_and_expected_failures(shell) -> None:
    result = shell("best_f1", "--expect", "threshold_is_a_similarity=no reason")
    assert "  failed  threshold_is_a_similarity: threshold_is_a_similarity passes; remove" in result.stdout
    assert (result.stdout.splitlines()[-1], result.exit_code) == ("1 failed, 9 passed", 1)

    result = shell("toy-package", "--kind", "augmentation")
    assert "  failed  summary_is_one_line: the summary of Component is " in result.stdout
    assert result.exit_code == 1

    expected = (
        "--expect",
        "summary_is_one_line=it is a toy",
        "--expect",
        "every_option_is_documented=so too",
    )
    result = shell("jitter", *expected)
    assert "  expected failure summary_is_one_line: it is a toy (the summary" in result.stdout
    assert (result.stdout.splitlines()[-1], result.exit_code) == ("2 expected failures, 9 passed", 0)

    result = shell("lfw", "--kind", "dataset")
    assert "  skipped dataset_has_three_splits: dataset-lfw needs the options path" in result.stdout
    assert (result.stdout.splitlines()[-1], result.exit_code) == ("7 passed, 8 skipped", 0)


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["best_f2"], "no component, plugin or package is called 'best_f2' (did you mean 'best_f1'?)", 1),
        (["gap", "--kind", "loss"], "no loss, and no plugin or package with one, is called 'gap'", 1),
        (["zzz"], "plugins that failed to load may have it: torn (ImportError: no module named 'x')", 1),
        (["loss/cosfac"], "unknown loss 'cosfac' (did you mean 'cosface'?)", 1),
        (["losss/cosface"], "'losss/cosface' is no NAME; give a component (cosface, or loss/cosface)", 1),
        (["losss/cosface"], "a Python file (before the slash: did you mean 'loss'?)", 1),
        (
            ["necks/"],
            "'necks/' is no NAME; give a component (cosface, or loss/cosface), a plugin, a package",
            1,
        ),
        (["gap", "--kind", "nek"], "unknown kind 'nek' (did you mean 'neck'?)", 1),
        (["loss/half"], HALF, 1),
        (["necks", "--set", "dim=8"], "need one component, and these match: neck/flatten, neck/gap", 1),
        (["fixed", "--set", "distance"], "--set distance: expected NAME=VALUE", 2),
        (["best_f1", "--expect", "similarity=x"], "the kind threshold has no check 'similarity'", 1),
        (["--kind", "loss"], "need the NAME of a component", 2),
    ],
)
def test_command_names_what_is_wrong(shell, arguments, message, code) -> None:
    result = shell(*arguments)
    assert message in result.stderr
    assert result.exit_code == code
    assert result.stdout == ""


def test_command_fails_for_what_is_set_aside(shell) -> None:
    result = shell("torn_package")
    assert (result.stdout, result.stderr) == (f"failed  {ASIDE}\n", f"note: {HALF}\n")
    assert result.exit_code == 1

    result = shell("half")
    assert (result.stdout, result.exit_code) == (f"failed  {HALF}\n", 1)

    result = shell("part", "--kind", "augmentation")
    assert result.stdout.startswith("augmentation whole (part-package 1.0)\n")
    result = shell("part")
    assert result.stdout.startswith(f"failed  {HALF}\naugmentation whole (part-package 1.0)\n")
    assert result.exit_code == 1


def test_command_checks_a_file_of_components(shell, tmp_path) -> None:
    shell_file = tmp_path / "kit_file.py"
    shell_file.write_text(FILE)
    result = shell(str(shell_file))
    lines = result.stdout.splitlines()
    assert lines[0].startswith("threshold kit_half (file ")
    assert any(line.startswith("  passed  module_imports_lightly: 0.") for line in lines)
    failed = [line for line in lines if line.startswith("  failed")]
    raised = (
        "ValueError: no curve; raised in Half.__call__ at kit_file.py:9; change it so that the check "
        "'threshold is a similarity'"
    )
    assert failed == [f"  failed  threshold_is_a_similarity: {raised} can call it"]
    assert result.exit_code == 1

    result = shell("no_such_file.py")
    assert "no_such_file.py: no such file" in result.stderr
    assert result.exit_code == 2


NESTED = """\
from mlbench.plugin import Component, ThresholdOptions, hookimpl


class Inner(ThresholdOptions):
    \'\'\'Half.\'\'\'

    def __call__(self, curve):
        return 0.5


class Outer(ThresholdOptions):
    \'\'\'That of another policy.\'\'\'

    inner: ThresholdOptions
    \'\'\'The policy.\'\'\'

    def __call__(self, curve):
        return self.inner(curve)


@hookimpl
def mlbench_components():
    return [
        Component("threshold", "kit_outer", "kit-nested:Outer", "that of another policy"),
        Component("threshold", "kit_inner", "kit-nested:Inner", "half of the way to one"),
    ]
"""


def test_a_component_of_a_file_may_have_one_of_the_same_file_as_its_option(
    shell, tmp_path, monkeypatch
) -> None:
    file = tmp_path / "kit-nested.py"
    file.write_text(NESTED)
    choice = ("--set", "inner=kit_inner")
    result = shell("kit_outer", "--plugin", str(file), *choice)
    assert result.exit_code == 0, result.output
    assert "passed  threshold_is_a_similarity" in result.stdout
    assert f"name one of them, with --plugin {file}" in shell(str(file), *choice).stderr

    monkeypatch.syspath_prepend(tmp_path)
    outer, _ = import_module("kit-nested").mlbench_components()
    for check in checks(outer, inner="kit_inner"):
        assert check.outcome().state == "passed", check
    wrong = named(outer, "defaults_are_valid", inner="kit_iner")
    assert "unknown threshold 'kit_iner' (did you mean 'kit_inner'?)" in wrong.outcome().message
    sys.modules.pop("kit-nested")


def test_command_says_what_a_name_may_be_for_a_folder(shell, tmp_path, monkeypatch) -> None:
    (tmp_path / "anmrr").mkdir()
    monkeypatch.chdir(tmp_path)
    result = shell("anmrr/")
    assert "'anmrr/' is no NAME; give a component (cosface, or loss/cosface), a plugin" in result.stderr
    assert "; this is a folder: install the package in it and give the package's name" in result.stderr
    result = shell("anmrr")
    assert "is called 'anmrr'" in result.stderr
    assert "; this is a folder: install the package in it and give the package's name" in result.stderr
    assert result.exit_code == 1


BROKEN_CLASSES = {
    "sys": "import sys\nsys.exit(3)\n",
    "missing": "",
    "default": """\
from mlbench.plugin import LossOptions


class Loss(LossOptions):
    margin: float = "wide"

    def build(self, context):
        return None
""",
    "validator": """\
from pydantic import field_validator

from mlbench.plugin import LossOptions


class Loss(LossOptions):
    margin: float = 1.0

    @field_validator("margin")
    @classmethod
    def _inverse(cls, margin):
        return 1 / 0

    def build(self, context):
        return None
""",
}


@pytest.mark.parametrize(
    ("name", "check", "message"),
    [
        ("sys", "module_imports_lightly", "importing kit_sys raises SystemExit: 3; make it importable"),
        ("missing", "defaults_are_valid", "cannot be imported from kit_missing:Loss: AttributeError"),
        ("default", "defaults_are_valid", "margin"),
        ("validator", "defaults_are_valid", "ZeroDivisionError"),
    ],
)
def test_command_reports_options_that_cannot_be_made_once(
    monkeypatch, tmp_path, name, check, message
) -> None:
    component = written(tmp_path, monkeypatch, f"kit_{name}", BROKEN_CLASSES[name])
    plugin = Plugin("kit", "kit", "kit-package", "1.0", (component,))
    monkeypatch.setattr(command, "load_plugins", lambda **choice: (plugin,))
    result = CliRunner().invoke(
        command.main, [f"kit_{name}", *(("--set", "margin=2") * (name == "validator"))]
    )
    lines = result.stdout.splitlines()
    (failed,) = [line for line in lines if line.startswith("  failed")]
    assert failed.startswith(f"  failed  {check}: ")
    assert message in failed
    skipped = [line for line in lines if line.startswith("  skipped")]
    assert len(skipped) > 10
    assert all(line.endswith(f"loss-kit_{name} needs options that load; see {check}") for line in skipped)
    assert "under test" not in result.stdout
    assert result.exit_code == 1


def test_command_loads_what_the_environment_chooses(shell, monkeypatch) -> None:
    monkeypatch.setenv("MLBENCH_BLOCK", "necks")
    result = shell("neck/squeeze")
    assert "unknown neck 'squeeze'" in result.stderr
    assert result.exit_code == 1


def written(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> Component:
    (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(folder)
    return Component("loss", name, f"{name}:Loss", "a loss that does not import well")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("kit_printing", "print('hello')\nprint('again')\n", "kit_printing prints 'hello' to stdout, which"),
        ("kit_system", "import os\nos.system('echo hello')\n", "kit_system prints 'hello' to stdout, which"),
        ("kit_raising", "raise OSError('a\\nb')\n", "importing kit_raising raises OSError: a; make it"),
        ("kit_leaving", "import sys\nsys.exit(3)\n", "importing kit_leaving raises SystemExit: 3; make it"),
        ("kit_dying", "import os\nos._exit(3)\n", "raises the process ended with 3; make it"),
    ],
)
def test_check_of_imports_finds_the_fault(tmp_path, monkeypatch, name, text, message) -> None:
    component = written(tmp_path, monkeypatch, name, text)
    with pytest.raises(AssertionError) as raised:
        named(component, "module_imports_lightly")()
    assert message in str(raised.value)


def test_check_of_imports_has_a_limit_of_seconds(monkeypatch) -> None:
    monkeypatch.setattr(importing, "_known", {"toys": importing._Import([], "", 1.25, "")})
    with pytest.raises(
        AssertionError, match=r"toys takes 1\.2 s of CPU time, more than 1 s; move its imports"
    ):
        named(TOY, "module_imports_lightly")()
    monkeypatch.setattr(importing, "_known", {"toys": importing._Import([], "", 0.5, "")})
    assert named(TOY, "module_imports_lightly").outcome() == ("passed", "0.50 s of CPU time")


def test_imports_nothing_heavy_names_the_module() -> None:
    light = Component("loss", "light", "mlbench.errors:OptionError", "imports nothing")
    heavy = Component("loss", "heavy", "mlbench.training.model:build_model", "imports torch")
    imports_nothing_heavy(light)
    with pytest.raises(
        AssertionError, match=r"mlbench.training.model imports .*'torch'.* at its top; import"
    ):
        imports_nothing_heavy(heavy, light)
