"""Any loss and miner of pytorch-metric-learning, by name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import model_validator

from mlbench.plugin import CatalogueItem, LossContext, LossOptions, LossShape, OptionError, hint
from mlbench_losses.needs import LIBRARY_NEEDS

if TYPE_CHECKING:
    from mlbench_losses.library import LibraryLoss

__all__ = ["Pml", "known_names"]

#: Losses that cannot use a batch of embeddings and labels, with the reason.
_UNFIT = {
    "InstanceLoss": "it uses the rank of an image's class as the position of an image in the batch",
    "ManifoldLoss": "it takes no labels",
    "MultipleLosses": "add up losses in the suite instead, with weights",
    "SelfSupervisedLoss": "it compares two views of each image, without labels",
    "VICRegLoss": "it compares two views of each image, without labels",
}
#: Losses with vectors of weights for each class: the option with their number, and its default.
_VECTORS: Mapping[str, tuple[str, int]] = {
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


class Pml(LossOptions):
    """A loss of pytorch-metric-learning by its class name, with an optional miner.

    The number of classes and the width of the embeddings are filled in. An argument that is an object in the
    library (distance, reducer, embedding_regularizer, weight_regularizer, and CrossBatchMemory's loss and
    miner) is a mapping of its class name and its options here, `distance: {name: LpDistance, power: 2}`, or
    its class name alone. Note that the library's ArcFaceLoss and SubCenterArcFaceLoss take margins in
    degrees.

    Raises OptionError for names and options that the library does not have, and for losses that compare two
    views (VICRegLoss, SelfSupervisedLoss), take no labels (ManifoldLoss), add up others (MultipleLosses) or
    do not compare images by their labels (InstanceLoss)."""

    loss: str = "TripletMarginLoss"
    """Class name in pytorch_metric_learning.losses. Find one: mlbench list loss --search '*margin*'."""
    options: dict[str, Any] | None = None
    """Arguments of its constructor, by name; null for its defaults."""
    miner: str | None = None
    """Class name in pytorch_metric_learning.miners; null for none."""
    miner_options: dict[str, Any] | None = None
    """Arguments of the miner's constructor, by name; null for its defaults."""

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        for option, name, part in (("loss", self.loss, "losses"), ("miner", self.miner, "miners")):
            if name is not None and name not in (known := known_names(part)):
                raise OptionError(
                    f"loss pml: pytorch_metric_learning.{part} has no {name!r} ({hint(name, known)})", option
                )
        if self.loss in _UNFIT:
            raise OptionError(f"loss pml: {self.loss} cannot be used: {_UNFIT[self.loss]}", "loss")
        if self.miner is None and self.miner_options:
            raise OptionError(
                "loss pml: miner_options without a miner; name one, or leave them out", "miner_options"
            )
        return self

    def predict(self, context: LossContext) -> LossShape:
        """Most options of the library's classes are only checked by `build`."""
        return LossShape(
            parameters=_parameters(context, self.loss, self.options or {}),
            needs=LIBRARY_NEEDS.get(self.loss, ()),
        )

    def build(self, context: LossContext) -> LibraryLoss:
        from mlbench_losses.library import LibraryLoss
        from mlbench_losses.library_builder import LibraryBuilder

        builder = LibraryBuilder(context.num_classes, context.dim)
        loss = builder.build("losses", self.loss, self.options or {}, option="options")
        miner = None
        if self.miner is not None:
            miner = builder.build("miners", self.miner, self.miner_options or {}, option="miner_options")
        return LibraryLoss(loss, miner, num_classes=builder.classes)

    @classmethod
    def catalogue(cls) -> Iterator[CatalogueItem]:
        """The library's losses and miners."""
        return _library()


def _library() -> Iterator[CatalogueItem]:
    """Losses of the library that can be used here, and its miners."""
    for name in known_names("losses"):
        if name not in _UNFIT:
            needs = " and ".join(LIBRARY_NEEDS.get(name, ()))
            about = "with vectors of weights for each class" if name in _VECTORS else ""
            yield CatalogueItem(name, {"loss": name}, f"needs {needs} in a batch" if needs else about)
    for name in known_names("miners"):
        yield CatalogueItem(name, {"miner": name}, "chooses the pairs or triplets of the loss")


def known_names(part: str) -> list[str]:
    """Names of the public classes in pytorch_metric_learning.`part`, such as "losses", without an import."""
    spec = find_spec(f"pytorch_metric_learning.{part}")
    assert spec is not None
    assert spec.origin is not None
    imported = re.findall(r"^from \S+ import (.+)$", Path(spec.origin).read_text("utf-8"), re.MULTILINE)
    names = [name.strip() for line in imported for name in line.split(",")]
    return sorted(name for name in names if not re.match(r"Base|Generic|.*Mixin$", name))


def _parameters(context: LossContext, loss: str, options: Mapping[str, Any]) -> int:
    """Number of trained parameters of the loss."""
    if loss in _VECTORS:
        option, default = _VECTORS[loss]
        count = options.get(option, default)
        if not isinstance(count, int):
            raise OptionError(f"loss pml: {loss}'s {option} is {count!r}; expected a whole number", "options")
        return context.num_classes * context.dim * count
    if loss == "MarginLoss" and options.get("learn_beta"):
        return options.get("num_classes") or 1
    if loss == "CrossBatchMemory" and isinstance(inner := options.get("loss"), Mapping):
        return _parameters(context, inner.get("name", ""), inner)
    return 0
