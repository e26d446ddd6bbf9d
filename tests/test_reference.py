from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from mlbench.reference import VERSION, Reference


def test_reference_does_the_work_of_its_version() -> None:
    reference = Reference(torch.device("cpu"))
    with FlopCounterMode(display=False) as counter:
        assert reference.seconds() > 0
    work = {1: 6 * 2 * (64 * 56 * 56 * 64 * 3 * 3 + 512**3)}
    assert counter.get_total_flops() == work[VERSION]


def test_reference_is_the_same_at_any_precision_of_a_case() -> None:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        Reference(torch.device("cpu")).seconds()
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
