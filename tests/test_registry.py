from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mlbench.contracts import Component
from mlbench.errors import ComponentError, OptionError
from mlbench.plugins import Plugin, load_plugins
from mlbench.provenance import package_hash
from mlbench.registration import Fault
from mlbench.registry import Entry, Registry

Install = Callable[..., dict[str, str]]


def plugin(name: str, *names: str, package: str = "acme", error: str = "") -> Plugin:
    components = tuple(Component("neck", each, f"{name}:{each}", "") for each in names)
    return Plugin(name, name, package, "1.0", components, error)


def test_get_gives_the_component_and_its_plugin() -> None:
    registry = Registry([plugin("one", "b", "a"), plugin("two", "c")])
    assert registry.names("neck") == ["a", "b", "c"]
    assert registry.names("loss") == []
    assert [entry.component.name for entry in registry] == ["a", "b", "c"]
    assert len(registry) == 3
    assert registry.get("neck", "c").plugin.name == "two"
    assert str(registry.get("neck", "c")) == "neck 'c'"


def test_an_unknown_name_or_kind_is_answered_with_the_nearest() -> None:
    registry = Registry([plugin("one", "flatten", "gap")])
    with pytest.raises(ComponentError, match=r"^unknown neck 'gpa' \(did you mean 'gap'\?\)$"):
        registry.get("neck", "gpa")
    with pytest.raises(ComponentError, match=r"^unknown loss 'gap' \(none is available\)$"):
        registry.get("loss", "gap")
    with pytest.raises(ComponentError, match=r"^unknown kind 'nek' \(did you mean 'neck'\?\)$"):
        registry.get("nek", "gap")


def test_an_unknown_name_names_plugins_that_failed_to_load() -> None:
    registry = Registry([plugin("one", "gap"), plugin("two", error="ImportError: no lib")])
    message = r"; plugins that failed to load may have it: two \(ImportError: no lib\)$"
    with pytest.raises(ComponentError, match=message):
        registry.get("neck", "mine")
    assert registry.get("neck", "gap")


def test_a_built_in_component_wins_over_another_of_its_name() -> None:
    ours, theirs = plugin("ours", "gap", package="mlbench"), plugin("theirs", "gap", "mine")
    for plugins in ([ours, theirs], [theirs, ours]):
        registry = Registry(plugins)
        assert registry.get("neck", "gap").plugin.name == "ours"
        assert registry.names("neck") == ["gap", "mine"]
        (note,) = [line for each in registry.plugins for line in each.notes()]
        assert note == (
            "neck 'gap' of plugin 'theirs' (acme 1.0) is set aside: a built-in component has this name and "
            "is used; give it another name"
        )


def test_of_two_third_parties_with_one_name_neither_is_used() -> None:
    registry = Registry([plugin("one", "gap", "mine"), plugin("two", "gap", package="other")])
    assert registry.names("neck") == ["mine"]
    with pytest.raises(ComponentError) as caught:
        registry.get("neck", "gap")
    assert str(caught.value) == (
        "neck 'gap' of plugin 'one' (acme 1.0) is set aside: plugin 'two' (other 1.0) registers it too, so "
        "neither is used; leave one out with --block one or --block two"
    )
    again = Registry(registry.plugins)
    assert again.plugins == registry.plugins
    assert Registry([plugin("one", "gap")]).names("neck") == ["gap"]


def test_packages_tell_two_plugins_of_one_name_apart() -> None:
    registry = Registry([plugin("one", "gap"), plugin("one", "gap", package="other")])
    with pytest.raises(ComponentError, match=r"--block acme or --block other$"):
        registry.get("neck", "gap")


def test_a_component_that_is_set_aside_says_why() -> None:
    fault = Fault("its summary is None; expected text", "correct its Component", "neck", "mine")
    registry = Registry([replace(plugin("one", "gap"), faults=(fault,))])
    message = r"^neck 'mine' of plugin 'one' \(acme 1.0\) is set aside: its summary is None; expected text; "
    with pytest.raises(ComponentError, match=message):
        registry.get("neck", "mine")


def test_an_unknown_name_names_plugins_that_were_left_out() -> None:
    registry = Registry([], left_out=["two", "three"]).replaced([plugin("one", "gap")])
    assert registry.names("neck") == ["gap"]
    with pytest.raises(ComponentError, match=r"; plugins that were left out may have it: two, three$"):
        registry.get("neck", "mine")


def test_order_of_plugins_changes_nothing() -> None:
    plugins = [plugin("one", "b"), plugin("two", "a", "c")]
    assert list(Registry(plugins)) == list(Registry(plugins[::-1]))


CODE = """
from mlbench.plugin import NeckOptions

class Mine(NeckOptions):
    dim: int = 8

    def predict(self, features):
        return self.dim * 2

    def build(self, features):
        return features, self.dim

class Bare(NeckOptions):
    dim: int = 8

def function(features): ...
"""


def entry(module: str, attribute: str) -> Entry:
    return Entry(Component("neck", "mine", f"{module}:{attribute}", ""), plugin("one"))


def test_an_options_class_is_imported_when_it_is_first_used(third_party: Install) -> None:
    third_party("acme_lazy", CODE)
    mine = entry("acme_lazy", "Mine")
    assert "acme_lazy" not in sys.modules
    assert mine.check({}) == {"dim": 8}
    assert "acme_lazy" in sys.modules
    assert [option.name for option in mine.options] == ["dim"]
    assert mine.make({"dim": 3}).build((1, 2, 3)) == ((1, 2, 3), 3)
    assert mine.make({"dim": 3}).predict((1, 2, 3)) == 6
    with pytest.raises(OptionError, match=r"^unknown key 'dmi' \(did you mean 'dim'\?\) of neck 'mine'$"):
        mine.check({"dmi": 3})


@pytest.mark.parametrize(
    ("code", "attribute", "reason"),
    [
        (
            "import nowhere_to_be_found",
            "Mine",
            "ModuleNotFoundError: No module named 'nowhere_to_be_found' ({file}:1)",
        ),
        ("raise SystemExit(1)", "Mine", "SystemExit: 1 ({file}:1)"),
        (CODE, "Yours", "AttributeError: module 'acme_neck' has no attribute 'Yours'"),
        (
            CODE.replace("dim: int = 8", "dim = 8"),
            "Mine",
            "PydanticUserError: A non-annotated attribute was detected: `dim = 8`. All model fields require "
            "a type annotation; if `dim` is not meant to be a field, you may be able to resolve this error "
            "by annotating it as a `ClassVar` or updating `model_config['ignored_types']`. ({file}:4)",
        ),
    ],
)
def test_an_options_class_that_cannot_be_imported_is_named(
    third_party: Install, tmp_path: Path, code: str, attribute: str, reason: str
) -> None:
    third_party("acme_neck", code)
    with pytest.raises(ComponentError) as caught:
        _ = entry("acme_neck", attribute).options
    assert str(caught.value) == (
        f"neck 'mine' of plugin 'one' (acme 1.0) cannot be imported from acme_neck:{attribute}: "
        + reason.format(file=tmp_path / "site" / "acme_neck.py")
    )


@pytest.mark.parametrize("code", ["print('hello')\n", "import os\nos.write(1, b'hello')\nprint('hello')\n"])
def test_an_options_module_cannot_write_to_stdout(
    third_party: Install, code: str, capfd: pytest.CaptureFixture[str]
) -> None:
    third_party("acme_lazy", code + CODE)
    notes: list[str] = []
    replace(entry("acme_lazy", "Mine"), registry=Registry([], note=notes.append)).check({})
    assert notes == ["the import of neck 'mine' of plugin 'one' (acme 1.0) prints 'hello'"]
    assert capfd.readouterr().out == ""


def test_a_slow_options_module_is_noted(third_party: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    third_party("acme_lazy", CODE)
    notes: list[str] = []
    monkeypatch.setattr("mlbench.registry.SLOW", 0.0)
    replace(entry("acme_lazy", "Mine"), registry=Registry([], note=notes.append)).check({})
    (note,) = notes
    assert note.startswith("the import of neck 'mine' of plugin 'one' (acme 1.0) took 0.")


def test_an_interrupted_import_of_an_options_class_is_named(third_party: Install) -> None:
    third_party("acme_lazy", "raise KeyboardInterrupt")
    message = r"^interrupted while importing neck 'mine' of plugin 'one' \(acme 1.0\) from acme_lazy:Mine$"
    with pytest.raises(KeyboardInterrupt, match=message):
        entry("acme_lazy", "Mine").check({})


def test_a_default_of_another_type_is_a_mistake_of_the_plugin(third_party: Install) -> None:
    third_party("acme_neck", CODE.replace("dim: int = 8", "dim: int = 'x'"))
    message = r"^neck 'mine': the default of 'dim' is \"x\"; expected int; this is a mistake in plugin 'one' "
    with pytest.raises(ComponentError, match=message):
        _ = entry("acme_neck", "Mine").options


@pytest.mark.parametrize(
    ("attribute", "mistake"),
    [("Bare", "Bare has no build"), ("function", "expected a subclass of NeckOptions, not <function")],
)
def test_an_options_class_that_breaks_the_contract_names_its_plugin(
    third_party: Install, attribute: str, mistake: str
) -> None:
    third_party("acme_neck", CODE)
    message = rf"^neck 'mine': {mistake}.*; this is a mistake in plugin 'one' \(acme 1.0\)$"
    with pytest.raises(ComponentError, match=message):
        _ = entry("acme_neck", attribute).options


def test_provenance_changes_with_the_code(third_party: Install, tmp_path: Path) -> None:
    third_party("acme_code", CODE)
    before = entry("acme_code", "Mine").provenance
    assert (before["package"], before["version"], len(before["code"])) == ("acme", "1.0", 12)
    (tmp_path / "site" / "acme_code.py").write_text(CODE + "\n")
    package_hash.cache_clear()
    assert entry("acme_code", "Mine").provenance["code"] != before["code"]


def test_every_built_in_options_class_imports_and_keeps_the_contract() -> None:
    for each in Registry(load_plugins()):
        assert each.options is not None
        assert each.provenance["code"]


def test_a_registry_can_be_pickled_for_the_measuring_process() -> None:
    copy = pickle.loads(pickle.dumps(Registry([plugin("one", "gap")])))
    assert copy.names("neck") == ["gap"]
    copy.note("a line that nobody takes")


def test_inner_components_of_an_entry_alone_are_those_that_the_environment_chooses(monkeypatch) -> None:
    component = Component("neck", "mine", "mine:Mine", "summary")
    alone = Plugin("one", "mine", "acme", "1.0")
    assert Entry(component, alone).inner("neck", "gap").plugin.name == "necks"
    monkeypatch.setenv("MLBENCH_BLOCK", "necks")
    with pytest.raises(ComponentError, match="unknown neck 'gap'"):
        Entry(component, alone).inner("neck", "gap")
