from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import oracle
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlbench.errors import DataError
from mlbench.evaluation import cpu_counter
from mlbench.evaluation.all_pairs import AllPairs
from mlbench.evaluation.cpu_counter import CpuCounter
from mlbench.evaluation.embeddings import Embeddings
from mlbench.evaluation.pair_counter import PairCounter
from mlbench.evaluation.pair_scan import PairScan, scan_pairs
from mlbench.evaluation.products import Products
from mlbench.evaluation.ranks import Ranks
from mlbench.evaluation.similarity_grid import STEP, on_grid
from mlbench.evaluation.torch_counter import TorchCounter

PRODUCTS: list[Products] = ["float32", "tf32", "bf16"]


def pairs_of(sample: Embeddings, *, torch_vectors: bool = False) -> AllPairs:
    if torch_vectors:
        sample = replace(sample, vectors=torch.from_numpy(np.ascontiguousarray(sample.vectors)))
    return AllPairs.of(sample)


def kept(ranks: Ranks) -> dict[str, np.ndarray]:
    """Values of each query that differ for any two rankings of a few images."""
    rank = ranks.ranks.astype(np.float64)
    return {
        "count": ranks.counts.astype(np.float64),
        "best": ranks.best.astype(np.float64),
        "sum": ranks.total(rank),
        "squares": ranks.total(rank**2),
        "weighed": ranks.total(rank * ranks.places),
    }


def naive_kept(relevant: list[bool]) -> dict[str, float]:
    ranks = [place for place, same in enumerate(relevant, 1) if same]
    return {
        "count": len(ranks),
        "best": ranks[0],
        "sum": sum(ranks),
        "squares": sum(rank**2 for rank in ranks),
        "weighed": sum(place * rank for place, rank in enumerate(ranks, 1)),
    }


def run(sample: Embeddings, counter: Callable[[AllPairs], PairCounter], **choices: object) -> PairScan:
    pairs = pairs_of(sample, torch_vectors=counter is TorchCounter)
    return scan_pairs(pairs, counter(pairs), kept, **choices)


def cpu(threads: int = 1, products: Products = "float32") -> Callable[[AllPairs], PairCounter]:
    return lambda pairs: CpuCounter(pairs, threads=threads, products=products)


def by_image(sample: Embeddings, found: PairScan) -> dict[int, dict[str, float]]:
    """The values of each query, by its image."""
    pairs = pairs_of(sample)
    images = pairs.queries.images[np.diff(pairs.offsets) > 0]
    return {
        int(image): {name: float(values[at]) for name, values in found.per_query.items()}
        for at, image in enumerate(images)
    }


def assert_same(one: PairScan, other: PairScan) -> None:
    """To the last bit."""
    for name in ("similarities", "true_positives", "false_positives", "ties", "positives", "negatives"):
        assert np.array_equal(getattr(one.curve, name), getattr(other.curve, name)), name
    for name, values in one.per_query.items():
        assert np.array_equal(values, other.per_query[name]), name
    assert np.array_equal(one.query_classes, other.query_classes)
    assert one.queries_without_positive == other.queries_without_positive
    if one.histograms is not None:
        for name in ("floor", "width", "positives", "negatives", "all_positives", "all_negatives"):
            assert np.array_equal(getattr(one.histograms, name), getattr(other.histograms, name)), name


@pytest.mark.parametrize(("counter", "cases"), [(cpu(), 25), (cpu(threads=2), 5), (TorchCounter, 2)])
def test_scan_equals_the_naive_oracle(counter: Callable[[AllPairs], PairCounter], cases: int) -> None:
    @settings(max_examples=80, deadline=None, derandomize=True)
    @given(st.integers(0, 2**32 - 1))
    def holds(seed: int) -> None:
        generator = np.random.default_rng(seed)
        for _ in range(cases):
            case = oracle.random_case(generator)
            if not case.comparable:
                with pytest.raises(DataError):
                    pairs_of(case.embeddings)
                continue
            found = run(case.embeddings, counter)
            scores, same = case.pairs()
            points = [each for each in oracle.operating_points(scores, same) if each[0] in scores[same]]
            curve = found.curve
            assert curve.similarities.tolist() == [point[0] for point in points]
            assert curve.true_positives.tolist() == [point[1] for point in points]
            assert curve.false_positives.tolist() == [point[2] for point in points]
            assert curve.ties.tolist() == [int((scores[~same] == point[0]).sum()) for point in points]
            assert (curve.positives, curve.negatives) == (same.sum(), (~same).sum())
            rankings = case.rankings()
            assert by_image(case.embeddings, found) == {
                image: naive_kept(relevant) for image, relevant in rankings.items()
            }
            assert found.queries_without_positive == case.embeddings.queries.sum() - len(rankings)

    holds()


def middling(count: int, dim: int = 16, classes: int = 300, seed: int = 0) -> Embeddings:
    """Images that do not fill their last tile, some with equal vectors, in classes of many images and of
    one."""
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(count, dim)).astype(np.float32)
    vectors[generator.integers(count, size=count // 4)] = vectors[generator.integers(count, size=count // 4)]
    labels = (classes * generator.random(count) ** 2).astype(int)
    labels[: count // 50] = np.arange(count // 50) + classes
    return Embeddings.of(vectors, labels)


def split_roles(sample: Embeddings, *, overlap: bool) -> Embeddings:
    generator = np.random.default_rng(5)
    queries = generator.random(len(sample)) < 0.4
    gallery = generator.random(len(sample)) < 0.7 if overlap else ~queries
    return replace(sample, queries=queries, gallery=gallery)


def grouped(sample: Embeddings) -> Embeddings:
    """Most images are in one of a few groups, which most classes share."""
    return replace(sample, groups=np.random.default_rng(6).integers(-1, 5, len(sample)))


def tiled_similarities(vectors: np.ndarray) -> np.ndarray:
    """(N, N) in tiles of 512, in the given order of the images, which differs from the engine's."""
    count, rows = len(vectors), oracle.unit(vectors)
    padded = torch.zeros((-(-count // 512) * 512, rows.shape[1]))
    padded[:count] = torch.from_numpy(rows)
    blocks = [[torch.mm(a, b.T) for b in padded.split(512)] for a in padded.split(512)]
    return torch.cat([torch.cat(row, 1) for row in blocks]).numpy()[:count, :count]


def sorted_oracle(sample: Embeddings, scores: np.ndarray) -> tuple[dict, dict]:
    """Curve and ranks by sorting whole rows, for sets that are too large for loops over pairs."""
    pair = sample.queries[:, None] & sample.gallery[None]
    np.fill_diagonal(pair, val=False)
    same = sample.labels[:, None] == sample.labels[None]
    if sample.groups is not None:
        together = sample.groups[:, None] == sample.groups[None]
        pair &= ~(same & together & (sample.groups >= 0))
    true, false = (np.sort(on_grid(scores[pair & members])) for members in (same, ~same))
    edges = np.unique(true)[::-1]
    curve = {
        "similarities": edges.astype(np.float64),
        "true_positives": len(true) - np.searchsorted(true, edges),
        "false_positives": len(false) - np.searchsorted(false, edges),
        "ties": np.searchsorted(false, edges, "right") - np.searchsorted(false, edges),
    }
    kept = {}
    for query in np.flatnonzero((pair & same).any(1)):
        own = np.sort(scores[query, pair[query] & same[query]])[::-1]
        between = np.sort(scores[query, pair[query] & ~same[query]])
        places = np.arange(1, len(own) + 1)
        rank = (places + len(between) - np.searchsorted(between, own)).astype(float)
        kept[int(query)] = {
            "count": len(own),
            "best": rank[0],
            "sum": rank.sum(),
            "squares": (rank**2).sum(),
            "weighed": (rank * places).sum(),
        }
    return curve, kept


def two_large_classes() -> Embeddings:
    """1300 images of one class and 900 of another, each more than a tile, among small ones."""
    sample = middling(2500)
    labels = sample.labels.copy()
    labels[100:1400], labels[1500:2400] = 7, 11
    return Embeddings.of(sample.vectors, labels)


@pytest.mark.parametrize("counter", [cpu(), TorchCounter], ids=["cpu", "torch"])
@pytest.mark.parametrize(
    "sample",
    [
        middling(2500),
        middling(515, dim=3, classes=3),
        two_large_classes(),
        split_roles(middling(2500), overlap=True),
        split_roles(two_large_classes(), overlap=False),
        grouped(two_large_classes()),
        grouped(split_roles(middling(2500), overlap=True)),
    ],
    ids=["several-blocks", "past-a-tile", "large-classes", "overlap", "disjoint", "groups", "group-overlap"],
)
def test_scan_equals_sorting_of_whole_rows(
    sample: Embeddings, counter: Callable[[AllPairs], PairCounter]
) -> None:
    curve, kept = sorted_oracle(sample, tiled_similarities(sample.vectors))
    found = run(sample, counter)
    for name, expected in curve.items():
        assert np.array_equal(getattr(found.curve, name), expected), name
    assert by_image(sample, found) == kept


@pytest.mark.parametrize("dim", [1, 3, 16, 100, 512, 1000])
def test_product_of_two_rows_has_the_same_bits_at_every_position(dim: int) -> None:
    generator = np.random.default_rng(dim)
    rows = oracle.unit(generator.normal(size=(20, dim)))
    product = {}
    for _ in range(3):
        left, right = generator.integers(20, size=(2, 512))
        scores = np.empty((512, 512), np.float32)
        cpu_counter._multiply(
            cpu_counter._Rows(rows[left], None), cpu_counter._Rows(rows[right], None), scores
        )
        for a in range(20):
            for b in range(20):
                found = set(scores[np.ix_(left == a, right == b)].ravel().tolist())
                if found:
                    product.setdefault((min(a, b), max(a, b)), set()).update(found)
    assert {len(each) for each in product.values()} == {1}


@pytest.mark.parametrize("products", PRODUCTS)
def test_number_of_threads_changes_no_bit(products: Products) -> None:
    for sample in (middling(4500, dim=8), split_roles(middling(2500, dim=8), overlap=True)):
        one, two, three = (run(sample, cpu(threads, products), bins=64) for threads in (1, 2, 3))
        assert_same(one, two)
        assert_same(one, three)


@pytest.mark.parametrize("products", PRODUCTS)
def test_torch_and_cpu_counts_are_equal(products: Products) -> None:
    both = split_roles(two_large_classes(), overlap=True)
    for sample in (middling(2500), both, grouped(both)):
        on_cpu = run(sample, cpu(products=products), bins=64, thresholds=[0.125])
        pairs = pairs_of(sample, torch_vectors=True)
        on_torch = scan_pairs(
            pairs, TorchCounter(pairs, products=products), kept, bins=64, thresholds=[0.125]
        )
        assert_same(on_cpu, on_torch)


def test_ranks_of_some_queries_at_a_time_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = split_roles(middling(700), overlap=True)
    before = run(sample, cpu())
    monkeypatch.setattr("mlbench.evaluation.pair_scan._RANKED", 50)
    assert_same(before, run(sample, cpu()))


@pytest.mark.parametrize("size", ["_BLOCK", "_KEPT", "_MANY"])
def test_buffer_sizes_change_no_bit(size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = middling(1300)
    before = run(sample, cpu(), bins=32)
    smaller = {"_BLOCK": cpu_counter.TILE, "_KEPT": cpu_counter.TILE**2, "_MANY": 0}[size]
    monkeypatch.setattr(cpu_counter, size, smaller)
    assert_same(before, run(sample, cpu(), bins=32))


@pytest.mark.parametrize("counter", [cpu(), cpu(threads=2), TorchCounter], ids=["1", "2", "torch"])
@pytest.mark.parametrize("roles", ["mirrored", "overlap"])
def test_short_memory_keeps_ranks_and_counts_at_every_similarity(
    counter: Callable[[AllPairs], PairCounter], roles: str
) -> None:
    sample = middling(1100, classes=40)
    if roles == "overlap":
        sample = split_roles(sample, overlap=True)
    plenty = run(sample, counter, bins=16)
    short = run(sample, counter, bins=16, memory=8 * int(plenty.curve.positives), thresholds=[0.3])
    for name, values in plenty.per_query.items():
        assert np.array_equal(short.per_query[name], values)
    # Thresholds are at most one step apart.
    assert np.diff(short.curve.similarities).max() < 0
    assert np.diff(short.curve.similarities).min() >= -STEP
    assert (short.curve.similarities[0], short.curve.similarities[-1]) == (1, -1)
    assert np.float32(0.3) in short.curve.similarities
    # Includes every threshold of the exact curve with the same counts; the others add no positive.
    known = np.isin(short.curve.similarities, plenty.curve.similarities)
    for name in ("similarities", "true_positives", "false_positives", "ties"):
        assert np.array_equal(getattr(short.curve, name)[known], getattr(plenty.curve, name)), name
    assert not np.diff(short.curve.true_positives, prepend=0)[~known].any()
    for name in ("auroc", "average_precision", "eer"):
        assert getattr(short.curve, name) == pytest.approx(getattr(plenty.curve, name), abs=1e-12)
    assert short.curve.fbeta().max() == plenty.curve.fbeta().max()
    assert short.histograms.positives.sum() == plenty.curve.positives


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_order_of_the_images_changes_nothing(seed: int) -> None:
    generator = np.random.default_rng(seed)
    case = oracle.random_case(generator, most=60)
    if not case.comparable:
        return
    sample = case.embeddings
    order = generator.permutation(len(sample))
    groups = None if sample.groups is None else sample.groups[order]
    roles = sample.queries[order], sample.gallery[order]
    moved = Embeddings(sample.vectors[order], sample.labels[order], *roles, groups=groups)
    one, other = run(sample, cpu()), run(moved, cpu())
    for name in ("similarities", "true_positives", "false_positives", "ties"):
        assert np.array_equal(getattr(one.curve, name), getattr(other.curve, name))
    assert by_image(sample, one) == {int(order[i]): kept for i, kept in by_image(moved, other).items()}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_norms_of_the_vectors_change_nothing(dtype: type) -> None:
    sample = middling(600)
    vectors = sample.vectors.astype(dtype)
    scale = 2.0 ** np.random.default_rng(0).integers(-20, 20, size=(600, 1))
    scaled = Embeddings.of((vectors * scale).astype(dtype), sample.labels)
    assert_same(run(Embeddings.of(vectors, sample.labels), cpu()), run(scaled, cpu()))


@pytest.mark.parametrize("dtype", [np.float16, np.int16])
def test_other_types_are_converted_to_float32(dtype: type) -> None:
    vectors = np.random.default_rng(0).integers(1, 100, size=(600, 8))
    labels = np.arange(600) % 50
    wide = run(Embeddings.of(vectors.astype(np.float32), labels), cpu())
    assert_same(wide, run(Embeddings.of(vectors.astype(dtype), labels), cpu()))


def test_memory_layout_of_the_vectors_changes_nothing() -> None:
    sample = middling(600)
    plain = run(sample, cpu())
    frozen = sample.vectors.copy()
    frozen.setflags(write=False)
    for vectors in (np.asfortranarray(sample.vectors), np.repeat(sample.vectors, 2, 0)[::2], frozen):
        assert_same(plain, run(Embeddings.of(vectors, sample.labels), cpu()))


def test_thresholds_are_exact_and_the_sweep_is_until_it_accepts_every_positive() -> None:
    sample = middling(300, classes=10)
    scores = tiled_similarities(sample.vectors)
    same = sample.labels[:, None] == sample.labels[None]
    off = ~np.eye(300, dtype=bool)
    sweep = on_grid(1 - np.arange(201) / 100).tolist()
    scores = on_grid(scores)
    found = run(sample, cpu(), thresholds=[-0.5, 2.0, 0.25], sweep=sweep).curve
    useful = sum(each > scores[same & off].min() for each in sweep)
    for threshold in (-0.5, 2.0, 0.25, *sweep[: useful + 1]):
        at = found.at(float(np.float32(threshold)))
        assert at.true_positives[0] == (scores[same & off] >= np.float32(threshold)).sum()
        assert at.false_positives[0] == (scores[~same] >= np.float32(threshold)).sum()
    assert found.at(sweep[useful]).true_positives[0] == found.positives


def test_histograms_count_every_pair_from_the_floor_by_class() -> None:
    sample = split_roles(middling(900, classes=20), overlap=True)
    found = run(sample, cpu(), bins=40)
    histograms = found.histograms
    scores = tiled_similarities(sample.vectors)
    pair = sample.queries[:, None] & sample.gallery[None]
    np.fill_diagonal(pair, val=False)
    same = sample.labels[:, None] == sample.labels[None]
    floor, scale = np.float32(histograms.floor), np.float32(1 / histograms.width)
    bins = np.minimum(39, ((scores - floor) * scale).astype(int))
    for at, label in enumerate(found.classes):
        row, column = sample.labels[:, None] == label, sample.labels[None] == label
        reach = pair & (scores >= floor)
        positives = np.bincount(bins[reach & same & row], minlength=40)
        negatives = sum(np.bincount(bins[reach & ~same & side], minlength=40) for side in (row, column))
        assert np.array_equal(histograms.positives[at], positives)
        assert np.array_equal(histograms.negatives[at], negatives)
        assert histograms.all_positives[at] == (pair & same & row).sum()
        assert histograms.all_negatives[at] == (pair & ~same & row).sum() + (pair & ~same & column).sum()


@pytest.mark.parametrize("counter", [cpu(), cpu(threads=2), TorchCounter], ids=["1", "2", "torch"])
def test_progress_rises_to_the_total(counter: Callable[[AllPairs], PairCounter]) -> None:
    told: list[tuple[int, int]] = []
    run(middling(2100, dim=4), counter, progress=lambda done, total: told.append((done, total)))
    assert told
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert {total for _, total in told} == {told[0][1]}
    assert told[-1][0] <= told[0][1]


def test_an_interrupt_ends_every_thread_and_restores_torch() -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    before = torch.get_num_threads(), torch.get_float32_matmul_precision(), threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        run(middling(4500, dim=4), cpu(threads=3), progress=interrupt)
    assert before == (
        torch.get_num_threads(),
        torch.get_float32_matmul_precision(),
        threading.active_count(),
    )


def test_little_memory_means_fewer_threads() -> None:
    pairs = pairs_of(middling(300))
    assert CpuCounter(pairs, threads=8, memory=1)._threads == 1
    assert CpuCounter(pairs, threads=8, memory=1 << 40)._threads == 8
