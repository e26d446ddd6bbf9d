from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from mlbench.measurement.reference import VERSION, Reference


def test_reference_does_the_work_of_its_version() -> None:
    reference = Reference(torch.device("cpu"))
    with FlopCounterMode(display=False) as counter:
        seconds = reference.seconds()
    dense, depthwise = 2 * 64 * 64 * 3 * 3 * 56 * 56, 32 * 64 * 3 * 3 * 48 * 48
    work = {2: 3 * 2 * (dense + depthwise + 768 * 192 * 768)}
    assert 0 < reference.fastest <= seconds
    assert counter.get_total_flops() == work[VERSION]


def test_reference_is_the_same_at_any_precision_of_a_case() -> None:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        Reference(torch.device("cpu")).seconds()
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
