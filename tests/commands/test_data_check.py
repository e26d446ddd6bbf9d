"""`mlbench data check` of suites, folders and manifests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from mlbench.cli import main
from mlbench.inspection.findings import DATA_FILE, read_findings

SUITE = """
suite: shop
base:
  image: {size: 32}
  dataset: {name: image_folder, path: shop}
  backbone: {name: timm, model: tf_efficientnet_lite0, weights: none}
  neck: {name: gap, dim: 8}
  loss: softmax
  sampler: all
  batch_sampler: shuffle
  recipe: {name: standard, epochs: 0}
  metrics: [retrieval]
  threshold: best_f1
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with splits, train and test, of two classes of two images each; and a suite of it."""
    monkeypatch.chdir(tmp_path)
    for number, place in enumerate(("train/a", "train/b", "train/c", "train/d", "test/e", "test/f")):
        folder = tmp_path / "shop" / place
        folder.mkdir(parents=True)
        for index in range(2):
            pixels = np.random.default_rng(10 * number + index).integers(0, 256, (20, 30, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index}.png")
    (tmp_path / "shop.yaml").write_text(SUITE)
    return tmp_path / "shop"


def leak(shop: Path) -> None:
    (shop / "test/e/copy.png").write_bytes((shop / "train/a/0.png").read_bytes())


@pytest.fixture
def check() -> Callable[..., Result]:
    def check(*arguments: object, code: int = 0, near: bool = False) -> Result:
        options = () if near else ("--no-near",)
        result = CliRunner().invoke(main, ["data", "check", *map(str, arguments), *options])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        assert result.exit_code == code, result.output
        return result

    return check


def test_a_sound_folder_is_fine(shop: Path, check: Callable[..., Result]) -> None:
    result = check("shop")
    lines = result.stdout.splitlines()
    assert lines[0] == "folder shop"
    assert [line.split()[:3] for line in lines[3:]] == [["train", "8", "4"], ["test", "4", "2"]]
    assert result.stderr.splitlines() == ["shop: reading images", "shop: fine"]


def test_a_leak_is_an_error_with_examples(shop: Path, check: Callable[..., Result]) -> None:
    leak(shop)
    result = check("shop", code=1)
    assert (
        "error: the same image is in two splits: 1 of test in train\n    train/a/0.png = test/e/copy.png\n"
    ) in result.stdout
    assert result.stderr.endswith("shop: errors: 2, warnings: 0\n")


def test_many_examples_are_counted(shop: Path, check: Callable[..., Result]) -> None:
    for index in range(5):
        (shop / f"train/b/broken{index}.png").write_bytes(b"x")
        (shop / f"train/b/again{index}.png").write_bytes((shop / "train/b/0.png").read_bytes())
    lines = check("shop", code=1).stdout.splitlines()
    start = lines.index("error: images that cannot be read: 5 of 22")
    assert lines[start + 1] == "    train/b/broken0.png (not an image)"
    assert lines[start + 4] == "    and 2 more"
    (group,) = (line for line in lines if " = " in line)
    assert group.endswith(" = 2 more")
    assert (
        len(json.loads(check("shop", "--json", code=1).stdout)["data_sets"][0]["findings"][0]["names"]) == 5
    )


def test_strict_fails_for_warnings(shop: Path, check: Callable[..., Result]) -> None:
    (shop / "train/a/again.png").write_bytes((shop / "train/a/0.png").read_bytes())
    assert "warnings: 1" in check("shop").stderr
    check("shop", "--strict", code=1)


def test_a_suite_is_checked_with_its_splits_and_its_findings_are_kept(
    shop: Path, check: Callable[..., Result]
) -> None:
    leak(shop)
    result = check("shop.yaml", code=1)
    assert result.stdout.splitlines()[0] == "suite shop.yaml, data set image_folder"
    # Two of the training classes become the calibration split.
    assert "the same image is in two splits: 1 of test in calibration" in result.stdout
    assert "note: images smaller than the image size 32, which are enlarged: 13 of 13" in result.stdout
    kept = Path("results/shop") / DATA_FILE
    assert result.stderr.endswith(f"kept in {kept}\n")
    (found,) = read_findings(Path("results/shop"))
    assert found.version
    assert found.dataset["name"] == "image_folder"
    assert json.loads(check("shop.yaml", "--json", code=1).stdout) == json.loads(kept.read_text())


def test_each_data_set_of_a_suite_is_checked_once(shop: Path, check: Callable[..., Result]) -> None:
    cases = "cases: {one: {}, same: {neck.dim: 4}, other: {dataset.calibration: 0.5, dataset.seed: 3}}\n"
    Path("shop.yaml").write_text(SUITE + cases)
    (plain, other) = json.loads(check("shop.yaml", "--json").stdout)["data_sets"]
    assert (plain["dataset"]["seed"], other["dataset"]["seed"]) == (0, 3)
    assert plain["version"] != other["version"]


def test_validate_and_run_say_the_leaks_of_the_same_data(
    shop: Path, check: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlbench.runner.run", lambda *_, **__: [])  # trains nothing
    # The pixels are the same and the bytes are not, so the data set itself does not notice.
    Image.open(shop / "train/a/0.png").save(shop / "test/e/copy.bmp")
    said = "note: the same image is in two splits: 1 of test in calibration (mlbench data check shop.yaml)"

    def notes(*command: str) -> str:
        result = CliRunner().invoke(main, [*command])
        assert result.exit_code == 0, result.output
        return result.stderr

    assert said not in notes("validate", "shop.yaml")
    check("shop.yaml", code=1)
    assert said in notes("validate", "shop.yaml")
    assert said not in notes("validate", "shop.yaml", "--results", "elsewhere")
    assert said in notes("run", "shop.yaml", "--json")
    (shop / "test/e/copy.bmp").unlink()
    assert said not in notes("validate", "shop.yaml")
    (Path("results/shop") / DATA_FILE).write_text("{")
    assert "cannot be read" in notes("validate", "shop.yaml")


def test_a_manifest_is_checked(shop: Path, check: Callable[..., Result]) -> None:
    Path("list.csv").write_text("path\nshop/train/a/0.png\nshop/train/a/gone.png\n")
    result = check("list.csv", code=1)
    assert "    shop/train/a/gone.png (No such file or directory)" in result.stdout
    assert result.stdout.splitlines()[3].split() == ["all", "1", "none", "20", "px", "1.5"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["shop", "--root", "x"], 2, "--root is for a data set, and this is a folder"),
        (["shop", "--limit", "9"], 2, "--limit is for a suite, and this is a folder"),
        (["shop.yaml", "--level", "1"], 2, "--level is for a folder, and this is a suite"),
        (["cub200", "--strict"], 2, "--strict is for a suite or folder or manifest, and this is a data set"),
        (["none.yaml"], 2, "none.yaml: no such suite file"),
        (["a/b"], 1, "a/b: no such file or folder"),
        (["shop/train/a/0.png"], 1, "shop/train/a/0.png: expected a suite"),
        (["cub201"], 1, "did you mean 'cub200'?"),
    ],
)
def test_a_wrong_argument_is_one_line(
    shop: Path, check: Callable[..., Result], arguments: list[str], code: int, message: str
) -> None:
    # A usage error would come from --no-near, too.
    result = check(*arguments, code=code, near=True)
    assert message in result.stderr
    assert result.stdout == ""


def test_a_name_is_a_data_set_before_a_folder(shop: Path, check: Callable[..., Result]) -> None:
    Path("cub200").mkdir()
    result = check("cub200", "--root", "data", code=1, near=True)
    assert "note: the data set cub200; for the folder write ./cub200" in result.stderr


def test_near_duplicates_are_described(shop: Path, check: Callable[..., Result]) -> None:
    result = check("shop", near=True)
    assert result.stdout.splitlines()[-1] == (
        "near duplicates (different images: 12): in a class, cosine 0.92 or more between features of "
        "tf_efficientnet_lite0; across classes, 0.8 and a correlation of 0.97 between the pixels"
    )
