"""The activation of the weights in a file."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mlbench_backbones.quick_gelu import file_needs_quick_gelu, is_torchscript

SIZES = {name: torch.tensor(7) for name in ("input_resolution", "context_length", "vocab_size")}
WEIGHTS = {"visual.conv1.weight": torch.ones(2, 3)}


class QuickGELU(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


def archive(path, activation):
    """A TorchScript archive of a network with an activation."""
    torch.jit.script(nn.Sequential(nn.Linear(2, 2), activation)).save(path)
    return path


@pytest.mark.parametrize("old", [False, True])
def test_openai_files_are_recognised_by_their_size_entries(tmp_path, old):
    torch.save(WEIGHTS | SIZES, tmp_path / "openai.pt", _use_new_zipfile_serialization=not old)
    torch.save(WEIGHTS, tmp_path / "any.pt", _use_new_zipfile_serialization=not old)
    assert file_needs_quick_gelu(tmp_path / "openai.pt") is True
    assert file_needs_quick_gelu(tmp_path / "any.pt") is None
    assert not is_torchscript(tmp_path / "openai.pt")


def test_openai_safetensors_are_recognised_by_their_names(tmp_path):
    save_file(WEIGHTS | SIZES, tmp_path / "openai.safetensors")
    save_file(WEIGHTS, tmp_path / "any.safetensors")
    assert file_needs_quick_gelu(tmp_path / "openai.safetensors") is True
    assert file_needs_quick_gelu(tmp_path / "any.safetensors") is None


@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_archives_are_recognised_by_their_code(tmp_path):
    file = archive(tmp_path / "openai.pt", QuickGELU())
    assert is_torchscript(file)
    assert file_needs_quick_gelu(file) is True
    assert file_needs_quick_gelu(archive(tmp_path / "usual.pt", nn.GELU())) is False
    assert file_needs_quick_gelu(archive(tmp_path / "neither.pt", nn.ReLU())) is None


def test_file_that_is_not_a_checkpoint_is_unknown(tmp_path):
    (tmp_path / "empty.pt").touch()
    assert file_needs_quick_gelu(tmp_path / "empty.pt") is None
    assert not is_torchscript(tmp_path / "empty.pt")
