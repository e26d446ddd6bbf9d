"""Ways of breaking a plugin, and what every command does: only what needs the plugin fails, and says why."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import TESTS, TOY_SUITE, install_plugin

from mlbench.cli import main

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


#: The code of a plugin by what is wrong with it, and the text that names the fault. Every command notes it.
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
}

#: The code of the module with the options class. Only commands that import it report it.
AT_FIRST_USE = {
    "has no such module": (None, "ModuleNotFoundError: No module named"),
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

#: Number of each way. Its plugin is "acme7", its component "mine7", its module with options "acme7_options".
NUMBERS = {way: number for number, way in enumerate([*AT_LOADING, *AT_FIRST_USE])}

GOES_ON = (
    ("list", "--json"),
    ("show", "neck", "gap", "--json"),
    ("validate", "toy.yaml"),
    ("plan", "toy.yaml", "--json"),
    ("run", "toy.yaml", "--device", "cpu", "--no-measure", "--json"),
)
SHOWS = (
    ("plugins",),
    ("plugins", "--json"),
    ("plugins", "doctor"),
    ("plugins", "doctor", "--json"),
    ("doctor",),
)
NEEDS = (
    ("show", "neck", "NAME"),
    ("validate", "toy.yaml", "--set", "neck=NAME"),
    ("plan", "toy.yaml", "--set", "neck=NAME"),
    ("run", "toy.yaml", "--set", "neck=NAME", "--device", "cpu", "--no-measure"),
)


def install(site: Path, name: str, code: str, options: str | None = OPTIONS, number: object = "") -> None:
    """A plugin and its module with options, in a folder of installed packages."""

    def own(text: str) -> str:
        return (
            text.replace("acme_options", f"{name}_options")
            .replace("'mine'", f"'mine{number}'")
            .replace('"mine"', f'"mine{number}"')
        )

    install_plugin(site, name)
    (site / f"{name}.py").write_text(own(code))
    if options is not None:
        (site / f"{name}_options.py").write_text(options)


def call(*arguments: str, code: int = 0) -> Result:
    """The command line in this process. What must be JSON is."""
    result = CliRunner().invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    assert result.exit_code == code, result.output
    if "--json" in arguments:
        json.loads(result.stdout)
    return result


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a suite whose one case has a record, and the toys as an installed plugin."""
    folder = tmp_path_factory.mktemp("recorded")
    install_plugin(folder / "toys", "toys")
    (folder / "toy.yaml").write_text(TOY_SUITE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLBENCH_CACHE", str(folder / "cache"))
        patch.syspath_prepend(folder / "toys")
        patch.syspath_prepend(TESTS)
        patch.chdir(folder)
        call("run", "toy.yaml", "--device", "cpu", "--no-measure")
        yield folder
    for module in [each for each in sys.modules if each.startswith("acme")]:
        del sys.modules[module]  # distributions of other tests have such names


@pytest.fixture(scope="module")
def everything(recorded: Path) -> dict[tuple[str, ...], Result]:
    """The results of the commands that need no broken plugin, with all of them installed at once."""
    site = recorded / "site"
    for way, number in NUMBERS.items():
        code = AT_LOADING[way][0] if way in AT_LOADING else HOOK
        options = OPTIONS if way in AT_LOADING else AT_FIRST_USE[way][0]
        install(site, f"acme{number}", code, options, number)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        patch.chdir(recorded)
        return {command: call(*command, code="doctor" in command[1:]) for command in (*GOES_ON, *SHOWS)}


def lines_on(way: str, text: str) -> list[str]:
    """The lines that name the plugin of a way."""
    return [line for line in text.splitlines() if re.search(rf"\bacme{NUMBERS[way]}\b", line)]


@pytest.mark.parametrize("way", AT_LOADING)
def test_every_command_goes_on_and_notes_a_plugin_that_does_not_load(
    everything: dict[tuple[str, ...], Result], way: str
) -> None:
    fault = AT_LOADING[way][1]
    for command in GOES_ON:
        (note,) = lines_on(way, everything[command].stderr)
        assert note.startswith("note: ")
        assert f"plugin 'acme{NUMBERS[way]}' (acme{NUMBERS[way]} 1.0)" in note
        assert fault in note
    for command in (("plugins",), ("plugins", "doctor"), ("doctor",)):
        *_, line = lines_on(way, everything[command].stdout)
        assert fault in line
        assert everything[command].stderr == ""


@pytest.mark.parametrize("way", AT_FIRST_USE)
def test_only_the_doctor_knows_a_fault_of_an_unused_options_class(
    everything: dict[tuple[str, ...], Result], way: str
) -> None:
    for command in GOES_ON:
        assert lines_on(way, everything[command].stderr) == []
    row, line = lines_on(way, everything["plugins", "doctor"].stdout)
    assert row.endswith(" 1")
    assert line.startswith(f"acme{NUMBERS[way]}: neck 'mine{NUMBERS[way]}'")
    assert AT_FIRST_USE[way][1] in line


@pytest.mark.parametrize("way", NUMBERS)
def test_the_doctor_of_plugins_has_a_fix_for_every_fault(
    everything: dict[tuple[str, ...], Result], way: str
) -> None:
    examined = json.loads(everything["plugins", "doctor", "--json"].stdout)
    (found,) = [each for each in examined if each["plugin"] == f"acme{NUMBERS[way]}"]
    (problem,) = found["problems"]
    assert problem["fix"]
    assert (AT_LOADING | AT_FIRST_USE)[way][1] in problem["error"]


@pytest.mark.parametrize("way", sorted(NUMBERS.keys() - {"has the name of a built-in"}))
def test_a_suite_that_needs_a_broken_plugin_is_refused_with_its_fault(
    everything: dict[tuple[str, ...], Result], recorded: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.chdir(recorded)
    monkeypatch.syspath_prepend(recorded / "site")
    *_, line = call("validate", "toy.yaml", "--set", f"neck=mine{NUMBERS[way]}", code=2).stderr.splitlines()
    assert line.startswith("mlbench: ")
    assert lines_on(way, line) == [line]
    assert (AT_LOADING | AT_FIRST_USE)[way][1] in line


@pytest.fixture
def acme(tmp_path: Path, recorded: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Install one plugin for one test."""
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.chdir(recorded)
    names = []

    def make(code: str, options: str | None = OPTIONS, name: str = "acme") -> None:
        install(tmp_path / "site", name, code, options)
        names.append(name)

    yield make
    for name in names:
        sys.modules.pop(name, None)
        sys.modules.pop(f"{name}_options", None)


@pytest.mark.parametrize("command", NEEDS)
@pytest.mark.parametrize(("code", "options"), [("1 / 0", None), (HOOK, "1 / 0")])
def test_every_command_that_needs_a_broken_plugin_names_it(
    acme: Callable[..., None], command: tuple[str, ...], code: str, options: str | None
) -> None:
    acme(code, options)
    refused = call(*(each.replace("NAME", "mine") for each in command), code=1 if "show" in command else 2)
    assert refused.stdout == ""
    *_, line = refused.stderr.splitlines()
    assert re.search(r"^mlbench: .*\bacme\b.*ZeroDivisionError: division by zero", line)


@pytest.mark.parametrize(
    "command", [("list", "--json"), ("plugins", "--json"), ("plugins", "doctor", "--json")]
)
def test_a_plugin_that_prints_spoils_no_json(acme: Callable[..., None], command: tuple[str, ...]) -> None:
    acme("print('hello')" + HOOK)
    shown = call(*command, code="doctor" in command[1:])
    note = "plugin 'acme' (acme 1.0): its import prints 'hello'; remove the print from acme"
    assert shown.stderr == (f"note: {note}\n" if "list" in command else "")


def test_an_options_module_that_prints_spoils_no_json(acme: Callable[..., None]) -> None:
    acme(HOOK, "print('hello')\n" + OPTIONS)
    shown = call("show", "neck", "mine", "--json")
    assert shown.stderr == "note: the import of neck 'mine' of plugin 'acme' (acme 1.0) prints 'hello'\n"


def test_two_third_parties_with_one_name(acme: Callable[..., None]) -> None:
    acme(HOOK)
    acme(HOOK, name="other")
    both = "neck 'mine' of plugin 'acme' .* is set aside: plugin 'other' \\(other 1.0\\) registers it"
    assert re.search(f"^note: {both}", call("validate", "toy.yaml").stderr)
    *_, line = call("validate", "toy.yaml", "--set", "neck=mine", code=2).stderr.splitlines()
    assert re.search(f"^mlbench: .*{both} too.*leave one out with --block acme or --block other$", line)
    assert call("--block", "other", "show", "neck", "mine").stderr == ""


@pytest.mark.parametrize(
    ("code", "options"), [("raise KeyboardInterrupt", None), (HOOK, "raise KeyboardInterrupt")]
)
def test_an_interrupted_import_is_named(acme: Callable[..., None], code: str, options: str | None) -> None:
    acme(code, options)
    stopped = call("show", "neck", "mine", code=130)
    assert stopped.stderr.startswith("mlbench: interrupted while importing ")
    assert "plugin 'acme' (acme 1.0)" in stopped.stderr
    assert call("--block", "acme", "list").stderr == ""


def test_plugins_can_be_chosen_and_left_out(
    acme: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    acme("1 / 0")
    monkeypatch.delenv("MLBENCH_PLUGINS", raising=False)

    def names(*arguments: str) -> set[str]:
        plugins = json.loads(call(*arguments, "plugins", "--json").stdout)
        return {each["name"] for each in plugins if each["package"] != "mlbench"}

    assert names() == {"acme", "toys"}
    assert names("--no-plugins") == set()
    monkeypatch.setenv("MLBENCH_PLUGINS", "toys")
    assert names() == {"toys"}
    assert call("validate", "toy.yaml").stderr == ""
    assert "plugins that were left out may have it: acme" in call("show", "neck", "mine", code=1).stderr
    monkeypatch.setenv("MLBENCH_PLUGINS", "toys, acmee")
    assert call("list").stderr == (
        "note: MLBENCH_PLUGINS: no plugin has a name like 'acmee', so it chooses none (did you mean "
        "'acme'?)\n"
    )
