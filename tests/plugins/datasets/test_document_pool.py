from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mlbench.contracts import GALLERY, QUERY, Dataset, Split
from mlbench.errors import DataError, OptionError
from mlbench.plugin import DatasetContext
from mlbench_datasets.document_pool import DocumentPool

SPLITS = ("train", "calibration", "test")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


def card(seed: int, width: int = 60, height: int = 40) -> Image.Image:
    """A picture of large random patches that differs from its rotations as from any other picture."""
    patches = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(patches).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    folder = tmp_path / "pool"
    folder.mkdir()
    for seed in range(10):
        card(seed).save(folder / f"card{seed}.{'jpg' if seed % 2 else 'png'}")
    return folder


def build(folder: Path, **options: object) -> DocumentPool:
    return DocumentPool(path=folder.name, **options).build(DatasetContext(folder.parent, 32))  # type: ignore[arg-type]


def documents(data: DocumentPool, name: str) -> set[str]:
    split = data.split(name)  # type: ignore[arg-type]
    return {split.class_name(label).split("@")[0] for label in range(split.num_classes)}


def photographs(data: DocumentPool, name: str) -> dict[tuple[str, int], bytes]:
    """Class name and view to pixels."""
    split = data.split(name)  # type: ignore[arg-type]
    return {
        (split.class_name(split.label(i)), i % split.views): split.image(i).tobytes()
        for i in range(len(split))
    }


def test_pool_divides_documents_and_expands_training(pool: Path) -> None:
    data = build(pool)
    assert isinstance(data, Dataset)
    assert data.disjoint
    assert data.notes == ()
    assert [data.split(name).num_classes for name in SPLITS] == [5 * 24, 2, 3]  # type: ignore[arg-type]
    assert [len(data.split(name)) for name in SPLITS] == [5 * 24 * 4, 10, 15]  # type: ignore[arg-type]
    parts = [documents(data, name) for name in SPLITS]
    assert Counter(path for part in parts for path in part) == Counter(os.listdir(pool))
    for name in SPLITS:
        split = data.split(name)  # type: ignore[arg-type]
        assert isinstance(split, Split)
        assert [split.label(i) for i in range(len(split))] == [i // split.views for i in range(len(split))]
        assert len({split.class_name(label) for label in range(split.num_classes)}) == split.num_classes
        assert split.role(0) == QUERY | GALLERY
        with pytest.raises(IndexError):
            split.label(len(split))


@pytest.mark.parametrize("expand", [1, 8, 24])
def test_pool_expands_as_asked(pool: Path, expand: int) -> None:
    data = build(pool, expand=expand, expand_test=expand, views=2, eval_views=3)
    assert [data.split(name).num_classes for name in SPLITS] == [5 * expand, 2 * expand, 3 * expand]  # type: ignore[arg-type]
    assert [data.split(name).views for name in SPLITS] == [2, 3, 3]  # type: ignore[arg-type]


def test_pool_photographs_differ_and_repeat(pool: Path) -> None:
    data = build(pool, expand=1, views=3)
    shown = photographs(data, "train")
    assert len(set(shown.values())) == len(shown) == 15
    image = data.split("train").image(0)
    assert (image.mode, image.size) == ("RGB", (32, 32))
    assert photographs(build(pool, expand=1, views=3), "train") == shown
    assert photographs(build(pool, expand=1, views=3, seed=1), "test") != photographs(data, "test")


def naive_expansion(square: np.ndarray, name: str) -> np.ndarray:
    """The expansion that a class name states, (64, 64, 3) to (32, 32, 3)."""
    degrees, *rest = name.split("@")[1].split("-")
    shown = np.rot90(square, int(degrees) // 90)
    shown = np.flipud(shown) if "flipped" in rest else shown
    shown = shown[:32] if "top" in rest else shown[32:] if "bottom" in rest else shown
    image = Image.fromarray(np.ascontiguousarray(shown)).resize((32, 32), Image.Resampling.BOX)
    return np.asarray(image, dtype=float)


def test_pool_without_camera_shows_the_expansions(pool: Path) -> None:
    split = build(pool, strength=0.0, views=1).split("train")
    names = [split.class_name(label) for label in range(24)]
    path = pool / names[0].split("@")[0]
    square = np.asarray(Image.open(path).convert("RGB").resize((64, 64), Image.Resampling.BICUBIC))
    expected = np.stack([naive_expansion(square, name) for name in names])
    for label in range(24):
        shown = np.asarray(split.image(label), dtype=float)
        assert np.abs(expected - shown).mean(axis=(1, 2, 3)).argmin() == label
        assert pool / split.where(label) == path


def test_pool_photographs_do_not_depend_on_other_documents(pool: Path) -> None:
    before = build(pool, expand=8)
    kept = photographs(before, "train")
    os.rename(pool / sorted(documents(before, "test"))[0], pool / "a new name.bin")
    after = photographs(build(pool, expand=8), "train")
    common = kept.keys() & after.keys()
    assert len(common) >= 8 * 3 * 4
    assert all(kept[key] == after[key] for key in common)


def test_pool_leaves_out_what_would_be_label_noise(pool: Path) -> None:
    Image.new("RGB", (50, 30), "white").save(pool / "blank.png")
    shutil.copy(pool / "card0.png", pool / "copy.png")
    (pool / "bad.jpg").write_text("text")
    data = build(pool, expand_test=24)
    assert data.notes == (
        "1 of 13 images left out as unreadable: bad.jpg (not an image)",
        "1 of 13 images left out as duplicates",
        "images that look the same in several expansions, of which the first is kept: blank.png",
    )
    names = [
        data.split(name).class_name(label)  # type: ignore[arg-type]
        for name in SPLITS
        for label in range(data.split(name).num_classes)  # type: ignore[arg-type]
    ]
    assert len(names) == 10 * 24 + 1
    assert "blank.png@0" in names
    assert not any(name.startswith("copy.png") for name in names)


def test_pool_version_follows_content_alone(pool: Path) -> None:
    version, shown = build(pool).version, photographs(build(pool), "test")
    for file in pool.iterdir():
        os.utime(file, (1_700_000_000, 1_700_000_000))
    moved = shutil.move(pool, pool.with_name("moved"))
    assert build(moved).version == version
    assert list(photographs(build(moved), "test").values()) == list(shown.values())
    image = card(0)
    image.putpixel((1, 1), (9, 9, 9))
    image.save(moved / "card0.png")
    assert build(moved).version != version


def test_pool_errors_say_what_is_needed(pool: Path) -> None:
    with pytest.raises(DataError, match=r"gone: no such folder \(there is .*MLBENCH_DATA"):
        build(pool.with_name("gone"))
    for number in range(5):
        (pool / f"card{number}.{'jpg' if number % 2 else 'png'}").write_bytes(b"")
    with pytest.raises(
        DataError, match=r"different images: 5; at least 6 are needed.*\(5 of 10 images left out"
    ):
        build(pool)
    with pytest.raises(OptionError):
        build(pool, calibration=0.6, test=0.5)


def test_pool_is_the_same_in_another_process_and_needs_no_torch(pool: Path) -> None:
    program = (
        "import sys, pathlib, hashlib; from mlbench.plugin import DatasetContext; "
        "from mlbench_datasets.document_pool import DocumentPool; "
        "data = DocumentPool(path='pool').build(DatasetContext(pathlib.Path(sys.argv[1]), 32)); "
        "split = data.split('test'); "
        "pixels = b''.join(split.image(i).tobytes() for i in range(15)); "
        "print(data.version, hashlib.md5(pixels).hexdigest()); "
        "assert not {'torch', 'torchvision', 'timm'} & set(sys.modules)"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program, str(pool.parent)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in "12"
    }
    assert len(outputs) == 1


def test_pool_splits_survive_pickling(pool: Path) -> None:
    data = build(pool, expand=8)
    copy = pickle.loads(pickle.dumps(data))
    assert photographs(copy, "train") == photographs(data, "train")
