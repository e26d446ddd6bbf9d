"""Any loss and miner of pytorch-metric-learning, by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlbench.contracts import LossShape
from mlbench.errors import OptionError, hint
from mlbench_losses.needs import LIBRARY

if TYPE_CHECKING:
    from mlbench_losses.library import LibraryLoss

__all__ = ["known_names", "pml", "predict_pml"]

#: Losses that a batch of embeddings and labels is not enough for, or that get it wrong.
_UNFIT = {
    "InstanceLoss": "it takes the rank of an image's class for the place of an image in the batch",
    "ManifoldLoss": "it takes no labels",
    "MultipleLosses": "add losses up in the suite instead, by weights",
    "SelfSupervisedLoss": "it compares two views of each image, without labels",
    "VICRegLoss": "it compares two views of each image, without labels",
}
#: Losses with a row of weights for each class, or as many as an option says, and that option's default.
_ROWS: Mapping[str, tuple[str, int]] = {
    "ArcFaceLoss": ("", 1),
    "CosFaceLoss": ("", 1),
    "LargeMarginSoftmaxLoss": ("", 1),
    "NormalizedSoftmaxLoss": ("", 1),
    "P2SGradLoss": ("", 1),
    "ProxyAnchorLoss": ("", 1),
    "ProxyNCALoss": ("", 1),
    "SoftTripleLoss": ("centers_per_class", 10),
    "SphereFaceLoss": ("", 1),
    "SubCenterArcFaceLoss": ("sub_centers", 3),
}


def pml(
    num_classes: int,
    dim: int,
    *,
    loss: str = "TripletMarginLoss",
    options: dict[str, Any] | None = None,
    miner: str | None = None,
    miner_options: dict[str, Any] | None = None,
) -> LibraryLoss:
    """A loss of pytorch-metric-learning by its class name, and a miner if one is named.

    Numbers of classes and the width of embeddings are filled in. What is an object in the library (distance,
    reducer, embedding_regularizer, weight_regularizer, and CrossBatchMemory's loss and miner) is a mapping
    here, of its class name and its own options: `distance: {name: LpDistance, power: 2}`; or its class name
    alone. Note that the library's ArcFaceLoss and SubCenterArcFaceLoss take margins in degrees.

    Options
    -------
    loss: class name in pytorch_metric_learning.losses.
    options: what its constructor takes, by name; null for its defaults.
    miner: class name in pytorch_metric_learning.miners; null for none.
    miner_options: what the miner's constructor takes, by name; null for its defaults.

    Raises OptionError for names and options that the library does not have, and for losses that compare two
    views (VICRegLoss, SelfSupervisedLoss), take no labels (ManifoldLoss), add up others (MultipleLosses) or
    compare images with others than their labels say (InstanceLoss).
    """
    from mlbench_losses.by_name import Builder
    from mlbench_losses.library import LibraryLoss

    _check_names(loss, miner, miner_options)
    builder = Builder(num_classes, dim)
    return LibraryLoss(
        builder.build("losses", loss, options or {}, option="options"),
        builder.build("miners", miner, miner_options or {}, option="miner_options") if miner else None,
        num_classes=builder.rows,
    )


def predict_pml(
    num_classes: int,
    dim: int,
    *,
    loss: str = "TripletMarginLoss",
    options: dict[str, Any] | None = None,
    miner: str | None = None,
    miner_options: dict[str, Any] | None = None,
) -> LossShape:
    """What `pml` would be. Raises OptionError for names that the library does not have; most options are
    only looked at when the loss is built."""
    _check_names(loss, miner, miner_options)
    parameters = _parameters(num_classes, dim, loss, options or {})
    return LossShape(parameters=parameters, needs=LIBRARY.get(loss, ()))


def known_names(part: str) -> list[str]:
    """Names of the classes that one part of the library offers, such as "losses", without importing it."""
    spec = find_spec(f"pytorch_metric_learning.{part}")
    assert spec is not None
    assert spec.origin is not None
    imported = re.findall(r"^from \S+ import (.+)$", Path(spec.origin).read_text("utf-8"), re.MULTILINE)
    names = [name.strip() for line in imported for name in line.split(",")]
    return sorted(name for name in names if not re.match(r"Base|Generic|.*Mixin$", name))


def _check_names(loss: str, miner: str | None, miner_options: Mapping[str, Any] | None) -> None:
    for option, name, part in (("loss", loss, "losses"), ("miner", miner, "miners")):
        if name is not None and name not in (known := known_names(part)):
            raise OptionError(
                f"loss pml: pytorch_metric_learning.{part} has no {name!r} ({hint(name, known)})", option
            )
    if loss in _UNFIT:
        raise OptionError(f"loss pml: {loss} cannot be used on its own: {_UNFIT[loss]}", "loss")
    if miner is None and miner_options:
        raise OptionError(
            "loss pml: miner_options without a miner; name one, or leave them out", "miner_options"
        )


def _parameters(num_classes: int, dim: int, loss: str, options: Mapping[str, Any]) -> int:
    if loss in _ROWS:
        option, default = _ROWS[loss]
        each = options.get(option, default)
        if not isinstance(each, int):
            raise OptionError(f"loss pml: {loss}'s {option} is {each!r}; expected a whole number", "options")
        return num_classes * dim * each
    if loss == "MarginLoss" and options.get("learn_beta"):
        return options.get("num_classes") or 1
    if loss == "CrossBatchMemory" and isinstance(inner := options.get("loss"), Mapping):
        return _parameters(num_classes, dim, inner.get("name", ""), inner)
    return 0
