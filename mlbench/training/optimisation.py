"""The optimiser, the schedule of its learning rate, and the running mean of the weights."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import timm.optim
import timm.scheduler
import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from mlbench.contracts import RowSampler
from mlbench.contracts.options import Recipe
from mlbench.errors import OptionError, TrainingError, first_line, hint
from mlbench.planning.plan import Case
from mlbench.training.lr_factors import lr_factors
from mlbench.training.objective import Objective

__all__ = ["WeightMean", "build_optimizer", "build_schedule", "check_recipe"]

# timm warns of a schedule over one step, which is no mistake here.
logging.getLogger("timm.scheduler").setLevel(logging.ERROR)


def check_recipe(recipe: Recipe) -> None:
    """Raise OptionError for an optimiser that timm does not know, and for options that the optimiser does not
    take. timm ignores some of these silently."""
    known = timm.optim.list_optimizers()
    if recipe.optimizer not in known:
        raise OptionError(
            f"unknown optimizer {recipe.optimizer!r} ({hint(recipe.optimizer, known)})", "optimizer"
        )
    info = timm.optim.get_optimizer_info(recipe.optimizer)
    for option, given, takes in (
        ("betas", recipe.betas is not None, info.has_betas),
        ("momentum", recipe.momentum is not None, info.has_momentum),
        ("optimizer_options", "eps" in recipe.optimizer_options, info.has_eps),
    ):
        if given and not takes:
            name = "eps" if option == "optimizer_options" else option
            raise OptionError(f"optimizer {recipe.optimizer} has no {name}; leave it out", option)
    try:
        _create([{"params": [nn.Parameter(torch.zeros(1))]}], recipe)
    except (TypeError, ValueError) as error:
        options = {**_named(recipe), **recipe.optimizer_options}
        raise OptionError(
            f"optimizer {recipe.optimizer} does not take {options}: {first_line(error)}",
            "optimizer_options" if recipe.optimizer_options else next(iter(options), ""),
        ) from None
    except (AssertionError, ImportError) as error:
        raise OptionError(
            f"optimizer {recipe.optimizer} cannot be made here: {first_line(error)}", "optimizer"
        ) from None


def build_optimizer(objective: Objective, case: Case) -> torch.optim.Optimizer:
    """The optimiser of all trained parameters. Raises TrainingError where there are none, and SuiteError as
    `lr_factors`.

    Factors of the learning rate are timm's lr_scale: they multiply the schedule's lowest rate too."""
    recipe = case.recipe
    decay = recipe.weight_decay
    terms: Any = objective.terms
    groups = _groups(objective.model, decay, name="model") + _groups(objective.distiller, decay, name="model")
    rows = {}
    for term in terms:
        groups += _groups(term.loss, decay, name=f"loss {term.name}")
        if term.centres is None:
            continue
        name = f"centres {term.name}"
        if isinstance(term.centres, RowSampler):
            rows[name] = term.centres
        parameters = [term.centres.stand_in] if name in rows else list(term.centres.parameters())
        groups.append({"params": parameters, "weight_decay": decay, "name": name})
    factors = lr_factors(case, terms, objective.model, objective.distiller)
    groups = [part for group in groups for part in _by_factor(group, factors)]
    if not groups:
        raise TrainingError("nothing to train: the whole model is frozen and the loss has no parameters")
    optimizer = _create(groups, recipe)
    for name, sampler in rows.items():
        _update_along(optimizer, sampler, name)
    return optimizer


def _groups(module: Any, decay: float, **common: Any) -> list[dict[str, Any]]:
    """Parameter groups of a module, biases and norms without decay; none where it is no module."""
    if not isinstance(module, nn.Module):
        return []
    return [{**group, **common} for group in timm.optim.param_groups_weight_decay(module, decay)]


def _by_factor(group: dict[str, Any], factors: Mapping[nn.Parameter, float]) -> Iterator[dict[str, Any]]:
    """The group as one for each factor of the learning rate; none where it has no parameters."""
    divided: dict[float, list[nn.Parameter]] = {}
    for parameter in group["params"]:
        divided.setdefault(factors.get(parameter, 1.0), []).append(parameter)
    for factor, parameters in divided.items():
        yield {**group, "params": parameters, "lr_scale": factor}


def _create(groups: list[dict[str, Any]], recipe: Recipe) -> torch.optim.Optimizer:
    optimizer: torch.optim.Optimizer = timm.optim.create_optimizer_v2(
        groups,
        opt=recipe.optimizer,
        lr=recipe.lr,
        weight_decay=recipe.weight_decay,
        **_named(recipe),
        **recipe.optimizer_options,
    )
    return optimizer


def _named(recipe: Recipe) -> dict[str, Any]:
    """Options of the optimiser that are options of the recipe, where it sets them."""
    named = {"betas": recipe.betas, "momentum": recipe.momentum}
    return {name: value for name, value in named.items() if value is not None}


def _update_along(optimizer: torch.optim.Optimizer, sampler: RowSampler, name: str) -> None:
    """Have `sampler` update its centres after every step of `optimizer`, at the rates of that step.

    A hook of the optimiser, because loss scaling may skip its step.
    """

    def update(*_: object) -> None:
        (group,) = (group for group in optimizer.param_groups if group["name"] == name)
        sampler.update(group["lr"], group["weight_decay"])

    optimizer.register_step_post_hook(update)


def build_schedule(
    optimizer: torch.optim.Optimizer, recipe: Recipe, total: int
) -> timm.scheduler.scheduler.Scheduler:
    """The recipe's schedule of the learning rate over `total` steps."""
    warmup = round(recipe.warmup * total)
    common = {"warmup_t": warmup, "warmup_prefix": True, "t_in_epochs": False}
    rest = max(total - warmup, 1)
    if recipe.schedule == "cosine":
        return timm.scheduler.CosineLRScheduler(optimizer, rest, lr_min=recipe.min_lr, **common)
    if recipe.schedule == "linear":
        return timm.scheduler.PolyLRScheduler(optimizer, rest, power=1.0, lr_min=recipe.min_lr, **common)
    # timm applies milestone m at step m - 1, counted after the warm-up.
    steps = [round(share * total) - warmup + 1 for share in recipe.milestones]
    rate = recipe.decay_rate if recipe.schedule == "step" else 1.0
    return timm.scheduler.MultiStepLRScheduler(optimizer, steps, decay_rate=rate, **common)


class WeightMean:
    """Exponential moving average of a module's trained weights and running statistics (arXiv:1703.01780).

    decay: of the average at each step; in the first steps at most (1 + step) / (10 + step), which reduces the
    share of the initial weights.
    """

    # torch's update of a list of tensors, but neither torch's AveragedModel nor timm's ModelEmaV3: both copy
    # the whole module, with its frozen layers, and neither has this warm-up of the decay.

    def __init__(self, module: nn.Module, decay: float) -> None:
        tensors = [p.data for p in module.parameters() if p.requires_grad]
        tensors += [b for b in module.buffers() if b.is_floating_point()]
        self._now = tensors
        self._mean = [tensor.clone() for tensor in tensors]
        self._decay = decay
        self._step = 0

    @property
    def bytes(self) -> int:
        """Bytes of the average."""
        return sum(tensor.nbytes for tensor in self._mean)

    def state(self) -> dict[str, Any]:
        """The average, and the number of steps in it."""
        return {"mean": self._mean, "step": self._step}

    def load(self, state: Mapping[str, Any]) -> None:
        """Load the output of `state`."""
        for mean, stored in zip(self._mean, state["mean"], strict=True):
            mean.copy_(stored)
        self._step = state["step"]

    def update(self) -> None:
        """Average the weights in, after a step."""
        self._step += 1
        decay = min(self._decay, (1 + self._step) / (10 + self._step))
        average: Any = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        average(self._mean, self._now, self._step)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Give the module the average inside the block, and its own weights again after it."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def keep(self) -> None:
        """Give the module the average for good."""
        self._swap()

    def _swap(self) -> None:
        for mean, now in zip(self._mean, self._now, strict=True):
            kept = now.clone()
            now.copy_(mean)
            mean.copy_(kept)
