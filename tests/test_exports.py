"""The public surface: what plugin authors and scripts may rely on."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest

import mlbench

ROOT = Path(mlbench.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in ROOT.rglob("*.py")
    if path.stem[0] != "_" and path.parent.name not in ("contracts", "testing")
)


def test_the_package_offers_plugin_authors_these_names() -> None:
    assert mlbench.__all__ == ["Component", "__version__", "contracts", "errors", "hookimpl"]
    for name in mlbench.__all__:
        assert getattr(mlbench, name) is not None
    assert mlbench.__version__ == version("mlbench")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'mlbench' has no attribute 'nowhere'"):
        _ = mlbench.nowhere


def test_contracts_offer_these_names() -> None:
    assert set(mlbench.contracts.__all__) >= {"KINDS", "Component", "FeatureShape", "NeckShape", "Recipe"}
    assert set(mlbench.contracts.KINDS) == {
        "dataset",
        "augmentation",
        "mixing",
        "backbone",
        "neck",
        "loss",
        "sampler",
        "distiller",
        "batch_sampler",
        "recipe",
        "metric",
        "threshold",
    }


def test_importing_the_package_imports_neither_torch_nor_numpy() -> None:
    code = (
        "import sys, mlbench; from mlbench import Component, hookimpl\n"
        "print({'torch', 'timm', 'torchvision', 'numpy', 'pydantic', 'rich'} & sys.modules.keys())"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout == "set()\n"


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is_and_what_it_offers(name: str) -> None:
    source = ROOT.joinpath(*name.split(".")).with_suffix(".py").read_text(encoding="utf-8")
    assert source.startswith('"""')
    assert "\n__all__ = [" in source
    if "import torch\n" not in source.partition("\n\n\n")[0]:
        module = import_module(f"mlbench.{name}")
        assert [each for each in module.__all__ if not hasattr(module, each)] == []
