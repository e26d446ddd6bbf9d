"""The public surface: what plugin authors and scripts may rely on."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest

import mlbench
from mlbench import plugin

ROOT = Path(mlbench.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in ROOT.rglob("*.py")
    if path.stem[0] != "_" and path.parent.name not in ("contracts", "testing")
)


#: What authors of plugins may import. A name that goes, or changes, needs another `CONTRACT`.
PLUGIN = [
    "CONTRACT",
    "GALLERY",
    "IMAGE_SUFFIXES",
    "MANIFEST_SUFFIXES",
    "MEASURED",
    "QUERY",
    "SPLITS",
    "SPLIT_NAMES",
    "STEP",
    "ACCEPT_NOTHING",
    "Advice",
    "Augmentation",
    "AugmentationOptions",
    "Backbone",
    "BackboneOptions",
    "BackboneShape",
    "BatchContext",
    "BatchSampler",
    "BatchSamplerOptions",
    "BatchesShape",
    "Box",
    "CaseFindings",
    "CaseRow",
    "Cases",
    "CatalogueItem",
    "CentreLoss",
    "CentreSampler",
    "CentresShape",
    "Chart",
    "Choice",
    "ClaimError",
    "ClaimOptions",
    "ClassFolders",
    "Component",
    "Curve",
    "CurveMetric",
    "DataCheck",
    "DataError",
    "DataProgress",
    "DataSource",
    "DataState",
    "Dataset",
    "DatasetContext",
    "DatasetOptions",
    "Distiller",
    "DistillerContext",
    "DistillerOptions",
    "Effect",
    "EmbeddingMetric",
    "Embeddings",
    "Engine",
    "Evidence",
    "FeatureShape",
    "Features",
    "Figure",
    "Finding",
    "FinishedRun",
    "GroupedSplit",
    "HeadContext",
    "LocatedSplit",
    "LossContext",
    "LossOptions",
    "LossShape",
    "Manifest",
    "ManifestRow",
    "MetricOptions",
    "Mixed",
    "MixedLoss",
    "Mixing",
    "MixingOptions",
    "MlbenchError",
    "Neck",
    "NeckOptions",
    "NeckShape",
    "Need",
    "OptionError",
    "PageContext",
    "PairList",
    "PairLoss",
    "PairedDataset",
    "Part",
    "PartCount",
    "Quantity",
    "RankMetric",
    "Ranks",
    "Recipe",
    "Record",
    "RegularisedLoss",
    "RowSampler",
    "SamplerContext",
    "SamplerOptions",
    "Section",
    "SectionOptions",
    "Split",
    "SplitName",
    "StoreError",
    "Target",
    "ThresholdError",
    "ThresholdOptions",
    "ThresholdPolicy",
    "TokensShape",
    "TrackedCase",
    "Tracker",
    "TrackerContext",
    "TrackerError",
    "TrackerOptions",
    "TrainingError",
    "UnreadableImageError",
    "Values",
    "WeightsError",
    "cache_dir",
    "close_match",
    "code_hash",
    "compiled",
    "core_hash",
    "decode",
    "derive",
    "effect_of",
    "find_images",
    "find_path",
    "find_paths",
    "first_line",
    "hint",
    "hookimpl",
    "kind_of",
    "matmul_precision",
    "metric_text",
    "numpy_generator",
    "one_form",
    "read_class_folders",
    "read_image",
    "read_manifest",
    "split_of",
    "torch_generator",
    "torch_seed",
    "verification_curve",
    "write_atomically",
]


def test_the_plugin_module_offers_authors_these_names() -> None:
    assert sorted(PLUGIN) == sorted(plugin.__all__)
    for name in PLUGIN:
        assert getattr(plugin, name) is not None
    assert plugin.CONTRACT == 1
    assert mlbench.__version__ == version("mlbench")


def test_type_checkers_see_the_same_names_from_the_same_modules() -> None:
    tree = ast.parse((ROOT / "plugin.py").read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    imported = {each.name: node.module for node in block.body for each in node.names}
    assert imported == plugin._HOMES


def test_built_in_components_import_nothing_else_of_mlbench() -> None:
    """Type-checking imports too, which import-linter does not look at."""
    other = []
    for path in sorted((ROOT.parent / "plugins").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [each.name for each in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                if name.partition(".")[0] == "mlbench" and name != "mlbench.plugin":
                    other.append(f"{path.name}:{node.lineno}: {name}")
    assert other == []


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'mlbench' has no attribute 'nowhere'"):
        _ = mlbench.nowhere


def test_importing_the_package_imports_neither_torch_nor_numpy() -> None:
    code = (
        "import sys, mlbench; from mlbench.plugin import Component, hookimpl\n"
        "print({'torch', 'timm', 'torchvision', 'numpy', 'pydantic', 'rich'} & sys.modules.keys())"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout == "set()\n"


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is_and_what_it_offers(name: str) -> None:
    source = ROOT.joinpath(*name.split(".")).with_suffix(".py").read_text(encoding="utf-8")
    assert source.startswith('"""')
    assert "\n__all__ = " in source
    if "import torch\n" not in source.partition("\n\n\n")[0]:
        module = import_module(f"mlbench.{name}")
        assert [each for each in module.__all__ if not hasattr(module, each)] == []
