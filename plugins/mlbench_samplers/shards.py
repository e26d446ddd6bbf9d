"""Checkpoints of class centres, written by any number of ranks and read by any other number."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mlbench.plugin import StoreError, first_line, write_atomically
from mlbench_samplers.sampled_centres import SampledCentres

__all__ = ["load_shards", "save_shard"]

_NAME = "step{step:010d}-classes{first:010d}-{last:010d}.pt"


def save_shard(sampler: SampledCentres, folder: Path) -> Path:
    """Write this rank's centres, optimiser state and step into `folder`. Every rank calls it.

    Returns the file, whose name has the step and the range of classes. Files of earlier steps stay. An
    incomplete set, left by a rank that died, is never loaded. Raises StoreError if the file cannot be
    written, and leaves no part of it."""
    path = folder / _NAME.format(step=sampler.steps, first=sampler.first, last=sampler.last)
    data = {"num_classes": sampler.num_classes, "state": sampler.state_dict()}
    write_atomically(path, partial(torch.save, data))
    return path


def load_shards(sampler: SampledCentres, folder: Path) -> int:
    """Load the range of classes of `sampler` from the files of any number of ranks, and return the step.

    Loads the newest step that has all classes, and reads only this rank's range. Raises StoreError if there
    is none, or if it belongs to other centres."""
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
        f"{', '.join(map(str, sorted(sets))) or 'none'}); every rank must have saved its range"
    )


def _complete(files: list[tuple[int, int, Path]], num_classes: int) -> list[tuple[int, int, Path]] | None:
    """Files whose ranges cover all classes in order, or None. There may be sets of several world sizes."""
    chain, reached = [], 0
    while reached < num_classes:
        following = [file for file in files if file[0] == reached and file[1] > reached]
        if not following:
            return None
        # The longest range where sets of several world sizes have one that starts here.
        chain.append(max(following))
        reached = chain[-1][1]
    return chain


def _copy(sampler: SampledCentres, first: int, last: int, path: Path) -> None:
    begin, end = max(first, sampler.first), min(last, sampler.last)
    if begin >= end:
        return
    own: dict[str, Any] = sampler.state_dict()
    try:
        # Memory-mapped, so that only the copied rows are read.
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
    except Exception as error:  # torch raises many kinds for a damaged file
        raise StoreError(f"{path} cannot be loaded: {first_line(error)}") from None
