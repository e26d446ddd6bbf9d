"""Every component of the built-in plugins keeps what its kind promises."""

from __future__ import annotations

from unittest import SkipTest

import numpy as np
import pytest
from PIL import Image

from mlbench.plugins import load_plugins
from mlbench.registry import Registry
from mlbench.testing import checks, example_options, imports_nothing_heavy
from mlbench.testing.catalogue import EXAMPLES

REGISTRY = Registry(load_plugins())
COMPONENTS = [entry.component for entry in REGISTRY]


def param(check):
    """A database, and a process beside this one, take time."""
    slow = str(check).startswith(("tracker-mlflow-tracker", "tracker-wandb-tracker"))
    return pytest.param(check, marks=pytest.mark.slow if slow else ())


ALL = [
    param(check)
    for component in COMPONENTS
    for options in example_options(component)
    for check in checks(component, **options)
]


@pytest.fixture(scope="module", autouse=True)
def _imports_in_one_process():
    """Import the modules of all components in one process, whose results their checks then use."""
    imports_nothing_heavy(*COMPONENTS)


@pytest.mark.parametrize("check", ALL, ids=str)
def test_component(check):
    check()


@pytest.mark.parametrize("name", ["image_folder", "document_pool"])
def test_data_set_of_files(name, tmp_path):
    """Those that take a folder of images, with one."""
    generator = np.random.default_rng(0)
    for at in range(32):
        path = tmp_path / "images" / f"class{at // 4}" / f"{at}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (48, 40, 3), dtype=np.uint8)).save(path)
    for check in checks(REGISTRY.get("dataset", name).component, path=str(tmp_path / "images")):
        try:
            check()
        except SkipTest as error:
            pytest.fail(str(error))


def test_no_plugin_is_broken():
    assert REGISTRY.broken == ()


def test_examples_are_of_components_that_exist():
    assert EXAMPLES.keys() <= {(component.kind, component.name) for component in COMPONENTS}


def test_factories_import_without_torch():
    imports_nothing_heavy(*COMPONENTS)
