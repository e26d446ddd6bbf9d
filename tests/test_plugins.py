from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from types import SimpleNamespace

import pytest

from mlbench.contracts import Component
from mlbench.hookspecs import hookimpl
from mlbench.plugins import Plugin, idle_blocks, load_plugins

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
    assert idle_blocks(["neck*", "losses"]) == []
    (line,) = idle_blocks(["losses", "lossse"])
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
        (components("None"), "TypeError: mlbench_components returned None; expected Components"),
        (components("7"), "TypeError: 'int' object is not iterable"),
        (components("['gap']"), "TypeError: mlbench_components returned a str; expected Component"),
        (
            components("[Component('nek', 'mine', 'a:b', '')]"),
            "ValueError: component 'mine' has the unknown kind 'nek' (did you mean 'neck'?)",
        ),
        (
            components("[Component('neck', 'mine', 'a.b', '')]"),
            "ValueError: the neck 'mine' points at 'a.b'; expected 'module:Class'",
        ),
        (
            "MLBENCH_CONTRACT = 2\n" + GOOD,
            "TypeError: it is built for contract 2 of mlbench and this mlbench has contract 1; upgrade",
        ),
        (
            "MLBENCH_CONTRACT = '1'\n" + GOOD,
            "TypeError: MLBENCH_CONTRACT is '1'; expected a whole number, such as 1",
        ),
        (
            "from mlbench.plugin import TripletOptions\n" + GOOD,
            "ImportError: cannot import name 'TripletOptions' from 'mlbench.plugin'",
        ),
        (
            "MLBENCH_CONTRACT = 0\n" + GOOD,
            "TypeError: it is built for contract 0 of mlbench and this mlbench has contract 1; install a "
            "newer version of the plugin",
        ),
        (
            components("[Component('neck', 'mine', 'a:b', ''), Component('neck', 'mine', 'a:c', '')]"),
            "ValueError: it registers the neck 'mine' twice",
        ),
        ("x = 1", "TypeError: no hook in it; mark mlbench_components with mlbench.plugin.hookimpl"),
        (
            GOOD.replace("@hookimpl", ""),
            "TypeError: no hook in it; mark mlbench_components with mlbench.plugin.hookimpl",
        ),
        (
            GOOD.replace("def mlbench_components", "def mlbench_component"),
            "PluginValidationError: unknown hook",
        ),
    ],
)
def test_a_broken_plugin_is_set_aside_with_its_error(third_party: Install, code: str, error: str) -> None:
    third_party("acme_broken", code)
    plugins = {plugin.name: plugin for plugin in load_plugins()}
    assert plugins["acme_broken"].components == ()
    assert plugins["acme_broken"].error.startswith(error)
    assert "\n" not in plugins["acme_broken"].error
    assert plugins["necks"].error == ""


def test_an_interrupt_is_no_plugin_error(third_party: Install) -> None:
    third_party("acme_interrupt", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load_plugins()


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
