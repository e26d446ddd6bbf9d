"""Small copies of published data sets in their real formats, and how tests load them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emoji_files import write_emoji
from PIL import Image
from scipy.io import savemat

import mlbench_datasets
from mlbench.errors import DataError
from mlbench.plugin import DatasetContext
from mlbench.plugins import Plugin
from mlbench.registry import Registry
from mlbench_datasets.collections.source import Source

SPLITS = ("train", "calibration", "test")
NAMES = ("cars196", "cifar100", "cub200", "emoji", "inshop", "sop")
CAR_NAMES = [f"Make {number}" for number in range(1, 197)]
CAR_NAMES[2] = "Ram C/V Van 2012"
CAR_CLASSES = (1, 2, 3, 4, 98, 99, 150, 196)


def save(file: Path, size: tuple[int, int] = (12, 8)) -> None:
    """A small image whose content depends on its name and its folder's."""
    file.parent.mkdir(parents=True, exist_ok=True)
    seed = int.from_bytes(
        hashlib.blake2b(f"{file.parent.name}/{file.name}".encode(), digest_size=4).digest(), "big"
    )
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)


def make_cub(folder: Path) -> None:
    numbers = (1, 2, 3, 99, 100, 101, 102, 200)
    images, classes = [], []
    for number in numbers:
        for view in range(3):
            image = len(images) + 1
            path = f"{number:03}.Bird_{number}/Bird_{number}_{view:04}_{image}.jpg"
            images.append(f"{image} {path}")
            classes.append(f"{image} {number}")
            save(folder / "CUB_200_2011" / "images" / path)
    base = folder / "CUB_200_2011"
    (base / "images.txt").write_text("\n".join(images) + "\n")
    (base / "image_class_labels.txt").write_text("\n".join(classes) + "\n")
    names = [f"{number} {number:03}.Bird_{number}" for number in range(1, 201)]
    (base / "classes.txt").write_text("\n".join(names) + "\n")


def make_sop(folder: Path) -> None:
    base = folder / "Stanford_Online_Products"
    image = 0
    for name, first in (("Ebay_train.txt", 1), ("Ebay_test.txt", 11319)):
        lines = ["image_id class_id super_class_id path"]
        for number in range(first, first + 5):
            for view in range(2):
                image += 1
                path = f"bicycle_final/{number}_{view}.JPG"
                lines.append(f"{image} {number} 1 {path}")
                save(base / path)
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text("\n".join(lines) + "\n")


def make_inshop(folder: Path, *, official: bool = False) -> None:
    rows = []
    for item in range(1, 9):
        for view, part in enumerate(("train",) * 4 if item < 6 else ("query", "gallery", "gallery", "query")):
            path = f"img/WOMEN/Dresses/id_{item:08}/{view:02}_1_front.jpg"
            rows.append(f"{path}    id_{item:08} {part}")
            save(folder / ("Img" if official else ".") / path)
    rows.reverse()
    file = folder / ("Eval/" if official else "") / "list_eval_partition.txt"
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join([str(len(rows)), "image_name item_id evaluation_status", *rows]) + "\n")


def annotations(rows: list[dict[str, Any]]) -> np.ndarray:
    kinds = [(name, object) for name in rows[0]]
    return np.array([tuple(row.values()) for row in rows], dtype=kinds)


def cars() -> list[tuple[int, str]]:
    return [(number, f"{number:03}{view}.jpg") for view in range(3) for number in CAR_CLASSES]


def make_cars(folder: Path) -> None:
    rows = []
    for number, name in cars():
        save(folder / "car_ims" / name)
        path = f"car_ims/{name}"
        rows.append({"relative_im_path": path, "bbox_x1": 1, "class": number, "test": number % 2})
    content = {"annotations": annotations(rows), "class_names": np.array(CAR_NAMES, object)}
    savemat(folder / "cars_annos.mat", content)


def make_cars_devkit(folder: Path) -> None:
    (folder / "devkit").mkdir(parents=True)
    for half, place in enumerate(("devkit/cars_train_annos.mat", "cars_test_annos_withlabels.mat")):
        images = ("cars_train", "cars_test")[half]
        chosen = cars()[half::2]
        for _, name in chosen:
            save(folder / images / name)
        rows = [{"bbox_x1": 1, "class": number, "fname": name} for number, name in chosen]
        savemat(folder / place, {"annotations": annotations(rows)})
    savemat(folder / "devkit/cars_meta.mat", {"class_names": np.array(CAR_NAMES, object)})


def make_cars_folders(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "names.csv").write_text("\n".join(CAR_NAMES) + "\n")
    for half, part in enumerate(("train", "test")):
        lines = []
        for number, name in cars()[half::2]:
            place = folder / "car_data/car_data" / part / CAR_NAMES[number - 1].replace("/", "-")
            save(place / name)
            lines.append(f"{name},1,2,3,4,{number}")
        (folder / f"anno_{part}.csv").write_text("\n".join(lines) + "\n")


def make_cifar(folder: Path, *, images: int = 6) -> None:
    base = folder / "cifar-100-binary"
    base.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name, count in (("train.bin", images), ("test.bin", 2)):
        fine = np.tile(np.arange(100, dtype=np.uint8), count)
        pixels = generator.integers(0, 256, (len(fine), 3072), dtype=np.uint8)
        np.concatenate([(fine // 5)[:, None], fine[:, None], pixels], axis=1).tofile(base / name)
    (base / "fine_label_names.txt").write_text("\n".join(f"thing {i:02}" for i in range(100)) + "\n\n")


MAKERS: dict[str, Callable[[Path], None]] = {
    "cars196": make_cars,
    "cifar100": make_cifar,
    "cub200": make_cub,
    "emoji": write_emoji,
    "inshop": make_inshop,
    "sop": make_sop,
}


def load(name: str, root: Path, **options: Any) -> Any:
    """The data set, made as from a suite."""
    registry = Registry((plugin(),))
    entry = registry.get("dataset", name)
    return entry.make(options).build(DatasetContext(root, 32))


def plugin() -> Any:
    return Plugin("datasets", "", "mlbench", "1", tuple(mlbench_datasets.mlbench_components()))


def source(name: str, root: Path) -> Source:
    found = Registry((plugin(),)).get("dataset", name).options_class.source(root)
    assert isinstance(found, Source)
    return found


def quiet(what: str, done: int, total: int) -> None:
    pass


def classes(data: Any, split: str) -> list[str]:
    part = data.split(split)
    return [part.class_name(label) for label in range(part.num_classes)]


def sizes(data: Any) -> list[tuple[int, int]]:
    return [(data.split(name).num_classes, len(data.split(name))) for name in SPLITS]


def refused(name: str, root: Path) -> str:
    with pytest.raises(DataError) as caught:
        load(name, root)
    (line,) = str(caught.value).splitlines()
    return line
