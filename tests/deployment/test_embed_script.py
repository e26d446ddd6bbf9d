"""embed.py as its users have it: without mlbench, beside a model file."""

from __future__ import annotations

import ast
import csv
import inspect
import io
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms
from test_card import CARD
from test_match import Means

from mlbench.deployment.embed_script import embed_script
from mlbench.deployment.export_folder import EMBED
from mlbench.deployment.match import load_image
from mlbench.deployment.model_file import Draft
from mlbench.deployment.onnx_model import to_onnx, with_metadata
from mlbench.deployment.onnx_session import OnnxSession
from mlbench.deployment.pt2_format import Pt2Format
from mlbench.images import bit_depth, colour

pillow_heif.register_heif_opener()  # so that the test can write such files

#: Modules that embed.py must not need.
BLOCKED = ("mlbench", "torch", "timm", "scipy", "yaml", "pydantic", "click")

CARD3 = replace(CARD, width=3, size=24)


@pytest.fixture(scope="module")
def graph() -> bytes:
    return to_onnx(Means(), 24)


@pytest.fixture
def folder(tmp_path: Path, graph: bytes) -> Path:
    """A folder as the export leaves it."""
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "embed.py").write_text(embed_script())
    (folder / "means.onnx").write_bytes(with_metadata(graph, CARD3.metadata()))
    return folder


def isolated(folder: Path, code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Python code in a process without the user's paths, in which `BLOCKED` cannot be imported."""
    blocked = f"import sys; sys.modules.update(dict.fromkeys({BLOCKED}))"
    beside = f"sys.path.insert(0, {str(folder)!r})"
    return subprocess.run(
        [sys.executable, "-I", "-c", f"{blocked}; {beside}\n{code}", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )


def script(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return isolated(folder, "import embed; sys.exit(embed.main(sys.argv[1:]))", *arguments)


def files_of_all_sorts(folder: Path) -> Iterator[Path]:
    """Formats, orientations, 16 bits, transparency, palettes, CMYK, profiles, odd sizes, small and large."""
    generator = np.random.default_rng(0)
    folder.mkdir()

    def noise(*shape: int, high: int = 256, dtype: type = np.uint8) -> np.ndarray:
        return generator.integers(0, high, shape, dtype)

    def large(*shape: int) -> Image.Image:
        small = Image.fromarray(noise(*shape))
        return small.resize((small.width * 9, small.height * 9), Image.Resampling.BICUBIC)

    def save(name: str, image: Image.Image, **options: object) -> Path:
        image.save(folder / name, **options)
        return folder / name

    colours = large(31, 22, 3)
    for suffix in ("jpg", "png", "webp", "bmp", "tif", "gif", "ppm", "jp2", "avif", "heic", "mpo"):
        yield save(f"format.{suffix}", colours)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        yield save(f"turned{orientation}.jpg", large(25, 12, 3), exif=exif)
        yield save(f"turned{orientation}.png", large(5, 3, 3), exif=exif)
    for name, high in (("ten", 1 << 10), ("twelve", 1 << 12), ("sixteen", 1 << 16)):
        yield save(f"{name}.png", Image.fromarray(noise(30, 41, high=high, dtype=np.uint16)))
        yield save(f"{name}.tif", Image.fromarray(noise(30, 41, high=high, dtype=np.uint16)))
        deep = noise(9, 7, 3, high=high, dtype=np.uint16).astype(">u2")
        (folder / f"{name}.ppm").write_bytes(b"P6 7 9 65535\n" + deep.tobytes())
        yield folder / f"{name}.ppm"
    yield save("floating.tif", Image.fromarray(generator.random((20, 30), np.float32)), tiffinfo={341: 1.0})
    yield save("clear.png", large(8, 11, 4))
    yield save("clear.webp", large(8, 11, 4))
    yield save("grey.jpg", large(7, 7))
    yield save("greyalpha.png", Image.fromarray(noise(8, 9, 2)))
    yield save("palette.png", colours.quantize(17))
    yield save("palette-clear.png", Image.fromarray(noise(30, 30, 4)).quantize(9))
    yield save("keyed.png", Image.fromarray(noise(20, 20, high=9)), transparency=3)
    yield save("bits.png", Image.fromarray(noise(20, 33, high=2) * 255).convert("1"))
    yield save("cmyk.jpg", Image.frombytes("CMYK", (33, 20), noise(20, 33, 4).tobytes()))
    yield save("cmyk.tif", colours.convert("CMYK"))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = profile.replace(b"rXYZ", b"    ").replace(b"bXYZ", b"rXYZ").replace(b"    ", b"bXYZ", 1)
    yield save("profile.jpg", colours, icc_profile=swapped)
    yield save("damaged-profile.png", colours, icc_profile=swapped[:200])
    yield save("frames.gif", colours, save_all=True, append_images=[Image.new("RGB", colours.size)])
    for width, height in ((1, 1), (2, 300), (301, 1), (24, 24), (23, 25), (97, 640)):
        yield save(f"{width}x{height}.png", Image.fromarray(noise(height, width, 3)))
        yield save(f"{width}x{height}.jpg", Image.fromarray(noise(height, width, 3)))
    yield save("large.jpg", large(130, 95, 3))


@pytest.mark.parametrize(
    ("resize", "crop_ratio", "white"), [("squash", 1.0, None), ("crop", 0.9, 4095.0), ("pad", 0.7, None)]
)
def test_the_script_prepares_every_sort_of_image_to_the_bit_as_match_does(
    folder: Path, graph: bytes, tmp_path: Path, resize: str, crop_ratio: float, white: float | None
) -> None:
    files = list(files_of_all_sorts(tmp_path / "images"))
    card = replace(CARD3, resize=resize, crop_ratio=crop_ratio, white=white)
    (folder / "means.onnx").write_bytes(with_metadata(graph, card.metadata()))
    code = """
import embed, numpy
model = embed.Model("means.onnx")
numpy.save("found.npy", numpy.stack([model.load(each) for each in sys.argv[1:]]))
numpy.save("embeddings.npy", embed.embed(sys.argv[1:]))
print(model.threshold)
"""
    ran = isolated(folder, code, *files)
    assert ran.returncode == 0, ran.stderr
    assert float(ran.stdout) == card.distance
    found = np.load(folder / "found.npy")
    expected = np.stack([load_image(file, card) for file in files])
    assert [file.name for file, a, b in zip(files, found, expected, strict=True) if (a != b).any()] == []
    embeddings = OnnxSession(folder / "means.onnx").embed(expected)
    np.testing.assert_allclose(np.load(folder / "embeddings.npy"), embeddings, atol=1e-6)


def test_the_script_writes_csv_and_npy(folder: Path, tmp_path: Path) -> None:
    photos = tmp_path / "a, b"
    photos.mkdir()
    for name, paint in (("two.png", (0, 90, 0)), ("one.PNG", (200, 0, 0)), ("three.txt", None)):
        if paint:
            Image.new("RGB", (20, 20), paint).save(photos / name)
        else:
            (photos / name).write_text("no image")
    shown = script(folder, "means.onnx", photos)
    assert (shown.returncode, shown.stderr) == (0, "")
    headings, *rows = csv.reader(io.StringIO(shown.stdout))
    assert headings == ["image", "e0", "e1", "e2"]
    assert [row[0] for row in rows] == [str(photos / "one.PNG"), str(photos / "two.png")]
    found = np.array([row[1:] for row in rows], np.float32)
    for name in ("e.csv", "e.npy"):
        assert script(folder, "means.onnx", photos, "-o", name).returncode == 0
    assert (folder / "e.csv").read_text() == shown.stdout
    exact = np.load(folder / "e.npy")
    assert (exact.dtype, exact.tobytes()) == (np.float32, found.tobytes())


def test_the_script_says_in_one_line_what_is_wrong_and_writes_nothing(folder: Path, tmp_path: Path) -> None:
    good, bad = tmp_path / "a.png", tmp_path / "b.png"
    Image.new("RGB", (9, 9)).save(good)
    bad.write_bytes(b"no image")
    (tmp_path / "empty").mkdir()
    (folder / "other.onnx").write_bytes(b"nothing")
    code = """
import embed
for images in ([sys.argv[1], sys.argv[2]], ["gone.png"], [sys.argv[3]]):
    assert embed.main(["means.onnx", *images, "-o", "e.csv"]) == 1
for model in ("other.onnx", "gone.onnx", "b.pt2"):
    assert embed.main([model, sys.argv[1]]) == 1
assert embed.main(["means.onnx", sys.argv[1], "-o", "no/such/e.csv"]) == 1
sys.modules["onnxruntime"] = None
assert embed.main(["means.onnx", sys.argv[1]]) == 1
"""
    (folder / "b.pt2").write_bytes(b"nothing")
    ran = isolated(folder, code, good, bad, tmp_path / "empty")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == ""
    lines = ran.stderr.splitlines()
    assert lines[:3] == [
        f"embed.py: {bad}: is no image that can be read (not an image)",
        "embed.py: gone.png: cannot be read (No such file or directory)",
        f"embed.py: {tmp_path / 'empty'}: holds no image files",
    ]
    assert lines[3].startswith("embed.py: other.onnx: is no model that can be run (")
    assert lines[4:] == [
        "embed.py: gone.onnx: cannot be read (No such file or directory)",
        "embed.py: b.pt2: needs torch; pip install torch",
        "embed.py: no/such/e.csv: cannot be written (No such file or directory)",
        "embed.py: means.onnx: needs onnxruntime; pip install onnxruntime",
    ]
    assert sorted(file.name for file in folder.glob("*e*.csv")) == []


def test_the_script_embeds_by_programs_and_one_image_at_a_time_by_8_bit_weights(
    folder: Path, graph: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, with its torch."""
    names: dict[str, object] = {"__name__": "embed", "__file__": str(folder / "embed.py")}
    exec(compile(embed_script(), "embed.py", "exec"), names)
    images = [tmp_path / f"{at}.png" for at in range(3)]
    for at, image in enumerate(images):
        Image.new("RGB", (9, 9), (200, at * 50, 0)).save(image)
    first = names["embed"](images)
    case = SimpleNamespace(spec=SimpleNamespace(image=SimpleNamespace(size=24)))
    draft: Draft = Pt2Format().draft(Means(), case)
    (folder / "means.pt2").write_bytes(draft.content(CARD3.metadata()))
    np.testing.assert_allclose(names["embed"](images, folder / "means.pt2"), first, atol=1e-6)
    small = replace(CARD3, precision="int8")
    (folder / "means-int8.onnx").write_bytes(with_metadata(graph, small.metadata()))
    np.testing.assert_array_equal(names["embed"](images), first)  # by the float32 file
    model = names["Model"](folder / "means-int8.onnx")
    sizes = []
    run = model._run
    monkeypatch.setattr(model, "_run", lambda batch: sizes.append(len(batch)) or run(batch))
    np.testing.assert_allclose(model.embed(images), first, atol=1e-6)
    assert sizes == [1, 1, 1]
    assert model.embed([]).shape == (0, 3)


def test_the_script_refuses_models_that_it_would_prepare_images_for_otherwise(
    folder: Path, graph: bytes, tmp_path: Path
) -> None:
    (folder / "means.onnx").write_bytes(with_metadata(graph, {**CARD3.metadata(), "pad_value": "0"}))
    (folder / "plain.onnx").write_bytes(graph)
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    code = "import embed; [embed.main([each, sys.argv[1]]) for each in ('means.onnx', 'plain.onnx')]"
    assert isolated(folder, code, tmp_path / "a.png").stderr.splitlines() == [
        "embed.py: means.onnx: prepares images otherwise; use the embed.py of mlbench 0.1.0",
        "embed.py: plain.onnx: was not written by mlbench export",
    ]


def test_the_script_is_made_of_the_source_of_mlbench() -> None:
    """What it imports is Python's, numpy, Pillow, and the runtimes when they are used."""
    text = embed_script()
    assert text.splitlines()[1].startswith(EMBED.mark)
    tree = ast.parse(text)
    imported = {
        (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert imported - sys.stdlib_module_names == {"numpy", "PIL", "onnxruntime", "torch", "pillow_heif"}
    for function in (bit_depth._levels, colour._transform.__wrapped__):
        assert inspect.getsource(function) in text
