from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest

from mlbench import plugin
from mlbench.deprecation import ContractDeprecationWarning, Deprecated, show_deprecations, warn_deprecated
from mlbench.plugin_files import PluginFile, add_plugin_files
from mlbench.plugins import load_plugins

Install = Callable[..., dict[str, str]]

#: NeckShape, as if it were going to be removed.
OLD = {"NeckShape": ("mlbench.contracts.shapes", Deprecated("FeatureShape", "99.1"))}
MESSAGE = (
    "plugin 'acme_old' (acme_old 1.0) uses mlbench.plugin.NeckShape, which mlbench 99.1 removes; use "
    "FeatureShape instead"
)
CODE = """
from mlbench.plugin import Component, NeckShape, hookimpl

@hookimpl
def mlbench_components():
    return [Component("neck", "mine", "acme_old:Mine", "a neck of mine")]

def build():
    from mlbench.plugin import NeckShape
    return NeckShape
"""


@pytest.fixture(autouse=True)
def _one_deprecated_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin, "_DEPRECATED", OLD)
    monkeypatch.delitem(vars(plugin), "NeckShape", raising=False)


def test_a_deprecated_name_works_and_warns_with_plugin_replacement_and_version(third_party: Install) -> None:
    third_party("acme_old", CODE)
    with pytest.warns(ContractDeprecationWarning, match=f"^{re.escape(MESSAGE)}$") as caught:
        plugins = {each.name: each for each in load_plugins()}
    assert (plugins["acme_old"].error, len(plugins["acme_old"].components)) == ("", 1)
    (warning,) = caught
    assert warning.filename.endswith("acme_old.py")


def test_a_deprecation_is_noted_once_and_after_loading_too(
    third_party: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    third_party("acme_old", CODE)
    with warnings.catch_warnings():
        show_deprecations()
        load_plugins()
        assert import_module("acme_old").build() is import_module("mlbench.contracts.shapes").NeckShape
    assert capsys.readouterr().err == f"note: {MESSAGE}\n"


def test_other_warnings_are_shown_as_before() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        show_deprecations()
        warnings.warn("other", UserWarning, stacklevel=1)
    assert [str(each.message) for each in caught] == ["other"]


def test_a_module_that_belongs_to_no_plugin_is_named() -> None:
    message = r"^the module script uses `x`, which mlbench 9 removes; use `y` instead$"
    with pytest.warns(ContractDeprecationWarning, match=message):
        warn_deprecated("`x`", Deprecated("`y`", "9"), "script")


def test_a_plugin_of_one_file_is_named_by_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLBENCH_LOCAL_MODULES", "{}")
    file = tmp_path / "old.py"
    file.write_text(CODE.replace("acme_old:", "old:"))
    with pytest.warns(ContractDeprecationWarning, match=rf"^the plugin {re.escape(str(file))} uses"):
        add_plugin_files((), [PluginFile(file, "--plugin old.py")])


def test_no_deprecated_name_outlives_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()

    def number(text: str) -> list[int]:
        return [int(part) for part in re.findall(r"\d+", text)]

    for name, (home, deprecated) in plugin._DEPRECATED.items():
        assert number(version("mlbench")) < number(deprecated.removed_in), name
        assert hasattr(import_module(home), name)
        assert name not in plugin.__all__
