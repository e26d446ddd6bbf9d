from __future__ import annotations

import pytest
import torch
from torch import nn

from mlbench.environment import Device
from mlbench.errors import SuiteError
from mlbench.planning.plan import make_plan
from mlbench.planning.suite import load_suite
from mlbench.training.lr_factors import lr_factors, stated_lr_factors
from mlbench.training.model import build_model, build_teacher
from mlbench.training.objective import Batch, build_objective
from mlbench.training.optimisation import build_optimizer, build_schedule
from mlbench.training.preflight import preflight
from mlbench_losses.classifier import LinearCrossEntropy
from mlbench_necks.projection import Gap
from mlbench_samplers.centres import PartialFC

#: A constant rate of .5 without decay.
RECIPE = ("recipe={name: full, lr: 0.5, schedule: constant, milestones: [], weight_decay: 0}",)
PARTS = ("recipe.lr_factors={backbone: 0.5, neck: 10, loss: 3, sampler: 4}",)
DISTILLER = ("recipe.lr_factors.distiller=0.25",)


def built(case):
    return build_objective(case, build_model(case.spec, case.seed), build_teacher(case.spec, case.seed))


def factors_of(case):
    """Factors by name of the parameter in the objective."""
    objective = built(case)
    found = lr_factors(case, objective.terms, objective.model, objective.distiller)
    return {name: found[parameter] for name, parameter in objective.named_parameters() if parameter in found}


def changes(case):
    """What one step changes each parameter by, and its gradient, by name."""
    objective = built(case).train()
    optimizer = build_optimizer(objective, case)
    build_schedule(optimizer, case.recipe, 10).step_update(0.5)
    before = {name: parameter.detach().clone() for name, parameter in objective.named_parameters()}
    images = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator())
    targets = torch.rand(8, 8, generator=torch.Generator())
    objective(Batch(images, torch.arange(8) % 6, targets=targets)).backward()
    optimizer.step()
    return {
        name: (parameter.detach() - before[name], parameter.grad)
        for name, parameter in objective.named_parameters()
    }


def test_a_step_of_sgd_is_the_gradient_times_the_rate_and_the_factors_of_the_part(planned) -> None:
    overrides = (
        *RECIPE,
        "recipe.optimizer=momentum",
        "recipe.centre_lr=2",
        "loss=null",
        "losses={cosface: {}, cross_entropy: {}}",
        "teacher=toy",
        "distiller={name: toy, images: augmented}",
    )
    expected = {
        "model.backbone.": 0.5 * 0.5,
        "model.neck.": 0.5 * 10,
        "terms.0.centres.": 0.5 * 2 * 4,
        "terms.1.loss.": 0.5 * 2 * 3,
        "distiller.": 0.5 * 0.25,
    }
    seen = set()
    for name, (change, gradient) in changes(
        planned(overrides=(*overrides, *PARTS, *DISTILLER)).cases[0]
    ).items():
        (part,) = (part for part in expected if name.startswith(part))
        torch.testing.assert_close(change, -expected[part] * gradient)
        seen.add(part)
    assert seen == expected.keys()


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "lamb", "nadamw"])
def test_the_factor_multiplies_a_step_of_every_optimiser(planned, optimizer) -> None:
    common = (*RECIPE, f"recipe.optimizer={optimizer}", "recipe.weight_decay=0.25", "recipe.lr=0.01")
    plain, more = (changes(planned(overrides=(*common, *each)).cases[0]) for each in ((), PARTS))
    for name, (change, _) in plain.items():
        factor = 0.5 if ".backbone." in name else 10 if ".neck." in name else 4
        torch.testing.assert_close(more[name][0], factor * change, rtol=1e-3, atol=1e-6)


def test_the_schedule_multiplies_what_a_component_states(planned, monkeypatch) -> None:
    monkeypatch.setattr(Gap, "lr_factors", lambda self: {"*": 2.0, "*.bias": 5.0})
    case = planned(overrides=("neck.bias=true", "recipe.min_lr=0.0001", "recipe.lr_factors={neck: 3}")).cases[
        0
    ]
    factors = factors_of(case)
    assert {factors[name] for name in factors if "neck" not in name} == {1.0}
    by_hand = {name: 30.0 if name.endswith(".bias") else 6.0 for name in factors if ".neck." in name}
    assert {name: factors[name] for name in by_hand} == by_hand
    assert set(by_hand.values()) == {6.0, 30.0}
    optimizer = build_optimizer(built(case), case)
    schedule = build_schedule(optimizer, case.recipe, 100)
    for step in (3.5, 50.5, 100):
        schedule.step_update(step)
        rates = {group["lr_scale"]: group["lr"] for group in optimizer.param_groups}
        assert rates.keys() == {1.0, 6.0, 30.0}
        assert [rates[6.0], rates[30.0]] == pytest.approx([6 * rates[1.0], 30 * rates[1.0]])
    assert stated_lr_factors(case.spec) == {"neck": {"*": 2.0, "*.bias": 5.0}}


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"head.*": 2.0}, r"'head\.\*', which matches none of its parameters"),
        (
            {"*": 0.0},
            r"lr_factors returned \{'\*': 0\.0\}; expected a mapping of patterns to numbers above 0",
        ),
        ({"*": float("nan")}, "expected a mapping of patterns to numbers above 0"),
        (["*"], "expected a mapping of patterns to numbers above 0"),
    ],
)
def test_a_wrong_statement_names_the_plugin_before_training(planned, monkeypatch, stated, message) -> None:
    """The loss of the second case, which shares the model with the first, and the neck of the first."""
    second = ("loss=null", "losses={cosface: {}, cross_entropy: {}}")
    cases = [planned(overrides=each).cases[0] for each in ((), second)]
    for options, kind in ((LinearCrossEntropy, "losses"), (Gap, "neck")):
        with monkeypatch.context() as patch:
            patch.setattr(options, "lr_factors", lambda self: stated)
            plugin = r"mistake in plugin '\w+' \(mlbench .*\)"
            with pytest.raises(SuiteError, match=f"{kind}.*{message}.*{plugin}"):
                preflight(cases, "cpu", lambda *_: None)


def test_a_sampler_with_an_optimiser_of_its_own_has_one_factor(planned, monkeypatch) -> None:
    case = planned(overrides=("sampler={name: partial_fc, rate: 1}",)).cases[0]
    monkeypatch.setattr(PartialFC, "lr_factors", lambda self: {"centres": 7.0})
    objective = built(case)
    (term,) = objective.terms
    assert lr_factors(case, objective.terms) == {term.centres.stand_in: 7.0}
    term.centres.register_parameter("bias", nn.Parameter(torch.zeros(1)))
    with pytest.raises(SuiteError, match=r"sampler 'partial_fc': .* different factors.* state one for '\*'"):
        lr_factors(case, objective.terms)


def test_a_part_of_the_default_can_be_set(planned) -> None:
    (case,) = planned(overrides=("recipe.lr_factors.neck=2",)).cases
    assert case.recipe.lr_factors == {"neck": 2.0}


def test_a_factor_of_a_part_that_the_case_lacks_is_refused(write, registry) -> None:
    factors = "\nmatrix:\n  recipe.lr_factors: {one: {backbone: 0.1, distiller: 2}}\n"
    told = (
        r"toy\.yaml:\d+: matrix\.recipe\.lr_factors\.one\.distiller: recipe\.lr_factors has a factor of the "
        r"distiller, and case 'one' has none; its parts: backbone, neck, loss, sampler; write "
        r"recipe\.lr_factors\.distiller where the distiller is set$"
    )
    with pytest.raises(SuiteError, match=told):
        make_plan(load_suite(write(factors), registry), Device("cpu", "test"))
    lost = ("recipe={name: standard, lr_factors: {sampler: 2}}", "sampler=null", "loss=pair")
    with pytest.raises(SuiteError, match=r"^--set .*factor of the sampler, .*parts: backbone, neck, loss;"):
        make_plan(load_suite(write(), registry, overrides=lost), Device("cpu", "test"))
