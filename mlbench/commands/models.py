"""Models that commands embed images with: exported ones, and those of cases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlbench.commands.installed import installed_registry

if TYPE_CHECKING:
    from mlbench.deployment.card import Card
    from mlbench.deployment.embedding import ImageModel

__all__ = ["case_model", "exported_model", "made_model"]


def exported_model(path: Path) -> ImageModel:
    """The exported model in a file, or in a folder with one."""
    from mlbench.deployment.formats import open_model
    from mlbench.deployment.match import find_model

    return open_model(find_model(path))


def case_model(
    suite: str,
    case: str,
    notes: list[str],
    *,
    size: str | None = None,
    overrides: tuple[str, ...] = (),
    device: str = "auto",
    precision: str | None = None,
    **chosen: Any,
) -> ImageModel:
    """The trained model of a case on a device. chosen: seed, width and results (see `ModelRequest`). Notes on
    the choice of seed and width are added to `notes`."""
    from mlbench.deployment.choice import ModelRequest, choose
    from mlbench.environment import check_torch, find_device
    from mlbench.planning.heading import read_heading
    from mlbench.planning.request import PlanRequest

    place = find_device(device)
    check_torch(place)
    # Records of a suite that is named are of any device; those of a file are of the device of the run.
    run_on = device if read_heading(suite, size).path is not None else "auto"
    plan = PlanRequest(size=size, overrides=overrides, device=run_on, precision=precision)
    choice = choose(ModelRequest(suite=suite, case=case, plan=plan, **chosen), installed_registry(), "used")
    notes += choice.notes
    from mlbench.deployment.trained import TrainedModel

    return TrainedModel(choice, place.name)


def made_model(card: Card, device: str, results: Path) -> ImageModel:
    """The trained model with this card, from its record in `results`. Raises StoreError where there is none,
    and for a card of a file with 8-bit weights."""
    from mlbench.deployment.choice import choose_made
    from mlbench.environment import check_torch, find_device
    from mlbench.errors import StoreError

    if card.precision != "float32":
        raise StoreError(f"it is an exported one with {card.precision} weights")
    place = find_device(device)
    check_torch(place)
    choice = choose_made(card.suite, card.fingerprint, card.width, results, installed_registry())
    from mlbench.deployment.trained import TrainedModel

    return TrainedModel(choice, place.name)
