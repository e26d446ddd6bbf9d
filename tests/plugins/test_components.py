"""Every component of the built-in plugins keeps what its kind promises."""

from __future__ import annotations

import pytest

from mlbench.plugins import load_plugins
from mlbench.registry import Registry
from mlbench.testing import EXAMPLES, checks, imports_nothing_heavy

REGISTRY = Registry(load_plugins())
COMPONENTS = [entry.component for entry in REGISTRY]


def options(component):
    """The options of each example of a component; its defaults where there is none."""
    examples = EXAMPLES.get((component.kind, component.name), {"": {}})
    known = {option.name for option in REGISTRY.get(component.kind, component.name).schema.options}
    every = [dict(sections.get(component.kind, {})) for sections in examples.values()]
    for given in every:
        given.pop("name", None)
    return [given for given in every if given.keys() <= known]


ALL = [check for each in COMPONENTS for given in options(each) for check in checks(each, **given)]


@pytest.mark.parametrize("check", ALL, ids=str)
def test_component(check):
    check()


def test_no_plugin_is_broken():
    assert REGISTRY.broken == ()


def test_examples_are_of_components_that_exist():
    assert EXAMPLES.keys() <= {(component.kind, component.name) for component in COMPONENTS}


def test_factories_import_without_torch():
    imports_nothing_heavy(*COMPONENTS)
