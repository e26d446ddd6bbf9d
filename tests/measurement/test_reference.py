from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from mlbench.measurement.reference import VERSION, Reference
from mlbench.seeding import matmul_precision


def test_reference_does_the_work_of_its_version() -> None:
    reference = Reference(torch.device("cpu"))
    with FlopCounterMode(display=False) as counter:
        assert reference.seconds() > 0
    # Multiplications per output pixel, by the side of the map; three runs over eight images.
    a_pixel = {
        48: 32 * 27 + 32 * 9 + 32 * 32,
        24: 32 * 9 + 64 * 32 + 2 * 64 * 64 * 9,
        12: 64 * 9 + 128 * 64 + 128 * 9 + 128 * 128,
        6: 128 * 9 + 256 * 128,
    }
    work = {4: 3 * 8 * 2 * sum(side**2 * count for side, count in a_pixel.items())}
    assert counter.get_total_flops() == work[VERSION]


def test_activations_of_the_reference_are_near_1() -> None:
    """Subnormal numbers would be many times slower."""
    reference = Reference(torch.device("cpu"))
    maps = reference.work()
    assert maps.isfinite().all()
    assert 0.01 < maps.std() < 10


def test_the_reference_is_float32_for_every_case(monkeypatch) -> None:
    reference = Reference(torch.device("cpu"))
    seen = []
    monkeypatch.setattr(
        reference,
        "work",
        lambda: seen.append((torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32)),
    )
    with matmul_precision("medium"):
        reference.seconds()
        assert torch.backends.cudnn.allow_tf32
    assert set(seen) == {("highest", False)}
