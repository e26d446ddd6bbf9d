from __future__ import annotations

import pytest

from mlbench.errors import OptionError
from mlbench_datasets.containers.huggingface import HuggingFace
from mlbench_datasets.containers.webdataset import WebDataset
from mlbench_datasets.document_pool import DocumentPool
from mlbench_datasets.image_folder import ImageFolder


@pytest.mark.parametrize("options", [DocumentPool, HuggingFace, ImageFolder, WebDataset])
def test_shares_leave_something_for_training(options: type) -> None:
    options(path="here", calibration=0.4, test=0.5)
    with pytest.raises(OptionError, match=r"calibration 0\.4 and test 0\.6 leave nothing") as caught:
        options(path="here", calibration=0.4, test=0.6)
    assert caught.value.option == "test"
    with pytest.raises(OptionError) as caught:
        options(path="here", calibration=0.8)
    assert caught.value.option == "calibration"


def test_share_of_test_does_not_matter_where_test_is_named() -> None:
    HuggingFace(path="here", calibration=0.8, test_split="test")
    WebDataset(path="here", calibration=0.8, test_path="there")
