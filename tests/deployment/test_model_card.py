"""The text of model cards, for records of every sort."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from mlbench.deployment.card_text import card_text
from mlbench.deployment.export_folder import README
from mlbench.deployment.model_card import Exported
from mlbench.deployment.trial import Score
from mlbench.evaluation.threshold import Threshold
from mlbench.records.record import Estimate, Record, Timing

F1 = Estimate(0.123456789, 0.1, 0.2, heading="F1", headline=True)

RECORD = Record(
    suite="photos",
    case="gap",
    seed=2,
    fingerprint="abc123",
    status="done",
    settings={
        "dataset": {"name": "image_folder", "path": "/home/me/photos"},
        "backbone": {"name": "timm", "model": "lcnet_050", "weights": "/data/w/first.pth"},
        "neck": {"name": "gap", "dim": 8},
        "loss": {"name": "cosface"},
        "image": {"size": 32, "resize": "pad", "crop_ratio": 0.9},
        "threshold": {"name": "best_f1"},
        "measure": {"batch_size": 4},
    },
    metrics={
        "f1": F1,
        "threshold": Estimate(0.25, 0.2, 0.3, heading="at distance", higher_is_better=None),
        "precision": Estimate(None, note="no pair is accepted", heading="precision"),
        "tpr": Estimate(0.5),
    },
    evaluation={
        "threshold": {"distance": 0.25, "low": 0.2, "high": 0.3, "note": ""},
        "protocol": {"text": "leave one out among 9 test images of 3 classes", "queries": "test"},
        "intervals": {"method": "bootstrap over classes", "level": 0.9},
    },
    size={"parameters": 1234567, "bytes": 4938268, "flops": None},
    speed={"images_per_second": Timing(1234.56, unit="images/s")},
    data={"version": "1: é", "disjoint": False, "splits": {"train": {"classes": 1000, "images": 2000}}},
    training={"steps": 1200, "weights": "/data/w/first.pth, sha256 00ff", "model": "ffee"},
    components={"loss": {"package": "mine", "version": "1", "code": ""}},
    environment={"device_product": "A CPU", "threads": 1},
    notes=("calibration of /home/me/photos has few classes",),
)


def exported(record: Record = RECORD, **changes: Any) -> Exported:
    threshold = Threshold(0.75, "")
    own = Score("PyTorch", dict(record.metrics), threshold, 8, notes=("seed 2 is exported",))
    file = replace(own, name="onnx", file=Path("out/photos-gap-s2.onnx"), bytes=5_000_000, difference=1e-7)
    whole = Exported(
        record=record,
        stem="photos-gap-s2",
        title="",
        suite_file="photos.yaml",
        options="--set recipe.epochs=2",
        own=own,
        files=[file],
        weights_licence="",
        data_home="",
        data_licence="",
        machine={"cpu": "Another CPU", "threads": 2},
    )
    return replace(whole, **changes)


def test_card_has_metrics_intervals_and_facts_of_the_record() -> None:
    text = card_text(exported())
    assert README.mark in text
    found = ModelCard(text).data
    (result,) = found.eval_results  # what has no column or no value is not in it, nor the threshold
    assert (result.metric_type, result.metric_value, result.metric_name) == ("f1", 0.123456789, "F1")
    assert result.metric_args == {"interval": [0.1, 0.2], "level": "90 %"}
    assert (result.dataset_name, result.dataset_split, result.dataset_revision) == (
        *("image_folder", "test"),
        "1: é",
    )
    for line in (
        "| metric | value | 90 % interval |",
        "| F1 (`f1`) | 0.1235 | 0.1000 – 0.2000 |",
        "| precision (`precision`) | – (no pair is accepted) |  |",
        "Protocol: leave one out among 9 test images of 3 classes.",
        "| `photos-gap-s2.onnx` | 5.00 | – | 1e-07 | 0.1235 | 0.2500 |",
        "| train | 1,000 | 2,000 |",
        "| parameters | 1,234,567 |",
        "| `images_per_second` in PyTorch, images/s | 1,234.6 |",
        "- seed 2 is exported",
        "- Components of other packages have licences of their own: mine.",
        "$ mlbench run photos.yaml --cases gap --seeds 2 --set recipe.epochs=2",
    ):
        assert line in text.splitlines()
    assert "most **0.2500** (90 % interval 0.2000 – 0.3000)" in text
    assert "images/s: batches of 4 on Another CPU, 2 threads" in text
    assert "The splits share classes" in text


def test_card_tells_no_folders_of_the_machine() -> None:
    text = card_text(exported())
    assert "/home" not in text
    assert "/data" not in text
    assert "weights: first.pth" in text
    assert "initial weights: first.pth, sha256 00ff; 1,200 steps." in text
    assert "- calibration of photos has few classes" in text
    assert "best: 3/4 of it at https://a.b/c" in card_text(
        exported(replace(RECORD, notes=("best: 3/4 of it at https://a.b/c",)))
    )


@pytest.mark.parametrize(
    ("weights", "licence", "data", "head", "told"),
    [
        ("w, sha256 00", "mit", "", "mit", "The initial weights (w, sha256 00) are under `mit`."),
        ("w", "mit", "research only", None, "data (`image_folder`): research only."),
        ("w", "", "", None, "The licence of the initial weights (w) is not known to mlbench"),
        ("random", "", "", None, "The initial weights were random, so no licence of others applies"),
    ],
)
def test_card_states_the_licences_that_are_known(
    weights: str, licence: str, data: str, head: str | None, told: str
) -> None:
    record = replace(RECORD, training={**RECORD.training, "weights": weights})
    text = card_text(exported(record, weights_licence=licence, data_licence=data))
    assert ModelCard(text).data.license == head
    assert told in text


@pytest.mark.parametrize(
    ("threshold", "told"),
    [
        ({"distance": None, "note": "too few pairs"}, "There is none (too few pairs): rank images"),
        ({}, "There is none (none was fitted): rank images"),
        ({"distance": -1.0}, "The policy accepts no pair: no two images are the same to this model."),
        ({"distance": 0.25, "remarks": {"x": "misses its target"}}, "**misses its target**"),
    ],
)
def test_card_says_what_the_threshold_means(threshold: dict[str, Any], told: str) -> None:
    record = replace(RECORD, evaluation={**RECORD.evaluation, "threshold": threshold})
    assert told in card_text(exported(record))


def test_card_of_a_record_with_little_in_it_is_whole() -> None:
    record = Record(
        suite="s",
        case="c",
        seed=0,
        fingerprint="0",
        status="done",
        settings={"image": {"size": 16, "resize": "pad", "crop_ratio": 1.0}},
        metrics={"f1": Estimate(0.5)},
    )
    text = card_text(exported(record))
    head = yaml.safe_load(text.split("---\n")[1])
    assert head["metrics"] == ["f1"]
    assert "| `f1` | 0.5000 |  |" in text
    assert "None" not in text.replace("draft(None", "")
