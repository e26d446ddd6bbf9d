from __future__ import annotations

import re
import shutil
from pathlib import Path
from random import Random

import pytest
import yaml
from PIL import Image

from mlbench.commands.scaffold import write_suite
from mlbench.commands.survey import survey
from mlbench.environment import find_device
from mlbench.errors import DataError, StoreError
from mlbench.planning.plan import make_plan
from mlbench.planning.suite import load_suite
from mlbench.plugins import load_plugins
from mlbench.registry import Registry

REGISTRY = Registry(load_plugins())


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


def fill(folder: Path, classes: int, images: int, side: int = 20) -> Path:
    for label in range(classes):
        (folder / f"class{label}").mkdir(parents=True)
        Image.new("RGB", (side, side + 9)).save(folder / f"class{label}" / "0.png")
        for number in range(1, images):
            shutil.copy(folder / f"class{label}" / "0.png", folder / f"class{label}" / f"{number}.png")
    return folder


def written(place: Path, level: int | None = None) -> str:
    """The text of the suite for a place."""
    output = place.parent / "written.yaml"
    output.unlink(missing_ok=True)
    return write_suite(survey(place, level), REGISTRY, output)[0].read_text(encoding="utf-8")


def test_write_suite_writes_a_suite_with_an_untrained_baseline(tmp_path: Path) -> None:
    folder = fill(tmp_path / "photos", 8, 4)
    file, notes = write_suite(survey(folder), REGISTRY, tmp_path / "photos.yaml")
    suite = load_suite(file, REGISTRY)
    assert suite.name == "photos"
    assert [spec.name for spec in suite.specs] == ["flatten", "gap", "squeeze", "untrained"]
    assert suite.specs[0].parts["dataset"].options["path"] == str(folder)
    assert suite.seeds == (0, 1)
    plan = make_plan(suite, find_device("cpu"))
    assert {case.name for case in plan.cases if case.recipe.epochs == 0} == {"untrained"}
    assert plan.cases[-1].spec.parts["neck"].entry.component.name == "pooled"
    assert notes[0] == "images of classes: train 16 of 4, calibration 8 of 2, test 8 of 2"


def test_suite_counts(tmp_path: Path) -> None:
    text = written(fill(tmp_path / "photos", 8, 4, side=250))
    assert "# 32 images of 8 classes; their shorter side has 250 pixels (median)." in text
    assert "Half of the classes train" in text
    data = yaml.safe_load(text)
    assert data["base"]["image"] == {"size": 224, "resize": "pad"}
    assert data["base"]["recipe"]["batch_size"] == 8
    assert data["base"]["recipe"]["epochs"] == 60


def test_suite_keeps_small_images_small(tmp_path: Path) -> None:
    data = yaml.safe_load(written(fill(tmp_path / "photos", 6, 64)))
    assert data["base"]["image"]["size"] == 128
    assert data["base"]["recipe"]["batch_size"] == 16  # 128 images train, eight batches of them


def test_suite_keeps_the_users_splits(tmp_path: Path) -> None:
    fill(tmp_path / "photos" / "Train", 5, 2)
    fill(tmp_path / "photos" / "TEST", 3, 2)
    fill(tmp_path / "photos" / "notes", 1, 1)
    text = written(tmp_path / "photos")
    assert "# 16 images of 5 classes" in text
    assert "The folders divide training, calibration" in text
    assert "train 5 of 5, calibration 5 of 5, test 6 of 3" in text


def test_suite_has_the_protocol_that_fits_and_says_why(tmp_path: Path) -> None:
    def told(place: Path) -> tuple[str, str, dict[str, object]]:
        output = tmp_path / "suite.yaml"
        output.unlink(missing_ok=True)
        _, notes = write_suite(survey(place), REGISTRY, output)
        text = output.read_text(encoding="utf-8")
        base = yaml.safe_load(text)["base"]
        (reason,) = (note for note in notes if note.startswith("evaluation.gallery is "))
        gallery, _, why = reason.removeprefix("evaluation.gallery is ").partition(": ")
        assert f"# {why[0].upper()}{why[1:]}.\n" in text
        assert base["evaluation"] == {"gallery": gallery}
        return gallery, why, base["dataset"]

    fill(tmp_path / "closed" / "train", 3, 5)
    fill(tmp_path / "closed" / "test", 3, 2)
    assert told(tmp_path / "closed")[:2] == (
        "train",
        "3 of 3 test classes are trained on, so test images are compared with training images (closed set)",
    )  # fmt: skip
    gallery, why, dataset = told(fill(tmp_path / "open", 8, 2))
    assert (gallery, why) == (
        "test", "0 of 2 test classes are trained on, so test images are compared with each other"
    )  # fmt: skip
    assert "divide" not in dataset
    # Too few classes to keep some for the test.
    gallery, _, dataset = told(fill(tmp_path / "few", 3, 6))
    assert (gallery, dataset["divide"]) == ("train", "images")
    rows = [
        f"class{n}/0.png,{n},query\nclass{n}/1.png,{n},gallery\nclass{n}/2.png,{n},train" for n in range(3)
    ]
    rows += [f"class{n}/{m}.png,{n},val" for n in range(3) for m in (3, 4)]
    (tmp_path / "few" / "roles.csv").write_text("\n".join(["path,label,split", *rows]))
    gallery, why, _ = told(tmp_path / "few" / "roles.csv")
    assert (gallery, why) == (
        "gallery",
        "the data set states which test images are queries and which are the gallery",
    )


def test_suite_names_the_level_where_there_are_several(tmp_path: Path) -> None:
    for outer in "abcdef":
        fill(tmp_path / "photos" / outer, 2, 2)
    assert yaml.safe_load(written(tmp_path / "photos"))["base"]["dataset"]["level"] == 2
    text = written(tmp_path / "photos", 1)
    assert yaml.safe_load(text)["base"]["dataset"]["level"] == 1
    assert "# 24 images of 6 classes" in text


def test_suite_is_made_of_a_manifest(tmp_path: Path) -> None:
    folder = fill(tmp_path / "photos", 6, 2)
    rows = [f"class{label}/{number}.png,{label}" for label in range(6) for number in range(2)]
    (folder / "my list.csv").write_text("\n".join(["path,label", *rows]))
    text = written(folder / "my list.csv")
    data = yaml.safe_load(text)
    assert data["suite"] == "my-list"
    assert data["base"]["dataset"] == {"name": "image_folder", "path": str(folder / "my list.csv")}
    assert "# 12 images of 6 classes" in text


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
def test_suite_quotes_any_name(tmp_path: Path, name: str) -> None:
    folder = fill(tmp_path / name, 6, 2)
    data = yaml.safe_load(written(folder))
    assert data["base"]["dataset"]["path"] == str(folder)
    assert data["title"] == f"Which neck for {name}?"
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", data["suite"])


def test_write_suite_reads_past_damaged_images_and_names_them(tmp_path: Path) -> None:
    folder = fill(tmp_path / "photos", 6, 3)
    (folder / "class0" / "0.png").write_bytes(b"")
    path, notes = write_suite(survey(folder), REGISTRY, tmp_path / "photos.yaml")
    assert "# 17 images of 6 classes; their shorter side has 20" in path.read_text()
    assert notes[2] == "1 of 18 images left out as unreadable: class0/0.png (empty file)"


def test_write_suite_names_the_file_and_spares_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = survey(fill(tmp_path / "my photos", 6, 2))
    path, _ = write_suite(found, REGISTRY)
    assert path == Path("my-photos.yaml")
    with pytest.raises(StoreError, match=r"my-photos\.yaml: exists already"):
        write_suite(found, REGISTRY)
    with pytest.raises(StoreError, match="cannot be written"):
        write_suite(found, REGISTRY, tmp_path / "no" / "such" / "place.yaml")


def refusal(place: Path) -> str:
    with pytest.raises(DataError) as caught:
        written(place)
    assert not (place.parent / "written.yaml").exists()
    return str(caught.value).replace(f"{place.parent}/", "")


def test_write_suite_refuses_what_validate_would(tmp_path: Path) -> None:
    (tmp_path / "void").mkdir()
    assert refusal(tmp_path / "void") == "void: no images (it is empty)"
    Image.new("RGB", (9, 9)).save(tmp_path / "void" / "a.png")
    assert re.match(
        r"void: 1 images, but no class folders; put .* manifest .* document_pool", refusal(tmp_path / "void")
    )
    assert refusal(fill(tmp_path / "few", 2, 2)).startswith(
        "few: classes with two readable images or more: 2 of 2;"
    )
    message = refusal(fill(tmp_path / "ones", 8, 1))
    assert message.endswith("the data set document_pool makes photographs of it")
    (tmp_path / "photos.tsv").write_text("path\tlabel\n")
    assert refusal(tmp_path / "photos.tsv").startswith("photos.tsv: neither a folder nor a manifest")


def layout(random: Random) -> dict[str, int]:
    """Class folders of a random tree, with the number of their images."""
    names = [*"abcdefghijklm", "train", "notes"]
    kind = random.choice(["flat", "nested", "mixed", "split"])
    folders = []
    for _ in range(random.randint(3, 24)):
        depth = {"flat": 1, "nested": 2, "split": 1}.get(kind) or random.randint(0, 3)
        parts = [random.choice(names) for _ in range(depth)]
        if kind == "split":
            parts.insert(0, random.choice(["train", "TRAIN", "Test", "test", "test", "val", "notes"]))
        folders.append("/".join(parts))
    return {folder: max(0, random.randint(-1, 4)) if random.random() < 0.05 else 2 for folder in folders}


def test_write_suite_never_writes_what_validate_refuses(tmp_path: Path) -> None:
    Image.new("RGB", (5, 4)).save(tmp_path / "image.png")
    refusals = []
    for seed in range(40):
        random = Random(seed)
        place, output = tmp_path / f"photos{seed}", tmp_path / f"{seed}.yaml"
        for folder, images in layout(random).items():
            (place / folder).mkdir(parents=True, exist_ok=True)
            for number in range(images):
                shutil.copy(tmp_path / "image.png", place / folder / f"{number}.png")
        try:
            write_suite(survey(place, random.choice([None, None, None, 1, 2])), REGISTRY, output)
        except DataError as error:  # no SuiteError, which would be about a file that nobody has written
            refusals.append(str(error))
            assert not output.exists()
        else:
            assert len(make_plan(load_suite(output, REGISTRY), find_device("cpu")).cases) == 8
    assert 10 < len(refusals) < 30
    assert not any("\n" in message for message in refusals)
