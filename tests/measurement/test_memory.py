from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from mlbench.measurement.memory import Peak, is_out_of_memory


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_peak_is_what_was_used_above_the_start() -> None:
    peak = Peak(torch.device("cpu"))
    used = torch.ones(64 << 18)  # 64 MiB
    del used
    assert 60 << 20 < peak.bytes()["peak_host"] < 200 << 20


def test_a_real_lack_of_memory_is_known() -> None:
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
def test_other_errors_are_told_apart(error: Exception, lacks: bool) -> None:
    assert is_out_of_memory(error) is lacks


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_is_kept_can_be_given_back() -> None:
    """In a process of its own, since keeping has no end."""
    code = """
import torch
from pathlib import Path
from mlbench.measurement.memory import keep_memory, release_memory

def resident():  # MiB
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20

keep_memory()
before = resident()
torch.ones(64 << 18)
kept = resident()
release_memory()
assert kept - before > 56, (before, kept)
assert kept - resident() > 56, (kept, resident())
"""
    subprocess.run([sys.executable, "-c", code], check=True)
