from __future__ import annotations

import pytest
import torch
from torch import nn

from mlbench.contracts import Recipe
from mlbench.errors import OptionError
from mlbench.training.optimisation import WeightMean, build_schedule, check_recipe


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
