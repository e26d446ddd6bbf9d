from __future__ import annotations

import json
import struct

import pytest
import torch

from mlbench.measurement.size import checkpoint_bytes, flops
from mlbench.training.model import build_model


@pytest.mark.parametrize("compile", [False, True])
def test_flops_of_one_image_are_equal_with_and_without_compile(planned, compile) -> None:
    spec = planned(overrides=(f"compute.compile={str(compile).lower()}",)).cases[0].spec
    expected = 2 * (8 * 8 * 8 * 3 * 4 + 4 * 4 * 8 * 8 * 4 + 2 * 8 * 8)
    assert flops(build_model(spec, 0).eval(), 16) == expected


def test_flops_include_attention_of_torch() -> None:
    """Its fast path is one operation without a FLOP formula."""

    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = torch.nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            tokens = images.float().flatten(2).transpose(1, 2).repeat(1, 1, 3)[..., :8]
            return self.attention(tokens, tokens, tokens, need_weights=False)[0]

    before = torch.backends.mha.get_fastpath_enabled()
    tokens, width = 16, 8
    products = 4 * width * width * tokens + 2 * tokens * tokens * width  # four projections, scores and sums
    assert flops(Encoder().eval(), 4) == 2 * products
    assert torch.backends.mha.get_fastpath_enabled() is before


def test_checkpoint_bytes_are_the_size_of_a_safetensors_file(planned, tmp_path, monkeypatch) -> None:
    model = build_model(planned().cases[0].spec, 0)
    model.neck.again = next(model.neck.parameters())  # a shared weight
    import safetensors.torch

    written = []
    save = safetensors.torch.save

    def spy(tensors):
        written.append(save(tensors))
        return written[-1]

    monkeypatch.setattr(safetensors.torch, "save", spy)
    sizes = [checkpoint_bytes(model, dtype) for dtype in (torch.float32, torch.float16)]
    assert sizes == [len(each) for each in written]
    header = struct.unpack("<Q", written[1][:8])[0]
    entries = json.loads(written[1][8 : 8 + header])
    floats = [each for each in entries.values() if each.get("dtype") == "F16"]
    stored = [torch.Size(each["shape"]).numel() for each in floats]
    tensors = {t.data_ptr(): t.numel() for t in model.state_dict().values() if t.is_floating_point()}
    assert sum(stored) == sum(tensors.values())
    assert sizes[0] - sizes[1] == pytest.approx(2 * sum(tensors.values()), abs=200)
