"""Every option of a recipe and of `compute` does something."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from test_train import silent, trained
from torch import nn

from mlbench.contracts.options import Recipe
from mlbench.planning.spec import ComputeSettings
from mlbench.training import image_reader
from mlbench.training import model as model_module
from mlbench.training.assembly import assemble
from mlbench.training.experiment import experiment
from mlbench.training.model import EmbeddingModel, state_hash
from mlbench.training.saved_state import SavedState

#: What is changed of each option of a recipe, and what must be set beside it.
RECIPE = {
    "epochs": ("3", ()),
    "batch_size": ("12", ()),
    "optimizer": ("sgd", ()),
    "lr": ("0.01", ()),
    "weight_decay": ("0.5", ()),
    "betas": ("[0.5, 0.9]", ()),
    "momentum": ("0.5", ("recipe.optimizer=sgd",)),
    "centre_lr": ("3", ()),
    "lr_factors": ("{neck: 3}", ()),
    "optimizer_options": ("{eps: 0.1}", ()),
    "schedule": ("constant", ()),
    "milestones": ("[0.8]", ("recipe.schedule=step", "recipe.milestones=[0.5]")),
    "decay_rate": ("0.5", ("recipe.schedule=step", "recipe.milestones=[0.5]")),
    "min_lr": ("0.0005", ()),
    "warmup": ("0.5", ()),
    "clip_norm": ("0.001", ("recipe.optimizer=sgd",)),
    "views": ("1", ("augmentation=jitter",)),
    "patience": ("1", ("recipe.epochs=4",)),
    "evaluate_every": ("2", ("recipe.epochs=4",)),
    "select": ("last", ("recipe.epochs=4",)),
    "select_by": ("eer", ()),
    "ema": ("0.9", ()),
}
COMPUTE = {
    "matmul_precision": ("medium", "precisions"),
    "deterministic": ("false", "determined"),
    "channels_last": ("false", "layouts"),
    "compile": ("true", "compiled"),
    "checkpointing": ("true", "checkpointed"),
    "accumulate": ("2", "sizes"),
    "save_every": ("1e-9", "saved"),
}


def test_no_option_is_left_out() -> None:
    assert set(RECIPE) | {"workers"} == set(Recipe.model_fields)
    assert set(COMPUTE) == set(ComputeSettings.model_fields)


@pytest.mark.parametrize("option", RECIPE)
def test_an_option_of_the_recipe_changes_the_training(planned, tmp_path, option: str) -> None:
    value, beside = RECIPE[option]
    ends = []
    for overrides in (beside, (*beside, f"recipe.{option}={value}")):
        case = planned(overrides=overrides).cases[0]
        falling = iter(range(0, -9, -1)).__next__
        objective, result = trained(case, tmp_path, score=falling)
        ends.append((state_hash(objective.state_dict().values()), result.curves))
    assert ends[0] != ends[1]


def test_workers_read_images_and_change_nothing(planned, tmp_path, monkeypatch) -> None:
    asked, loader = [], image_reader.ImageReader._loader

    def counting(self, workers):
        asked.append(workers)
        return loader(self, 0)

    monkeypatch.setattr(image_reader.ImageReader, "_loader", counting)
    hashes = set()
    for workers in (0, 2):
        # Few images would be read without a process.
        overrides = (
            "augmentation=jitter",
            "dataset.views=24",
            f"recipe.workers={workers}",
            "recipe.epochs=1",
        )
        objective, _ = trained(planned(overrides=overrides).cases[0], tmp_path)
        hashes.add(state_hash(objective.state_dict().values()))
    assert 2 in asked
    assert len(hashes) == 1


def observed(case, monkeypatch, folder) -> dict[str, Counter]:
    """What an experiment does on the way."""
    names = ("precisions", "determined", "layouts", "compiled", "checkpointed", "sizes", "saved")
    seen = {name: Counter() for name in names}
    embed, normalise, checkpoint = (
        EmbeddingModel.embed,
        model_module._Normalise.forward,
        model_module.checkpoint,
    )

    def embedding(self, inputs):
        seen["precisions"][torch.get_float32_matmul_precision()] += 1
        seen["sizes"][len(inputs)] += 1
        seen["determined"][torch.are_deterministic_algorithms_enabled()] += 1
        return embed(self, inputs)

    def normalising(self, images):
        pixels = normalise(self, images)
        seen["layouts"][pixels.is_contiguous(memory_format=torch.channels_last)] += 1
        return pixels

    def checkpointing(function, *arguments, **options):
        seen["checkpointed"]["layers"] += 1
        return checkpoint(function, *arguments, **options)

    def compiled(function, **_):
        def counting(*arguments, **options):
            seen["compiled"][type(function.__self__).__name__] += 1
            return function(*arguments, **options)

        return counting

    def saving(self, state):
        seen["saved"]["states"] += 1

    with monkeypatch.context() as patch:
        patch.setattr(SavedState, "write", saving)
        patch.setattr(EmbeddingModel, "embed", embedding)
        patch.setattr(model_module._Normalise, "forward", normalising)
        patch.setattr(model_module, "checkpoint", checkpointing)
        patch.setattr(torch, "compile", compiled)
        experiment(assemble(case, "cpu"), folder, silent)
    return seen


@pytest.mark.parametrize("option", COMPUTE)
def test_an_option_of_compute_changes_how_it_is_computed(planned, tmp_path, monkeypatch, option: str) -> None:
    value, where = COMPUTE[option]
    common = ("recipe.epochs=1", "evaluation.resamples=0")
    plain, changed = (
        observed(planned(overrides=each).cases[0], monkeypatch, tmp_path)
        for each in (common, (*common, f"compute.{option}={value}"))
    )
    assert plain[where] != changed[where]


@pytest.mark.parametrize("frozen", ["false", "true"])
def test_checkpointed_layers_are_compiled_ones(planned, tmp_path, monkeypatch, frozen: str) -> None:
    common = (
        "recipe.epochs=1",
        "evaluation.resamples=0",
        f"backbone.frozen={frozen}",
        "compute.compile=true",
    )
    case = planned(overrides=(*common, "compute.checkpointing=true")).cases[0]
    seen = observed(case, monkeypatch, tmp_path)
    # Each layer: 3 steps forward, and again for their backward pass; then the evaluations.
    layers = seen["checkpointed"]["layers"] // 3
    assert layers == (6 if frozen == "false" else 3)
    assert seen["compiled"]["Conv2d"] >= 2 * 3 * layers // 3


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_compiled_and_checkpointed_gives_the_plain_gradients_and_statistics(planned, monkeypatch) -> None:
    """By the real torch.compile, without its code generator."""
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, **_: compile_(function, backend="eager"))
    ends = []
    for value in ("false", "true"):
        overrides = (f"compute.compile={value}", f"compute.checkpointing={value}")
        assembly = assemble(planned(overrides=overrides).cases[0], "cpu")
        assembly.compile()
        model = assembly.model
        images = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator())
        model(images).square().sum().backward()
        norms = [each for each in model.modules() if isinstance(each, nn.BatchNorm2d)]
        assert [int(norm.num_batches_tracked) for norm in norms] == [1, 1]
        ends.append([*(p.grad for p in model.parameters()), *(norm.running_mean for norm in norms)])
    torch.testing.assert_close(*ends)
