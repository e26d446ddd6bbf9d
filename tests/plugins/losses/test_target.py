"""Reading and replacing the target's cosine."""

import pytest
import torch

from mlbench_losses.target import put_target, take_target

COSINES = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9]])
TARGETS = torch.tensor([2, -1, 0])


@pytest.mark.parametrize(
    ("dtype", "wide"),
    [(torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64, torch.float64)],
)
def test_take_target_returns_float32_at_least(dtype, wide):
    taken = take_target(COSINES.to(dtype), TARGETS)
    assert (taken.shape, taken.dtype) == ((3, 1), wide)
    assert taken[[0, 2], 0].tolist() == COSINES.to(dtype)[[0, 2], [2, 0]].to(wide).tolist()


def test_put_target_changes_targets_that_are_present():
    values = torch.tensor([[-1.0], [-2.0], [-3.0]])
    expected = COSINES.clone()
    expected[0, 2], expected[2, 0] = -1, -3
    before = COSINES.clone()
    assert torch.equal(put_target(COSINES, TARGETS, values), expected)
    assert torch.equal(COSINES, before)


def test_put_target_routes_gradients_to_their_inputs():
    cosines, values = COSINES.clone().requires_grad_(), torch.zeros(3, 1, requires_grad=True)
    put_target(cosines, TARGETS, values).sum().backward()
    assert values.grad.flatten().tolist() == [1, 0, 1]
    assert cosines.grad.tolist() == [[1, 1, 0], [1, 1, 1], [0, 1, 1]]
