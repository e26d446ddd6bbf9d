"""Ways of breaking a plugin, and what every command does: only what needs the plugin fails, and says why."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import TESTS, TOY_SUITE, install_plugin

from mlbench.cli import main

Install = Callable[..., dict[str, str]]

HOOK = """
from mlbench.plugin import Component, hookimpl

@hookimpl
def mlbench_components():
    return [Component("neck", "mine", "acme_options:Mine", "a neck of mine")]
"""

OPTIONS = """
from mlbench.plugin import NeckOptions

class Mine(NeckOptions):
    dim: int = 8

    def build(self, features):
        raise AssertionError("built")
"""


def hook(returns: str) -> str:
    return HOOK.partition("    return ")[0] + f"    return {returns}\n"


def mine(**changes: str) -> str:
    """The hook's Component with other arguments, as code."""
    arguments = {"kind": "'neck'", "name": "'mine'", "options": "'acme_options:Mine'", "summary": "'a neck'"}
    return hook(f"[Component({', '.join(f'{key}={value}' for key, value in (arguments | changes).items())})]")


#: The code of the plugin by what is wrong with it, and the text that names the fault. Every command notes it.
AT_LOADING = {
    "needs a missing module": ("import nowhere_at_all", "No module named 'nowhere_at_all'"),
    "raises at import": ("1 / 0" + HOOK, "ZeroDivisionError: division by zero"),
    "exits at import": ("raise SystemExit(3)", "SystemExit: 3"),
    "has a syntax error": ("def f(:", "SyntaxError: invalid syntax"),
    "raises a BaseException": ("class Skip(BaseException): ...\nraise Skip", "Skip:"),
    "needs what mlbench removed": (
        "from mlbench.plugin import Gone" + HOOK,
        "cannot import name 'Gone' from 'mlbench.plugin'",
    ),
    "is for a newer contract": ("MLBENCH_CONTRACT = 99" + HOOK, "it is built for contract 99"),
    "states a contract in text": ("MLBENCH_CONTRACT = '1'" + HOOK, "MLBENCH_CONTRACT is '1'"),
    "has no hook": (HOOK.replace("@hookimpl", ""), "it has no hook"),
    "misspells its hook": (HOOK.replace("mlbench_components", "mlbench_parts"), "unknown hook"),
    "raises in its hook": (hook("1 / 0"), "ZeroDivisionError: division by zero"),
    "raises halfway": (hook("None").replace("return None", "yield from ()\n    1 / 0"), "ZeroDivisionError"),
    "returns None": (hook("None"), "mlbench_components returned None"),
    "returns a bare Component": (
        hook("Component('neck', 'mine', 'a:b', '')"),
        "mlbench_components returned a Component; expected a list",
    ),
    "returns text": (hook("['mine']"), "mlbench_components returned a str; expected Components"),
    "has an unknown kind": (mine(kind="'nek'"), "unknown kind 'nek' (did you mean 'neck'?)"),
    "has a name that is no text": (mine(name="3"), "its name is 3; expected a letter"),
    "has an empty name": (mine(name="''"), "its name is ''; expected a letter"),
    "has a name with a blank": (mine(name="'my own'"), "its name is 'my own'; expected a letter"),
    "has no summary": (mine(summary="None"), "its summary is None; expected text"),
    "has no source": (mine(source="None"), "its source is None; expected text"),
    "points at a class": (mine(options="Component"), "it points at <class"),
    "registers a name twice": (
        hook("2 * [Component('neck', 'mine', 'a:b', '')]"),
        "it is registered twice",
    ),
    "has the name of a built-in": (mine(name="'gap'"), "a built-in component has this name and is used"),
    "prints at import": ("print('hello')" + hook("[]"), "its import prints 'hello'"),
}

#: The code of the module with the options class. Only commands that import it report it.
AT_FIRST_USE = {
    "has no such module": (None, "No module named 'acme_options'"),
    "has no such class": (OPTIONS.replace("Mine", "Yours"), "has no attribute 'Mine'"),
    "raises in its module": ("1 / 0", "ZeroDivisionError: division by zero"),
    "exits in its module": ("raise SystemExit(3)", "SystemExit: 3"),
    "is of another kind": (OPTIONS.replace("Neck", "Loss"), "expected a subclass of NeckOptions"),
    "is no class": ("def Mine(features): ...", "expected a subclass of NeckOptions"),
    "cannot build": (OPTIONS.replace("def build", "def make"), "Mine has no build"),
    "has a default of another type": (
        OPTIONS.replace("dim: int = 8", "dim: int = 'x'"),
        "the default of 'dim' is \"x\"; expected int",
    ),
    "has a type that is nowhere": (OPTIONS.replace("int = 8", "'Nowhere' = 8"), "name 'Nowhere' is not"),
}

PLUGIN = "plugin 'acme' (acme 1.0)"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the toys as an installed plugin, and a suite whose one case has a record."""
    folder = tmp_path_factory.mktemp("recorded")
    install_plugin(folder / "site", "toys")
    (folder / "toy.yaml").write_text(TOY_SUITE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLBENCH_CACHE", str(folder / "cache"))
        patch.syspath_prepend(folder / "site")
        patch.syspath_prepend(TESTS)
        patch.chdir(folder)
        result = CliRunner().invoke(main, ["run", "toy.yaml", "--device", "cpu", "--no-measure"])
        assert result.exit_code == 0, result.stderr
        yield folder


@pytest.fixture
def run(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command line in this process and that folder; what must be JSON is."""
    monkeypatch.chdir(recorded)

    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, arguments)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        assert result.exit_code == code, result.output
        if "--json" in arguments and code == 0:
            json.loads(result.stdout)
        return result

    return run


def install(third_party: Install, tmp_path: Path, code: str, options: str | None = OPTIONS) -> None:
    third_party("acme", code)
    if options is not None:
        third_party("acme_options", options)
        # Of this package, and no plugin of its own.
        (tmp_path / "site" / "acme_options-1.0.dist-info" / "entry_points.txt").unlink()


def goes_on(run: Callable[..., Result]) -> list[str]:
    """The stderr of every command that does not need the plugin; each exits with 0."""
    commands = [
        ("list", "--json"),
        ("show", "neck", "gap", "--json"),
        ("validate", "toy.yaml"),
        ("plan", "toy.yaml", "--json"),
        ("run", "toy.yaml", "--device", "cpu", "--no-measure", "--json"),
    ]
    return [run(*command).stderr for command in commands]


def refuses(run: Callable[..., Result], name: str = "mine") -> list[str]:
    """The stderr of every command that needs the plugin."""
    needs = ("toy.yaml", "--set", f"neck={name}")
    commands = [("validate", *needs), ("plan", *needs), ("run", *needs, "--device", "cpu", "--no-measure")]
    shown = run("show", "neck", name, code=1)
    return [shown.stderr, *(run(*command, code=2).stderr for command in commands)]


def examined(run: Callable[..., Result]) -> str:
    """The problems of the plugin by `mlbench plugins doctor`; each has a fix."""
    (found,) = [
        each for each in json.loads(run("plugins", "doctor", "--json").stdout) if each["plugin"] == "acme"
    ]
    assert all(each["fix"] for each in found["problems"])
    assert run("plugins", "doctor").stderr == ""
    return "\n".join(f"{each['component']}: {each['error']}" for each in found["problems"])


@pytest.mark.parametrize("way", AT_LOADING)
def test_a_plugin_that_is_broken_at_loading(
    third_party: Install, run: Callable[..., Result], tmp_path: Path, way: str
) -> None:
    code, fault = AT_LOADING[way]
    install(third_party, tmp_path, code)
    for stderr in goes_on(run):
        (note,) = [line for line in stderr.splitlines() if "acme" in line]
        assert note.startswith("note: ")
        assert PLUGIN in note
        assert fault in note
    if way != "has the name of a built-in":
        for stderr in refuses(run):
            assert stderr.splitlines()[-1].startswith("mlbench: ")
            assert "acme" in stderr or way == "prints at import"
    assert fault in run("plugins").stdout
    assert fault in examined(run)
    (row,) = [line for line in run("doctor").stdout.splitlines() if "plugin acme" in line]
    assert fault in row


@pytest.mark.parametrize("way", AT_FIRST_USE)
def test_a_plugin_that_is_broken_at_first_use(
    third_party: Install, run: Callable[..., Result], tmp_path: Path, way: str
) -> None:
    options, fault = AT_FIRST_USE[way]
    install(third_party, tmp_path, HOOK, options)
    assert set(goes_on(run)) == {""}
    for stderr in refuses(run):
        (line,) = stderr.splitlines()
        assert line.startswith("mlbench: ")
        assert PLUGIN in line
        assert fault in line
    assert fault in examined(run)


def test_an_options_module_that_prints_spoils_no_json(
    third_party: Install, run: Callable[..., Result], tmp_path: Path
) -> None:
    install(third_party, tmp_path, HOOK, "print('hello')\n" + OPTIONS)
    shown = run("show", "neck", "mine", "--json")
    assert shown.stderr == f"note: the import of neck 'mine' of {PLUGIN} prints 'hello'\n"


def test_two_third_parties_with_one_name(
    third_party: Install, run: Callable[..., Result], tmp_path: Path
) -> None:
    install(third_party, tmp_path, HOOK)
    third_party("other", HOOK)
    for stderr in goes_on(run):
        assert re.search(r"^note: neck 'mine' of plugin 'acme' .* plugin 'other' \(other 1.0\)", stderr)
    for stderr in refuses(run):
        line = stderr.splitlines()[-1]
        assert "plugin 'acme' (acme 1.0)" in line
        assert line.endswith(
            "plugin 'other' (other 1.0) registers it too, so neither is used; leave one out with --block acme or "
            "--block other"
        )
    assert set(run("--block", "other", "show", "neck", "mine").stderr) == set()


@pytest.mark.parametrize(
    ("code", "options"), [("raise KeyboardInterrupt", None), (HOOK, "raise KeyboardInterrupt")]
)
def test_an_interrupted_import_is_named(
    third_party: Install, run: Callable[..., Result], tmp_path: Path, code: str, options: str | None
) -> None:
    install(third_party, tmp_path, code, options)
    stopped = run("show", "neck", "mine", code=130)
    assert stopped.stderr.startswith("mlbench: interrupted while importing ")
    assert PLUGIN in stopped.stderr
    assert run("--block", "acme", "list").stderr == ""


def test_plugins_can_be_chosen_and_left_out(
    third_party: Install, run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(third_party, tmp_path, "1 / 0")

    def names(*arguments: str) -> set[str]:
        plugins = json.loads(run(*arguments, "plugins", "--json").stdout)
        return {each["name"] for each in plugins if each["package"] != "mlbench"}

    assert names() == {"acme", "toys"}
    assert names("--no-plugins") == set()
    monkeypatch.setenv("MLBENCH_PLUGINS", "toys")
    assert names() == {"toys"}
    assert set(goes_on(run)) == {""}
    assert "plugins that were left out may have it: acme" in run("show", "neck", "mine", code=1).stderr
    monkeypatch.setenv("MLBENCH_PLUGINS", "toys, acmee")
    assert run("list").stderr == (
        "note: MLBENCH_PLUGINS: no plugin has a name like 'acmee', so it chooses none (did you mean 'acme'?)\n"
    )
