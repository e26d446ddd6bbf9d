"""What holds for every component of the built-in plugins that make up a model."""

import inspect
import re
import subprocess
import sys
from importlib import import_module

import pytest

from mlbench.contracts import KINDS
from mlbench.options import Schema

PACKAGES = {
    "mlbench_backbones": {("backbone", "timm")},
    "mlbench_necks": {("neck", "flatten"), ("neck", "gap"), ("neck", "squeeze")},
    "mlbench_losses": {("loss", "softmax"), ("loss", "cosface")},
    "mlbench_samplers": {
        ("sampler", "all"),
        ("sampler", "partial_fc"),
        ("batch_sampler", "shuffle"),
        ("batch_sampler", "m_per_class"),
    },
    "mlbench_recipes": {
        *(("recipe", name) for name in ("standard", "a1", "a2", "a3", "docclassifier", "triplet", "cifar")),
    },
    "mlbench_augmentations": {
        ("augmentation", "flip_crop"),
        ("augmentation", "resized_crop"),
        ("augmentation", "randaugment"),
        ("augmentation", "crop_randaugment"),
        ("augmentation", "document"),
        ("mixing", "mixup"),
        ("mixing", "cutmix"),
        ("mixing", "mixup_cutmix"),
    },
}
COMPONENTS = [component for name in PACKAGES for component in import_module(name).mlbench_components()]
each_component = pytest.mark.parametrize("component", COMPONENTS, ids=lambda c: f"{c.kind}-{c.name}")


def resolve(target):
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


def schema(target, component):
    return Schema(resolve(target), owner=component.name, provides=KINDS[component.kind].provides)


@pytest.mark.parametrize("package", PACKAGES)
def test_plugin_registers_its_components(package):
    components = import_module(package).mlbench_components()
    assert {(component.kind, component.name) for component in components} == PACKAGES[package]


def test_factories_import_without_torch():
    modules = {target.partition(":")[0] for c in COMPONENTS for target in (c.factory, c.predict) if target}
    found = "{'torch', 'torchvision', 'timm'} & sys.modules.keys()"
    program = f"import sys, {', '.join(sorted(modules))}; print(*{found})"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (result.returncode, result.stdout.split(), result.stderr) == (0, [], "")


@each_component
def test_component_says_what_it_is_and_where_it_is_from(component):
    assert re.fullmatch(r"[^\n]{10,100}[^.\n]", component.summary)
    assert re.fullmatch(r"(arXiv:\d{4}\.\d{4,5}|https://\S+)?", component.source)


@each_component
def test_component_documents_every_option_and_no_other(component):
    factory = resolve(component.factory)
    text = inspect.getdoc(factory) or ""
    options = [option.name for option in schema(component.factory, component).options]
    section = text.partition("Options\n-------\n")[2].partition("\n\n")[0]
    assert re.findall(r"^(\w+): ", section, flags=re.MULTILINE) == options


@each_component
def test_component_works_with_its_defaults_spelt_out(component):
    entry = schema(component.factory, component)
    options = entry.check({})
    assert entry.check(options) == options


@each_component
def test_component_predicts_from_what_the_factory_takes(component):
    if not component.predict:
        pytest.skip("predicts nothing")
    factory, prediction = (schema(target, component) for target in (component.factory, component.predict))
    assert set(prediction.provided) <= set(factory.provided)
    assert prediction.check({}) == factory.check({})
