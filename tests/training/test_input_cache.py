from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric

from mlbench.errors import StoreError
from mlbench.training.feed import training_inputs
from mlbench.training.input_cache import InputCache
from mlbench.training.inputs import InputSpec, SplitInputs
from mlbench.training.model import build_model


def source_of(case, heard=None) -> InputCache:
    fabric = Fabric(accelerator="cpu", devices=1)
    progress = (
        (lambda *_: None) if heard is None else lambda what, done, total: heard.append((what, done, total))
    )
    return InputCache(case, "backbone", build_model(case.spec, case.seed).eval(), fabric, progress)


def inputs_of(case, split, heard=None) -> SplitInputs:
    look = training_inputs(case) if split == "train" else InputSpec(case.spec.image)
    return source_of(case, heard).get(split, look)


def whole(inputs, epoch: int = 0) -> torch.Tensor:
    return torch.cat(list(inputs.batches([range(len(inputs.split))], epoch)))


def files(kind: str) -> list[Path]:
    return sorted((Path(os.environ["MLBENCH_CACHE"]) / kind).glob("*"))


@pytest.mark.parametrize("frozen", ["true", "false"])
def test_cached_inputs_equal_streamed_ones(planned, monkeypatch, tmp_path, frozen: str) -> None:
    case = planned(overrides=(f"backbone.frozen={frozen}",)).cases[0]
    stored = inputs_of(case, "train")
    monkeypatch.setenv("MLBENCH_CACHE", str(tmp_path / "empty"))
    monkeypatch.setenv("MLBENCH_CACHE_LIMIT", "1K")
    source = source_of(case)
    streamed = source.get("train", training_inputs(case))
    assert stored.cached
    assert not streamed.cached
    assert "inputs are not cached" in source.notes[0]
    assert torch.equal(whole(stored), whole(streamed))


def test_frozen_features_are_made_once_and_shared_by_cases_that_agree(planned) -> None:
    cases = planned(
        "seeds: [0]\nmatrix:\n  neck.name: [gap, flatten]\n", overrides=("backbone.frozen=true",)
    ).cases
    heard: list = []
    first = whole(inputs_of(cases[0], "test", heard))
    assert {what for what, _, _ in heard} == {"reading test images", "frozen prefix over test images"}
    assert heard[-1][1:] == (24, 24)
    heard.clear()
    assert torch.equal(whole(inputs_of(cases[1], "test", heard)), first)
    assert heard == []
    assert len(files("features")) == len(files("pixels")) == 1


def test_another_prefix_does_not_share_features_but_shares_pixels(planned) -> None:
    # The toy's prefix is drawn from the seed, so two seeds have two prefixes.
    for case in planned("seeds: [0, 1]\n", overrides=("backbone.frozen=true",)).cases:
        inputs_of(case, "test")
    assert (len(files("features")), len(files("pixels"))) == (2, 1)


def test_augmented_views_are_a_pool_that_epochs_walk_through(planned) -> None:
    case = planned(overrides=("augmentation=jitter", "recipe.views=2")).cases[0]
    inputs = inputs_of(case, "train")
    assert inputs.cached
    views = [whole(inputs, epoch) for epoch in range(4)]
    assert torch.equal(views[0], views[2])
    assert torch.equal(views[1], views[3])
    assert not torch.equal(views[0], views[1])
    assert inputs_of(case, "test").cached  # evaluation images are never augmented
    assert len(files("pixels")) == 3


def test_without_views_every_epoch_and_seed_sees_new_augmentations(planned) -> None:
    cases = planned("seeds: [0, 1]\n", overrides=("augmentation=jitter",)).cases
    inputs = [inputs_of(case, "train") for case in cases]
    seen = [whole(inputs[0], 0), whole(inputs[0], 1), whole(inputs[1], 0)]
    assert not inputs[0].cached
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])


def test_a_file_in_the_cache_is_used_however_full_the_disk_is_now(planned, monkeypatch) -> None:
    case = planned(overrides=("backbone.frozen=true",)).cases[0]
    first = whole(inputs_of(case, "train"))
    monkeypatch.setenv("MLBENCH_CACHE_LIMIT", "1")
    again = inputs_of(case, "train")
    assert again.cached
    assert torch.equal(whole(again), first)


def test_features_do_not_depend_on_how_many_images_come_together(planned, monkeypatch) -> None:
    monkeypatch.setenv("MLBENCH_CACHE_LIMIT", "1K")
    options = "{name: timm, model: tf_efficientnet_lite0, trainable_from: blocks.3}"
    case = planned(overrides=(f"backbone={options}", "image.size=64", "dataset.views=16")).cases[0]
    inputs = inputs_of(case, "train")
    together = whole(inputs)
    apart = torch.cat(list(inputs.batches([range(1), range(1, 6), range(6, 96)])))
    assert torch.equal(together, apart)


def test_streaming_draws_nothing_from_the_global_generator(planned, monkeypatch) -> None:
    monkeypatch.setenv("MLBENCH_CACHE_LIMIT", "1K")
    inputs = inputs_of(planned().cases[0], "train")
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    whole(inputs)
    assert torch.equal(torch.rand(1), expected)


def test_a_damaged_cache_file_is_made_again(planned) -> None:
    case = planned().cases[0]
    first = whole(inputs_of(case, "test"))
    files("pixels")[0].write_bytes(b"\x93NUMPY nonsense")
    assert torch.equal(whole(inputs_of(case, "test")), first)


def test_an_image_that_comes_again_shows_the_next_view_of_the_pool(planned) -> None:
    case = planned(overrides=("augmentation=jitter", "recipe.views=3")).cases[0]
    inputs = inputs_of(case, "train")
    views = [next(inputs.batches([[5]], epoch)) for epoch in range(3)]
    first, second = inputs.batches([[5, 4, 5], [5]], 1)
    assert torch.equal(first[[0, 2]], torch.cat([views[1], views[2]]))
    assert torch.equal(second, views[0])


def test_an_image_that_comes_again_is_augmented_anew(planned) -> None:
    case = planned(overrides=("augmentation=jitter",)).cases[0]
    inputs = inputs_of(case, "train")
    once = next(inputs.batches([[5]], 3))
    first, second = inputs.batches([[5, 4, 5], [5]], 3)
    again = next(inputs.batches([[5, 5, 5]], 3))
    assert torch.equal(first[:1], once)
    assert len({row.numpy().tobytes() for row in again}) == 3
    assert torch.equal(again[1:], torch.cat([first[2:], second]))


def test_raw_inputs_are_images_though_there_is_a_prefix(planned) -> None:
    case = planned(overrides=("backbone.frozen=true",)).cases[0]
    raw = source_of(case).get("train", InputSpec(case.spec.image, raw=True))
    assert whole(raw).shape == (24, 3, 16, 16)
    assert whole(raw).dtype == torch.uint8
    assert files("features") == []


@pytest.mark.parametrize("frozen", ["true", "false"])
def test_a_cache_that_cannot_be_written_costs_a_note(planned, monkeypatch, tmp_path, frozen: str) -> None:
    case = planned(overrides=(f"backbone.frozen={frozen}",)).cases[0]
    expected = whole(inputs_of(case, "train"))
    (tmp_path / "file").touch()
    monkeypatch.setenv("MLBENCH_CACHE", str(tmp_path / "file" / "cache"))
    source = source_of(case)
    for split in ("train", "test"):
        inputs = source.get(split, InputSpec(case.spec.image))
        assert not inputs.cached
    assert torch.equal(whole(source.get("train", InputSpec(case.spec.image))), expected)
    (note,) = source.notes
    assert re.fullmatch(
        r"train: inputs are not cached: .*\.npy: cannot be written \(Not a directory\); "
        "set MLBENCH_CACHE to a folder that can be written",
        note,
    )


def test_what_a_read_only_cache_holds_is_used(planned, monkeypatch) -> None:
    case = planned().cases[0]
    expected = whole(inputs_of(case, "train"))

    def read_only(path: Path, *_: object, **__: object) -> None:
        raise StoreError(f"{path}: cannot be written (Read-only file system)")

    monkeypatch.setattr("mlbench.training.array_cache.write_atomically", read_only)
    source = source_of(case)
    assert not source.get("test", InputSpec(case.spec.image)).cached
    train = source.get("train", InputSpec(case.spec.image))
    assert train.cached
    assert torch.equal(whole(train), expected)
    assert len(source.notes) == 1
