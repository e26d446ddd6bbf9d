from __future__ import annotations

import re

import pytest
import torch
import toys

from mlbench.errors import ComponentError, OptionError, SuiteError, WeightsError
from mlbench.training import preflight as preflight_module
from mlbench.training.preflight import preflight


def silent(*_: object) -> None:
    pass


@pytest.fixture
def built(monkeypatch) -> list[int]:
    """Image sizes of the toy backbones that are built from now on."""
    sizes: list[int] = []
    build = toys.ToyBackboneOptions.build

    def counting(self, image_size):
        sizes.append(image_size)
        return build(self, image_size)

    monkeypatch.setattr(toys.ToyBackboneOptions, "build", counting)
    return sizes


def refusing(monkeypatch, options_class: type, error: Exception) -> None:
    def build(self, *_: object) -> None:
        raise error

    monkeypatch.setattr(options_class, "build", build)


def test_each_different_model_is_built_once(planned, built) -> None:
    plan = planned("matrix:\n  neck.dim: [4, 8]\n  loss.scale: [1.0, 2.0, 4.0]\nseeds: [0, 1]\n")
    found = preflight(plan.cases, "cpu", silent)
    assert len(built) == 2
    assert set(found.assemblies) == {plan.cases[0].key, plan.cases[6].key}
    assert found.notes == {}


def test_the_loss_that_is_wrong_is_named_and_not_the_first(planned, monkeypatch) -> None:
    plan = planned(
        overrides=("loss=null", "losses.first={name: cosface}", "losses.second={name: crashing, weight: 0.5}")
    )
    refusing(monkeypatch, toys.CrashingLoss, OptionError("message is too long", "message"))
    with pytest.raises(SuiteError, match=r"^--set losses.second=.*: message is too long$"):
        preflight(plan.cases, "cpu", silent)


@pytest.mark.parametrize(
    ("change", "options_class", "place"),
    [
        ("recipe={name: full, optimizer: adamv}", None, "--set recipe="),
        ("loss=pair", toys.MeanPairLoss, "--set loss=pair"),
        ("neck=noisy", toys.NoisyNeck, "--set neck=noisy"),
        ("distiller=toy", toys.ToyDistillerOptions, "--set distiller=toy"),
    ],
)
def test_an_error_names_the_place_of_its_component(
    planned, monkeypatch, change: str, options_class: type | None, place: str
) -> None:
    plan = planned(overrides=("teacher=toy", "distiller=toy", change))
    if options_class is not None:
        refusing(monkeypatch, options_class, ComponentError("refused"))
    with pytest.raises(SuiteError, match=f"^{place}"):
        preflight(plan.cases, "cpu", silent)


def test_a_crash_is_noted_for_every_case_with_the_model(planned, monkeypatch) -> None:
    plan = planned("matrix:\n  backbone.frozen: [true, false]\n  loss.scale: [1.0, 2.0]\n")
    build = toys.ToyBackboneOptions.build

    def crashing(self, image_size):
        if self.frozen:
            raise ZeroDivisionError("division by zero")
        return build(self, image_size)

    monkeypatch.setattr(toys.ToyBackboneOptions, "build", crashing)
    found = preflight(plan.cases, "cpu", silent)
    first, second, third, fourth = plan.cases
    start = "not all of its components were checked before training: "
    assert found.notes == {
        first.key: f"{start}ZeroDivisionError: division by zero",
        second.key: f"{start}its model failed in the check of case {first.name!r} seed 0",
    }
    assert set(found.assemblies) == {third.key}
    assert fourth.key not in found.notes


def test_weights_that_cannot_be_loaded_are_noted(planned, monkeypatch) -> None:
    plan = planned()
    refusing(monkeypatch, toys.ToyBackboneOptions, WeightsError("no network"))
    found = preflight(plan.cases, "cpu", silent)
    (note,) = found.notes.values()
    assert re.search(r"before training: \S+toy\.yaml:5: base\.backbone: no network$", note)


def test_the_first_assembly_is_kept_whatever_its_size_and_others_up_to_a_limit(planned, monkeypatch) -> None:
    plan = planned("matrix:\n  neck.dim: [4, 8, 16]\n")
    monkeypatch.setattr(preflight_module, "KEPT_BYTES", 0)
    assert list(preflight(plan.cases, "cpu", silent).assemblies) == [plan.cases[0].key]


def test_nothing_is_compiled_and_the_model_is_left_in_training_mode(planned, monkeypatch) -> None:
    compiled: list[object] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled.append(self))
    (assembly,) = preflight(
        planned(overrides=("compute.compile=true",)).cases, "cpu", silent
    ).assemblies.values()
    assert compiled == []
    assert assembly.model.training
    assembly.compile()
    assert len(compiled) == 3
