"""The standard recipe, and the checks that every recipe has."""

import pytest

from mlbench.contracts.options import Recipe
from mlbench.errors import OptionError
from mlbench.options import Schema
from mlbench_recipes.standard import Standard

SCHEMA = Schema(Standard, Recipe, owner="recipe 'standard'")


def test_standard_has_the_options_of_a_recipe_and_is_one():
    assert list(Standard.model_fields) == list(Recipe.model_fields)
    assert Standard().build() == Standard()


def test_every_option_may_be_set():
    values = {
        "epochs": 3,
        "batch_size": 17,
        "optimizer": "lamb",
        "lr": 0.5,
        "weight_decay": 0.25,
        "betas": (0.5, 0.75),
        "momentum": 0.625,
        "centre_lr": 2.0,
        "lr_factors": {"neck": 10.0, "backbone": 0.5},
        "optimizer_options": {"max_grad_norm": None},
        "schedule": "step",
        "milestones": (0.25, 0.75),
        "decay_rate": 0.375,
        "min_lr": 0.0,
        "warmup": 0.0625,
        "clip_norm": 7.0,
        "views": 4,
        "patience": 5,
        "evaluate_every": 6,
        "select": "last",
        "select_by": "map_at_r",
        "ema": 0.875,
        "workers": 8,
    }
    assert set(values) == set(Standard.model_fields)
    assert Standard(**values).model_dump() == values
    values |= {"schedule": "cosine", "milestones": (), "min_lr": 0.125}
    assert Standard(**values).model_dump() == values


def test_standard_refuses_a_learning_rate_of_an_unknown_part():
    with pytest.raises(
        OptionError, match=r"lr_factors has no part 'nek' \(did you mean 'neck'\?\)"
    ) as caught:
        Standard(lr_factors={"backbone": 0.1, "nek": 10.0})
    assert caught.value.option == "lr_factors"


@pytest.mark.parametrize("options", [{"schedule": "constant"}, {"schedule": "step", "milestones": (0.5,)}])
def test_standard_refuses_a_lowest_rate_that_the_schedule_does_not_fall_to(options):
    with pytest.raises(OptionError, match=r"does not fall to min_lr 0\.0001; set min_lr: 0") as caught:
        Standard(lr=0.01, min_lr=1e-4, **options)
    assert caught.value.option == "min_lr"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("epochs", -1),
        ("batch_size", 0),
        ("lr", 0.0),
        ("weight_decay", -0.1),
        ("betas", [0.9, 1.0]),
        ("momentum", 1.0),
        ("centre_lr", 0.0),
        ("lr_factors", {"neck": 0}),
        ("lr_factors", {"neck": "ten"}),
        ("optimizer_options", [1]),
        ("schedule", "poly"),
        ("milestones", [0.0]),
        ("milestones", [1.0]),
        ("decay_rate", 0.0),
        ("decay_rate", 1.0),
        ("min_lr", -1e-6),
        ("warmup", 1.0),
        ("clip_norm", -1.0),
        ("views", -1),
        ("patience", -1),
        ("evaluate_every", 0),
        ("select", "first"),
        ("ema", 1.0),
        ("workers", -1),
        ("epochs", "3"),
    ],
)
def test_standard_refuses_what_is_out_of_range(option, value):
    with pytest.raises(OptionError) as caught:
        SCHEMA.check({option: value})
    assert caught.value.option.split(".")[0] == option


def test_standard_takes_plain_data():
    recipe = SCHEMA.make({"betas": [0.9, 0.99], "lr": 1, "min_lr": 0, "workers": None})
    assert (recipe.betas, recipe.lr, recipe.workers) == ((0.9, 0.99), 1.0, None)


def test_standard_refuses_a_schedule_that_rises():
    with pytest.raises(OptionError, match=r"min_lr 0\.1 is above lr 0\.01") as caught:
        Standard(lr=0.01, min_lr=0.1)
    assert caught.value.option == "min_lr"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"schedule": "step"}, r"milestones \[\]: schedule 'step' needs at least one"),
        ({"milestones": (0.5,)}, r"milestones \[0.5\]: schedule 'linear' has none; set schedule: step"),
        ({"schedule": "step", "milestones": (0.5, 0.25)}, "each must be above the one before"),
        ({"schedule": "step", "milestones": (0.5, 0.5)}, "each must be above the one before"),
        ({"schedule": "step", "milestones": (0.05, 0.5)}, r"in the warm-up, which ends at 0\.1"),
    ],
)
def test_standard_refuses_milestones_that_mean_nothing(options, problem):
    with pytest.raises(OptionError, match=problem) as caught:
        Standard(**options)
    assert caught.value.option == "milestones"


@pytest.mark.parametrize("name", ["lr", "weight_decay", "betas", "momentum"])
def test_standard_refuses_optimizer_options_that_are_options_already(name):
    with pytest.raises(OptionError, match=f"has {name!r}; set recipe.{name} instead") as caught:
        Standard(optimizer_options={name: 0.5})
    assert caught.value.option == "optimizer_options"
