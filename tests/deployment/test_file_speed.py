from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from mlbench.deployment.file_speed import file_rounds
from mlbench.deployment.onnx_model import to_onnx
from mlbench.errors import ExportError


def test_file_speed_has_as_many_rounds_of_each_file(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(to_onnx(nn.Flatten(), 16))
    found = file_rounds([file, file], 16, batch_size=2, rounds=3, seconds=0.001, threads=1)
    assert [len(rounds) for rounds in found] == [3, 3]
    assert min(map(min, found)) > 0


def test_file_speed_says_why_it_is_not_known(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(b"nothing")
    other = tmp_path / "other.onnx"
    other.write_bytes(to_onnx(nn.Flatten(), 16))
    reason, rounds = file_rounds([file, other], 16, batch_size=1, rounds=2, seconds=0.001, threads=1)
    assert reason.startswith(f"the speed of model.onnx cannot be measured: {file}: is no ONNX model")
    assert len(rounds) == 2
    with pytest.raises(ExportError, match=r"^the speed of the model files cannot be measured: .*negative"):
        file_rounds([file], -1)
