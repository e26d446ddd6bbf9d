from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import oracle
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from mlbench.evaluation import torch_counter
from mlbench.evaluation.all_pairs import AllPairs
from mlbench.evaluation.class_histograms import ClassHistograms
from mlbench.evaluation.cpu_counter import CpuCounter
from mlbench.evaluation.embeddings import Embeddings
from mlbench.evaluation.negative_counts import NegativeCounts, Tile, band_starts
from mlbench.evaluation.pair_scan import scan_pairs
from mlbench.evaluation.products import Products
from mlbench.evaluation.torch_counter import TorchCounter

#: Operators that wait for the device, or whose result has a size that only the device knows.
#: A mask as an index is a nonzero.
WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "bincount", "_unique2", "equal"}


class Operators(TorchDispatchMode):
    """Counts operators that start work on the device, by name; refuses those that wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        options = options or {}
        name = function.overloadpacket.__name__
        assert name not in WAITING, f"{name} waits for the device"
        if name in ("_to_copy", "copy_"):
            devices = {each.device for each in arguments if isinstance(each, torch.Tensor)}
            assert len(devices | {options.get("device") or next(iter(devices))}) == 1, (
                "a copy between devices"
            )
        if not function.is_view:
            self.counts[name] += 1
        return function(*arguments, **options)


def pairs_of(sample: Embeddings) -> AllPairs:
    return AllPairs.of(replace(sample, vectors=torch.from_numpy(sample.vectors)))


def embeddings(count: int, classes: int, *, mirrored: bool = True) -> Embeddings:
    generator = np.random.default_rng(1)
    sample = Embeddings.of(
        generator.normal(size=(count, 12)).astype(np.float32), generator.integers(classes, size=count)
    )
    return sample if mirrored else replace(sample, gallery=generator.random(count) < 0.7)


class Watched(NegativeCounts):
    """Keeps the operators of each tile; the positives of its queries are padded before."""

    seen: list[tuple[Tile, Operators]]

    def count(self, scores, rows, columns, tile) -> None:
        self._padded(tile.top - self._start, tile.bottom - tile.top)
        if self.mirrored:
            self._padded(tile.left, tile.right - tile.left)
        operators = Operators()
        with operators:
            torch_counter.multiply(rows, columns, scores)
            super().count(scores, rows, columns, tile)
        self.seen.append((tile, operators))


def operators_of(sample: Embeddings, products: Products, **choices: object) -> list[int]:
    """Number of operators of each tile."""
    Watched.seen = []
    pairs = pairs_of(sample)
    scan_pairs(pairs, TorchCounter(pairs, products=products, counts=Watched), lambda ranks: {"r": ranks.best},
               **choices)  # fmt: skip
    assert any(tile.top == tile.left for tile, _ in Watched.seen)
    return [sum(operators.counts.values()) for _, operators in Watched.seen]


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_counter, "_CPU_SIDE", 128)
    monkeypatch.setattr(torch_counter, "_LEAST_SIDE", 128)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("mirrored", [True, False])
def test_a_tile_takes_few_operators_and_none_that_waits(mirrored: bool) -> None:
    counts = []
    for count, classes, thresholds in ((400, 5, []), (400, 150, []), (400, 5, [0.1, 0.2, 0.3])):
        sample = embeddings(count, classes, mirrored=mirrored)
        counts.append(operators_of(sample, "tf32", bins=50, thresholds=thresholds))
    assert max(max(each) for each in counts) <= 25
    assert counts[0] == counts[2]
    assert max(counts[1]) <= max(counts[0])


@pytest.mark.parametrize("products", ["float32", "tf32", "bf16"])
@pytest.mark.parametrize("mirrored", [True, False])
def test_a_pass_on_a_gpu_keeps_everything_on_it(
    products: Products, mirrored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With tensors that have a device but no data: torch refuses to mix devices and to read a value."""
    pairs = pairs_of(embeddings(300, 40, mirrored=mirrored))
    edges = np.linspace(-0.5, 0.5, 20, dtype=np.float32)
    positives = np.zeros(pairs.positives, np.float32)
    shape = (len(pairs.classes), 30)
    histograms = ClassHistograms(-0.4, 0.05, np.zeros(shape), np.zeros(shape), np.zeros(40), np.zeros(40))
    monkeypatch.setattr(torch_counter, "tile_side", lambda pairs, bytes_per_score: 128)
    monkeypatch.setattr(TorchCounter, "_wait", lambda self: None)
    told: list[int] = []
    made: list[NegativeCounts] = []

    class Unread(Watched):
        def result(self):
            made.append(self)

    Watched.seen = []

    with FakeTensorMode(allow_non_fake_inputs=True):
        vectors = torch.empty(300, 12, device="cuda")
        queries, gallery = (replace(each, vectors=vectors) for each in (pairs.queries, pairs.gallery))
        on_gpu = replace(pairs, queries=queries, gallery=queries if mirrored else gallery)
        for held in (True, False):
            counter = TorchCounter(on_gpu, products=products, counts=Unread, held=held)
            counter.negatives(0, len(pairs.queries), positives, edges, histograms,
                              lambda done, total: told.append(done))  # fmt: skip
    assert told
    assert len(Watched.seen) == 12
    for counts in made:
        for each in (counts._grid, counts._between, counts._bands):
            assert each.device.type == "cuda"


def test_reports_are_rare_and_each_waits_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    now = [0.0]
    monkeypatch.setattr(torch_counter.time, "monotonic", lambda: now[0])
    report = torch_counter._paced(
        lambda done, total: events.append(f"{done} of {total}"), 10, lambda: events.append("wait")
    )
    for queued in range(1, 11):
        now[0] += 0.1
        report(queued)
    assert events == ["0 of 10", "wait", "3 of 10", "wait", "6 of 10", "wait", "9 of 10", "wait", "10 of 10"]


def test_side_of_tiles_fits_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    assert torch_counter.tile_side(pairs_of(embeddings(20, 3)), 4) == 512
    assert torch_counter.tile_side(pairs_of(embeddings(600, 3)), 4) == 1024
    assert torch_counter.tile_side(pairs_of(embeddings(5000, 3)), 4) == 2048


@pytest.mark.parametrize("seed", range(20))
def test_bands_start_where_their_number_is_reached(seed: int) -> None:
    generator = np.random.default_rng(seed)
    count = int(generator.integers(1, 300))
    floor, top = sorted(generator.uniform(-1, 1, size=2))
    if seed == 0:
        floor, top = -0.25, -0.25
    shape = np.zeros((2, count))
    width = max(top - floor, 1e-6) / count
    starts = band_starts(ClassHistograms(floor, width, shape, shape, np.zeros(2), np.zeros(2)))
    low, scale = np.float32(floor), np.float32(1 / width)
    bins = np.arange(count)
    below = np.nextafter(starts, np.float32(-np.inf))
    assert ((starts - low) * scale >= bins).all()
    assert ((below - low) * scale < bins).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("products", ["float32", "tf32", "bf16"])
@pytest.mark.parametrize("way", ["operators", "fastest"])
def test_a_gpu_counts_exact_products_as_the_cpu_does(products: Products, way: str) -> None:
    generator = np.random.default_rng(4)
    vectors = oracle.exact_directions(generator, 3000)
    sample = Embeddings.of(vectors, generator.integers(700, size=3000))
    for roles in (sample, replace(sample, gallery=generator.random(3000) < 0.7)):
        pairs = AllPairs.of(roles)
        on_gpu = AllPairs.of(replace(roles, vectors=torch.from_numpy(vectors).cuda()))
        counts = NegativeCounts if way == "operators" else None
        counters = CpuCounter(pairs, threads=1), TorchCounter(on_gpu, products=products, counts=counts)
        expected, found = (
            scan_pairs(each, counter, lambda ranks: {"sum": ranks.total(ranks.ranks)}, bins=32)
            for each, counter in zip((pairs, on_gpu), counters, strict=True)
        )
        for name in ("similarities", "true_positives", "false_positives", "ties"):
            assert np.array_equal(getattr(found.curve, name), getattr(expected.curve, name)), name
        assert np.array_equal(found.per_query["sum"], expected.per_query["sum"])
        assert np.array_equal(found.histograms.negatives, expected.histograms.negatives)
