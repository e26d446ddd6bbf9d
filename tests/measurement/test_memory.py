from __future__ import annotations

import sys

import pytest
import torch

from mlbench.measurement.memory import Peak, is_out_of_memory


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_peak_is_the_memory_above_the_start() -> None:
    peak = Peak(torch.device("cpu"))
    used = torch.ones(64 << 18)  # 64 MiB
    del used
    assert 60 << 20 < peak.bytes()["peak_host"] < 200 << 20


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
