"""What a component gives while a case runs, held to the contract of its kind.

Each check looks at types, shapes and counts alone and so never waits for a GPU. The errors are PluginErrors
that name the component, its plugin and what was expected.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from mlbench.contracts import Augmentation, BatchSampler, CentreLoss, Mixed, Mixing
from mlbench.errors import MlbenchError, PluginError, first_line
from mlbench.planning.spec import Part

__all__ = [
    "CheckedAugmentation",
    "CheckedMixing",
    "check_built",
    "check_logits",
    "epoch_batches",
    "shown",
]

#: What `build` must return, by kind: whether it is a module, and its members.
_MEMBERS = {
    "backbone": (True, ("frozen", "trained", "feature_shape", "mean", "std", "weights")),
    "neck": (True, ("dim",)),
    "loss": (False, ("__call__",)),
    "sampler": (True, ("__call__", "parameters", "state_dict")),
    "distiller": (True, ("images", "weight")),
    "batch_sampler": (False, ("__len__", "batches")),
    "augmentation": (False, ("__call__",)),
    "mixing": (False, ("__call__",)),
}

#: Images and classes of the batch that a loss with class centres is tried on.
_TRIED = 2


def check_built(part: Part, built: Any) -> Any:
    """What `build` returned, if it has the members of its kind's protocol."""
    kind = part.entry.component.kind
    is_module, members = _MEMBERS[kind]
    missing = [name for name in members if not hasattr(built, name)]
    if isinstance(built, CentreLoss):
        missing = []
    if missing or (is_module and not isinstance(built, nn.Module)):
        what = f"without {' and '.join(missing)}" if missing else "which is no torch.nn.Module"
        raise part.mistake(
            f"build returned {_article(type(built).__name__)} {what}; expected what "
            f"mlbench.plugin.{_PROTOCOLS[kind]} describes"
        )
    return built


_PROTOCOLS = {
    "backbone": "Backbone",
    "neck": "Neck",
    "loss": "CentreLoss or PairLoss",
    "sampler": "CentreSampler",
    "distiller": "Distiller",
    "batch_sampler": "BatchSampler",
    "augmentation": "Augmentation",
    "mixing": "Mixing",
}


def check_logits(part: Part, loss: CentreLoss, classes: int, device: torch.device) -> None:
    """Try a loss with class centres on a batch of two images, in evaluation mode."""
    count = loss.centres_per_class
    if type(count) is not int or count < 1:
        raise part.mistake(f"centres_per_class is {count!r}; expected a whole number >= 1")
    cosines = torch.zeros((_TRIED, classes, count), device=device)
    targets = torch.arange(_TRIED, device=device)
    was_training = isinstance(loss, nn.Module) and loss.training
    if isinstance(loss, nn.Module):
        loss.eval()
    try:
        with torch.no_grad():
            logits = loss.logits(cosines, targets, torch.ones(_TRIED, device=device))
    finally:
        if isinstance(loss, nn.Module):
            loss.train(was_training)
    if not isinstance(logits, torch.Tensor) or logits.shape != (_TRIED, classes):
        raise part.mistake(
            f"logits returned {shown(logits)} for {_TRIED} images and {classes} classes; expected a tensor "
            f"of shape ({_TRIED}, {classes})"
        )


def epoch_batches(
    part: Part, batches: BatchSampler, images: int, batch_size: int, generator: np.random.Generator
) -> list[list[int]]:
    """The batches of one epoch. part: of the batch sampler. images: in the train split."""
    # One more than there should be: batches() may never end.
    found = [np.asarray(batch) for batch in islice(batches.batches(generator), len(batches) + 1)]
    if len(found) != len(batches):
        count = f"{len(found)}" if len(found) < len(batches) else f"more than {len(batches)}"
        raise part.mistake(f"its len() is {len(batches)}, and an epoch has {count} batches")
    for batch in found:
        if batch.ndim != 1:
            raise part.mistake(
                f"it made a batch that is {shown(batch)}; expected a sequence or an array with one "
                "dimension, of image indices"
            )
    sizes = [len(batch) for batch in found]
    if min(sizes) < 1 or max(sizes) > batch_size:
        wrong = min(sizes) if min(sizes) < 1 else max(sizes)
        raise part.mistake(
            f"it made a batch of {wrong} images; expected 1 to {batch_size} (recipe.batch_size)"
        )
    indices = np.concatenate(found)
    if indices.dtype.kind not in "iu":
        raise part.mistake(f"its batches hold {indices.dtype} values; expected whole numbers, image indices")
    if indices.min() < 0 or indices.max() >= images:
        wrong = indices.min() if indices.min() < 0 else indices.max()
        raise part.mistake(f"it chose image {wrong}; images run from 0 to {images - 1}")
    return [batch.tolist() for batch in found]


@dataclass(frozen=True)
class CheckedAugmentation:
    """An augmentation whose errors name it. It goes to worker processes, so it holds texts and not the part.

    name: of the component with its plugin. mistake: end of the message on what breaks the contract.
    """

    augmentation: Augmentation
    component: str
    plugin: str

    @classmethod
    def of(cls, part: Part, built: Any) -> CheckedAugmentation:
        """built: what the part's `build` returned."""
        return cls(check_built(part, built), str(part.entry), part.plugin_text)

    def __call__(self, image: Image.Image, generator: np.random.Generator) -> Image.Image:
        try:
            changed: Any = self.augmentation(image, generator)
        except MlbenchError:
            raise
        # Foreign code may raise anything.
        except Exception as error:
            reason = " ".join(first_line(error).split())
            raise PluginError(f"{self.component} of {self.plugin} failed: {reason}") from error
        if isinstance(changed, Image.Image) and changed.mode == "RGB" and min(changed.size) > 0:
            return changed
        raise PluginError(
            f"{self.component}: it returned {shown(changed)}; expected an RGB PIL image; this is a mistake "
            f"in {self.plugin}"
        )


class CheckedMixing:
    """A mixing whose first mix is held to the contract. part: of the mixing."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._mixing: Mixing = check_built(part, part.component.build())
        self._checked = False

    def __call__(self, images: torch.Tensor, generator: np.random.Generator) -> Mixed | None:
        mixed = self._mixing(images, generator)
        if mixed is not None and not self._checked:
            self._check(mixed, images)
            self._checked = True
        return mixed

    def _check(self, mixed: Any, images: torch.Tensor) -> None:
        if not isinstance(mixed, Mixed):
            raise self._part.mistake(f"it returned {shown(mixed)}; expected a Mixed or None")
        if mixed.images.shape != images.shape or mixed.images.dtype != torch.float32:
            raise self._part.mistake(
                f"its mixed images are {shown(mixed.images)}; expected float32 of shape {tuple(images.shape)}"
            )
        partners = mixed.partners
        count = len(images)
        fits = partners.shape == (count,) and partners.dtype == torch.int64 and partners.device.type == "cpu"
        if not fits or int(partners.min()) < 0 or int(partners.max()) >= count:
            raise self._part.mistake(
                f"its partners are {shown(partners)}; expected {count} positions in the batch, int64 on "
                "the CPU"
            )
        if not 0 <= mixed.share <= 1:
            raise self._part.mistake(f"its share is {mixed.share!r}; expected a number in [0, 1]")


def shown(value: Any) -> str:
    """A value in a message: the type and shape of a tensor or array, the mode of an image, else its type."""
    if isinstance(value, torch.Tensor | np.ndarray):
        return f"{str(value.dtype).removeprefix('torch.')} of shape {tuple(value.shape)}"
    if isinstance(value, Image.Image):
        return f"an image of mode {value.mode} and size {value.width}x{value.height}"
    return _article(type(value).__name__)


def _article(name: str) -> str:
    return f"an {name}" if name[0].lower() in "aeiou" else f"a {name}"
