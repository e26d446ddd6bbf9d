from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from mlbench import features
from mlbench.errors import MlbenchError, StoreError
from mlbench.features import InputSource
from mlbench.model import build_model


def source_of(case, heard=None) -> InputSource:
    fabric = Fabric(accelerator="cpu", devices=1)
    progress = (
        (lambda *_: None) if heard is None else lambda what, done, total: heard.append((what, done, total))
    )
    return InputSource(case, build_model(case.spec, case.seed).eval(), fabric, progress)


def whole(inputs, epoch: int = 0) -> torch.Tensor:
    return torch.cat(list(inputs.batches([range(inputs.count)], epoch)))


def files(kind: str) -> list[Path]:
    return sorted((Path(os.environ["MLBENCH_CACHE"]) / kind).glob("*"))


@pytest.mark.parametrize("frozen", ["true", "false"])
def test_cached_inputs_equal_streamed_ones(planned, monkeypatch, frozen: str) -> None:
    case = planned(overrides=(f"backbone.frozen={frozen}",)).cases[0]
    stored = source_of(case).get("train")
    monkeypatch.setenv("MLBENCH_CACHE_LIMIT", "1K")
    source = source_of(case)
    streamed = source.get("train")
    assert stored.stored
    assert not streamed.stored
    assert "inputs are not cached" in source.notes[0]
    assert torch.equal(whole(stored), whole(streamed))


def test_frozen_features_are_made_once_and_shared_by_cases_that_agree(planned) -> None:
    cases = planned(
        "seeds: [0]\nmatrix:\n  neck.name: [gap, flatten]\n", overrides=("backbone.frozen=true",)
    ).cases
    heard: list = []
    first = whole(source_of(cases[0], heard).get("test"))
    assert {what for what, _, _ in heard} == {"reading test images", "frozen prefix over test images"}
    assert heard[-1][1:] == (24, 24)
    heard.clear()
    assert torch.equal(whole(source_of(cases[1], heard).get("test")), first)
    assert heard == []
    assert len(files("features")) == len(files("pixels")) == 1


def test_another_prefix_does_not_share_features_but_shares_pixels(planned) -> None:
    # The toy's prefix is drawn from the seed, so two seeds have two prefixes.
    for case in planned("seeds: [0, 1]\n", overrides=("backbone.frozen=true",)).cases:
        source_of(case).get("test")
    assert (len(files("features")), len(files("pixels"))) == (2, 1)


def test_augmented_views_are_a_pool_that_epochs_walk_through(planned) -> None:
    case = planned(overrides=("augmentation=jitter", "recipe.views=2")).cases[0]
    inputs = source_of(case).get("train")
    assert inputs.stored
    views = [whole(inputs, epoch) for epoch in range(4)]
    assert torch.equal(views[0], views[2])
    assert torch.equal(views[1], views[3])
    assert not torch.equal(views[0], views[1])
    assert source_of(case).get("test").stored  # evaluation images are never augmented
    assert len(files("pixels")) == 3


def test_without_views_every_epoch_and_seed_sees_new_augmentations(planned) -> None:
    cases = planned("seeds: [0, 1]\n", overrides=("augmentation=jitter",)).cases
    inputs = [source_of(case).get("train") for case in cases]
    seen = [whole(inputs[0], 0), whole(inputs[0], 1), whole(inputs[1], 0)]
    assert not inputs[0].stored
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])


def test_a_full_disk_is_one_line_and_leaves_no_file(tmp_path: Path, monkeypatch) -> None:
    class FullDisk(np.ndarray):
        pass

    def chunks():
        yield np.zeros((2, 2), np.uint8)
        raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match=r"No space left on device\); free space, or set MLBENCH_CACHE"):
        features._write(tmp_path / "a" / "x.npy", 4, chunks(), lambda done: None)
    assert list((tmp_path / "a").iterdir()) == []


def test_half_written_files_of_dead_processes_are_removed(tmp_path: Path) -> None:
    pid = os.spawnlp(os.P_WAIT, "true", "true")  # any status; its pid is free now
    dead = tmp_path / f"x.{4194304 + pid}.tmp"
    alive = tmp_path / f"x.{os.getppid()}.tmp"
    dead.touch()
    alive.touch()
    features._remove_stale(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [alive.name]


def test_a_damaged_cache_file_is_named(planned) -> None:
    case = planned().cases[0]
    source_of(case).get("test")
    files("pixels")[0].write_bytes(b"\x93NUMPY nonsense")
    with pytest.raises(StoreError, match="delete it, it will be made again"):
        source_of(case).get("test")


@pytest.mark.parametrize(
    ("text", "size"), [("20G", 20 * 10**9), ("1.5M", 1_500_000), ("512", 512), ("3TB", 3 * 10**12)]
)
def test_cache_limit_reads_sizes(monkeypatch, tmp_path: Path, text: str, size: int) -> None:
    monkeypatch.setenv("MLBENCH_CACHE_LIMIT", text)
    assert features.cache_limit(tmp_path) == size


def test_cache_limit_refuses_nonsense(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLBENCH_CACHE_LIMIT", "plenty")
    with pytest.raises(MlbenchError, match="'plenty' is not a size; expected such as 20G"):
        features.cache_limit(tmp_path)
