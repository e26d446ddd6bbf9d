"""Tests of every published data set."""

from __future__ import annotations

import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from published_files import (
    MAKERS,
    NAMES,
    SPLITS,
    classes,
    load,
    quiet,
    refused,
    source,
)

from mlbench.contracts import GALLERY, QUERY, Dataset, DataSource, Split
from mlbench.errors import DataError
from mlbench_datasets.collections.cars196 import Cars196
from mlbench_datasets.collections.cifar100 import Cifar100
from mlbench_datasets.collections.cub200 import Cub200
from mlbench_datasets.collections.emoji import Emoji
from mlbench_datasets.collections.inshop import InShop
from mlbench_datasets.collections.sop import Sop


@pytest.mark.parametrize("name", NAMES)
def test_every_collection_keeps_the_contract(tmp_path: Path, name: str) -> None:
    MAKERS[name](tmp_path / name)
    data = load(name, tmp_path)
    assert isinstance(data, Dataset)
    held = set(classes(data, "train")) | set(classes(data, "calibration"))
    assert data.disjoint == (held.isdisjoint(classes(data, "test")))
    assert data.disjoint == (name != "cifar100")
    for part in SPLITS:
        split = pickle.loads(pickle.dumps(data.split(part)))
        assert isinstance(split, Split)
        labels = [split.label(index) for index in range(len(split))]
        assert sorted(set(labels)) == list(range(split.num_classes))
        assert split.num_classes >= 2
        assert all(split.role(index) in (QUERY, GALLERY, QUERY | GALLERY) for index in range(len(split)))
        assert split.image(0).mode == "RGB"
        assert split.image(0).tobytes() == data.split(part).image(0).tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_calibration_is_chosen_by_the_seed_from_training_alone(tmp_path: Path, name: str) -> None:
    MAKERS[name](tmp_path / name)
    one, same, *others = (load(name, tmp_path, seed=seed, calibration=0.4) for seed in (0, 0, 1, 2))
    other = next(each for each in others if each.version != one.version)
    assert one.version == same.version

    def seen(data: Any, part: str) -> list[bytes]:
        split = data.split(part)
        return [split.image(index).tobytes() for index in range(len(split))]

    assert seen(one, "calibration") == seen(same, "calibration") != seen(other, "calibration")
    assert seen(one, "test") == seen(other, "test")
    assert sorted(seen(one, "train") + seen(one, "calibration")) == sorted(
        seen(other, "train") + seen(other, "calibration")
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_collection_says_what_to_put_where(tmp_path: Path, name: str) -> None:
    line = refused(name, tmp_path)
    found = source(name, tmp_path)
    assert line.startswith(f"{tmp_path / name}: files of {name} are missing (")
    for part in (
        found.home,
        found.licence,
        found.instructions,
        f"mlbench data fetch {name} --root {tmp_path}",
    ):
        assert part in line
    assert found.state() == "missing"
    assert found.check(quiet).problems == (line,)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_the_users_own_is_asked_to_be_filled(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError) as caught:
        load(name, tmp_path, path="elsewhere")
    assert str(tmp_path / "elsewhere") in str(caught.value)
    assert "mlbench data fetch" not in str(caught.value)
    MAKERS[name](tmp_path / "elsewhere")
    assert len(load(name, tmp_path, path="elsewhere").split("test"))


@pytest.mark.parametrize("name", NAMES)
def test_check_counts_what_is_there(tmp_path: Path, name: str) -> None:
    MAKERS[name](tmp_path / name)
    found = source(name, tmp_path)
    assert isinstance(found, DataSource)
    assert found.state() == "ready"
    checked = found.check(quiet)
    assert [part.part for part in checked.parts] == [
        problem.partition(":")[0] for problem in checked.problems
    ]
    assert all(part.images > 0 < part.classes for part in checked.parts)
    assert list(load(name, tmp_path).notes[1:])[: len(checked.problems)] == list(checked.problems)
    assert "published: " in checked.problems[0]


@pytest.mark.parametrize("name", ["cars196", "cub200", "emoji", "inshop", "sop"])
def test_missing_and_damaged_images_are_named(tmp_path: Path, name: str) -> None:
    MAKERS[name](tmp_path / name)
    images = sorted(path for path in (tmp_path / name).rglob("*") if path.suffix.lower() in (".jpg", ".png"))
    images[0].unlink()
    images[3].write_bytes(b"damaged")
    first, second = (path.relative_to(tmp_path / name).as_posix() for path in (images[0], images[3]))
    line = refused(name, tmp_path)
    assert re.search(r": 2 of \d+ images are missing or cannot be read: ", line)
    problem = source(name, tmp_path).check(quiet).problems[0]
    for text in (line, problem):
        assert f"{first} (No such file or directory)" in text
        assert f"{second} (not an image)" in text


@pytest.mark.parametrize("name", NAMES)
def test_state_tells_a_part_from_the_whole(tmp_path: Path, name: str) -> None:
    MAKERS[name](tmp_path / name)
    found = source(name, tmp_path)
    layout = found.layout()
    assert layout is not None
    gone = tmp_path / name / layout[0]
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    assert found.state() == "incomplete"
    assert layout[0] in refused(name, tmp_path)


def test_sources_are_told_without_torch() -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from mlbench.registry import Registry; from mlbench.plugins import Plugin\n"
        "import mlbench_datasets\n"
        "registry = Registry((Plugin('d', '', '', '', tuple(mlbench_datasets.mlbench_components())),))\n"
        "classes = [each.options_class for each in registry if each.component.kind == 'dataset']\n"
        "found = [each.source(Path('nowhere')) for each in classes]\n"
        "print([each.name for each in found if each])\n"
        "print({'torch', 'torchvision', 'timm', 'scipy', 'pandas'} & sys.modules.keys())"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout == f"{sorted(NAMES)}\nset()\n"


def test_published_counts_are_those_of_the_literature() -> None:
    published = [each.published for each in (Cub200, Cars196, Sop, InShop, Cifar100, Emoji)]
    totals = [sum(images for _, images in each.values()) for each in published]
    assert totals == [11_788, 16_185, 120_053, 52_712, 60_000, (928 + 660) * 4]
