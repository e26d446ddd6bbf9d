"""Cost of a classification head on this machine before it is built: memory by counting, time by a trial."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from mlbench.plugin import Advice, Choice, HeadContext

if TYPE_CHECKING:
    import torch

__all__ = ["advise", "full_bytes", "partial_bytes", "recommend"]

#: Least speed-up over the full softmax that is worth a less exact softmax.
_WORTH = 1.2

#: Least number of centres in a step, as a multiple of the batch's labels: fewer leave too few negatives.
_LABELS = 10

#: Bytes below which the C library returns the memory of an array late or never, so that arrays add up.
_HEAP = 2**25

#: Numbers in the centres of the trial: more than a CPU's caches hold.
_TRIAL = 2**23


def advise(context: HeadContext, sampled: Mapping[float, int]) -> Advice:
    """Predicted memory and time of a step of the full softmax and of `partial_fc`, and a recommendation.

    sampled: centres in a step, by rate; rates that give fewer centres than a batch has labels are left out.
    Assumes float32, AdamW and one centre for each class. The times are extrapolated from steps of a small
    head that run now on this machine; the model that computes the embeddings is not included."""
    import torch

    num_classes, dim, batch_size = context.num_classes, context.dim, context.batch_size
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    full, fixed, each = _trial(num_classes, dim, batch_size, device)
    choices = [
        Choice("full softmax", num_classes, full_bytes(num_classes, dim, batch_size), full * num_classes)
    ]
    for rate, count in sampled.items():
        if count >= min(batch_size, num_classes):
            needed = partial_bytes(num_classes, dim, batch_size, count, device.type)
            choices.append(Choice(f"partial_fc {rate:g}", count, needed, fixed + each * count))
    threads = torch.get_num_threads()
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, threads: {threads}"
    return Advice(
        tuple(choices),
        recommend(choices, num_classes, batch_size, _available(device)),
        f"predicted for this machine ({where}): float32, AdamW, the head alone",
    )


def full_bytes(num_classes: int, dim: int, batch_size: int) -> int:
    """Peak bytes of a head that updates all centres with AdamW, including the centres and their state."""
    matrix, logits = num_classes * dim, num_classes * batch_size
    if 4 * logits < _HEAP:
        return 4 * (6 * matrix + 12 * logits)
    # Centres and two moments. Then the larger of: the tensors that the loss keeps for its backward pass; the
    # gradient, its intermediate results and the optimiser's, each as large as the centres.
    return 4 * (3 * matrix + max(6 * logits, 3 * matrix))


def partial_bytes(num_classes: int, dim: int, batch_size: int, sampled: int, device: str = "cpu") -> int:
    """Peak bytes of `partial_fc` with AdamW, including the centres and their state."""
    from mlbench_samplers.centre_products import BLOCK_BYTES

    # Centres, two moments and the number of updates of each row; gradient of the sampled rows and cosines;
    # blocks that are processed at a time, more where no loop updates the rows.
    state = 4 * num_classes * (3 * dim + 1)
    return (
        state
        + 4 * sampled * (dim + batch_size)
        + (2 if device == "cpu" else 8) * BLOCK_BYTES.get(device, 2**27)
    )


def recommend(choices: list[Choice], num_classes: int, batch_size: int, available: int) -> str:
    """A recommendation in one or two sentences. choices: the full softmax first. available: bytes."""
    full, *others = choices
    labels = min(batch_size, num_classes)
    enough = [choice for choice in others if choice.sampled >= _LABELS * labels]
    if not enough:
        least = math.ceil(1000 * _LABELS * labels / num_classes) / 1000
        needed = (
            f"for enough negatives a step needs ten times the batch's labels, {_LABELS * labels:,} centres"
        )
        if least <= 0.5:
            return f"Raise the rate to {least:g} or more: {needed}."
        return (
            f"Use sampler all: {needed}, and none of these rates gives as many with {num_classes:,} classes."
        )
    # The published accuracies are for rates of 0.1 and more.
    best = next((choice for choice in enough if choice.sampled <= 0.1 * num_classes + 1), enough[-1])
    gain = full.seconds / best.seconds
    if best.bytes > available:
        ranks = math.ceil(best.bytes / max(available, 1))
        return (
            f"It does not fit: {best.name} needs {_size(best.bytes)} and {_size(available)} are free. "
            f"dtype: bfloat16 halves that, and {ranks} such machines or GPUs can share the centres."
        )
    if full.bytes > available:
        return (
            f"Use {best.name}: the full softmax needs {_size(full.bytes)} and {_size(available)} are free; "
            f"this needs {_size(best.bytes)}."
        )
    if gain < _WORTH:
        return f"Use sampler all: the full softmax fits, and {best.name} would be only {gain:.1f} x as fast."
    return (
        f"Use {best.name}: {gain:.1f} x as fast as the full softmax. It saves "
        f"{_time(full.seconds - best.seconds)} in each step; if a step of your model takes much longer than "
        "that, use sampler all, which is exact."
    )


def _trial(num_classes: int, dim: int, batch_size: int, device: torch.device) -> tuple[float, float, float]:
    """Seconds of a step of the full softmax per class; fixed seconds of a step of `partial_fc`, and seconds
    per sampled class."""
    import torch

    from mlbench_samplers.class_centres import ClassCentres
    from mlbench_samplers.row_optimizers import RowAdamW
    from mlbench_samplers.sampled_centres import SampledCentres

    # More numbers than caches hold, but little work.
    many = 1 if device.type == "cpu" else 32
    classes = min(_TRIAL * many // dim, int(many * 4e10 / (6 * batch_size * dim)), num_classes)
    classes = max(classes, 16)
    few, more = classes // 8, classes // 2
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        embeddings = torch.randn(batch_size, dim, device=device, requires_grad=True)
        labels = torch.randint(few, (batch_size,)).to(device)
        full = ClassCentres(classes, dim, 1).to(device)
        part = SampledCentres(classes, dim, 1, sampled=few, seed=0, optimizer=RowAdamW).to(device)
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
    """The softmax without a margin."""

    centres_per_class = 1
    per_example = True
    scale = 64.0

    def logits(self, cosines: torch.Tensor, targets: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
        return self.scale * cosines.squeeze(2)

    def target_logits(self, cosines: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
        return self.scale * cosines


def _median(step: Callable[[], None], device: torch.device) -> float:
    """Median seconds of up to three steps after a warm-up step; fewer if they take long."""
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
    """Free bytes of the device's memory."""
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
