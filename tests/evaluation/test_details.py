"""Details of an evaluation against double loops over all pairs."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path

import numpy as np
import oracle
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlbench.errors import StoreError
from mlbench.evaluation.all_pairs_evaluation import AllPairsEvaluation, evaluate_all_pairs
from mlbench.evaluation.details import NEAR, Details, changed_queries, read_details, write_details
from mlbench.evaluation.embeddings import Embeddings
from mlbench.evaluation.engine import Engine
from mlbench.evaluation.estimates import BuiltMetric
from mlbench.evaluation.similarity_grid import on_grid
from mlbench.evaluation.threshold import Threshold
from mlbench_metrics.retrieval import Retrieval
from mlbench_metrics.verification import Verification

METRICS = [BuiltMetric.of(Retrieval()), BuiltMetric.of(Verification())]
PLAIN = Engine(resamples=0, threads=1)


def evaluated(
    sample: Embeddings, similarity: float | None = 0.5, engine: Engine = PLAIN
) -> AllPairsEvaluation:
    threshold = Threshold(None if similarity is None else float(on_grid(similarity)))
    generators = np.random.default_rng(0), engine, np.random.default_rng(1)
    return evaluate_all_pairs(sample, threshold, METRICS, *generators)


def details_of(sample: Embeddings, similarity: float | None = 0.5, engine: Engine = PLAIN) -> Details:
    found = evaluated(sample, similarity, engine).details
    assert found is not None
    return found


def noisy(count: int = 60, classes: int = 12, dim: int = 8, seed: int = 0) -> Embeddings:
    generator = np.random.default_rng(seed)
    labels = np.sort(generator.integers(classes, size=count))
    vectors = generator.normal(size=(classes, dim))[labels] + generator.normal(size=(count, dim))
    return Embeddings.of(vectors.astype(np.float32), labels)


def check(case: oracle.Case, found: Details, threshold: float) -> None:
    """Every part of the details of a small case."""
    sample = case.embeddings
    queries = np.flatnonzero(sample.queries)
    assert found.queries.tolist() == queries.tolist()
    rankings = case.rankings()
    ranks = [rankings[query].index(True) + 1 if query in rankings else 0 for query in queries.tolist()]
    assert found.rank.tolist() == ranks
    assert found.right.tolist() == [rank == 1 for rank in ranks]
    check_worst(case, found, dict(zip(queries.tolist(), ranks, strict=True)))
    check_pairs(case, found)
    check_classes(case, found, dict(zip(queries.tolist(), ranks, strict=True)), threshold)
    check_curve(case, found)


def check_worst(case: oracle.Case, found: Details, ranks: dict[int, int]) -> None:
    scores, worst = case.scores, found.worst
    margins = {}
    for query in [each for each, rank in ranks.items() if rank > 1]:
        images = [j for i, j in case.ordered() if i == query]
        right = max(scores[query, j] for j in images if case.same(query, j))
        margins[query] = right - max(scores[query, j] for j in images if not case.same(query, j))
    assert worst.query.tolist() == sorted(margins, key=lambda query: (margins[query], query))
    for at, query in enumerate(worst.query.tolist()):
        order = sorted((-scores[query, j], case.same(query, j)) for i, j in case.ordered() if i == query)[:5]
        inside = worst.nearest[at] >= 0
        assert inside.sum() == len(order)
        assert worst.similarity[at][inside].tolist() == [-score for score, _ in order]
        assert worst.same[at].tolist() == [same for _, same in order] + [False] * (5 - len(order))
        assert len(set(worst.nearest[at][inside].tolist())) == len(order)
        for image, similarity, same in zip(
            worst.nearest[at][inside], worst.similarity[at], worst.same[at], strict=False
        ):
            assert (scores[query, image], case.same(query, image)) == (similarity, same)
            assert (query, image) in set(case.ordered())
        assert np.isnan(worst.similarity[at][~inside]).all()
        right = worst.right[at]
        assert case.same(query, right)
        assert scores[query, right] == worst.right_similarity[at]
        assert worst.right_rank[at] == ranks[query]


def check_pairs(case: oracle.Case, found: Details) -> None:
    once = np.array_equal(case.embeddings.queries, case.embeddings.gallery)
    pairs = [(i, j) for i, j in case.ordered() if i < j or not once]
    for table, same, best_first in (
        (found.hardest_positives, True, False),
        (found.hardest_negatives, False, True),
    ):
        scores = sorted((case.scores[i, j] for i, j in pairs if case.same(i, j) == same), reverse=best_first)
        np.testing.assert_allclose(table.similarity, scores[:100], atol=1e-6)
        assert table.total == len(scores)
    near = sorted(
        (case.scores[i, j] for i, j in pairs if on_grid(case.scores[i, j]) >= NEAR - 1e-5), reverse=True
    )
    assert found.near.total == len(near)
    np.testing.assert_allclose(found.near.similarity, near[:200], atol=1e-6)
    for table in (found.hardest_positives, found.hardest_negatives, found.near):
        listed = list(zip(table.a.tolist(), table.b.tolist(), strict=True))
        assert set(listed) <= set(pairs)
        assert len(set(listed)) == len(listed)
        assert table.same.tolist() == [case.same(i, j) for i, j in listed]
        np.testing.assert_allclose(table.similarity, [case.scores[i, j] for i, j in listed], atol=1e-6)


def check_classes(case: oracle.Case, found: Details, ranks: dict[int, int], threshold: float) -> None:
    sample = case.embeddings
    classes, labels = found.classes, sample.labels
    members = sample.queries | sample.gallery
    assert classes.label.tolist() == np.unique(labels[members]).tolist()
    assert classes.names == tuple(map(str, classes.label))
    for at, label in enumerate(classes.label.tolist()):
        mine = [query for query in ranks if labels[query] == label and ranks[query] > 0]
        assert classes.images[at] == ((labels == label) & members).sum()
        assert classes.queries[at] == len(mine)
        expected = np.mean([ranks[query] == 1 for query in mine]) if mine else np.nan
        assert classes.recall_at_1[at] == pytest.approx(expected, nan_ok=True)
        pairs = [
            (case.same(i, j), on_grid(case.scores[i, j]) >= threshold)
            for i, j in case.ordered()
            if labels[i] == label
        ]
        true, false = pairs.count((True, True)), pairs.count((False, True))
        positives = true + pairs.count((True, False))
        f1 = 2 * true / (true + false + positives) if positives else np.nan
        assert classes.f1[at] == pytest.approx(f1, nan_ok=True)
    wrong = [query for query, rank in ranks.items() if rank > 1]
    count = {
        (a, b): count
        for a, b, count in zip(
            found.confused.a.tolist(), found.confused.b.tolist(), found.confused.count.tolist(), strict=True
        )
    }
    assert sum(count.values()) == len(wrong)
    for query in wrong:
        negatives = [
            (case.scores[query, j], j) for i, j in case.ordered() if i == query and not case.same(i, j)
        ]
        best = max(score for score, _ in negatives)
        nearest = {labels[j] for score, j in negatives if score == best}
        assert any(
            count.get((list(classes.label).index(labels[query]), list(classes.label).index(each)))
            for each in nearest
        )


def check_curve(case: oracle.Case, found: Details) -> None:
    scores, same = case.pairs()
    sweep, histogram = found.sweep, found.histogram
    assert (sweep.positives, sweep.negatives) == (same.sum(), (~same).sum())
    for at, distance in enumerate(sweep.distance):
        accepted = scores >= np.float32(1 - distance)
        assert sweep.true_positives[at] == (accepted & same).sum()
        assert sweep.false_positives[at] == (accepted & ~same).sum()
    assert len(sweep.distance) <= 400
    edges = histogram.edges.copy()
    edges[0], edges[-1] = -3, 3
    assert histogram.positives.tolist() == np.histogram(scores[same], edges)[0].tolist()
    # All queries are sampled, so that nothing is estimated.
    assert histogram.negatives.tolist() == np.histogram(scores[~same], edges)[0].tolist()


@pytest.mark.parametrize(("on_torch", "cases"), [(False, 4), (True, 1)])
def test_details_equal_the_naive_oracle(on_torch: bool, cases: int) -> None:
    @settings(max_examples=20, deadline=None, derandomize=True)
    @given(st.integers(0, 2**32 - 1))
    def holds(seed: int) -> None:
        generator = np.random.default_rng(seed)
        for _ in range(cases):
            case = oracle.random_case(generator)
            if not case.comparable:
                continue
            sample, threshold = case.embeddings, float(on_grid(generator.uniform(-1, 1)))
            if on_torch:
                sample = replace(sample, vectors=torch.from_numpy(np.ascontiguousarray(sample.vectors)))
            check(case, details_of(sample, threshold), threshold)

    holds()


def test_details_agree_with_the_metrics_of_the_record() -> None:
    result = evaluated(noisy(200, 40), 0.6)
    found = result.details
    assert found is not None
    assert found.right[found.rank > 0].mean() == pytest.approx(result.metrics["recall_at_1"].value, abs=1e-15)
    assert np.mean(1 / found.rank[found.rank > 0]) == pytest.approx(result.metrics["mrr"].value)
    assert found.sweep.fitted == pytest.approx(0.4, abs=1e-5)
    (at,) = np.flatnonzero(found.sweep.distance == found.sweep.fitted)
    for name, values in (
        ("f1", found.sweep.f1),
        ("precision", found.sweep.precision),
        ("recall", found.sweep.recall),
    ):
        assert values[at] == result.metrics[name].value, name
    stored = dict(zip(result.sweep["distance"], result.sweep["true_positives"], strict=True))
    for distance, count in stored.items():
        (at,) = np.flatnonzero(np.abs(found.sweep.distance - distance) < 5e-6)
        assert found.sweep.true_positives[at] == count


def test_neither_threads_nor_memory_change_details(tmp_path: Path) -> None:
    sample, path = noisy(700, 90), tmp_path / "details.npz"
    write_details(path, one := details_of(sample))
    whole = path.read_bytes()
    write_details(path, details_of(sample, engine=Engine(resamples=0, threads=2)))
    assert path.read_bytes() == whole
    # With little memory every similarity is a threshold, so that no negative of the histogram is estimated.
    little = details_of(sample, engine=Engine(resamples=0, threads=1, memory=40_000))
    assert (little.histogram.exact_from, little.sampled) == (-1.0, 700)
    assert little.histogram.negatives.sum() == one.histogram.negatives.sum()
    assert_equal(one, replace(little, histogram=one.histogram, sampled=one.sampled))


@pytest.mark.parametrize("kind", ["random", "collapsed", "duplicates"])
def test_tables_of_many_images_are_cut_to_the_worst(kind: str) -> None:
    generator = np.random.default_rng(3)
    sample = noisy(900, 300, dim=6)
    vectors = sample.vectors
    if kind == "collapsed":
        vectors = np.ones_like(vectors)
    if kind == "duplicates":
        vectors = vectors[generator.integers(200, size=900)]
    sample = replace(sample, vectors=vectors)
    found = details_of(sample)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    scores, labels = units @ units.T, sample.labels
    same = labels[:, None] == labels
    np.fill_diagonal(scores, -3)
    right = np.where(same, scores, -2).max(1)
    wrong = np.where(same, -2, scores).max(1)
    margins = np.where(found.rank > 1, right - wrong, np.inf)
    assert len(found.worst.query) == 200
    np.testing.assert_allclose(margins[found.worst.query], np.sort(margins)[:200], atol=1e-6)
    nearest = np.sort(scores, axis=1)[:, :-6:-1]
    np.testing.assert_allclose(found.worst.similarity, nearest[found.worst.query], atol=1e-6)
    above = np.triu(np.ones_like(same), 1)
    for table, expected in (
        (found.hardest_negatives, -np.sort(-scores[above & ~same])[:100]),
        (found.hardest_positives, np.sort(scores[above & same])[:100]),
        (found.near, -np.sort(-scores[above & (on_grid(scores) >= NEAR - 1e-5)])[:200]),
    ):
        np.testing.assert_allclose(table.similarity, expected, atol=1e-6)
        np.testing.assert_allclose(scores[table.a, table.b], table.similarity, atol=1e-6)
        assert (table.a < table.b).all()
        assert np.array_equal(labels[table.a] == labels[table.b], table.same)
        assert len(set(zip(table.a.tolist(), table.b.tolist(), strict=True))) == len(table)
    assert found.near.total == (above & (on_grid(scores) >= NEAR - 1e-5)).sum()
    assert len(found.confused) == 100
    assert (np.diff(found.confused.count) <= 0).all()


def test_a_histogram_of_many_images_is_estimated_below_the_positives_alone() -> None:
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(300), 3)
    vectors = generator.normal(size=(300, 32))[labels] + 0.2 * generator.normal(size=(900, 32))
    found = details_of(Embeddings.of(vectors.astype(np.float32), labels))
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    negatives = (units @ units.T)[labels[:, None] != labels]
    exact = np.histogram(negatives, found.histogram.edges)[0]
    part = found.histogram.edges[:-1] >= found.histogram.exact_from
    assert 0 < part.sum() < 30
    assert found.sampled == 112
    assert np.abs(found.histogram.negatives - exact)[part].max() <= 2  # scores at an edge, in float64 here
    assert found.histogram.negatives.sum() == len(negatives) == found.sweep.negatives
    assert np.abs(found.histogram.negatives - exact).sum() < 0.05 * len(negatives)
    assert found.histogram.positives.sum() == found.sweep.positives


@pytest.mark.parametrize(("dim", "reduced"), [(2, False), (40, False), (600, True)])
def test_a_map_has_the_principal_components(dim: int, reduced: bool) -> None:
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(2100, dim)).astype(np.float32)
    vectors[:, 1] *= 3
    sample = Embeddings.of(vectors, np.arange(2100) // 2)
    found = details_of(sample).map
    assert (len(found), found.reduced) == (2000, reduced)
    assert (np.diff(found.index) > 0).all()
    assert np.array_equal(found.label, sample.labels[found.index])
    units = vectors[found.index] / np.linalg.norm(vectors[found.index], axis=1, keepdims=True)
    centred = (units - units.mean(0)).astype(np.float64)
    _, values, directions = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(found.explained, values[:2] ** 2 / (values**2).sum(), atol=1e-4)
    for axis, column in enumerate((found.x, found.y)):
        expected = centred @ directions[axis]
        np.testing.assert_allclose(np.abs(column), np.abs(expected), atol=1e-3)
    assert found.vectors.nbytes <= 2 << 20
    if not reduced:
        np.testing.assert_allclose(found.vectors, units, atol=1e-3)


def test_a_map_of_collapsed_embeddings_is_one_point() -> None:
    found = details_of(Embeddings.of(np.ones((8, 300), np.float32), np.arange(8) // 2)).map
    assert not np.any([found.x, found.y])
    assert not found.explained.any()


def assert_equal(one: object, other: object) -> None:
    for field in dataclasses.fields(one):  # type: ignore[arg-type]
        a, b = getattr(one, field.name), getattr(other, field.name)
        if dataclasses.is_dataclass(a):
            assert_equal(a, b)
        elif isinstance(a, np.ndarray):
            assert a.dtype == b.dtype, field.name
            np.testing.assert_array_equal(a, b)
        else:
            assert a == b, field.name


def test_details_are_read_as_they_were_written(tmp_path: Path) -> None:
    found = details_of(noisy()).named("test", 60, "test", [f"Kläß {at}" for at in range(12)])
    write_details(tmp_path / "details.npz", found)
    assert_equal(found, read_details(tmp_path / "details.npz"))
    assert read_details(tmp_path / "none.npz") is None


def test_a_damaged_or_newer_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "details.npz"
    found = details_of(noisy())
    write_details(path, found)
    data = path.read_bytes()
    for damaged in (
        b"",
        b"nothing",
        data[:-30],
        data[: len(data) // 2],
        data[:200] + b"\0" * 50 + data[250:],
    ):
        path.write_bytes(damaged)
        with pytest.raises(StoreError, match=r"details\.npz: cannot be read as details"):
            read_details(path)
    write_details(path, replace(found, rank=found.rank[1:]))
    with pytest.raises(StoreError, match="queries has columns of different lengths"):
        read_details(path)
    monkeypatch.setattr("mlbench.evaluation.details._VERSION", 2)
    write_details(path, found)
    monkeypatch.undo()
    with pytest.raises(StoreError, match="details of version 2, made by a newer mlbench"):
        read_details(path)


def test_changed_queries() -> None:
    found = details_of(noisy(8, 2))
    a = replace(found, queries=np.arange(6, dtype=np.int32), rank=np.array([1, 1, 2, 4, 0, 1]))
    b = replace(found, queries=np.arange(1, 7, dtype=np.int32), rank=np.array([3, 1, 2, 1, 1, 1]))
    changed = changed_queries(a, b)
    assert changed.became_wrong.tolist() == [1]
    assert changed.became_right.tolist() == [2]
    assert changed.compared == 4
