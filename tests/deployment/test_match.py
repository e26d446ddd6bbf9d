from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image, ImageCms
from test_card import CARD
from torch import nn

from mlbench.cli import main
from mlbench.contracts.options import DatasetContext
from mlbench.deployment.match import find_model, load_image, match
from mlbench.deployment.onnx_model import to_onnx, with_metadata
from mlbench.deployment.onnx_session import OnnxSession
from mlbench.errors import DataError, ExportError, StoreError
from mlbench.evaluation.similarity_grid import STEP
from mlbench.planning.spec import ImageSettings
from mlbench.registry import Registry
from mlbench.training.image_reader import ImageReader, ImageView


class Means(nn.Module):
    """Mean red, green and blue."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.float().mean((2, 3))


@pytest.fixture(scope="module")
def graph() -> bytes:
    return to_onnx(Means(), 16)


@pytest.fixture
def run() -> Callable[..., Result]:
    """`mlbench match` in this process."""

    def run(*arguments: object, code: int = 0) -> Result:
        result = CliRunner().invoke(main, ["match", *map(str, arguments)])
        assert result.exit_code == code, result.output
        return result

    return run


def paint(path: Path, *colour: int, size: tuple[int, int] = (24, 18)) -> Path:
    Image.new("RGB", size, colour).save(path)
    return path


def deployed(folder: Path, graph: bytes, similarity: float | None, note: str = "") -> OnnxSession:
    file = folder / "means.onnx"
    card = replace(CARD, similarity=similarity, note=note)
    file.write_bytes(with_metadata(graph, card.metadata()))
    return OnnxSession(file)


def test_match_says_same_from_the_threshold_on(tmp_path: Path, graph: bytes) -> None:
    # Squashed, so that no grey is mixed in. Cosines with (100, 0, 0): 1, 0.8, 0.6, 0.
    colours = [(100, 0, 0), (200, 0, 0), (80, 60, 0), (60, 80, 0), (0, 0, 9)]
    files = [paint(tmp_path / f"{at}.png", *colour, size=(20, 20)) for at, colour in enumerate(colours)]
    found = match(deployed(tmp_path, graph, 0.7), files)
    assert [each.image for each in found] == files[1:]
    assert [each.similarity for each in found] == pytest.approx([1, 0.8, 0.6, 0], abs=1e-6)
    assert [each.distance for each in found] == pytest.approx([0, 0.2, 0.4, 1], abs=1e-6)
    assert [each.same for each in found] == [True, True, False, False]
    assert max(each.similarity for each in found) <= 1
    assert [each.same for each in match(deployed(tmp_path, graph, 0.7), files, 0.5)] == [True] * 3 + [False]
    exact = float(np.float32(found[1].similarity))
    assert match(deployed(tmp_path, graph, exact), files)[1].same
    assert not match(deployed(tmp_path, graph, exact + STEP), files)[1].same


def test_an_image_is_the_same_as_itself_at_any_threshold(tmp_path: Path, graph: bytes) -> None:
    session = deployed(tmp_path, graph, 0.5)
    for colour in np.random.default_rng(0).integers(1, 256, (40, 3)).tolist():
        file = paint(tmp_path / "a.png", *colour)
        assert match(session, [file, file], 0.0)[0].same


def test_match_without_a_threshold_needs_one(tmp_path: Path, graph: bytes) -> None:
    session = deployed(tmp_path, graph, None, "too few pairs")
    files = [paint(tmp_path / "a.png", 1, 2, 3)] * 2
    with pytest.raises(StoreError, match=r"has no threshold \(too few pairs\).*--threshold"):
        match(session, files)
    assert match(session, files, 0.1)[0].same


@pytest.mark.parametrize("content", [b"", b"no image", None, "cut"])
def test_match_names_the_image_that_cannot_be_read(tmp_path: Path, graph: bytes, content) -> None:
    good, bad = paint(tmp_path / "a.png", 1, 2, 3), tmp_path / "b.png"
    if content == "cut":
        Image.effect_noise((40, 40), 50).save(bad)
        content = bad.read_bytes()[:500]
    if content is not None:
        bad.write_bytes(content)
    with pytest.raises(DataError, match=rf"^{bad}: "):
        match(deployed(tmp_path, graph, 0.5), [good, bad])


@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
@pytest.mark.parametrize("crop_ratio", [1.0, 0.9])
def test_images_are_prepared_as_those_of_a_folder_are_in_training(
    tmp_path: Path, registry: Registry, resize, crop_ratio
) -> None:
    """To the bit: a large JPEG on its side, a picture with transparency, a grey one, one of 12 bits, and one
    with a colour profile (sRGB with red and blue exchanged)."""
    generator = np.random.default_rng(0)

    def noise(*shape: int) -> Image.Image:
        small = Image.fromarray(generator.integers(0, 256, shape, np.uint8))
        return small.resize((small.width * 9, small.height * 9), Image.Resampling.BICUBIC)

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace(b"rXYZ", b"    ").replace(b"bXYZ", b"rXYZ").replace(b"    ", b"bXYZ", 1)
    for name in "abcdef":
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        exif = Image.Exif()
        exif[0x0112] = 6
        noise(40, 30, 3).save(folder / "side.jpg", exif=exif)
        noise(8, 11, 4).save(folder / "clear.png")
        noise(7, 7).save(folder / "grey.png")
        Image.fromarray(generator.integers(0, 2000, (40, 50), np.uint16)).save(folder / "deep.png")
        noise(40, 30, 3).save(folder / "colours.jpg", icc_profile=profile)
    options = registry.get("dataset", "image_folder").make({"path": "photos", "white": 4095})
    dataset = options.build(DatasetContext(tmp_path, 32))
    settings = ImageSettings(size=32, resize=resize, crop_ratio=crop_ratio)
    split = dataset.split("test")
    (batch,) = ImageReader(split, settings, workers=0).batches([[ImageView(at) for at in range(len(split))]])
    assert dataset.notes == ()
    card = replace(CARD, size=32, resize=resize, crop_ratio=crop_ratio, white=dataset.white)
    files = (tmp_path / "photos").rglob("*.*")
    mine = {load_image(file, card).tobytes() for file in files}
    assert {image.numpy().tobytes() for image in batch} <= mine


def test_match_imports_no_torch_and_shows_a_table(tmp_path: Path, graph: bytes) -> None:
    session = deployed(tmp_path, graph, 0.7)
    files = [paint(tmp_path / f"{at}.png", 100 - 20 * at, 10 * at, 0, size=(20, 20)) for at in (0, 1, 4)]
    code = f"""
import sys
from mlbench.cli import main
main(["match", *{[*map(str, files)]}, "--model", {str(session.file)!r}], standalone_mode=False)
print({{"torch", "torchvision", "timm", "onnx"}} & sys.modules.keys())
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    title, headings, _, *rows, imported = process.stdout.splitlines()
    assert title == f"{files[0]} (same: distance up to 0.3000)"
    assert headings.split() == ["image", "answer", "distance", "similarity"]
    assert [row.split()[:2] for row in rows] == [[str(files[1]), "same"], [str(files[2]), "different"]]
    assert imported == "set()"


def test_match_of_one_image_is_a_mistake(run: Callable[..., Result]) -> None:
    assert "give two images" in run("a.png", code=2).stderr


def test_match_refuses_in_one_line(run: Callable[..., Result], tmp_path: Path) -> None:
    (line,) = run("a.png", "b.png", "--model", tmp_path / "none", code=1).stderr.splitlines()
    assert line == f"mlbench: {tmp_path / 'none'}: no such model; make one with: mlbench export SUITE CASE"


def test_find_model_takes_a_file_or_the_only_one_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "export"
    with pytest.raises(StoreError, match="no such model; make one with: mlbench export"):
        find_model(folder)
    folder.mkdir()
    with pytest.raises(StoreError, match="holds no model"):
        find_model(folder)
    small, first, second = (folder / name for name in ("a-s0-int8.onnx", "a-s0.onnx", "b-s0.onnx"))
    small.touch()
    assert find_model(folder) == small
    first.touch()
    assert find_model(folder) == first
    second.touch()
    with pytest.raises(StoreError, match=r"holds 2 models \(a-s0.onnx, b-s0.onnx\); name one: --model"):
        find_model(folder)
    assert find_model(second) == second
    for file in folder.glob("*.onnx"):
        file.unlink()
    (folder / "a.safetensors").touch()
    assert find_model(folder) == folder / "a.safetensors"
    (folder / "a.pt2").touch()
    assert find_model(folder) == folder / "a.pt2"


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.onnx"
    with pytest.raises(StoreError, match="cannot be read"):
        OnnxSession(file)
    file.write_bytes(b"nothing")
    with pytest.raises(StoreError, match="is no ONNX model") as caught:
        OnnxSession(file)
    assert "\n" not in str(caught.value)


def test_a_model_from_elsewhere_is_refused(tmp_path: Path, graph: bytes) -> None:
    file = tmp_path / "a.onnx"
    file.write_bytes(graph)
    with pytest.raises(StoreError, match="was not written by mlbench export"):
        match(OnnxSession(file), [file, file])


def test_without_onnx_runtime_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlbench.deployment.onnx_packages.find_spec", lambda name: None)
    with pytest.raises(ExportError, match=r"pip install 'mlbench\[export\]'"):
        OnnxSession(tmp_path / "a.onnx")


def test_several_images_at_one_point_are_told(
    tmp_path: Path, graph: bytes, run: Callable[..., Result]
) -> None:
    session = deployed(tmp_path, graph, 0.5)
    alike = [paint(tmp_path / f"{at}.png", 100 + at, 100, 100) for at in range(3)]
    told = run(*alike, "--model", session.file).stderr
    assert told.startswith("note: all 3 images are almost one point to this model (similarities from 0.9999")
    assert run(*alike[:2], "--model", session.file).stderr == ""
    other = paint(tmp_path / "other.png", 0, 0, 255)
    assert run(*alike, other, "--model", session.file).stderr == ""


def test_a_threshold_above_1_is_told_to_look_euclidean(
    tmp_path: Path, graph: bytes, run: Callable[..., Result]
) -> None:
    session = deployed(tmp_path, graph, 0.5)
    images = [paint(tmp_path / f"{at}.png", 100, at, 0) for at in range(2)]
    told = run(*images, "--model", session.file, "--threshold", 1.348).stderr
    assert told.startswith("note: threshold 1.348 looks like a Euclidean distance; ")
    assert told.endswith("half of its square, 0.909\n")
    assert run(*images, "--model", session.file, "--threshold", 0.9).stderr == ""
