from __future__ import annotations

import pytest
import torch
import toys

from mlbench.contracts import TokensShape
from mlbench.errors import SuiteError
from mlbench.planning.spec import ComputeSettings
from mlbench.training.model import EmbeddingModel, build_model, size_of, state_hash, statistics_kept


def test_encode_then_embed_is_forward_with_and_without_a_prefix(planned) -> None:
    images = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8)
    for frozen in ("true", "false"):
        case = planned(overrides=(f"backbone.frozen={frozen}",)).cases[0]
        model = build_model(case.spec, 0).eval()
        assert model.has_prefix is (frozen == "true")
        assert torch.equal(model.embed(model.encode(images)), model(images))
        assert model(images).shape == (3, 8)


def test_model_normalises_pixels_with_the_backbones_mean_and_std(planned) -> None:
    model = build_model(planned().cases[0].spec, 0)
    black_and_white = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 16, 16)
    normalised = model._normalise(black_and_white)
    assert normalised[0].unique().tolist() == [-1]
    assert normalised[1].unique().tolist() == [1]


def test_build_model_draws_from_the_seed_alone(planned) -> None:
    spec = planned().cases[0].spec
    hashes = []
    for seed, noise in ((0, 1), (0, 2), (1, 3)):
        torch.manual_seed(noise)
        hashes.append(state_hash(build_model(spec, seed).state_dict().values()))
    assert hashes[0] == hashes[1] != hashes[2]


def test_build_model_refuses_tokens_for_a_neck_without(planned, monkeypatch) -> None:
    build = toys.ToyBackboneOptions.build

    def with_tokens(self, image_size):
        backbone = build(self, image_size)
        backbone.feature_shape = TokensShape(8, 4, 4, 1)
        return backbone

    spec = planned(overrides=("neck=noisy",)).cases[0].spec
    monkeypatch.setattr(toys.ToyBackboneOptions, "build", with_tokens)
    with pytest.raises(
        SuiteError, match=r"^--set neck=noisy: neck 'noisy' takes feature maps, and .* tokens"
    ):
        build_model(spec, 0)


def test_build_model_leaves_the_global_generator_alone(planned) -> None:
    torch.manual_seed(4)
    expected = torch.rand(1)
    torch.manual_seed(4)
    build_model(planned().cases[0].spec, 0)
    assert torch.equal(torch.rand(1), expected)


def test_size_counts_shared_parameters_once() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    module.append(module[0])
    assert size_of(module) == {"parameters": 24, "bytes": 96}  # 3*4 + 4 of the layer, 4 + 4 of the norm
    assert size_of(module.bfloat16()) == {"parameters": 24, "bytes": 48}


def test_trained_state_leaves_the_frozen_prefix_out_and_comes_back(planned) -> None:
    model = build_model(planned(overrides=("backbone.frozen=true",)).cases[0].spec, 0)
    state = model.trained_state()
    assert not any(name.startswith("backbone.frozen") for name in state)
    with torch.no_grad():
        for parameter in model.neck.parameters():
            parameter.add_(1)
    model.load_trained_state(state)
    assert state_hash(model.trained_state().values()) == state_hash(state.values())


class Halved(torch.nn.Module):
    """A layer without children, parameters or buffers, which does something all the same."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels * 0.5


@pytest.mark.parametrize("prefix", [torch.nn.Conv2d(3, 3, 1), torch.nn.ReLU(), Halved()])
def test_a_prefix_of_a_single_layer_is_not_passed_over(planned, prefix) -> None:
    spec = planned().cases[0].spec
    backbone = spec.parts["backbone"].component.build(16)
    backbone.frozen = prefix
    model = EmbeddingModel(backbone, torch.nn.Flatten(), ComputeSettings()).eval()
    images = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    assert model.has_prefix
    assert torch.equal(model(images), backbone(model._normalise(images)).flatten(1))


@pytest.mark.parametrize("prefix", [torch.nn.Sequential(), torch.nn.Identity()])
def test_a_prefix_that_does_nothing_is_none(planned, prefix) -> None:
    backbone = planned().cases[0].spec.parts["backbone"].component.build(16)
    backbone.frozen = prefix
    assert not EmbeddingModel(backbone, torch.nn.Flatten(), ComputeSettings()).has_prefix


@pytest.mark.parametrize(
    "norm",
    [
        torch.nn.BatchNorm2d(3),
        torch.nn.BatchNorm2d(3, momentum=None),
        torch.nn.InstanceNorm2d(3, track_running_stats=True),
    ],
)
def test_statistics_are_kept_of_every_norm_that_has_them(norm) -> None:
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator())
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    with statistics_kept(norm):
        norm(images)
    assert all(torch.equal(before[name], value) for name, value in norm.state_dict().items())
    norm(images)
    assert not torch.equal(before["running_mean"], norm.running_mean)
