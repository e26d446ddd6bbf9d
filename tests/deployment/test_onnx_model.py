from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import timm
import torch
from torch import nn

from mlbench.deployment.onnx_model import to_int8, to_onnx, with_metadata
from mlbench.deployment.onnx_session import OnnxSession
from mlbench.errors import ExportError


class Pixels(nn.Module):
    """Images uint8 through a network that takes floats."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network((images.float() - 120) / 60)


def network(name: str, size: int) -> nn.Module:
    torch.manual_seed(0)
    options = {"img_size": size, "depth": 2} if name.startswith("vit") else {}
    return Pixels(timm.create_model(name, num_classes=24, **options))


def session(folder: Path, data: bytes) -> OnnxSession:
    file = folder / "model.onnx"
    file.write_bytes(data)
    return OnnxSession(file, threads=1)


def images(count: int, size: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, 3, size, size), np.uint8)


@pytest.mark.parametrize(
    ("name", "size", "smaller"), [("lcnet_050", 32, 2.5), ("vit_tiny_patch16_224", 48, 3.0)]
)
def test_onnx_gives_the_unit_embeddings_of_the_model_at_any_batch_size(
    tmp_path: Path, name: str, size: int, smaller: float
) -> None:
    model = network(name, size)
    data = to_onnx(model, size)
    assert model.training
    file = session(tmp_path, data)
    for count in (1, 2, 5):
        with torch.no_grad():
            expected = nn.functional.normalize(model.eval()(torch.from_numpy(images(count, size))))
        found = file.embed(images(count, size))
        assert (found.dtype, found.shape) == (np.float32, (count, 24))
        assert np.abs(found - expected.numpy()).max() < 1e-5
    small = to_int8(data)
    assert len(small) < len(data) / smaller
    cosines = (session(tmp_path, small).embed(images(5, size)) * found).sum(1)
    assert 0.9 < cosines.min() <= cosines.max() < 0.999999  # not the same, but near


def test_onnx_of_the_same_model_is_the_same_and_tells_nothing_of_where_it_was_made() -> None:
    torch.manual_seed(0)
    model = Pixels(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten()))
    first, second = (to_onnx(model, 16) for _ in range(2))
    assert first == second
    assert Path(__file__).name.encode() not in first
    assert b"site-packages" not in first
    proto = onnx.load_model_from_string(first)
    assert not [*proto.metadata_props, *proto.graph.metadata_props]
    assert not any(node.metadata_props or node.doc_string for node in proto.graph.node)
    assert {each.data_location for each in proto.graph.initializer} == {onnx.TensorProto.DEFAULT}


def test_metadata_replaces_what_was_there() -> None:
    data = with_metadata(to_onnx(Pixels(nn.Flatten()), 16), {"old": "1"})
    proto = onnx.load_model_from_string(with_metadata(data, {"a": "x", "b": ""}))
    assert {each.key: each.value for each in proto.metadata_props} == {"a": "x", "b": ""}


def test_onnx_of_a_model_that_looks_at_its_values_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    class Decides(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            flat = images.float().flatten(1)
            return flat if flat.sum() > 0 else -flat

    with pytest.raises(ExportError, match=r"^this model cannot be exported to ONNX \(\w+: ") as caught:
        to_onnx(Decides(), 16)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
