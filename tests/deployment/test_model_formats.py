"""Files of every format: the same embeddings as the model's, whatever runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TOY_SUITE
from safetensors.torch import load_file, save_file
from test_card import CARD
from torch import nn

from mlbench.deployment.deployed import CutModel
from mlbench.deployment.formats import FORMATS, check_formats, find_format, open_model
from mlbench.deployment.safetensors_format import load_model
from mlbench.environment import find_device
from mlbench.errors import ExportError, StoreError, SuiteError
from mlbench.planning.plan import Case, make_plan
from mlbench.planning.suite import load_suite
from mlbench.registry import Registry
from mlbench.training.model import EmbeddingModel, build_model

CARD8 = replace(CARD, width=8)


@pytest.fixture
def case(tmp_path: Path, registry: Registry) -> Case:
    (tmp_path / "toy.yaml").write_text(TOY_SUITE + "cases: {plain: {}}\n")
    return make_plan(load_suite(tmp_path / "toy.yaml", registry), find_device("cpu")).cases[0]


@pytest.fixture
def model(case: Case) -> EmbeddingModel:
    """With weights and batch statistics that no other seed gives."""
    model = build_model(case.spec, 5)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                tensor.add_(torch.rand(tensor.shape, generator=torch.Generator().manual_seed(1)) / 10)
    return model.eval()


@pytest.fixture
def written(case: Case, model: EmbeddingModel, registry: Registry, tmp_path: Path) -> Callable[..., Path]:
    def written(name: str, model: nn.Module = model, **changes: Any) -> Path:
        draft = find_format(name, registry).draft(model, case)
        file = tmp_path / f"model{draft.end}"
        file.write_bytes(draft.content(replace(CARD8, **changes).metadata()))
        return file

    return written


def images(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, 3, 16, 16), np.uint8)


def expected(model: nn.Module, given: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return nn.functional.normalize(model(torch.from_numpy(given))).numpy()


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_unit_embeddings_of_the_model_at_any_batch_size(
    name: str, written, model: EmbeddingModel, registry: Registry
) -> None:
    session = open_model(written(name), registry=registry)
    assert session.card == CARD8
    for count in (1, 2, 5):
        found = session.embed(images(count))
        assert (found.dtype, found.shape) == (np.float32, (count, 8))
        np.testing.assert_allclose(found, expected(model, images(count)), atol=1e-6)
    with pytest.raises(StoreError, match=r"cannot embed images \(2, 1, 16, 16\)"):
        session.embed(images(2)[:, :1])


@pytest.mark.parametrize("name", ["pt2", "safetensors"])  # for ONNX see test_export.py
def test_every_format_holds_a_cut_model(name: str, written, model, registry: Registry) -> None:
    cut = CutModel(model, 4).eval()
    session = open_model(written(name, cut, width=4), registry=registry)
    np.testing.assert_allclose(session.embed(images(3)), expected(cut, images(3)), atol=1e-6)


@pytest.mark.parametrize("name", ["pt2", "safetensors"])  # for ONNX see test_onnx_model.py
def test_the_same_model_gives_the_same_bytes_which_tell_nothing_of_where_it_was_made(
    name: str, case: Case, model, registry: Registry
) -> None:
    first, second = (
        find_format(name, registry).draft(model, case).content(CARD8.metadata()) for _ in range(2)
    )
    assert first == second
    for hint in (b"site-packages", str(Path.cwd()).encode(), b".py"):
        assert hint not in first


@pytest.mark.parametrize("name", FORMATS)
def test_files_that_are_no_models_are_named(name: str, tmp_path: Path, registry: Registry) -> None:
    file = tmp_path / f"a{FORMATS[name]}"
    with pytest.raises(StoreError, match=rf"^{file}: cannot be read \(No such file"):
        open_model(file, registry=registry)
    for content in (b"", b"nothing", b"\x08\0\0\0\0\0\0\0nothing!"):
        file.write_bytes(content)
        with pytest.raises(StoreError, match=rf"^{file}: is no ") as caught:
            open_model(file, registry=registry)
        assert "\n" not in str(caught.value)


def test_files_of_another_author_are_refused(tmp_path: Path, registry: Registry) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "a.safetensors")
    program = torch.export.export(nn.Flatten(), (torch.zeros(2, 3),))
    torch.export.save(program, tmp_path / "a.pt2")
    for file in ("a.safetensors", "a.pt2"):
        with pytest.raises(StoreError, match=rf"{file}: was not written by mlbench export"):
            _ = open_model(tmp_path / file, registry=registry).card


@pytest.mark.slow
def test_a_program_runs_where_neither_mlbench_nor_timm_can_be_imported(
    written, model, tmp_path: Path
) -> None:
    np.save(tmp_path / "images.npy", images(3))
    code = f"""
import sys
for name in ("mlbench", "timm", "torchvision", "mlbench_backbones", "toys"):
    sys.modules[name] = None
import json
import numpy, torch
extra = {{"mlbench.json": ""}}
model = torch.export.load({str(written("pt2"))!r}, extra_files=extra).module()
found = model(torch.from_numpy(numpy.load({str(tmp_path / "images.npy")!r})))
numpy.save({str(tmp_path / "found.npy")!r}, found.detach().numpy())
print(json.loads(extra["mlbench.json"])["threshold_similarity"])
"""
    ran = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert float(ran.stdout) == CARD8.similarity
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), expected(model, images(3)), atol=1e-6)


def test_a_program_of_operators_of_other_libraries_is_refused(case: Case) -> None:
    class Foreign(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            boxes = images.float().mean((2, 3))[:, [0, 1, 2, 0]]
            kept = torch.ops.torchvision.nms(boxes, boxes[:, 0], 0.5)
            return boxes + kept.sum()

    import torchvision  # noqa: F401 - registers the operator

    with pytest.raises(ExportError, match=r"operators that torch alone does not have \(torchvision\.nms"):
        find_format("pt2").draft(Foreign(), case)


def test_weights_are_a_plain_safetensors_file_and_load_by_one_call(
    written, model: EmbeddingModel, registry: Registry
) -> None:
    file = written("safetensors")
    stored = load_file(file)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(stored[name], value, rtol=0, atol=0)
    loaded = load_model(file, registry=registry)
    with torch.no_grad():
        found = loaded(torch.from_numpy(images(2))).numpy()
    np.testing.assert_allclose(found, expected(model, images(2)), atol=1e-6)
    other = load_model(str(file), registry=registry, changes={"compute.channels_last": False})
    with torch.no_grad():
        np.testing.assert_allclose(other(torch.from_numpy(images(2))).numpy(), found, atol=1e-6)


def test_weights_of_another_model_or_of_components_that_are_gone_are_refused(
    written, registry: Registry
) -> None:
    file = written("safetensors")
    with pytest.raises(SuiteError, match=r"^changes: unknown neck 'gapp' \(did you mean 'gap'\?\)"):
        load_model(file, registry=registry, changes={"neck.name": "gapp"})
    with pytest.raises(StoreError, match=r"holds another model than its settings now describe"):
        load_model(file, registry=registry, changes={"neck.dim": 4})
    from safetensors import safe_open

    with safe_open(file, "pt") as stored:
        metadata = dict(stored.metadata())
    assert json.loads(metadata.pop("settings")).keys() == {"backbone", "neck", "image", "compute"}
    save_file(load_file(file), file, metadata)
    with pytest.raises(StoreError, match="has no settings of a model"):
        load_model(file, registry=registry)


def test_formats_are_checked_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ExportError, match="--int8 is of ONNX files, and the format is pt2"):
        check_formats(["pt2"], int8=True)
    monkeypatch.setattr("mlbench.deployment.onnx_packages.find_spec", lambda name: None)
    check_formats(["pt2", "safetensors"], int8=False)
    with pytest.raises(ExportError, match="an export needs onnx"):
        check_formats(["onnx"], int8=False)
