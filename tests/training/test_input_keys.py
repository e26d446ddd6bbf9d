"""Cached inputs do not depend on which cases have used the cache before."""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TOY_SUITE
from PIL import Image

from mlbench.contracts import SPLITS, Component, FeatureShape
from mlbench.contracts.options import BackboneOptions
from mlbench.environment import Device, cache_dir
from mlbench.planning.plan import Case, make_plan
from mlbench.planning.spec import ComputeSettings, ImageSettings
from mlbench.planning.suite import load_suite
from mlbench.plugins import Plugin
from mlbench.registry import Registry
from mlbench.seeding import deterministic, matmul_precision
from mlbench.training.assembly import Assembly, assemble
from mlbench.training.inputs import SplitInputs
from mlbench_datasets import document_pool

#: What a case may set, and to what. The first value of each is that of the plain case.
CHOICES: Mapping[str, Sequence[str]] = {
    "dataset": [
        "{name: image_folder, path: photos}",
        "{name: image_folder, path: photos, seed: 1}",
        "{name: document_pool, path: pages, expand: 1, views: 2, eval_views: 2}",
    ],
    "image.size": ["32", "16"],
    "image.train_size": ["null", "16", "32"],
    "image.teacher_size": ["null", "16", "48"],
    "image.resize": ["squash", "pad", "crop"],
    "image.crop_ratio": ["1.0", "0.5"],
    "augmentation": ["null", "jitter", "camera"],
    "recipe.views": ["2", "1"],
    "backbone.scale": ["1.0", "2.0"],
    "backbone.frozen": ["true", "false"],
    "teacher.scale": ["1.0", "2.0"],
    "distiller.images": ["augmented", "clean"],
    "seeds": ["[0]", "[1]"],
    "precision": ["fp32", "bf16"],
    "compute.matmul_precision": ["highest", "medium"],
    "compute.deterministic": ["true", "false"],
    "compute.channels_last": ["true", "false"],
    "compute.accumulate": ["1", "2"],
    "compute.save_every": ["0", "5"],
    "compute.checkpointing": ["false", "true"],
}

SUITE = TOY_SUITE.replace("backbone: toy", "backbone: sized\n  teacher: sized\n  distiller: toy").replace(
    "size: 16", "size: 32"
)


class SizedOptions(BackboneOptions):
    """A backbone whose frozen prefix depends on the image size and on a number that is in no checkpoint."""

    scale: float = 1.0
    frozen: bool = True

    def build(self, image_size: int) -> Any:
        return sized(image_size, self.scale, self.frozen)


def sized(image_size: int, scale: float, frozen: bool) -> Any:

    class Scaled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("scale", torch.tensor(scale), persistent=False)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images * self.scale + image_size

    class Sized(torch.nn.Module):
        mean = std = (0.5, 0.5, 0.5)
        weights = "random"
        feature_shape = FeatureShape(4, image_size // 4, image_size // 4)

        def __init__(self) -> None:
            super().__init__()
            first = [torch.nn.Conv2d(3, 4, 4, 4), Scaled()]
            self.frozen = torch.nn.Sequential(*(first if frozen else []))
            self.trained = torch.nn.Sequential(*([] if frozen else first), torch.nn.ReLU())

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.trained(self.frozen(images))

    return Sized()


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """JPEGs that are large enough to be decoded at a part of their size, and pages to be photographed."""
    root = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    for index in range(12):
        coarse = generator.integers(0, 256, (20, 30, 3), np.uint8)
        image = Image.fromarray(coarse).resize((300, 200), Image.Resampling.BILINEAR)
        folder = root / "photos" / f"class{index // 2}"
        folder.mkdir(parents=True, exist_ok=True)
        image.save(folder / f"{index}.jpg", quality=90)
        (root / "pages").mkdir(exist_ok=True)
        if index < 6:
            image.save(root / "pages" / f"{index}.png")
    return root


@pytest.fixture
def cases(
    photographs: Path, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Mapping[str, str]], Case]:
    monkeypatch.setenv("MLBENCH_DATA", str(photographs))
    component = Component("backbone", "sized", "test_input_keys:SizedOptions", "")
    plugin = Plugin("acme", "acme", "acme", "1.0", (component,))
    registry = Registry((*registry.plugins, plugin))
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE)

    def case(chosen: Mapping[str, str]) -> Case:
        settings = {name: values[0] for name, values in CHOICES.items()} | chosen
        seeds = [int(settings.pop("seeds").strip("[]"))]
        # Without an augmentation there are no views of it.
        if settings["augmentation"] == "null":
            del settings["augmentation"], settings["recipe.views"]
        overrides = [f"{name}={value}" for name, value in settings.items()]
        suite = load_suite(path, registry, overrides=overrides)
        return make_plan(suite, Device("cpu", "test"), seeds=seeds).cases[0]

    return case


class Bench:
    """All inputs of training and evaluation of a case, as one hash of each."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.assembly = assemble(case, "cpu")
        assert self.assembly.objective  # built once, as most of these cases share their cache

    def inputs(self) -> dict[str, str]:
        assembly = Assembly(self.case, self.assembly.fabric, lambda *_: None)
        vars(assembly).update({name: vars(self.assembly)[name] for name in ("model", "teacher", "objective")})
        compute = self.case.spec.compute
        with deterministic(compute.deterministic), matmul_precision(compute.matmul_precision):
            feed = assembly.feed
            assert feed is not None
            found = {"train": feed.inputs, "clean": feed.clean, "targets": feed.targets}
            found |= {name: assembly.embedder.inputs(name) for name in ("calibration", "test")}
            assert all(each is None or each.cached for each in found.values())
            return {name: digest(each) for name, each in found.items() if each is not None}


def digest(inputs: SplitInputs) -> str:
    total = hashlib.sha256()
    for epoch in range(2):
        for batch in inputs.batches([range(len(inputs.split))], epoch):
            total.update(repr((batch.dtype, batch.shape)).encode() + batch.numpy().tobytes())
    return total.hexdigest()


def empty_cache() -> None:
    for kind in ("pixels", "features"):
        shutil.rmtree(cache_dir() / kind, ignore_errors=True)


def drawn() -> Iterator[dict[str, str]]:
    """The plain case, every case that differs from it in one setting, and some that differ in several."""
    yield {}
    for name, values in CHOICES.items():
        yield from ({name: value} for value in values[1:])
    generator = random.Random(0)
    for _ in range(8):
        yield {name: generator.choice(values) for name, values in CHOICES.items()}


def test_one_cache_for_all_cases_gives_the_bits_of_a_fresh_one_for_each(cases) -> None:
    chosen = list(drawn())
    benches = [Bench(cases(each)) for each in chosen]
    fresh = []
    for bench in benches:
        empty_cache()
        fresh.append(bench.inputs())
    different = []
    for order in (range(len(benches)), reversed(range(len(benches)))):
        empty_cache()
        for index in order:
            found = benches[index].inputs()
            different += [(chosen[index], name) for name in found if found[name] != fresh[index][name]]
    assert not different
    # The settings do make a difference, else nothing is shown here.
    assert len({tuple(each.values()) for each in fresh}) > len(fresh) / 2


def test_every_image_and_compute_setting_takes_part_in_the_property() -> None:
    slow = {"compute.compile"}  # of the whole prefix: its key is tested below
    named = {f"image.{name}" for name in ImageSettings.model_fields}
    named |= {f"compute.{name}" for name in ComputeSettings.model_fields}
    assert named - slow <= CHOICES.keys()


def files(kind: str) -> int:
    return len(list((cache_dir() / kind).glob("*")))


def test_a_compiled_prefix_has_features_of_its_own(cases, monkeypatch) -> None:
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: None)
    case = cases({})
    compute = case.spec.compute.model_copy(update={"compile": True})
    for each in (case, replace(case, spec=replace(case.spec, compute=compute))):
        Bench(each).inputs()
    assert (files("pixels"), files("features")) == (3, 8)


def test_what_changes_no_bit_shares_the_cache(cases) -> None:
    Bench(cases({})).inputs()
    before = files("pixels"), files("features")
    for more in (
        {"compute.accumulate": "2"},
        {"compute.checkpointing": "true"},
        {"compute.save_every": "1"},
    ):
        Bench(cases(more)).inputs()
    assert (files("pixels"), files("features")) == before
    Bench(cases({"seeds": "[1]"})).inputs()  # whose prefixes have other weights
    assert files("pixels") == before[0]


def test_threads_do_not_share_features(cases) -> None:
    """How many threads share a sum changes its last bits."""
    bench = Bench(cases({}))
    bench.inputs()
    before = files("features")
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        bench.inputs()
    finally:
        torch.set_num_threads(threads)
    assert files("features") == 2 * before


def test_a_file_that_was_replaced_is_read_anew(cases, photographs, tmp_path, monkeypatch) -> None:
    """In one process, as in two."""
    pages = tmp_path / "root" / "pages"
    shutil.copytree(photographs / "pages", pages)
    monkeypatch.setenv("MLBENCH_DATA", str(pages.parent))
    chosen = {"dataset": CHOICES["dataset"][2]}

    def images() -> list[bytes]:
        splits = [cases(chosen).dataset.split(name) for name in SPLITS]
        return [split.image(index).tobytes() for split in splits for index in range(len(split))]

    before = images()
    colours = iter(range(10, 200, 20))
    for file in sorted(pages.iterdir()):
        Image.new("RGB", (300, 200), (next(colours), 0, 0)).save(file)
    after = images()
    document_pool._square.cache_clear()
    assert images() == after != before
