from __future__ import annotations

import numpy as np
import pytest
import torch

from mlbench.training import device_inputs
from mlbench.training.device_inputs import resident, resident_batches, stacked, to_device

CPU = torch.device("cpu")


@pytest.mark.parametrize("kind", [np.uint8, np.float16, np.float32])
def test_batches_of_resident_inputs_are_rows_of_the_arrays(monkeypatch, kind) -> None:
    monkeypatch.setattr(device_inputs, "_ROWS", 3)
    generator = np.random.default_rng(0)
    views = [generator.integers(0, 200, (7, 2, 3)).astype(kind) for _ in range(2)]
    together = stacked(views, CPU)
    order = [[0, 6, 3], [3], [7, 13, 0]]
    expected = np.concatenate(views)
    for rows, batch in zip(order, resident_batches(together, order), strict=True):
        np.testing.assert_array_equal(batch.numpy(), expected[rows])


def test_inputs_stay_where_they_are_for_a_cpu() -> None:
    assert resident([np.zeros((2, 3))], CPU) is None
    batch = torch.ones(3)
    assert to_device(batch, CPU) is batch


def test_inputs_that_take_too_much_of_a_gpu_are_not_resident(monkeypatch) -> None:
    gpu, arrays = torch.device("cuda"), [np.zeros((4, 25), np.uint8)] * 2
    monkeypatch.setattr(device_inputs, "stacked", lambda arrays, device: len(arrays))
    for free, expected in ((1599, None), (1600, 2)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 1000))
        assert resident(arrays, gpu) == expected
    assert resident([], gpu) is None
