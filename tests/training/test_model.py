from __future__ import annotations

import torch

from mlbench.training.model import build_model, size_of, state_hash


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
