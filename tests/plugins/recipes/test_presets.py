"""The presets against the tables of what they were published in."""

import json

import pytest
import timm.optim
import torch

from mlbench.errors import OptionError
from mlbench.plugins import load_plugins
from mlbench.registry import Registry
from mlbench_recipes.standard import Standard

REGISTRY = Registry(load_plugins())
PRESETS = [name for name in REGISTRY.names("recipe") if name != "standard"]


def made(name, **options):
    return REGISTRY.get("recipe", name).make(options)


def settings(name):
    return REGISTRY.get("recipe", name).options_class.settings()


#: Table 2 of arXiv:2110.00476, row by row: A1, A2, A3.
TABLE = {
    "train resolution": (224, 224, 160),
    "test resolution": (224, 224, 224),
    "epochs": (600, 300, 100),
    "batch": (2048, 2048, 2048),
    "optimiser": ("lamb", "lamb", "lamb"),
    "learning rate": (5e-3, 5e-3, 8e-3),
    "weight decay": (0.01, 0.02, 0.02),
    "schedule": ("cosine", "cosine", "cosine"),
    "warm-up epochs": (5, 5, 5),
    "gradient clipping": (0, 0, 0),
    "label smoothing": (0.1, 0, 0),
    "stochastic depth": (0.05, 0.05, 0),
    "repeated augmentation": (3, 3, 1),
    "flip": (0.5, 0.5, 0.5),
    "random resized crop": ([0.08, 1], [0.08, 1], [0.08, 1]),
    "RandAugment": ((7, 0.5), (7, 0.5), (6, 0.5)),
    "mixup alpha": (0.2, 0.1, 0.1),
    "cutmix alpha": (1, 1, 1),
    "loss": ("bce", "bce", "bce"),
    "test crop ratio": (0.95, 0.95, 0.95),
}


def row(recipe, sections):
    """One column of the table, read off a preset."""
    augmentation, mixing, sampler = (sections[name] for name in ("augmentation", "mixing", "batch_sampler"))
    assert (augmentation["name"], mixing["name"]) == ("crop_randaugment", "mixup_cutmix")
    assert (augmentation["layers"], augmentation["increasing"]) == (2, True)
    assert sampler["name"] == ("repeated" if "repeats" in sampler else "shuffle")
    return {
        "train resolution": sections["image"]["train_size"],
        "test resolution": sections["image"]["size"],
        "epochs": recipe.epochs,
        "batch": recipe.batch_size,
        "optimiser": recipe.optimizer,
        "learning rate": recipe.lr,
        "weight decay": recipe.weight_decay,
        "schedule": recipe.schedule,
        "warm-up epochs": round(recipe.warmup * recipe.epochs, 9),
        "gradient clipping": recipe.clip_norm,
        "label smoothing": sections["loss"]["smoothing"],
        "stochastic depth": sections["backbone"]["drop_path"],
        "repeated augmentation": sampler.get("repeats", 1),
        "flip": augmentation["flip"],
        "random resized crop": augmentation["scale"],
        "RandAugment": (augmentation["magnitude"], augmentation["magnitude_std"]),
        "mixup alpha": mixing["mixup_alpha"],
        "cutmix alpha": mixing["cutmix_alpha"],
        "loss": sections["loss"]["name"],
        "test crop ratio": sections["image"]["crop_ratio"],
    }


@pytest.mark.parametrize(("column", "name"), [(0, "a1"), (1, "a2"), (2, "a3")])
def test_procedure_is_as_published(column, name):
    published = {key: values[column] for key, values in TABLE.items()}
    assert row(made(name), settings(name)) == published


def test_docclassifier_is_as_published():
    recipe = made("docclassifier")
    published = {
        "epochs": 20,
        "batch_size": 512,
        "optimizer": "adamw",
        "lr": 1e-3,
        "weight_decay": 1e-3,
        "schedule": "linear",
        "min_lr": 0.0,
        "warmup": 0.1,
        "clip_norm": 5.0,
    }
    assert {name: getattr(recipe, name) for name in published} == published
    assert recipe.model_dump() == Standard(**published).model_dump()
    assert settings("docclassifier") == {
        "augmentation": {"name": "document"},
        "batch_sampler": {"name": "uniform", "steps": 5000},
        "compute": {"matmul_precision": "medium"},
    }
    assert recipe.epochs * 5000 == 100_000
    weight = [torch.nn.Parameter(torch.zeros(1))]
    optimizer = timm.optim.create_optimizer_v2(weight, recipe.optimizer, lr=recipe.lr)
    assert optimizer.defaults["betas"] == (0.9, 0.999)


def test_triplet_is_as_published():
    recipe = made("triplet")
    assert (recipe.patience, recipe.evaluate_every, recipe.select) == (20, 1, "best")
    assert (recipe.optimizer, recipe.schedule, recipe.lr, recipe.batch_size) == ("adam", "constant", 1e-4, 96)
    sampler = {"name": "hard_triplets", "triplets": 4000, "per_anchor": 5}
    assert settings("triplet") == {"batch_sampler": sampler}


def test_cifar_is_as_published():
    recipe = made("cifar")
    assert (recipe.epochs, recipe.lr, recipe.weight_decay, recipe.select) == (160, 0.1, 1e-4, "last")
    assert (recipe.schedule, recipe.decay_rate) == ("step", 0.1)
    assert [share * recipe.epochs for share in recipe.milestones] == [80, 120]
    assert (recipe.batch_size, recipe.momentum, recipe.warmup, recipe.clip_norm) == (128, 0.9, 0, 0)
    assert settings("cifar")["augmentation"] == {"name": "flip_crop", "pad": 4, "flip": 0.5}
    weight = [torch.nn.Parameter(torch.zeros(1))]
    optimizer = timm.optim.create_optimizer_v2(
        weight, recipe.optimizer, lr=recipe.lr, momentum=recipe.momentum
    )
    assert (optimizer.defaults["momentum"], optimizer.defaults["nesterov"]) == (0.9, False)


@pytest.mark.parametrize("name", PRESETS)
def test_preset_has_the_options_of_the_standard_recipe(name):
    standard, preset = (REGISTRY.get("recipe", each).options for each in ("standard", name))
    assert [(option.name, option.type, option.description) for option in preset] == [
        (option.name, option.type, option.description) for option in standard
    ]


@pytest.mark.parametrize("name", PRESETS)
def test_preset_shows_what_it_builds(name):
    shown = {option.name: json.loads(option.default) for option in REGISTRY.get("recipe", name).options}
    assert made(name, **shown) == made(name)


@pytest.mark.parametrize("name", PRESETS)
def test_preset_is_overridden_key_by_key(name):
    default, changed = made(name), made(name, epochs=7, lr=0.25)
    assert (changed.epochs, changed.lr) == (7, 0.25)
    assert (changed.warmup, changed.milestones) == (default.warmup, default.milestones)
    assert changed.optimizer == default.optimizer


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "lamb"])
def test_preset_trains_with_another_optimizer(name, optimizer):
    recipe = made(name, optimizer=optimizer)
    given = {"betas": recipe.betas, "momentum": recipe.momentum, **recipe.optimizer_options}
    options = {key: value for key, value in given.items() if value is not None}
    weight = [torch.nn.Parameter(torch.zeros(1))]
    timm.optim.create_optimizer_v2(weight, recipe.optimizer, lr=recipe.lr, **options)


def test_preset_refuses_what_is_out_of_range_and_unknown():
    with pytest.raises(OptionError, match=r"'epochs'.*expected int >= 0"):
        made("a1", epochs=-1)
    with pytest.raises(OptionError, match=r"unknown key 'epoch' .*epochs"):
        made("a1", epoch=3)


@pytest.mark.parametrize("name", PRESETS)
def test_settings_of_other_sections_are_plain_data_of_components_and_options_that_exist(name):
    assert json.loads(json.dumps(settings(name))) == settings(name)
    for kind, section in settings(name).items():
        if kind not in ("image", "compute", "backbone"):  # no component, or one of the suite's choice
            options = {key: value for key, value in section.items() if key != "name"}
            REGISTRY.get(kind, section["name"]).check(options)
