"""The check of the learning rates that a component states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlbench.contracts import FeatureShape, TokensShape
from mlbench.errors import ComponentError, MlbenchError
from mlbench.planning.spec import Part
from mlbench.seeding import torch_seed
from mlbench.testing.check import Subject, expect
from mlbench.training.lr_factors import own_factors

__all__ = ["lr_factors_match_parameters"]

#: Arguments of `build` that are tried in turn, by kind.
_ARGUMENTS: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "backbone": ({"image_size": 32},),
    "neck": ({"features": FeatureShape(8, 4, 4)}, {"features": TokensShape(8, 4, 4, 1)}),
    "loss": ({"num_classes": 6, "dim": 8},),
    "sampler": (
        {
            "num_classes": 20,
            "dim": 8,
            "centres_per_class": 1,
            "batch_size": 4,
            "batch_labels": 4,
            "seed": 0,
        },
    ),
    "distiller": ({"dim": 8, "teacher_dim": 8}, {"dim": 8, "teacher_dim": 6}),
}


def lr_factors_match_parameters(subject: Subject) -> None:
    """Patterns of `lr_factors` match names of parameters, and their factors are above 0."""
    part = Part(subject.entry, subject.options, str)
    try:
        if not subject.missing() and part.lr_factors():
            own_factors(part, _build(subject))
    except ComponentError as error:
        expect(False, str(error))


def _build(subject: Subject) -> Any:
    built: Any = None
    for arguments in _ARGUMENTS[subject.component.kind]:
        with torch_seed(0, "parameters"):
            built = subject.attempt(**arguments)
        if not isinstance(built, MlbenchError):
            break
    expect(not isinstance(built, MlbenchError), f"{subject} cannot be built for its checks: {built}")
    return built
