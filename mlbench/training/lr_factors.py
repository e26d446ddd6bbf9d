"""Factors of the learning rate: of the recipe, by part, and of the components themselves, by parameter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from mlbench.contracts import RowSampler
from mlbench.errors import hint
from mlbench.planning.plan import Case
from mlbench.planning.spec import Part, Spec
from mlbench.training.model import EmbeddingModel
from mlbench.training.objective import Term

__all__ = ["lr_factors", "own_factors", "stated_lr_factors"]


def lr_factors(
    case: Case, terms: Iterable[Term], model: EmbeddingModel | None = None, distiller: Any = None
) -> dict[nn.Parameter, float]:
    """Learning rate of each parameter of the built parts, as a multiple of the recipe's. Of a `RowSampler` it
    is the factor of its `stand_in`.

    Raises SuiteError, with the place of the component, for a pattern of a component that matches none of its
    parameters, and for a `RowSampler` with several factors.
    """
    recipe, found = case.recipe, {}
    for name, part, built in _parts(case, terms, model, distiller):
        factor = recipe.lr_factors.get(name, 1.0)
        if name in ("loss", "sampler"):
            factor *= recipe.centre_lr
        with part.located():
            for parameter, own in own_factors(part, built).items():
                found[parameter] = factor * own
    return found


def stated_lr_factors(spec: Spec) -> dict[str, dict[str, float]]:
    """The factors that components state themselves, by section ("neck", "loss NAME") and pattern."""
    names = [name for name in ("backbone", "neck", "sampler", "distiller") if name in spec.parts]
    parts = {name: spec.parts[name] for name in names}
    parts |= {f"loss {name}": each.part for name, each in spec.losses.items()}
    stated = {name: dict(part.lr_factors()) for name, part in parts.items()}
    return {name: factors for name, factors in stated.items() if factors}


def _parts(
    case: Case, terms: Iterable[Term], model: EmbeddingModel | None, distiller: Any
) -> Iterator[tuple[str, Part, Any]]:
    """Each built part: its name in `Recipe.lr_factors`, its component, and what the component built."""
    spec = case.spec
    if model is not None:
        yield "backbone", spec.parts["backbone"], model.backbone
        yield "neck", spec.parts["neck"], model.neck
    for term in terms:
        yield "loss", term.part, term.loss
        if term.centres is not None:
            yield "sampler", spec.parts["sampler"], term.centres
    if distiller is not None:
        yield "distiller", spec.parts["distiller"], distiller


def own_factors(part: Part, built: Any) -> dict[nn.Parameter, float]:
    """The factor that a component states for each of its parameters, 1 where it states none."""
    named = dict(built.named_parameters()) if isinstance(built, nn.Module) else {}
    factors = dict.fromkeys(named, 1.0)
    for pattern, factor in part.lr_factors().items():
        matched = [name for name in named if fnmatchcase(name, pattern)]
        if not matched:
            raise part.misstatement(
                f"lr_factors has the pattern {pattern!r}, which matches none of its parameters "
                f"({hint(pattern, named)})"
            )
        for name in matched:
            factors[name] *= factor
    if not isinstance(built, RowSampler):
        return {named[name]: factor for name, factor in factors.items()}
    if len(set(factors.values())) > 1:
        raise part.misstatement(
            "lr_factors gives its parameters different factors, but `update` gets one learning rate; state "
            "one for '*'"
        )
    return {built.stand_in: next(iter(factors.values()), 1.0)}
