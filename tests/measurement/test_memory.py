from __future__ import annotations

import pytest
import torch

from mlbench.measurement.memory import is_out_of_memory, peak_allocated

CPU = torch.device("cpu")
MIB = 1 << 20


def test_the_peak_counts_what_is_allocated_at_one_time() -> None:
    def work() -> None:
        first = torch.empty(8 * MIB, dtype=torch.uint8)
        second = torch.empty(4 * MIB, dtype=torch.uint8)
        del first
        torch.empty(2 * MIB, dtype=torch.uint8).repeat(5)
        del second

    # 8 + 4 at first, then 4 + 2 + 10.
    peaks = [peak_allocated(CPU, work) for _ in range(2)]
    assert peaks[0] == peaks[1]
    assert 0 <= peaks[0] - 16 * MIB < 1000


def test_memory_within_an_operator_counts_and_memory_of_before_does_not() -> None:
    before = [torch.empty(64 * MIB, dtype=torch.uint8)]

    def work() -> None:
        before.clear()
        torch.empty(16 * MIB, dtype=torch.uint8)

    assert peak_allocated(CPU, work) == 16 * MIB
    images, weights = torch.ones(1, 4, 64, 64), torch.ones(8, 4, 3, 3)
    assert peak_allocated(CPU, lambda: torch.conv2d(images, weights)) >= 8 * 62 * 62 * 4


def test_a_real_out_of_memory_error_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 55)
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize(
    ("error", "lacks"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("shapes do not fit"), False),
        (Exception("[ONNXRuntimeError] Failed to allocate memory for requested buffer of size 9"), True),
        (ValueError("out of range"), False),
    ],
)
def test_out_of_memory_errors_are_recognised(error: Exception, lacks: bool) -> None:
    assert is_out_of_memory(error) is lacks
