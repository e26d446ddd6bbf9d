from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from mlbench.cli import main

FEW = ("--set", "evaluation.resamples=50")


def evaluated(*arguments: object, code: int = 0) -> dict[str, Any]:
    result = CliRunner().invoke(main, ["evaluate", *map(str, arguments), *FEW, "--json"])
    assert result.exit_code == code, result.output
    return {"error": result.stderr} if code else json.loads(result.stdout)


def save(path: Path, vectors: np.ndarray, labels: list[str], paths: list[str], **more: Any) -> Path:
    arrays = {key: np.array(value) for key, value in more.items()}
    np.savez(
        path, embeddings=vectors.astype(np.float32), labels=np.array(labels), paths=np.array(paths), **arrays
    )
    return path


def recall(queries: np.ndarray, gallery: np.ndarray, labels: list[str], same: np.ndarray) -> float:
    """Recall@1 by two loops. same: (Q, G) bool, the pairs that are one image."""
    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (queries, gallery)]
    hits = []
    for at, query in enumerate(unit[0]):
        scored = [
            (-(query @ other), labels[at] == labels[to], to)
            for to, other in enumerate(unit[1])
            if not same[at, to]
        ]
        if any(positive for _, positive, _ in scored):
            hits.append(min(scored)[1])  # among equals a negative comes first
    return float(np.mean(hits))


@pytest.fixture
def models() -> tuple[np.ndarray, np.ndarray, list[str], list[str]]:
    """Embeddings of 60 images of 12 classes by a new and an old model, with labels and paths."""
    rng = np.random.default_rng(0)
    centres, labels = rng.standard_normal((12, 6)), np.repeat(np.arange(12), 5)
    old = centres[labels] + 1.2 * rng.standard_normal((60, 6))
    new = centres[labels] + 0.3 * rng.standard_normal((60, 6))
    names = [f"class {label}" for label in labels]
    return new, old, names, [f"{name}/{at}.jpg" for at, name in enumerate(names)]


def test_new_queries_never_find_their_own_old_embedding(models, tmp_path: Path) -> None:
    new, old, labels, paths = models
    order = np.random.default_rng(1).permutation(60)  # files need not have the same order
    files = (
        save(tmp_path / "new.npz", new, labels, paths),
        save(tmp_path / "old.npz", old[order], [labels[at] for at in order], [paths[at] for at in order]),
    )
    found = evaluated(files[0], "--gallery", files[1])
    one = np.eye(60, dtype=bool)
    compared = found["evaluation"]["compatibility"]
    assert found["metrics"]["recall_at_1"]["value"] == pytest.approx(recall(new, old, labels, one))
    assert compared["new_to_new"]["recall_at_1"]["value"] == pytest.approx(recall(new, new, labels, one))
    assert compared["old_to_old"]["recall_at_1"]["value"] == pytest.approx(recall(old, old, labels, one))
    assert found["evaluation"]["queries"] == 60
    text = found["evaluation"]["protocol"]["text"]
    assert text.startswith(
        "compatibility on 60 images of 12 classes that new.npz (new) and old.npz (old) both have"
    )
    shown = CliRunner().invoke(main, ["evaluate", *map(str, (files[0], "--gallery", files[1])), *FEW]).stdout
    change = recall(new, old, labels, one) - recall(old, old, labels, one)
    assert f"recall_at_1: new to old is better than old to old ({change:+.4f} [" in shown
    assert "metric                   new to new  old to old  new to old  its interval" in shown


def test_one_file_against_itself_is_the_evaluation_of_the_file(models, tmp_path: Path) -> None:
    new, _, labels, paths = models
    file = save(tmp_path / "new.npz", new, labels, paths)
    alone, found = evaluated(file), evaluated(file, "--gallery", file)
    values = [
        {name: each["value"] for name, each in metrics.items()}
        for metrics in (
            alone["metrics"],
            found["metrics"],
            *(found["evaluation"]["compatibility"][name] for name in ("new_to_new", "old_to_old")),
        )
    ]
    assert values[1:] == [pytest.approx(values[0], nan_ok=True)] * 3
    result = CliRunner().invoke(main, ["evaluate", str(file), "--gallery", str(file), *FEW])
    assert "recall_at_1: new to old is the same as old to old (+0.0000 [+0.0000, +0.0000])" in result.stdout


def test_the_images_that_one_file_lacks_are_left_out(models, tmp_path: Path) -> None:
    new, old, labels, paths = models
    here, there = slice(0, 50), slice(10, 60)
    files = (
        save(tmp_path / "new.npz", new[here], labels[here], paths[here]),
        save(tmp_path / "old.npz", old[there], labels[there], paths[there]),
    )
    found = evaluated(files[0], "--gallery", files[1])
    both, one = slice(10, 50), np.eye(40, dtype=bool)
    assert found["metrics"]["recall_at_1"]["value"] == pytest.approx(
        recall(new[both], old[both], labels[both], one)
    )
    text = found["evaluation"]["protocol"]["text"]
    assert "40 images of 8 classes" in text
    assert "(left out: 10 of new.npz, 10 of old.npz)" in text


def test_thresholds_are_fitted_on_the_same_classes_of_both_files(models, tmp_path: Path) -> None:
    new, old, labels, paths = models
    files = (save(tmp_path / "new.npz", new, labels, paths), save(tmp_path / "old.npz", old, labels, paths))
    found = evaluated(files[0], "--gallery", files[1], "--calibration-share", 0.5)
    for name, file in (("new_to_new", files[0]), ("old_to_old", files[1])):
        alone = evaluated(file, "--calibration-share", 0.5)["metrics"]
        compared = found["evaluation"]["compatibility"][name]
        assert compared["f1"]["value"] == pytest.approx(alone["f1"]["value"])
        assert compared["threshold"]["value"] == pytest.approx(alone["threshold"]["value"])
    assert found["evaluation"]["calibration"] == {"images": 30, "classes": 6}
    assert found["metrics"]["f1"]["value"] is not None
    # The same file: no calibration image meets itself either.
    same = evaluated(files[0], "--gallery", files[0], "--calibration-share", 0.5)
    alone = evaluated(files[0], "--calibration-share", 0.5)
    assert same["metrics"]["threshold"]["value"] == pytest.approx(alone["metrics"]["threshold"]["value"])
    # And from files of their own, of images that the gallery has.
    calibration = save(tmp_path / "cal.npz", new[:30], labels[:30], paths[:30])
    fitted = evaluated(files[0], "--gallery", files[0], "--calibration", calibration)
    assert fitted["metrics"]["threshold"]["value"] > 0.01


def test_files_of_other_images_are_queries_and_gallery(models, tmp_path: Path) -> None:
    new, old, labels, paths = models
    queries = save(tmp_path / "q.npz", new, labels, paths, digests=[f"q{at}" for at in range(60)])
    gallery = save(tmp_path / "g.npz", old, labels, paths, digests=[f"g{at}" for at in range(60)])
    bare = tmp_path / "bare.npz"
    np.savez(bare, embeddings=old.astype(np.float32), labels=np.array(labels))
    found = [evaluated(queries, "--gallery", each) for each in (gallery, bare)]
    nothing = np.zeros((60, 60), bool)
    for each, name in zip(found, ("g.npz", "bare.npz"), strict=True):
        assert "compatibility" not in each["evaluation"]
        assert each["metrics"]["recall_at_1"]["value"] == pytest.approx(recall(new, old, labels, nothing))
        text = each["evaluation"]["protocol"]["text"]
        assert (
            text
            == f"60 q.npz queries of 12 classes against 60 {name} gallery images of 12 classes (5 a class)"
        )


def test_a_few_shared_images_are_not_compared_with_themselves(models, tmp_path: Path) -> None:
    new, old, labels, paths = models
    theirs = [path if at < 6 else f"shop/{path}" for at, path in enumerate(paths)]
    files = save(tmp_path / "q.npz", new, labels, paths), save(tmp_path / "g.npz", old, labels, theirs)
    found = evaluated(files[0], "--gallery", files[1])
    same = np.eye(60, dtype=bool) & (np.arange(60) < 6)
    assert found["metrics"]["recall_at_1"]["value"] == pytest.approx(recall(new, old, labels, same))
    assert "compatibility" not in found["evaluation"]
    assert found["evaluation"]["protocol"]["text"].endswith(
        ": the 6 images that both files have are not compared with themselves"
    )


def test_an_image_needs_one_label(models, tmp_path: Path) -> None:
    new, old, labels, paths = models
    files = (
        save(tmp_path / "new.npz", new, labels, paths),
        save(tmp_path / "old.npz", old, ["class 9", *labels[1:]], paths),
    )
    error = evaluated(files[0], "--gallery", files[1], code=1)["error"]
    assert error == (
        "mlbench: old.npz: class 0/0.jpg is 'class 9', but 'class 0' in new.npz; an image must have the same "
        "label in both\n"
    )


def test_nested_embeddings_are_cut_to_the_width_of_the_gallery(models, tmp_path: Path) -> None:
    new, old, labels, paths = models
    nested = json.dumps({"nested_widths": "2, 4", "threshold_similarity": "0.5"})
    files = (
        save(tmp_path / "new.npz", new, labels, paths, mlbench=nested),
        save(tmp_path / "old.npz", old[:, :4], labels, paths),
        save(tmp_path / "odd.npz", old[:, :3], labels, paths),
    )
    found = evaluated(files[0], "--gallery", files[1])
    expected = recall(new[:, :4], old[:, :4], labels, np.eye(60, dtype=bool))
    assert found["metrics"]["recall_at_1"]["value"] == pytest.approx(expected)
    assert found["notes"][0] == "new.npz is cut to its first 4 of 6 numbers"
    # The threshold of the whole width is not that of the cut one.
    assert found["evaluation"]["compatibility"]["new_to_new"]["threshold"]["value"] is None
    assert evaluated(files[0])["metrics"]["threshold"]["value"] == 0.5
    found = evaluated(files[1], "--gallery", files[0])
    assert found["notes"][0] == "new.npz is cut to its first 4 of 6 numbers"
    error = evaluated(files[0], "--gallery", files[2], code=1)["error"]
    assert "odd.npz: 3 dimensions, but new.npz has 6; only embeddings of one width can be compared" in error


def test_a_damaged_description_of_the_model_is_named(models, tmp_path: Path) -> None:
    new, _, labels, paths = models
    file = save(tmp_path / "new.npz", new, labels, paths, mlbench="{")
    assert "new.npz: its description of the model is damaged" in evaluated(file, code=1)["error"]
