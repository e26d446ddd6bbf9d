from __future__ import annotations

import torch

from mlbench.training.epoch_losses import EpochLosses


def test_losses_of_an_epoch_come_back_by_name_and_step() -> None:
    losses = EpochLosses()
    losses.add(torch.tensor(3.0), {"loss near": torch.tensor(1.0), "distiller": torch.tensor(4.0)})
    losses.add(
        torch.tensor(5.0),
        {"loss near": torch.tensor(2.0, dtype=torch.bfloat16), "distiller": torch.tensor(6.0)},
    )
    found = {name: values.tolist() for name, values in losses.read().items()}
    assert found == {"loss": [3.0, 5.0], "loss near": [1.0, 2.0], "distiller": [4.0, 6.0]}


def test_the_only_part_of_a_loss_is_not_kept_beside_it() -> None:
    losses = EpochLosses()
    losses.add(torch.tensor(3.0), {"loss near": torch.tensor(3.0)})
    assert list(losses.read()) == ["loss"]
