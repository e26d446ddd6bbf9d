"""Embedding and search with the model of a case that was really run on image files, and its export."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from conftest import TOY_SUITE, full_disk
from PIL import Image
from stub_measuring import stub_measuring
from test_runner import Ears

from mlbench import runner
from mlbench.deployment.choice import ModelRequest, choose
from mlbench.deployment.onnx_session import OnnxSession
from mlbench.deployment.trained import TrainedModel
from mlbench.environment import find_device
from mlbench.measurement.result import Measurement
from mlbench.planning.plan import make_plan
from mlbench.planning.suite import load_suite
from mlbench.records.store import Store
from mlbench.registry import Registry
from mlbench.training.image_reader import ImageReader, ImageView
from mlbench.training.model import EmbeddingModel

CASES = """
seeds: [3]
cases:
  plain: {image: {size: 16, resize: pad, crop_ratio: 0.9}}
  other: {neck: {name: gap, dim: 4}}
  nested: {widths: [4, 8]}
"""


def photo(path: Path, label: int, view: int, kind: str = "png") -> Path:
    """A pattern of its class with noise; shapes differ."""
    rng = np.random.default_rng([label, view])
    pattern = np.random.default_rng(label).integers(0, 256, (4, 4, 3)).repeat(6, 0).repeat(7, 1)
    pixels = np.clip(pattern + rng.normal(0, 60, pattern.shape), 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels[: 24 - view]).save(path.with_suffix(f".{kind}"))
    return path.with_suffix(f".{kind}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> Path:
    """Photos, and the records and checkpoints of a run on them."""
    folder = tmp_path_factory.mktemp("run")
    for at, split in enumerate(("train", "calibration", "test")):
        for label in range(8):
            for view in range(4):
                kind = "jpg" if view % 2 else "png"
                photo(folder / "photos" / split / f"class {label}" / str(view), 8 * at + label, view, kind)
    data = f"  dataset: {{name: image_folder, path: {folder / 'photos'}}}\n"
    (folder / "toy.yaml").write_text(TOY_SUITE.replace("  dataset: toy\n", data) + CASES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLBENCH_CACHE", str(folder / "cache"))
        stub_measuring(patch, Measurement())
        plan = make_plan(load_suite(folder / "toy.yaml", registry), find_device("cpu"))
        records = runner.run(plan, Store(folder / "results", "toy"), Ears())
    assert [each.status for each in records] == ["done"] * 3, [each.error for each in records]
    return folder


@pytest.fixture(scope="module")
def exported(folder: Path, tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> Path:
    """An ONNX file of the model of the case "plain"."""
    from mlbench.deployment.onnx_model import to_onnx, with_metadata

    choice = choose(ModelRequest(suite="toy", case="plain", results=folder / "results"), registry)
    model = TrainedModel(choice)
    file = tmp_path_factory.mktemp("export") / "toy-plain-s3.onnx"
    file.write_bytes(with_metadata(to_onnx(model.network, 16), model.card.metadata()))
    return file


@pytest.fixture
def call(run: Callable[..., Result], folder: Path) -> Callable[..., Result]:
    """The command line, with the records of the run for the commands that take them, and few resamples."""

    def call(command: str, *arguments: object, code: int = 0) -> Result:
        more = {
            "evaluate": ("--set", "evaluation.resamples=50"),
            "embed": ("--results", folder / "results"),
            "search": ("--results", folder / "results"),
        }
        return run(command, *arguments, *more.get(command, ()), code=code)

    return call


def arrays(file: Path) -> dict[str, np.ndarray]:
    with np.load(file) as found:
        return dict(found)


def record(folder: Path, case: str) -> dict[str, Any]:
    (file,) = (folder / "results" / "toy").glob(f"{case}-s3-*.json")
    return json.loads(file.read_text())


def test_embedded_test_images_have_the_metrics_of_the_record(call, folder: Path, tmp_path: Path) -> None:
    result = call("embed", "toy", "plain", folder / "photos" / "test", "-o", "test.npz")
    assert result.stdout.startswith("test.npz: embeddings of 32 images of 8 classes, 8 numbers each (")
    assert result.stderr == "next: mlbench search IMAGE --in test.npz\n"
    found = json.loads(call("evaluate", "test.npz", "--json").stdout)
    then = record(folder, "plain")["metrics"]
    now = found["metrics"]
    assert 0.1 < then["recall_at_1"]["value"] < 1
    for name in ("recall_at_1", "map_at_r", "threshold", "f1", "precision", "auroc"):
        assert now[name]["value"] == pytest.approx(then[name]["value"], abs=1e-9), name
    assert "the threshold is the one that test.npz states of its model" in found["notes"]
    other = json.loads(call("evaluate", "test.npz", "--json", "--set", "threshold=best_accuracy").stdout)
    assert other["metrics"]["f1"]["value"] is None


def test_embed_prepares_images_as_training_does(
    call, folder: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    forward = EmbeddingModel.forward
    monkeypatch.setattr(
        EmbeddingModel,
        "forward",
        lambda self, images: (seen.append(images.numpy()), forward(self, images))[1],
    )
    call("embed", "toy", "plain", folder / "photos" / "test", "-o", "test.npz", "--batch-size", 5)
    assert [len(each) for each in seen] == [5] * 6 + [2]
    case = make_plan(load_suite(folder / "toy.yaml", registry), find_device("cpu")).cases[0]
    reader = ImageReader(case.dataset.split("test"), case.spec.image, workers=0)
    (trained,) = reader.batches([[ImageView(at) for at in range(32)]])
    assert (np.concatenate(seen) == trained.numpy()).all()


def test_parquet_and_npz_hold_the_same(call, folder: Path) -> None:
    import pandas
    import pyarrow.parquet

    for name in ("test.npz", "test.parquet"):
        call("embed", folder / "toy.yaml", "plain", folder / "photos" / "test", "-o", name)
    stored, table = arrays(Path("test.npz")), pandas.read_parquet("test.parquet")
    assert list(table.columns) == ["path", "label", "digest", "embedding"]
    assert (np.stack(table["embedding"]) == stored["embeddings"]).all()
    for column, array in (("path", "paths"), ("label", "labels"), ("digest", "digests")):
        assert table[column].tolist() == stored[array].tolist()
    assert table["path"][0] == "class 0/0.png"
    metadata = json.loads(pyarrow.parquet.read_schema("test.parquet").metadata[b"mlbench"])
    assert metadata == json.loads(str(stored["mlbench"]))
    then = record(folder, "plain")
    assert metadata["model"] == then["training"]["model"]
    assert metadata["fingerprint"] == then["fingerprint"]
    assert metadata["root"] == str(folder / "photos" / "test")
    assert float(metadata["threshold_distance"]) == then["evaluation"]["threshold"]["distance"]
    outputs = [
        call("evaluate", name, "--calibration-share", 0.5, "--json").stdout.replace(name, "")
        for name in ("test.npz", "test.parquet")
    ]
    assert outputs[0] == outputs[1]


def test_an_exported_model_embeds_and_matches_without_torch(
    call, folder: Path, exported: Path, tmp_path: Path
) -> None:
    call("embed", "toy", "plain", folder / "photos" / "test", "-o", "torch.npz")
    call("embed", "--model", exported, folder / "photos" / "test", "-o", "onnx.npz")
    np.testing.assert_allclose(
        arrays(Path("torch.npz"))["embeddings"], arrays(Path("onnx.npz"))["embeddings"], atol=1e-5
    )
    images = sorted((folder / "photos" / "test").glob("*/*"))
    # A photograph from elsewhere, so that nothing of it is in the gallery.
    query = photo(tmp_path / "query", 17, 9)
    matched = json.loads(call("match", query, *images, "--model", exported, "--json").stdout)["matches"]
    by_image = {str(Path(each["image"]).relative_to(folder / "photos" / "test")): each for each in matched}
    for place in ("onnx.npz", folder / "photos" / "test"):
        found = json.loads(
            call("search", query, "--in", place, "--model", exported, "--top", 32, "--json").stdout
        )
        rows = found["queries"][0]["found"]
        assert len(rows) == 32
        assert [row["distance"] for row in rows] == sorted(row["distance"] for row in rows)
        for row in rows:
            assert row["distance"] == pytest.approx(by_image[row["image"]]["distance"], abs=1e-6)
            assert row["same"] == by_image[row["image"]]["same"]
    # Of a file whose images were embedded one by one, as match does, to the last bit.
    call("embed", "--model", exported, folder / "photos" / "test", "-o", "one.npz", "--batch-size", 1)
    found = json.loads(
        call("search", query, "--in", "one.npz", "--model", exported, "--top", 32, "--json").stdout
    )
    assert found["threshold"] == pytest.approx(OnnxSession(exported).card.distance)
    assert {row["image"]: row["distance"] for row in found["queries"][0]["found"]} == {
        name: each["distance"] for name, each in by_image.items()
    }
    code = (
        "import sys; from mlbench.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: assert 'torch' not in sys.modules, 'torch'"
    )
    command = ["search", str(query), "--in", "onnx.npz", "--model", str(exported)]
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "class 1/" in done.stdout


def test_unreadable_images_are_named_and_left_out(call, folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "mixed"
    shutil.copytree(folder / "photos" / "test" / "class 0", place / "good")
    (place / "good" / "cut.jpg").write_bytes((place / "good" / "1.jpg").read_bytes()[:300])
    (place / "good" / "empty.png").touch()
    (place / "good" / "notes.txt").touch()
    result = call("embed", "toy", "plain", place, place / "good" / "gone.png", "-o", "x.npz", code=1)
    assert result.stderr == f"mlbench: {place}/good/gone.png: no such file or folder\n"
    result = call("embed", "toy", "plain", place, "-o", "x.npz", "--json")
    found = json.loads(result.stdout)
    assert found["images"] == 4
    assert [each["image"] for each in found["unreadable"]] == ["good/cut.jpg", "good/empty.png"]
    assert found["unreadable"][1]["reason"] == "empty file"
    assert any("1 of 7 files not read: 1 .txt" in note for note in found["notes"])
    assert any(
        note.startswith("2 of 6 images cannot be read and are left out: good/cut.jpg (")
        for note in found["notes"]
    )
    assert arrays(Path("x.npz"))["paths"].tolist() == ["good/0.png", "good/1.jpg", "good/2.png", "good/3.jpg"]
    result = call("embed", "toy", "plain", place / "good" / "empty.png", "-o", "y.npz", code=1)
    assert "1 of 1 images cannot be read" in result.stderr
    assert not Path("y.npz").exists()
    box = tmp_path / "boxes.csv"
    box.write_text(f'path,box\n{place}/good/0.png,"0,0,12,12"\n{place}/good/0.png,"0,0,99,12"\n')
    found = json.loads(call("embed", "toy", "plain", box, "-o", "z.npz", "--json").stdout)
    assert "box 0,0,99,12 is not inside the image, 28x24 pixels" in found["unreadable"][0]["reason"]
    assert arrays(Path("z.npz"))["boxes"].tolist() == ["0,0,12,12"]


def test_images_without_labels_say_that_evaluate_needs_them(call, folder: Path) -> None:
    result = call("embed", "toy", "plain", folder / "photos" / "test" / "class 0", "-o", "x.parquet")
    assert "the images have no labels, which mlbench evaluate needs" in result.stderr
    result = call("evaluate", "x.parquet", code=1)
    assert result.stderr == "mlbench: x.parquet: no 'labels'; found path, digest, embedding\n"


def test_search_takes_the_model_that_made_the_file(call, folder: Path, tmp_path: Path) -> None:
    test = folder / "photos" / "test"
    call("embed", "toy", "nested", test, "-o", "x.parquet", "--width", 4)
    query = photo(tmp_path / "query", 17, 9)
    result = call("search", query, "--in", "x.parquet", "--top", 3)
    distance = record(folder, "nested")["evaluation"]["widths"]["4"]["threshold"]["distance"]
    lines = result.stdout.splitlines()
    assert lines[0] == f"{query} (same: distance up to {distance:.4f})"
    assert lines[1].split() == ["image", "label", "answer", "distance"]
    assert len(lines) == 3 + 3
    assert (
        call("search", query, "--in", "x.parquet", "--top", 3, "--case", "toy", "nested").stdout
        == result.stdout
    )
    # The rows of the file need no model; an image is not found by itself.
    for name in ("class 3/0.png", test / "class 3" / "0.png"):
        found = json.loads(call("search", name, "--in", "x.parquet", "--top", 40, "--json").stdout)
        names = [each["image"] for each in found["queries"][0]["found"]]
        assert len(names) == 31
        assert "class 3/0.png" not in names
    result = call("search", "clas 3/0.png", "--in", "x.parquet", code=1)
    assert (
        "clas 3/0.png: neither an image file nor an image of x.parquet (did you mean 'class 3/0.png'?)"
        in result.stderr
    )
    result = call("search", "class 3/0.png", "--in", "x.parquet", "--threshold", 2, "--index", "usearch")
    assert "different" not in result.stdout
    assert (
        "usearch finds 100.00% of what exact search finds (recall@5, measured with 32 images" in result.stderr
    )


def test_search_lists_equal_images_by_their_names(call, folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "copies"
    for name in ("c", "a", "b/d", "b/c"):
        photo(place / name, 3, 1)
    photo(place / "z", 5, 0)
    query = photo(tmp_path / "query", 3, 1)
    found = json.loads(call("search", query, "--in", place, "--case", "toy", "plain", "--json").stdout)
    rows = found["queries"][0]["found"]
    assert [row["image"] for row in rows] == ["a.png", "b/c.png", "b/d.png", "c.png", "z.png"]
    assert [row["same"] for row in rows[:4]] == [True] * 4
    assert rows[0]["distance"] == pytest.approx(0, abs=1e-6)
    assert rows[0]["label"] is None


def test_search_checks_its_options_first(call, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlbench.deployment.approximate.find_spec", lambda name: None)
    query = folder / "photos" / "test" / "class 0" / "0.png"
    cases = [
        (("--index", "faiss"), 1, "--index faiss needs mlbench[search]: pip install 'mlbench[search]'"),
        (("--seed", 1), 2, "--seed is of --case"),
        (("--model", "a.onnx", "--case", "toy", "plain"), 2, "--model and --case both choose a model"),
        ((), 1, "x.parquet: no such file; expected embeddings as .npz, .npy or .parquet"),
    ]
    for options, code, message in cases:
        assert message in call("search", query, "--in", "x.parquet", *options, code=code).stderr
    assert (
        "photos is no file of embeddings" in call("search", query, "--in", folder / "photos", code=2).stderr
    )


def test_a_gallery_of_one_image_has_no_other(call, folder: Path) -> None:
    call("embed", "toy", "plain", folder / "photos" / "test" / "class 0" / "0.png", "-o", "one.npz")
    result = call(
        "search", folder / "photos" / "test" / "class 0" / "0.png", "--in", "one.npz", "--threshold", 1.2
    )
    assert result.stdout.endswith("0.png (same: distance up to 1.2000): there is no other image\n")
    assert "threshold 1.2 looks like a Euclidean distance" in result.stderr


def test_search_refuses_another_model(call, folder: Path, exported: Path, tmp_path: Path) -> None:
    test = folder / "photos" / "test"
    query = photo(tmp_path / "query", 17, 9)
    call("embed", "toy", "nested", test, "-o", "x.npz")
    result = call("search", query, "--in", "x.npz", "--model", exported, code=1)
    assert "x.npz: was made by another model (case nested of toy, seed 3, " in result.stderr
    assert ") than case plain of toy, seed 3, " in result.stderr
    assert "--any-model" in result.stderr
    # Also where the query is an image of the file, which needs no model.
    inside = test / "class 0" / "0.png"
    assert "another model" in call("search", inside, "--in", "x.npz", "--model", exported, code=1).stderr
    result = call("search", query, "--in", "x.npz", "--model", exported, "--any-model")
    assert "note: the threshold is that of the model that made x.npz" in result.stderr
    # A query of the file is embedded anew by the chosen model, as an image from elsewhere.
    (tmp_path / "copy.png").write_bytes(inside.read_bytes())
    options = ("--in", "x.npz", "--model", exported, "--any-model", "--json", "--top")
    tables = [
        call("search", each, *options, top).stdout for each, top in ((inside, 3), (tmp_path / "copy.png", 4))
    ]
    inner, outer = (
        {row["image"]: row["distance"] for query in json.loads(table)["queries"] for row in query["found"]}
        for table in tables
    )
    assert len(inner) == 3
    assert inner.items() <= outer.items()
    result = call("search", query, "--in", "x.npz", "--case", "toy", "other", "--any-model", code=1)
    assert "x.npz: has embeddings of 8 numbers, and the model (case other of toy" in result.stderr
    # A file that says nothing of its model, and one that names no images.
    found = arrays(Path("x.npz"))
    del found["mlbench"]
    np.savez("y.npz", **found)
    result = call("search", query, "--in", "y.npz", code=1)
    assert "y.npz: does not say which model made it; name the model: --model FILE" in result.stderr
    result = call("search", query, "--in", "y.npz", "--case", "toy", "nested", code=1)
    assert "y.npz: does not say which model made it; allow case nested of toy" in result.stderr
    result = call("search", query, "--in", "y.npz", "--case", "toy", "nested", "--any-model")
    assert "no threshold is known" in result.stderr
    np.savez("z.npz", embeddings=found["embeddings"], labels=found["labels"])
    result = call("search", query, "--in", "z.npz", code=1)
    assert "z.npz: names no images (column path, or array paths)" in result.stderr


def test_search_says_where_the_model_is_not_at_hand(run, folder: Path, call, tmp_path: Path) -> None:
    query = photo(tmp_path / "query", 17, 9)
    call("embed", "toy", "plain", folder / "photos" / "test", "-o", "x.npz")
    result = run("search", query, "--in", "x.npz", code=1)
    assert result.stderr.startswith(
        "mlbench: x.npz: the model that made it is not at hand (results/toy: no finished record with the "
    )
    assert result.stderr.endswith("); name the model: --model FILE, or --case SUITE CASE\n")


def test_evaluate_compares_two_models_on_the_same_images(call, folder: Path) -> None:
    test = folder / "photos" / "test"
    call("embed", "toy", "plain", test, "-o", "old.parquet")
    call("embed", "toy", "nested", test, "-o", "new.npz")
    result = call("evaluate", "new.npz", "--gallery", "old.parquet")
    assert result.stdout.splitlines()[1] == (
        "protocol: compatibility on 32 images of 8 classes that new.npz (new) and old.parquet (old) both "
        "have, by path; no image is compared with itself"
    )
    assert "recall_at_1: new to old is " in result.stdout
    found = json.loads(call("evaluate", "new.npz", "--gallery", "old.parquet", "--json").stdout)
    compared = found["evaluation"]["compatibility"]
    for name, file in (("new_to_new", "new.npz"), ("old_to_old", "old.parquet")):
        alone = json.loads(call("evaluate", file, "--json").stdout)["metrics"]
        assert {key: each["value"] for key, each in compared[name].items()} == {
            key: each["value"] for key, each in alone.items()
        }
    call("embed", "toy", "other", test, "-o", "narrow.npz")
    result = call("evaluate", "new.npz", "--gallery", "narrow.npz")
    assert "note: new.npz is cut to its first 4 of 8 numbers" in result.stderr
    result = call("evaluate", "narrow.npz", "--gallery", "old.parquet", code=1)
    assert "old.parquet: 8 dimensions, but narrow.npz has 4; only embeddings of one width" in result.stderr


def test_embed_checks_everything_before_it_starts(run, folder: Path, tmp_path: Path) -> None:
    test = folder / "photos" / "test"
    cases = [
        (("toy", "plain", test, "-o", "x.csv"), 1, "x.csv: expected a file that ends in .parquet or .npz"),
        (("plain", test, "-o", "x.npz"), 2, "give SUITE, CASE and the images to embed; or --model FILE"),
        (("--model", "x.onnx", test, "--seed", 1, "-o", "x.npz"), 2, "--seed chooses a model of SUITE CASE"),
        (("--model", "x.onnx", test, "-o", "x.npz"), 1, "x.onnx: no such model"),
        (("toy", "plian", test, "-o", "x.npz", "--results", folder / "results"), 1, "did you mean 'plain'?"),
        (("toy", "plain", tmp_path / "no", "-o", "x.npz"), 1, "no: no such file or folder"),
        (
            ("toy", "nested", test, "--width", 5, "-o", "x.npz", "--results", folder / "results"),
            1,
            "no width 5",
        ),
    ]
    for arguments, code, message in cases:
        result = run("embed", *arguments, code=code)
        assert message in result.stderr
        assert not result.stdout
    assert not list(Path().glob("x.*"))


def test_embed_on_a_full_disk_leaves_no_file(call, folder: Path) -> None:
    with full_disk(512):
        result = call("embed", "toy", "plain", folder / "photos" / "test", "-o", "x.npz", code=1)
    assert "mlbench: x.npz: cannot be written (" in result.stderr
    assert not list(Path().iterdir())


def test_damaged_files_of_embeddings_are_named(call, folder: Path, tmp_path: Path) -> None:
    query = photo(tmp_path / "query", 17, 9)
    for name in ("x.npz", "x.parquet"):
        call("embed", "toy", "plain", folder / "photos" / "test", "-o", name)
        Path(name).write_bytes(Path(name).read_bytes()[:-200])
        for result in (
            call("search", query, "--in", name, code=1),
            call("evaluate", name, "--gallery", name, code=1),
        ):
            assert result.stderr.startswith(f"mlbench: {name}: cannot be read (")
            assert result.stderr.count("\n") == 1
