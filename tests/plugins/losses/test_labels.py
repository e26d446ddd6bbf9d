"""Labels out of range are refused on the CPU only."""

import pytest
import torch

from mlbench.plugin import TrainingError
from mlbench_losses.labels import check_labels


@pytest.mark.parametrize("labels", [[], [0], [4, 0, 3]])
def test_check_labels_takes_labels_in_range(labels):
    check_labels(torch.tensor(labels, dtype=torch.int64), 5)


@pytest.mark.parametrize(("labels", "found"), [([0, 5], "0 to 5"), ([-1, 2], "-1 to 2")])
def test_check_labels_names_found_and_expected_labels(labels, found):
    with pytest.raises(TrainingError, match=f"run from {found}; expected 0 to 4, as there are 5 classes"):
        check_labels(torch.tensor(labels), 5)


def test_check_labels_does_not_read_labels_of_other_devices():
    check_labels(torch.empty(3, dtype=torch.int64, device="meta"), 1)
