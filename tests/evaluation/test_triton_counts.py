"""The Triton kernel, interpreted on the CPU, counts what the compiled CPU code counts."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import oracle
import pytest
import torch

from mlbench.evaluation import torch_counter
from mlbench.evaluation.all_pairs import AllPairs
from mlbench.evaluation.cpu_counter import CpuCounter
from mlbench.evaluation.embeddings import Embeddings
from mlbench.evaluation.pair_counter import PairCounter
from mlbench.evaluation.pair_scan import PairScan, scan_pairs
from mlbench.evaluation.products import Products
from mlbench.evaluation.torch_counter import TorchCounter

triton = pytest.importorskip("triton")


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module with kernels that Triton interprets; tiles of 128 x 128."""
    import triton.language as tl
    from triton.runtime.interpreter import InterpretedFunction
    from triton.runtime.jit import JITFunction

    from mlbench.evaluation import triton_counts

    # Triton changes its language while it interprets, and leaves some of it changed.
    parts = (tl, tl.core, tl.math, tl.standard, tl.tensor, tl.dtype, tl.core.tensor_descriptor_base)
    before = [dict(vars(part)) for part in parts]
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    # It interprets its own functions only if the variable is set when it is imported.
    for name, each in before[3].items():
        if isinstance(each, JITFunction):
            replaced = InterpretedFunction(each.fn)
            for part in (tl.standard, tl):
                if getattr(part, name, None) is each:
                    setattr(part, name, replaced)
    monkeypatch.setattr(torch_counter, "_CPU_SIDE", 128)
    monkeypatch.setattr(torch_counter, "_LEAST_SIDE", 128)
    spec = importlib.util.spec_from_file_location("interpreted_counts", Path(triton_counts.__file__))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    for part, attributes in zip(parts, before, strict=True):
        for name, now in list(vars(part).items()):
            if name not in attributes:
                delattr(part, name)
            elif now is not attributes[name]:
                setattr(part, name, attributes[name])


def ranks_of(ranks: Any) -> dict[str, np.ndarray]:
    return {
        "best": ranks.best,
        "sum": ranks.total(ranks.ranks),
        "weighed": ranks.total(ranks.ranks * ranks.places),
    }


def scanned(pairs: AllPairs, counter: PairCounter, **choices: object) -> PairScan:
    return scan_pairs(pairs, counter, ranks_of, **choices)


def assert_same(sample: Embeddings, module: ModuleType, products: Products = "float32", **choices: object):
    pairs = AllPairs.of(sample)
    expected = scanned(pairs, CpuCounter(pairs, threads=1, products=products), **choices)
    on_device = AllPairs.of(replace(sample, vectors=torch.from_numpy(np.ascontiguousarray(sample.vectors))))
    counter = TorchCounter(on_device, products=products, counts=module.TritonCounts)
    found = scanned(on_device, counter, **choices)
    for name in ("similarities", "true_positives", "false_positives", "ties"):
        assert np.array_equal(getattr(found.curve, name), getattr(expected.curve, name)), name
    for name, values in expected.per_query.items():
        assert np.array_equal(found.per_query[name], values), name
    if expected.histograms is not None:
        assert np.array_equal(found.histograms.negatives, expected.histograms.negatives)


def sample_of(count: int, classes: int, seed: int = 0) -> Embeddings:
    """Classes of many images and of one, and some equal vectors."""
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(count, 9)).astype(np.float32)
    vectors[generator.integers(count, size=count // 4)] = vectors[generator.integers(count, size=count // 4)]
    labels = (classes * generator.random(count) ** 2).astype(int)
    labels[: count // 50] = np.arange(count // 50) + classes
    return Embeddings.of(vectors, labels)


@pytest.mark.parametrize(
    ("products", "roles"),
    [
        ("float32", "mirrored"),
        ("tf32", "mirrored"),
        ("bf16", "overlap"),
        ("float32", "disjoint"),
        ("float32", "grouped"),
    ],
)
def test_kernel_counts_what_the_cpu_counts(products: Products, roles: str, interpreted: ModuleType) -> None:
    sample = sample_of(150, 30)
    generator = np.random.default_rng(1)
    if roles in ("overlap", "disjoint"):
        queries = generator.random(150) < 0.5
        gallery = ~queries if roles == "disjoint" else generator.random(150) < 0.8
        sample = replace(sample, queries=queries, gallery=gallery)
    if roles == "grouped":
        sample = replace(sample, groups=generator.integers(-1, 5, 150))
    assert_same(sample, interpreted, products, bins=20, thresholds=[0.125, -0.7, 0.3])


def test_kernel_counts_large_classes_and_some_queries_at_a_time(interpreted: ModuleType) -> None:
    sample = sample_of(150, 3)
    assert_same(sample, interpreted, bins=16)
    assert_same(sample, interpreted, bins=16, memory=48 * 2500)


def test_kernel_counts_one_point_and_well_separated_classes(interpreted: ModuleType) -> None:
    labels = np.arange(150) // 3
    assert_same(Embeddings.of(np.ones((150, 4), np.float32), labels), interpreted, bins=16)
    generator = np.random.default_rng(2)
    apart = np.eye(50, dtype=np.float32)[labels] + 0.01 * generator.normal(size=(150, 50))
    assert_same(Embeddings.of(apart.astype(np.float32), labels), interpreted, bins=16)


def test_kernel_counts_random_cases(interpreted: ModuleType) -> None:
    generator = np.random.default_rng(3)
    for _ in range(40):
        case = oracle.random_case(generator)
        if case.comparable:
            vectors = np.asarray(case.embeddings.vectors, np.float32)
            assert_same(replace(case.embeddings, vectors=vectors), interpreted, bins=8)


def test_check_kernel_runs_the_kernel(interpreted: ModuleType) -> None:
    interpreted.check_kernel(torch.device("cpu"))


@pytest.mark.parametrize(
    ("scaled", "capability"),
    [(False, 90), *(pytest.param(*each, marks=pytest.mark.slow) for each in ((True, 90), (True, 80)))],
)
def test_kernel_compiles_for_gpus(
    scaled: bool, capability: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from mlbench.evaluation.triton_counts import count_scores

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    types = {
        **dict.fromkeys(("scores", "positives"), "*fp32"),
        **dict.fromkeys(("row_scales", "column_scales"), "*fp32" if scaled else "constexpr"),
        **dict.fromkeys(("row_labels", "column_labels", "between"), "*i32"),
        **dict.fromkeys(("grid", "first", "bands"), "*i64"),
        **dict.fromkeys(("floor", "band_floor", "band_scale"), "fp32"),
    }
    fixed: dict[str, Any] = {"scaled": scaled, "mirrored": True, "ranked": True, "banded": True}
    fixed |= {"copies": 8, "height": 32, "width": 64}
    signature = {
        name: types.get(name, "constexpr" if name in fixed else "i32") for name in count_scores.arg_names
    }
    if not scaled:
        fixed |= {"row_scales": None, "column_scales": None}
    source = ASTSource(count_scores, signature, fixed)
    target, options = GPUTarget("cuda", capability, 32), {"enable_fp_fusion": False}
    made = triton.compile(source, target=target, options=options)
    assert made.asm["cubin"]
    # The result of an addition is not used, so no thread waits for it.
    assert "atom." not in made.asm["ptx"]
