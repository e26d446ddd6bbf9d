"""What a head would cost on this machine, before it is built: memory by counting, time by a short trial."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from mlbench.contracts import Advice, Choice

if TYPE_CHECKING:
    import torch

__all__ = ["RATES", "advise_partial_fc", "full_bytes", "partial_bytes"]

#: What is looked at when no rate is asked for.
RATES = (0.5, 0.3, 0.1, 0.03, 0.01)

#: A head that is less than this much faster than the full one is not worth a less exact softmax.
_WORTH = 1.2

#: Fewer centres in a step than this many times the batch's labels leave few negatives.
_LABELS = 10

#: The C library gives arrays below this many bytes back late, or never: they add up with what comes after.
_HEAP = 2**25

#: Numbers in the matrix of the trial's centres: more than caches hold.
_TRIAL = 2**23


def advise_partial_fc(
    num_classes: int,
    dim: int,
    batch_size: int,
    *,
    rate: Annotated[float, Field(gt=0, le=1)] | None = None,
) -> Advice:
    """Predicted memory and time of a step of the full softmax and of `partial_fc`, and a recommendation.

    float32, AdamW, one centre for each class. Times come from steps of a small head here and now; the
    model that gives the embeddings is not counted.
    """
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    full, fixed, each = _trial(num_classes, dim, batch_size, device)
    choices = [
        Choice("full softmax", num_classes, full_bytes(num_classes, dim, batch_size), full * num_classes)
    ]
    labels = min(batch_size, num_classes)
    for share in (rate,) if rate is not None else RATES:
        sampled = math.floor(round(share * num_classes, 6))
        if sampled >= labels:
            needed = partial_bytes(num_classes, dim, batch_size, sampled, device.type)
            choices.append(Choice(f"partial_fc {share:g}", sampled, needed, fixed + each * sampled))
    threads = torch.get_num_threads()
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, threads: {threads}"
    return Advice(
        tuple(choices),
        recommend(choices, num_classes, batch_size, _available(device)),
        f"predicted for this machine ({where}): float32, AdamW, the head alone",
    )


def full_bytes(num_classes: int, dim: int, batch_size: int) -> int:
    """Peak bytes of a head that updates all centres with AdamW, its centres and their state included."""
    matrix, logits = num_classes * dim, num_classes * batch_size
    if 4 * logits < _HEAP:
        return 4 * (6 * matrix + 12 * logits)
    # Centres and two moments; then either what the loss keeps for its backward pass, or the gradient and
    # as much again twice, of its parts on the way and of the optimiser's.
    return 4 * (3 * matrix + max(6 * logits, 3 * matrix))


def partial_bytes(num_classes: int, dim: int, batch_size: int, sampled: int, device: str = "cpu") -> int:
    """Peak bytes of `partial_fc` with AdamW, its centres and their state included."""
    from mlbench_samplers.rows import BLOCK_BYTES

    # Centres, two moments, and how often each row took part; the sampled rows' gradient and the cosines;
    # what is worked on at a time.
    kept = 4 * num_classes * (3 * dim + 1)
    return kept + 4 * sampled * (dim + batch_size) + 8 * BLOCK_BYTES.get(device, 2**27)


def recommend(choices: list[Choice], num_classes: int, batch_size: int, available: int) -> str:
    """What to do, in a sentence or two. choices: the full softmax first. available: bytes."""
    full, *others = choices
    labels = min(batch_size, num_classes)
    enough = [choice for choice in others if choice.sampled >= _LABELS * labels]
    if not enough:
        least = math.ceil(1000 * _LABELS * labels / num_classes) / 1000
        needed = (
            f"for negatives enough a step needs ten times the batch's labels, {_LABELS * labels:,} centres"
        )
        if least <= 0.5:
            return f"Raise the rate to {least:g} or more: {needed}."
        return (
            f"Do not use it, it cannot pay here: {needed}, which none of these rates gives with "
            f"{num_classes:,} classes. Use sampler all."
        )
    # The published accuracies hold for rates of a tenth and more.
    best = next((choice for choice in enough if choice.sampled <= 0.1 * num_classes + 1), enough[-1])
    gain = full.seconds / best.seconds
    if best.bytes > available:
        ranks = math.ceil(best.bytes / max(available, 1))
        return (
            f"It does not fit: {best.name} needs {_size(best.bytes)} and {_size(available)} are free. "
            f"dtype bfloat16 halves that, and {ranks} such machines or GPUs could share it."
        )
    if full.bytes > available:
        return (
            f"Use {best.name}: the full softmax needs {_size(full.bytes)} and {_size(available)} are free; "
            f"this needs {_size(best.bytes)}."
        )
    if gain < _WORTH:
        return (
            f"Do not use it, it cannot pay here: {best.name} would be {gain:.1f} x as fast as the full "
            "softmax, which fits. Use sampler all."
        )
    return (
        f"Use {best.name}: {gain:.1f} x as fast as the full softmax. It saves "
        f"{_time(full.seconds - best.seconds)} of every step; if your model takes much longer than that, "
        "use sampler all, which is exact."
    )


def _trial(num_classes: int, dim: int, batch_size: int, device: torch.device) -> tuple[float, float, float]:
    """Seconds for each class of the full softmax; seconds of any step of `partial_fc`, and for each class
    that it samples."""
    import torch

    from mlbench_samplers.class_centres import ClassCentres
    from mlbench_samplers.partial_fc import PartialFC
    from mlbench_samplers.rows import RowAdamW

    # More than caches hold, yet no more work than a moment's.
    many = 1 if device.type == "cpu" else 32
    classes = min(_TRIAL * many // dim, int(many * 4e10 / (6 * batch_size * dim)), num_classes)
    classes = max(classes, 16)
    few, more = classes // 8, classes // 2
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        embeddings = torch.randn(batch_size, dim, device=device, requires_grad=True)
        labels = torch.randint(few, (batch_size,)).to(device)
        full = ClassCentres(classes, dim, 1).to(device)
        part = PartialFC(classes, dim, 1, sampled=few, seed=0, optimizer=RowAdamW).to(device)
    optimizer = torch.optim.AdamW(full.parameters())

    def step_full() -> None:
        optimizer.zero_grad()
        full(embeddings, labels, _Softmax()).backward()
        torch.nn.utils.clip_grad_norm_(full.parameters(), 5.0)
        optimizer.step()

    def step_part() -> None:
        part.stand_in.grad = None
        part(embeddings, labels, _Softmax()).backward()
        part.update(1e-3, 1e-3)

    of_few = _median(step_part, device)
    part.sampled = more
    of_more = _median(step_part, device)
    each = max(of_more - of_few, 0.0) / (more - few)
    return _median(step_full, device) / classes, max(of_few - each * few, 0.0), each


class _Softmax:
    """The plainest loss with class centres."""

    centres_per_class = 1
    per_example = True

    def logits(self, cosines: torch.Tensor, targets: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
        return 64.0 * cosines.squeeze(2)


def _median(step: Callable[[], None], device: torch.device) -> float:
    """Median seconds of three steps, after one for warmth; of one if that takes long."""
    import torch

    seconds: list[float] = []
    while len(seconds) < 4 and sum(seconds[1:]) < 0.3:
        start = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def _available(device: torch.device) -> int:
    """Bytes that are free."""
    import torch

    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            facts = dict(line.split(":") for line in lines)
        return int(facts["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):  # no Linux
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.1f} ms"
