from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace

import pytest

from mlbench.contracts import Component
from mlbench.hookspecs import hookimpl
from mlbench.plugins import Plugin, environment_choice, idle_patterns, left_out, load_plugins

GOOD = """
from mlbench.plugin import Component, hookimpl

@hookimpl
def mlbench_components():
    return [Component("neck", "mine", "acme_neck:Mine", "a neck of mine")]
"""

Install = Callable[..., dict[str, str]]


def loaded(name: str) -> Plugin:
    return next(plugin for plugin in load_plugins() if plugin.name == name)


def test_an_installed_plugin_is_found_with_its_package_and_version(third_party: Install) -> None:
    third_party("acme_neck", GOOD, version="2.3")
    component = Component("neck", "mine", "acme_neck:Mine", "a neck of mine")
    assert loaded("acme_neck") == Plugin("acme_neck", "acme_neck", "acme_neck", "2.3", (component,))


def test_built_in_plugins_come_through_entry_points_like_any_other() -> None:
    names = {point.name for point in entry_points(group="mlbench")}
    plugins = load_plugins()
    assert {plugin.name for plugin in plugins} == names
    assert {plugin.package for plugin in plugins} == {"mlbench"}
    assert load_plugins(block=["*"]) == ()


def test_block_takes_globs_of_entry_point_names() -> None:
    names = {plugin.name for plugin in load_plugins(block=["neck*", "losses"])}
    assert not names & {"necks", "losses"}
    assert "samplers" in names


def test_a_block_that_leaves_out_nothing_is_named() -> None:
    assert idle_patterns(["neck*", "losses"]) == []
    (line,) = idle_patterns(["losses", "lossse"])
    assert line == "no plugin has a name like 'lossse', so none is blocked (did you mean 'losses'?)"


def components(returns: str) -> str:
    return f"""
from mlbench.plugin import Component, hookimpl

@hookimpl
def mlbench_components():
    return {returns}
"""


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("import nowhere_to_be_found", "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("raise RuntimeError('first\\nsecond')", "RuntimeError: first"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def f(:", "SyntaxError: invalid syntax (acme_broken.py, line 1)"),
        (components("1 / 0"), "ZeroDivisionError: division by zero"),
        (components("None"), "mlbench_components returned None; expected Components"),
        (components("7"), "TypeError: 'int' object is not iterable"),
        (components("['gap']"), "mlbench_components returned a str; expected Components"),
        (
            components("Component('neck', 'mine', 'a:b', '')"),
            "mlbench_components returned a Component; expected a list of Components",
        ),
        (
            "MLBENCH_CONTRACT = 2\n" + GOOD,
            "it is built for contract 2 of mlbench and this mlbench has contract 1",
        ),
        (
            "MLBENCH_CONTRACT = 0\n" + GOOD,
            "it is built for contract 0 of mlbench and this mlbench has contract 1",
        ),
        (
            "MLBENCH_CONTRACT = '1'\n" + GOOD,
            "MLBENCH_CONTRACT is '1'; expected a whole number, such as 1",
        ),
        (
            "from mlbench.plugin import TripletOptions\n" + GOOD,
            "ImportError: cannot import name 'TripletOptions' from 'mlbench.plugin'",
        ),
        ("x = 1", "it has no hook"),
        (GOOD.replace("@hookimpl", ""), "it has no hook"),
        (GOOD.replace("def mlbench_components", "def mlbench_component"), "unknown hook 'mlbench_component'"),
        (
            "class Mute(Exception):\n    def __str__(self):\n        return 1 / 0\nraise Mute",
            "Mute: its message cannot be read",
        ),
        ("class Base(BaseException): ...\nraise Base('gone')", "Base: gone"),
    ],
)
def test_a_broken_plugin_is_set_aside_with_its_error(third_party: Install, code: str, error: str) -> None:
    third_party("acme_broken", code)
    plugins = {plugin.name: plugin for plugin in load_plugins()}
    assert plugins["acme_broken"].components == ()
    assert plugins["acme_broken"].error.startswith(error)
    (note,) = plugins["acme_broken"].notes()
    assert note.startswith(f"plugin 'acme_broken' (acme_broken 1.0) is set aside: {error}")
    assert "\n" not in note
    assert plugins["necks"].error == ""


HALFWAY = """
from mlbench.plugin import Component, hookimpl

@hookimpl
def mlbench_components():
    yield Component("neck", "mine", "acme_neck:Mine", "a neck of mine")
    1 / 0
"""


@pytest.mark.parametrize(
    ("code", "fix"),
    [
        ("import nowhere_to_be_found", "install what provides the module 'nowhere_to_be_found'"),
        (
            "\n\nraise RuntimeError",
            "correct {file}:3, or leave the plugin out with --block acme_broken",
        ),
        ("x = 1\ndef f(:", "correct {file}:2, or leave the plugin out with --block acme_broken"),
        (HALFWAY, "correct {file}:7, or leave the plugin out with --block acme_broken"),
        ("MLBENCH_CONTRACT = 2\n" + GOOD, "upgrade mlbench"),
        ("MLBENCH_CONTRACT = 0\n" + GOOD, "install a newer version of acme_broken"),
        (
            "x = 1",
            "mark mlbench_components with mlbench.plugin.hookimpl, and let the entry point name the module "
            "that has it",
        ),
        (
            "from mlbench.plugin import TripletOptions",
            "upgrade mlbench or the plugin, whichever is older",
        ),
    ],
)
def test_an_error_says_what_to_do(third_party: Install, tmp_path: Path, code: str, fix: str) -> None:
    third_party("acme_broken", code)
    assert loaded("acme_broken").fix == fix.format(file=tmp_path / "site" / "acme_broken.py")


@pytest.mark.parametrize(
    ("component", "what", "error"),
    [
        (
            "Component(3, 'mine', 'a:b', '')",
            "component 'mine'",
            "its kind is 3; expected text, such as 'loss'",
        ),
        (
            "Component([], 'mine', 'a:b', '')",
            "component 'mine'",
            "its kind is []; expected text, such as 'loss'",
        ),
        ("Component('nek', 'mine', 'a:b', '')", "nek 'mine'", "unknown kind 'nek' (did you mean 'neck'?)"),
        ("Component('neck', 3, 'a:b', '')", "a neck", "its name is 3; expected a letter"),
        ("Component('neck', '', 'a:b', '')", "a neck", "its name is ''; expected a letter"),
        ("Component('neck', 'a b', 'a:b', '')", "neck 'a b'", "its name is 'a b'; expected a letter"),
        ("Component('neck', 'a.b', 'a:b', '')", "neck 'a.b'", "its name is 'a.b'; expected a letter"),
        ("Component('neck', '1', 'a:b', '')", "neck '1'", "its name is '1'; expected a letter"),
        (
            "Component('neck', 'mine', 'a.b', '')",
            "neck 'mine'",
            "it points at 'a.b'; expected 'module:Class'",
        ),
        ("Component('neck', 'mine', Fine, '')", "neck 'mine'", "it points at <class 'acme_broken.Fine'>; ex"),
        ("Component('neck', 'mine', 'a:b', None)", "neck 'mine'", "its summary is None; expected text"),
        ("Component('neck', 'mine', 'a:b', '', None)", "neck 'mine'", "its source is None; expected text"),
        (
            "Component('neck', 'mine', 'a:b', ''), Component('neck', 'mine', 'a:c', '')",
            "neck 'mine'",
            "it is registered twice",
        ),
    ],
)
def test_a_faulty_component_is_set_aside_and_the_others_stay(
    third_party: Install, component: str, what: str, error: str
) -> None:
    code = components(f"[{component}, Component('neck', 'fine', 'a:d', '')]")
    third_party("acme_broken", "class Fine: ...\n" + code)
    plugin = loaded("acme_broken")
    assert (plugin.error, [each.name for each in plugin.components]) == ("", ["fine"])
    (note,) = plugin.notes()
    assert note.startswith(f"{what} of plugin 'acme_broken' (acme_broken 1.0) is set aside: {error}")


@pytest.mark.parametrize(
    "code", ["print('hello\\nyou')", "import os; os.write(1, b'hello'); print('hello')", "import acme_out"]
)
def test_a_plugin_cannot_write_to_stdout(
    third_party: Install, tmp_path: Path, code: str, capfd: pytest.CaptureFixture[str]
) -> None:
    third_party("acme_loud", f"{code}\n{GOOD}")
    (tmp_path / "site" / "acme_out.py").write_text(
        "import subprocess\nsubprocess.run(['echo', 'hello'], check=True)\nprint('hello')"
    )
    plugin = loaded("acme_loud")
    assert capfd.readouterr().out == ""
    assert list(plugin.notes()) == [
        "plugin 'acme_loud' (acme_loud 1.0): its import prints 'hello'; remove the print from acme_loud"
    ]
    assert plugin.components


def test_a_log_that_keeps_stdout_of_the_import_writes_to_stderr(
    third_party: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    third_party("acme_log", "import sys\nSTREAM = sys.stdout\n" + GOOD)
    load_plugins()
    print("later", file=import_module("acme_log").STREAM)
    assert capsys.readouterr() == ("", "later\n")


def test_the_import_of_a_plugin_is_timed(third_party: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    third_party("acme_neck", GOOD)
    ticks = iter(range(1000))
    monkeypatch.setattr("mlbench.plugins.SLOW", 0.5)
    monkeypatch.setattr("mlbench.imports.perf_counter", lambda: next(ticks))
    plugins = {plugin.name: plugin for plugin in load_plugins()}
    assert plugins["acme_neck"].seconds == plugins["necks"].seconds == 1.0
    (note,) = plugins["acme_neck"].notes()
    assert note.endswith("its import took 1.0 s; import large packages inside build")
    assert list(plugins["necks"].notes()) == []


def test_entry_points_that_cannot_be_read_hide_no_other_plugin(third_party: Install, tmp_path: Path) -> None:
    third_party("acme_torn", GOOD)
    third_party("acme_neck", GOOD)
    (tmp_path / "site" / "acme_torn-1.0.dist-info" / "entry_points.txt").write_text("[mlbench]\nno sign\n")
    plugins = {plugin.name: plugin for plugin in load_plugins()}
    assert plugins["acme_neck"].error == plugins["necks"].error == ""
    assert plugins["acme_torn"].error.startswith("the entry points of acme_torn cannot be read: ")
    assert plugins["acme_torn"].fix == "install acme_torn again, or uninstall it"


def test_an_entry_point_that_names_no_module_is_named(third_party: Install, tmp_path: Path) -> None:
    third_party("acme_neck", GOOD)
    points = tmp_path / "site" / "acme_neck-1.0.dist-info" / "entry_points.txt"
    points.write_text("[mlbench]\nacme_neck = acme neck.py\n")
    message = "its entry point is 'acme neck.py'; expected 'module' or 'module:object'"
    assert loaded("acme_neck").error == message


def test_only_chosen_third_parties_load_beside_the_built_ins(third_party: Install) -> None:
    third_party("acme_a", GOOD)
    third_party("acme_b", GOOD)

    def names(*only: str) -> list[str]:
        plugins = load_plugins(only=only)
        assert {"necks", "losses"} <= {plugin.name for plugin in plugins}
        return [plugin.name for plugin in plugins if not plugin.built_in]

    assert (names(), names("acme_a"), names("acme_*")) == ([], ["acme_a"], ["acme_a", "acme_b"])
    assert left_out(only=["acme_a"]) == ["acme_b"]
    assert left_out(block=["acme*", "losses"]) == ["acme_a", "acme_b", "losses"]
    assert left_out() == []
    (line,) = idle_patterns(["acme_a", "acma_b"], then="it chooses none")
    assert line == "no plugin has a name like 'acma_b', so it chooses none (did you mean 'acme_b'?)"


def test_a_third_party_is_blocked_by_its_package_too(third_party: Install, tmp_path: Path) -> None:
    third_party("acme_neck", GOOD)
    points = tmp_path / "site" / "acme_neck-1.0.dist-info" / "entry_points.txt"
    points.write_text("[mlbench]\nnecks = acme_neck\n")
    found = {(plugin.package, plugin.name) for plugin in load_plugins(block=["acme_neck", "mlbench"])}
    assert ("mlbench", "necks") in found
    assert ("acme_neck", "necks") not in found


def test_the_environment_chooses_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLBENCH_BLOCK", raising=False)
    monkeypatch.setenv("MLBENCH_PLUGINS", "")
    assert environment_choice() == ((), None)
    monkeypatch.setenv("MLBENCH_PLUGINS", "a, b,c")
    monkeypatch.setenv("MLBENCH_BLOCK", "d e")
    assert environment_choice() == (("d", "e"), ("a", "b", "c"))


def test_plugins_that_state_no_contract_or_a_supported_one_load(
    third_party: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    third_party("acme_a", GOOD)
    third_party("acme_b", "MLBENCH_CONTRACT = 1\n" + GOOD)
    assert (loaded("acme_a").contract, loaded("acme_b").contract) == (None, 1)
    monkeypatch.setattr("mlbench.registration.CONTRACT", 3)
    assert loaded("acme_b").error == ""
    monkeypatch.setattr("mlbench.registration.OLDEST_CONTRACT", 2)
    message = "it is built for contract 1 of mlbench and this mlbench has contracts 2 to 3"
    assert (loaded("acme_b").contract, loaded("acme_b").error) == (1, message)


def test_an_interrupt_names_the_plugin_that_was_being_imported(third_party: Install) -> None:
    third_party("acme_interrupt", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt) as caught:
        load_plugins()
    assert str(caught.value) == (
        "interrupted while importing plugin 'acme_interrupt' (acme_interrupt 1.0); leave it out with --block "
        "acme_interrupt"
    )


def test_a_plugin_may_be_an_object_and_a_hook_a_generator(third_party: Install) -> None:
    class Plugin:
        @hookimpl
        def mlbench_components(self) -> Iterator[Component]:
            yield Component("neck", "mine", "a:b", "")

    source = SimpleNamespace(name="object", value="x:y", dist=None, load=Plugin)
    (plugin,) = load_plugins(sources=[source])  # type: ignore[list-item]
    assert (plugin.package, plugin.version, plugin.error) == ("(no package)", "0", "")
    assert plugin.components[0].name == "mine"


def test_plugins_are_sorted_whatever_the_order_of_installation(third_party: Install) -> None:
    third_party("acme_b", GOOD)
    third_party("acme_a", GOOD)
    names = [plugin.name for plugin in load_plugins() if plugin.package != "mlbench"]
    assert names == ["acme_a", "acme_b"]
    points = list(entry_points(group="mlbench"))
    assert load_plugins(sources=points) == load_plugins(sources=reversed(points))


def test_loading_plugins_imports_no_options_class(third_party: Install) -> None:
    third_party("acme_neck", GOOD.replace("acme_neck:Mine", "acme_options:Mine"))
    load_plugins()
    assert "acme_options" not in sys.modules


def test_an_import_may_use_all_members_of_stdout(third_party: Install) -> None:
    use = "import sys\nsys.stdout.reconfigure(errors='replace')\nsys.stdout.buffer.write(b'bytes')\n"
    third_party("acme_bytes", use + "print(sys.stdout.encoding.lower())\n" + GOOD)
    found = loaded("acme_bytes")
    assert found.error == ""
    assert found.printed == "utf-8\nbytes"
