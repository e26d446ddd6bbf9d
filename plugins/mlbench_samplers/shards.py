"""Checkpoints of class centres that any number of ranks can write and any other number can read."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mlbench.errors import StoreError, first_line
from mlbench.records.store import write_atomically
from mlbench_samplers.partial_fc import PartialFC

__all__ = ["load_shards", "save_shard"]

_NAME = "step{step:010d}-classes{first:010d}-{last:010d}.pt"


def save_shard(sampler: PartialFC, folder: Path) -> Path:
    """Write this rank's centres, their optimiser's state and the step into `folder`; every rank calls it.

    Gives the file, whose name tells the step and the classes. Files of earlier steps stay; a set that is
    not complete, because a rank died on the way, is never loaded. Raises StoreError when it cannot be
    written; nothing is left behind then.
    """
    path = folder / _NAME.format(step=sampler.steps, first=sampler.first, last=sampler.last)
    data = {"num_classes": sampler.num_classes, "state": sampler.state_dict()}
    write_atomically(path, partial(torch.save, data))
    return path


def load_shards(sampler: PartialFC, folder: Path) -> int:
    """Fill `sampler` with its range of classes from what any number of ranks wrote, and return the step.

    Takes the newest step of which all classes are there, and reads no more of it than this rank holds.
    Raises StoreError when there is none or it is of other centres.
    """
    sets: dict[int, list[tuple[int, int, Path]]] = {}
    for path in sorted(folder.glob("step*.pt")):
        if match := re.fullmatch(r"step(\d+)-classes(\d+)-(\d+)\.pt", path.name):
            step, first, last = map(int, match.groups())
            sets.setdefault(step, []).append((first, last, path))
    for step in sorted(sets, reverse=True):
        if (chain := _complete(sets[step], sampler.num_classes)) is not None:
            for first, last, path in chain:
                _copy(sampler, first, last, path)
            sampler.steps = step
            return step
    raise StoreError(
        f"{folder}: no step with all {sampler.num_classes} classes (steps found: "
        f"{', '.join(map(str, sorted(sets))) or 'none'}); every rank must have saved its own"
    )


def _complete(files: list[tuple[int, int, Path]], num_classes: int) -> list[tuple[int, int, Path]] | None:
    """Files whose ranges join up to all classes, or None. Sets of several world sizes may lie together."""
    chain, reached = [], 0
    while reached < num_classes:
        following = [file for file in files if file[0] == reached and file[1] > reached]
        if not following:
            return None
        # The longest: where two sets begin alike, the one of fewer ranks joins up wherever the other does.
        chain.append(max(following))
        reached = chain[-1][1]
    return chain


def _copy(sampler: PartialFC, first: int, last: int, path: Path) -> None:
    begin, end = max(first, sampler.first), min(last, sampler.last)
    if begin >= end:
        return
    own: dict[str, Any] = sampler.state_dict()
    try:
        # Mapped, so that only the rows that are copied are read.
        data = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        state = data["state"]
        if data["num_classes"] != sampler.num_classes or state.keys() != own.keys():
            raise StoreError(
                f"{path}: holds {data['num_classes']} classes and {', '.join(state)}; expected "
                f"{sampler.num_classes} classes and {', '.join(own)} (the same optimizer)"
            )
        for name, target in own.items():
            if name != "_extra_state":
                target[begin - sampler.first : end - sampler.first].copy_(
                    state[name][begin - first : end - first]
                )
    except StoreError:
        raise
    except Exception as error:  # whatever a damaged file makes torch say
        raise StoreError(f"{path} cannot be loaded: {first_line(error)}") from None
