from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from mlbench.deployment.onnx_model import to_onnx
from mlbench.deployment.onnx_speed import onnx_rounds
from mlbench.errors import ExportError


def test_onnx_speed_has_as_many_rounds_of_each_file(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(to_onnx(nn.Flatten(), 16))
    found = onnx_rounds([file, file], 16, batch_size=2, rounds=3, seconds=0.001, threads=1)
    assert [len(rounds) for rounds in found] == [3, 3]
    assert min(map(min, found)) > 0


def test_onnx_speed_says_why_it_is_not_known(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(b"nothing")
    with pytest.raises(ExportError, match=r"cannot be measured: .*model\.onnx: is no ONNX model"):
        onnx_rounds([file], 16)
