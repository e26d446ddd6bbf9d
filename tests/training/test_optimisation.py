from __future__ import annotations

import pytest
import torch
from torch import nn

from mlbench.contracts.options import Recipe
from mlbench.errors import OptionError
from mlbench.training import optimisation
from mlbench.training.model import build_model
from mlbench.training.objective import build_objective
from mlbench.training.optimisation import WeightMean, build_optimizer, build_schedule, check_recipe


def rates(recipe: Recipe, total: int) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=recipe.lr)
    schedule = build_schedule(optimizer, recipe, total)
    seen = []
    for step in range(total):
        schedule.step_update(step + 0.5)
        seen.append(optimizer.param_groups[0]["lr"])
    return seen


def test_a_step_schedule_falls_at_its_milestones_and_nowhere_else() -> None:
    recipe = Recipe(
        epochs=1, batch_size=1, lr=1.0, warmup=0, schedule="step", milestones=(0.5, 0.75), decay_rate=0.1
    )
    expected = [1.0] * 80 + [0.1] * 40 + [0.01] * 40
    assert rates(recipe, 160) == pytest.approx(expected)


def test_milestones_count_from_the_first_step_with_a_warm_up_too() -> None:
    recipe = Recipe(epochs=1, batch_size=1, lr=1.0, warmup=0.1, schedule="step", milestones=(0.5,))
    seen = rates(recipe, 100)
    assert seen[:10] == pytest.approx([0.05 + 0.1 * step for step in range(10)])
    assert seen[10:] == pytest.approx([1.0] * 40 + [0.1] * 50)


def test_a_constant_schedule_stays() -> None:
    recipe = Recipe(epochs=1, batch_size=1, lr=0.5, warmup=0, schedule="constant", milestones=())
    assert rates(recipe, 20) == pytest.approx([0.5] * 20)


def test_a_schedule_of_one_step_is_nothing_to_warn_of(caplog: pytest.LogCaptureFixture) -> None:
    assert rates(Recipe(epochs=1, batch_size=1, lr=0.5, warmup=0), 1) == pytest.approx([0.25])
    assert rates(Recipe(epochs=1, batch_size=1, lr=0.5, warmup=0, schedule="linear"), 1) == pytest.approx(
        [0.25]
    )
    assert caplog.records == []


def test_check_recipe_refuses_options_that_the_optimizer_does_not_take() -> None:
    check_recipe(Recipe(epochs=1, batch_size=1, optimizer="lamb", optimizer_options={"max_grad_norm": None}))
    recipe = Recipe(epochs=1, batch_size=1, optimizer="lamb", optimizer_options={"max_norm": 1})
    with pytest.raises(OptionError, match=r"optimizer lamb does not take \{'max_norm': 1\}.*'max_norm'"):
        check_recipe(recipe)


def test_the_mean_of_weights_is_the_recurrence_by_hand() -> None:
    module = nn.BatchNorm1d(1)
    frozen = nn.Parameter(torch.ones(1), requires_grad=False)
    module.register_parameter("frozen", frozen)
    mean = WeightMean(module, decay=0.5)
    weight = statistic = 0.0
    expected = {"weight": 1.0, "running_mean": 0.0}
    for step in range(1, 9):
        weight, statistic = float(step), float(step * step)
        with torch.no_grad():
            module.weight.fill_(weight)
            module.running_mean.fill_(statistic)
        mean.update()
        decay = min(0.5, (1 + step) / (10 + step))
        expected["weight"] = decay * expected["weight"] + (1 - decay) * weight
        expected["running_mean"] = decay * expected["running_mean"] + (1 - decay) * statistic
    with mean.in_place():
        assert module.weight.item() == pytest.approx(expected["weight"])
        assert module.running_mean.item() == pytest.approx(expected["running_mean"])
    assert (module.weight.item(), module.running_mean.item()) == (weight, statistic)
    mean.keep()
    assert module.weight.item() == pytest.approx(expected["weight"])


def test_check_recipe_refuses_what_timm_would_drop() -> None:
    for option, optimizer, values in (
        ("betas", "sgd", {"betas": (0.5, 0.9)}),
        ("momentum", "adamw", {"momentum": 0.5}),
        ("optimizer_options", "sgd", {"optimizer_options": {"eps": 1e-3}}),
    ):
        recipe = Recipe(epochs=1, batch_size=1, optimizer=optimizer, **values)
        with pytest.raises(OptionError, match=f"optimizer {optimizer} has no .*; leave it out") as caught:
            check_recipe(recipe)
        assert caught.value.option == option
    check_recipe(Recipe(epochs=1, batch_size=1, optimizer="sgd", momentum=0.5))
    check_recipe(Recipe(epochs=1, batch_size=1, optimizer="adamw", betas=(0.5, 0.9)))


def test_check_recipe_refuses_an_optimizer_that_cannot_be_made_here(monkeypatch) -> None:
    def failing(*_: object, **__: object) -> None:
        raise AssertionError("CUDA required")

    monkeypatch.setattr(optimisation.timm.optim, "create_optimizer_v2", failing)
    with pytest.raises(OptionError, match=r"optimizer lamb cannot be made here: .*CUDA required"):
        check_recipe(Recipe(epochs=1, batch_size=1, optimizer="lamb"))


@pytest.mark.parametrize(
    ("loss", "decayed", "plain"),
    [
        ("cosface", 1, 0),
        ("proxy_anchor", 1, 0),
        ("{name: pml, loss: ProxyNCALoss}", 1, 0),
        ("{name: pml, loss: SoftTripleLoss}", 1, 0),
        ("{name: pml, loss: ArcFaceLoss}", 1, 0),
        ("{name: pml, loss: MarginLoss, options: {learn_beta: true, num_classes: 6}}", 0, 1),
        ("bce", 1, 1),
        ("cross_entropy", 1, 1),
    ],
)
def test_centre_lr_is_for_all_that_a_loss_has_for_its_classes(planned, loss, decayed, plain) -> None:
    """Numbers of parameters of a loss with and without weight decay."""
    case = planned(overrides=(f"loss={loss}", "recipe.centre_lr=100", "recipe.min_lr=0.0001")).cases[0]
    objective = build_objective(case, build_model(case.spec, case.seed))
    optimizer = build_optimizer(objective, case)
    schedule = build_schedule(optimizer, case.recipe, 100)
    model = {id(parameter) for parameter in objective.model.parameters()}
    groups = {True: [], False: []}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            groups[id(parameter) in model].append((group, bool(group["weight_decay"])))
    decays = [decay for _, decay in groups[False]]
    assert (decays.count(True), decays.count(False)) == (decayed, plain)
    for step, rate in ((50.5, None), (100, 1e-4)):
        schedule.step_update(step)
        rates = [{group["lr"] for group, _ in groups[own]} for own in (True, False)]
        assert len(rates[0]) == len(rates[1]) == 1
        assert rates[1].pop() == pytest.approx(100 * max(rates[0]))
        assert rate is None or max(rates[0]) == pytest.approx(rate)
