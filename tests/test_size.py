from __future__ import annotations

import json
import struct

import pytest
import torch

from mlbench.model import build_model
from mlbench.size import checkpoint_bytes, flops


@pytest.mark.parametrize("compile", [False, True])
def test_flops_are_those_of_one_image_however_it_is_computed(planned, compile) -> None:
    spec = planned(overrides=(f"compute.compile={str(compile).lower()}",)).cases[0].spec
    expected = 2 * (8 * 8 * 8 * 3 * 4 + 4 * 4 * 8 * 8 * 4 + 2 * 8 * 8)
    assert flops(build_model(spec, 0).eval(), 16) == expected


def test_checkpoint_bytes_are_those_of_a_safetensors_file(planned, tmp_path, monkeypatch) -> None:
    model = build_model(planned().cases[0].spec, 0)
    model.neck.again = next(model.neck.parameters())  # a shared weight
    import safetensors.torch

    written = []
    save = safetensors.torch.save_file

    def spy(tensors, path):
        save(tensors, path)
        written.append(path.read_bytes())

    monkeypatch.setattr(safetensors.torch, "save_file", spy)
    sizes = [checkpoint_bytes(model, dtype) for dtype in (torch.float32, torch.float16)]
    assert sizes == [len(each) for each in written]
    header = struct.unpack("<Q", written[1][:8])[0]
    entries = json.loads(written[1][8 : 8 + header])
    floats = [each for each in entries.values() if each.get("dtype") == "F16"]
    stored = [torch.Size(each["shape"]).numel() for each in floats]
    tensors = {t.data_ptr(): t.numel() for t in model.state_dict().values() if t.is_floating_point()}
    assert sum(stored) == sum(tensors.values())
    assert sizes[0] - sizes[1] == pytest.approx(2 * sum(tensors.values()), abs=200)
