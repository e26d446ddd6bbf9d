from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from PIL import Image

from mlbench.commands.scaffold import suite_for_folder, write_suite
from mlbench.errors import DataError, StoreError
from mlbench.planning.suite import load_suite
from mlbench.plugins import load_plugins
from mlbench.registry import Registry


def fill(folder: Path, classes: int, images: int, side: int = 20) -> Path:
    for label in range(classes):
        (folder / f"class{label}").mkdir(parents=True)
        for number in range(images):
            Image.new("RGB", (side, side + 9)).save(folder / f"class{label}" / f"{number}.png")
    return folder


def test_suite_for_folder_is_a_suite(tmp_path: Path) -> None:
    folder = fill(tmp_path / "photos", 8, 4)
    file = write_suite(folder, tmp_path / "photos.yaml")
    suite = load_suite(file, Registry(load_plugins()))
    assert suite.name == "photos"
    assert [spec.name for spec in suite.specs] == ["flatten", "gap", "squeeze"]
    assert suite.specs[0].parts["dataset"].options["path"] == str(folder)
    assert suite.seeds == (0, 1)


def test_suite_for_folder_counts(tmp_path: Path) -> None:
    text = suite_for_folder(fill(tmp_path / "photos", 8, 4, side=250))
    assert "# 32 images of 8 classes; their shorter side has 250 pixels (median)." in text
    assert "Half of the classes train" in text
    data = yaml.safe_load(text)
    assert data["base"]["image"] == {"size": 224, "resize": "pad"}
    assert data["base"]["recipe"]["batch_size"] == 8
    assert data["base"]["recipe"]["epochs"] == 60


def test_suite_for_folder_keeps_small_images_small(tmp_path: Path) -> None:
    data = yaml.safe_load(suite_for_folder(fill(tmp_path / "photos", 2, 256)))
    assert data["base"]["image"]["size"] == 128
    assert data["base"]["recipe"]["batch_size"] == 32  # 256 of 512 images train, eight batches of them


def test_suite_for_folder_sees_splits(tmp_path: Path) -> None:
    fill(tmp_path / "photos" / "train", 5, 2)
    fill(tmp_path / "photos" / "test", 3, 2)
    text = suite_for_folder(tmp_path / "photos")
    assert "# 16 images of 5 classes" in text
    assert "divided as the folders say" in text


@pytest.mark.parametrize(
    "name",
    [
        "my photos",
        'it\'s: a "test" # {x}',
        "naïve 图片 🍷",
        "- 7",
        "null",
        "a\\b",
        "tab\there",
        "line\nbreak",
        "\x85",
    ],
)
def test_suite_for_folder_quotes_any_name(tmp_path: Path, name: str) -> None:
    folder = fill(tmp_path / name, 1, 1)
    data = yaml.safe_load(suite_for_folder(folder))
    assert data["base"]["dataset"]["path"] == str(folder)
    assert data["title"] == f"Which neck for {name}?"
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", data["suite"])


def test_suite_for_folder_reads_past_damaged_images(tmp_path: Path) -> None:
    folder = fill(tmp_path / "photos", 2, 2)
    (folder / "class0" / "0.png").write_bytes(b"")
    assert "# 4 images of 2 classes; their shorter side has 20" in suite_for_folder(folder)


def test_suite_for_folder_errors_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="gone: no such folder"):
        suite_for_folder(tmp_path / "gone")
    (tmp_path / "void").mkdir()
    with pytest.raises(DataError, match=r"void: no images; they end in \.bmp"):
        suite_for_folder(tmp_path / "void")
    Image.new("RGB", (9, 9)).save(tmp_path / "void" / "a.png")
    with pytest.raises(DataError, match="void: images, but no class folders; put"):
        suite_for_folder(tmp_path / "void")


def test_write_suite_names_the_file_and_spares_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = fill(tmp_path / "my photos", 2, 2)
    path = write_suite(folder)
    assert path == Path("my-photos.yaml")
    assert path.read_text(encoding="utf-8") == suite_for_folder(folder)
    with pytest.raises(StoreError, match=r"my-photos\.yaml: exists already"):
        write_suite(folder)
    with pytest.raises(StoreError, match="cannot be written"):
        write_suite(folder, tmp_path / "no" / "such" / "place.yaml")
