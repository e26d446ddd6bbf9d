from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import mlbench

from mlbench import environment
from mlbench.cli import main
from mlbench.environment import Device
from mlbench.evaluation.details import read_details
from mlbench.evaluation.similarity_grid import STEP


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(40), 4)
    vectors = rng.standard_normal((40, 8))[labels] + 0.5 * rng.standard_normal((160, 8))
    path = tmp_path / "e.npz"
    np.savez(path, embeddings=vectors.astype(np.float32), labels=np.array([f"c{each:02}" for each in labels]))
    return path


def evaluated(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, ["evaluate", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.stderr


def test_without_calibration_there_is_no_threshold_but_a_note(file: Path) -> None:
    found = json.loads(evaluated(file, "--json"))
    assert found["metrics"]["recall_at_1"]["value"] > 0.8
    assert found["metrics"]["f1"]["value"] is None
    assert found["metrics"]["f1_optimistic"]["value"] > 0.5
    assert any("--calibration-share" in note for note in found["notes"])
    assert found["evaluation"]["images"] == 160


def test_a_share_of_the_classes_is_for_calibration_only(file: Path) -> None:
    found = json.loads(evaluated(file, "--calibration-share", 0.5, "--json"))
    assert found["evaluation"]["classes"] == 20
    assert found["evaluation"]["calibration"] == {"images": 80, "classes": 20}
    f1 = found["metrics"]["f1"]
    assert f1["low"] < f1["value"] < f1["high"]
    assert f1["value"] <= found["metrics"]["f1_optimistic"]["value"]
    assert evaluated(file, "--calibration-share", 0.5, "--json") == json.dumps(found, indent=1) + "\n"
    assert json.loads(evaluated(file, "--calibration-share", 0.5, "--seed", 1, "--json")) != found


def test_the_share_has_the_same_classes_for_every_type_of_labels(file: Path, tmp_path: Path) -> None:
    found = []
    for kind in (np.int64, str):
        with np.load(file) as given:
            labels = np.repeat(np.arange(40), 4).astype(kind)
            np.savez(tmp_path / "e.npz", embeddings=given["embeddings"], labels=labels)
        metrics = json.loads(evaluated(tmp_path / "e.npz", "--calibration-share", 0.5, "--json"))["metrics"]
        found.append({name: each["value"] for name, each in metrics.items()})
    assert found[0] == pytest.approx(found[1])


def test_a_calibration_file_fits_the_threshold(file: Path) -> None:
    found = json.loads(evaluated(file, "--calibration", file, "--json"))
    assert found["metrics"]["f1"]["value"] == found["metrics"]["f1_optimistic"]["value"]
    assert found["metrics"]["f1_gap"]["value"] == 0


def test_a_gallery_file_replaces_the_gallery(file: Path, tmp_path: Path) -> None:
    with np.load(file) as arrays:
        vectors, labels = arrays["embeddings"], arrays["labels"]
    place = np.arange(160) % 4
    parts = {"test": place == 0, "calibration": place == 1, "train": place > 1}
    for name, part in parts.items():
        np.savez(tmp_path / f"{name}.npz", embeddings=vectors[part], labels=labels[part])
    paths = [tmp_path / f"{name}.npz" for name in parts]
    found = json.loads(evaluated(paths[0], "--gallery", paths[2], "--calibration", paths[1], "--json"))
    facts = found["evaluation"]
    assert facts["protocol"]["text"] == (
        "40 test.npz queries of 40 classes against 80 train.npz gallery images of 40 classes (2 a class)"
    )
    assert (facts["positive_pairs"], facts["negative_pairs"]) == (40 * 2, 40 * 78)
    assert facts["calibration"] == {"images": 40, "classes": 40}
    units = [vectors[part] / np.linalg.norm(vectors[part], axis=1, keepdims=True) for part in parts.values()]
    same = labels[parts["test"]][:, None] == labels[parts["train"]]
    nearest = (units[0] @ units[2].T).argmax(1)
    assert found["metrics"]["recall_at_1"]["value"] == same[np.arange(40), nearest].mean()
    # The threshold is the best on calibration queries against the same gallery.
    alone = json.loads(evaluated(paths[1], "--gallery", paths[2], "--json"))
    best = alone["metrics"]["f1_optimistic_threshold"]["value"]
    assert found["metrics"]["threshold"]["value"] == pytest.approx(best)
    shared = json.loads(evaluated(paths[0], "--gallery", paths[2], "--calibration-share", 0.5, "--json"))
    assert (shared["evaluation"]["queries"], shared["evaluation"]["gallery"]) == (20, 80)
    out = tmp_path / "details.npz"
    text = evaluated(paths[0], "--gallery", paths[2], "--details", out)
    assert "protocol: 40 test.npz queries of 40 classes" in text
    details = read_details(out)
    assert details is not None
    assert (details.images, details.gallery, details.place(40)) == (40, "train.npz", ("train.npz", 0))
    assert details.right.tolist() == same[np.arange(40), nearest].tolist()
    assert (details.classes.names, details.sweep.fitted) == (tuple(np.unique(labels)), None)
    assert np.isnan(details.classes.f1).all()


def test_images_of_one_group_are_not_a_pair(file: Path, tmp_path: Path) -> None:
    with np.load(file) as arrays:
        vectors, labels = arrays["embeddings"], arrays["labels"]
    path = tmp_path / "groups.npz"
    np.savez(path, embeddings=vectors, labels=labels, groups=np.arange(160) // 2)
    found = json.loads(evaluated(path, "--json"))["evaluation"]
    assert found["positive_pairs"] == 160 * 2
    assert found["protocol"]["text"].endswith("; images of one class and group are not a pair")


def test_a_fixed_threshold_needs_no_calibration(file: Path) -> None:
    found = json.loads(evaluated(file, "--set", "threshold={name: fixed, distance: 0.3}", "--json"))
    assert found["metrics"]["threshold"]["value"] == pytest.approx(0.3, abs=STEP)
    sweep = found["evaluation"]["sweep"]
    at = sweep["distance"].index(0.3)
    accepted = sweep["true_positives"][at] / found["evaluation"]["positive_pairs"]
    assert found["metrics"]["recall"]["value"] == pytest.approx(accepted, abs=1e-9)


def test_an_unreachable_precision_is_a_note(tmp_path: Path) -> None:
    # Every image occurs in two classes: the most similar pairs are all negative.
    vectors = np.random.default_rng(0).standard_normal((30, 4)).repeat(2, axis=0)
    path = tmp_path / "e.npz"
    np.savez(path, embeddings=vectors, labels=np.roll(np.arange(60) // 2, 1))
    policy = "threshold={name: precision_at_least, precision: 0.99}"
    found = json.loads(evaluated(path, "--set", policy, "--calibration", path, "--json"))
    assert found["metrics"]["f1"]["value"] is None
    assert any("no threshold reaches precision 0.99" in note for note in found["notes"])


def test_means_of_each_class_are_written_to_a_file(file: Path, tmp_path: Path) -> None:
    evaluated(file, "--classes", tmp_path / "classes.csv")
    rows = list(csv.DictReader((tmp_path / "classes.csv").read_text().splitlines()))
    assert [row["class"] for row in rows] == [f"c{each:02}" for each in range(40)]
    assert {row["queries"] for row in rows} == {"4"}
    whole = json.loads(evaluated(file, "--json"))["metrics"]["recall_at_1"]["value"]
    assert np.mean([float(row["recall_at_1"]) for row in rows]) == pytest.approx(whole)


def test_pairs_are_evaluated_in_folds(file: Path, tmp_path: Path) -> None:
    lines = [f"{4 * c},{4 * c + 1},1\n{4 * c},{(4 * c + 4) % 160},0\n" for c in range(40)]
    (tmp_path / "pairs.csv").write_text("left,right,same\n" + "".join(lines))
    found = json.loads(evaluated(file, "--pairs", tmp_path / "pairs.csv", "--folds", 5, "--json"))
    assert found["evaluation"]["folds"] == 5
    assert found["metrics"]["accuracy"]["value"] > 0.7
    assert "recall_at_1" not in found["metrics"]


def test_repeated_images_and_pairs_are_noted(file: Path, tmp_path: Path) -> None:
    """Rows that a sampler repeated to fill its last batch are positives of each other."""
    with np.load(file) as given:
        rows = [*range(160), 0, 1]
        np.savez(tmp_path / "r.npz", embeddings=given["embeddings"][rows], labels=given["labels"][rows])
    notes = json.loads(evaluated(tmp_path / "r.npz", "--json"))["notes"]
    assert any(note.startswith("4 of 162 queries have the same embedding as another") for note in notes)
    lines = [f"{4 * c},{4 * c + 1},1\n{4 * c},{(4 * c + 4) % 160},0\n" for c in range(40)]
    (tmp_path / "pairs.csv").write_text("left,right,same\n" + "".join([*lines, lines[0]]))
    (note,) = json.loads(evaluated(file, "--pairs", tmp_path / "pairs.csv", "--json"))["notes"]
    assert note.startswith("2 of 82 pairs repeat another pair of the list; some are in several folds")


def test_the_table_names_every_metric(file: Path) -> None:
    text = evaluated(file)
    for name in ("recall_at_1", "map_at_r", "f1_optimistic", "auroc", "eer", "tpr_at_fpr_1e-3"):
        assert f"\n{name} " in text
    assert "not resolvable" in text


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (("--set", "threshold=bst_f1"), "unknown threshold 'bst_f1' (did you mean 'best_f1'?)", 2),
        (("--set", "evaluation.level=2"), "'level' of evaluation is 2; expected float > 0 and < 1", 2),
        (("--set", "metrics=[nope]"), "unknown metric 'nope'", 2),
        (("--set", "loss=cosface"), "'loss' is not used by an evaluation of embeddings", 2),
        (("--calibration", "x.npz", "--calibration-share", 0.5), "give one of them", 1),
        (("--pairs", "x.csv", "--calibration-share", 0.5), "leave out --calibration", 1),
        (("--pairs", "x.csv", "--gallery", "x.npz"), "leave out --gallery", 1),
        (("--pairs", "x.csv", "--details", "x.npz"), "leave out --details", 1),
        (("--set", "evaluation.gallery=train"), "is for suites; name a file with --gallery", 1),
        (("--set", "evaluation.split=train"), "is for suites; give a file of these embeddings", 1),
        (("--device", "tpu"), "tpu", 1),
        (("--calibration-share", 0.99), "leaves fewer than 2", 1),
        (("--labels", "nowhere.txt"), "nowhere.txt: labels cannot be read", 1),
    ],
)
def test_wrong_arguments_are_an_error_of_one_line(
    file: Path, arguments: tuple[object, ...], message: str, code: int
) -> None:
    error = evaluated(file, *arguments, code=code)
    assert error.startswith("mlbench: ")
    assert message in error
    assert error.count("\n") == 1


def test_invalid_embeddings_are_an_error_of_one_line_in_a_real_process(tmp_path: Path) -> None:
    vectors = np.ones((4, 2), np.float32)
    vectors[2] = 0
    np.savez(tmp_path / "e.npz", embeddings=vectors, labels=[0, 0, 1, 1])
    process = mlbench("evaluate", tmp_path / "e.npz")
    assert process.returncode == 1
    assert process.stdout == ""
    assert process.stderr.startswith("mlbench: e.npz: the embedding of image 2 is zero")
    assert process.stderr.count("\n") == 1


def test_files_of_another_width_or_label_type_are_refused(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.npz"
    np.savez(other, embeddings=np.eye(4), labels=[0, 0, 1, 1])
    message = "calibration other.npz: 4 dimensions, but e.npz has 8"
    assert message in evaluated(file, "--calibration", other, code=1)
    assert "other.npz: 4 dimensions, but e.npz has 8; only" in evaluated(file, "--gallery", other, code=1)
    np.savez(other, embeddings=np.eye(8), labels=[0, 0, 1, 1, 2, 2, 3, 3])
    message = "other.npz: its labels are numbers, but those of e.npz are texts; a class must have the same"
    assert message in evaluated(file, "--gallery", other, code=1)


def test_a_device_without_float64_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "devices", lambda: (Device("mps", "M3"), Device("cpu", "M3")))
    message = evaluated(file, "--device", "mps", code=1)
    assert message.strip().endswith("evaluated on mps, which has no float64; use --device cpu")
    evaluated(file, "--device", "auto")
