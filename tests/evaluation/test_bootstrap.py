from __future__ import annotations

import numpy as np
import oracle
import pytest

from mlbench.evaluation.all_pairs import AllPairs
from mlbench.evaluation.bootstrap import Bootstrap
from mlbench.evaluation.class_histograms import ClassHistograms
from mlbench.evaluation.cpu_counter import CpuCounter
from mlbench.evaluation.curve import Curve
from mlbench.evaluation.embeddings import Embeddings
from mlbench.evaluation.pair_scan import scan_pairs


def bootstrap(classes: int, resamples: int = 300, seed: int = 0, level: float = 0.95) -> Bootstrap:
    return Bootstrap(classes, resamples, level, np.random.default_rng(seed))


def drawn(source: Bootstrap) -> np.ndarray:
    return np.concatenate(list(source.weights()))


def clustered(generator: np.random.Generator, classes: int, images: int, spread: float = 0.7) -> Embeddings:
    centres = generator.normal(size=(classes, 8))
    vectors = np.repeat(centres, images, 0) + spread * generator.normal(size=(classes * images, 8))
    return Embeddings.of(vectors, np.repeat(np.arange(classes), images))


def histograms_of(
    sample: Embeddings, bins: int = 256, thresholds: tuple[float, ...] = ()
) -> tuple[Curve, ClassHistograms]:
    pairs = AllPairs.of(sample)
    counter = CpuCounter(pairs, threads=1)
    found = scan_pairs(pairs, counter, lambda ranks: {}, bins=bins, thresholds=thresholds)
    assert found.histograms is not None
    return found.curve, found.histograms


def test_weights_of_a_resample_sum_to_the_number_of_classes() -> None:
    weights = drawn(bootstrap(classes=7, resamples=1000))
    assert weights.shape == (1000, 7)
    assert (weights.sum(1) == 7).all()
    assert weights.mean(0) == pytest.approx(1, abs=0.12)
    assert weights.var() == pytest.approx(6 / 7, abs=0.05)


def test_weights_are_the_same_at_every_call_and_follow_the_seed() -> None:
    source = bootstrap(5, seed=1)
    first = drawn(source)
    assert np.array_equal(first, drawn(source))
    assert np.array_equal(first, drawn(bootstrap(5, seed=1)))
    assert not np.array_equal(first, drawn(bootstrap(5, seed=2)))


def test_fewer_resamples_are_drawn_together_with_many_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    one = drawn(bootstrap(40, resamples=130))
    monkeypatch.setattr("mlbench.evaluation.bootstrap._DRAWN", 90)
    source = bootstrap(40, resamples=130)
    assert max(map(len, source.weights())) == 2
    assert np.array_equal(one, drawn(source))


def test_means_are_over_the_queries_of_the_drawn_classes() -> None:
    generator = np.random.default_rng(0)
    classes = np.sort(generator.integers(6, size=40))
    classes[classes == 2] = 3  # a class without a query
    values = generator.random((40, 2))
    source = bootstrap(6, resamples=200)
    found = source.means(values, classes)
    for resample, weights in zip(found, drawn(source), strict=True):
        sample = np.concatenate([np.repeat(values[classes == c], int(weights[c]), 0) for c in range(6)])
        assert resample == pytest.approx(sample.mean(0), abs=1e-12)


def test_means_of_a_resample_without_a_query_are_left_out_of_the_interval() -> None:
    source = bootstrap(2, resamples=100)
    means = source.means(np.array([[0.25], [0.75]]), np.array([0, 0]))
    assert np.isnan(means).any()
    assert source.interval(0.5, 0.5, means[:, 0]) == (0.5, 0.5)


def test_interval_shifts_percentiles_from_the_centre_to_the_value() -> None:
    resampled = np.linspace(0, 1, 1001)
    assert bootstrap(2, level=0.9).interval(0.55, 0.5, resampled) == pytest.approx((0.1, 1.0))
    assert bootstrap(2, level=0.5).interval(0.5, 0.5, resampled) == pytest.approx((0.25, 0.75))


def test_interval_stays_within_the_range_of_resamples_and_value() -> None:
    resampled = np.linspace(0.8, 1, 101)
    for value, expected in ((1.0, (0.91, 1.0)), (0.6, (0.6, 0.69)), (1.2, (1.11, 1.2))):
        assert bootstrap(2, level=0.9).interval(value, 0.9, resampled) == pytest.approx(expected)


def test_curve_of_histograms_is_exact_at_the_edges_of_the_bins() -> None:
    sample = clustered(np.random.default_rng(0), 25, 4)
    roles = np.random.default_rng(1).random((2, 100)) < 0.7
    for each in (sample, Embeddings(sample.vectors, sample.labels, *roles)):
        curve, histograms = histograms_of(each, bins=50)
        binned = histograms.curve()
        scores, same = oracle.Case(each, oracle.similarities(each.vectors)).pairs()
        assert (binned.positives, binned.negatives) == (same.sum(), (~same).sum())
        # The lowest edge is the lowest positive; the others lie between scores.
        edges = binned.similarities[:-1]
        for accepted, members in ((binned.true_positives[0], same), (binned.false_positives[0], ~same)):
            assert accepted[:-1].tolist() == [(scores[members] >= edge).sum() for edge in edges]
        assert binned.true_positives[0, -1] == curve.true_positives[-1]
        assert binned.false_positives[0, -1] == curve.false_positives[-1]


def test_weighted_counts_are_the_first_order_projection() -> None:
    # Classes a, b, c with 4, 6, 10 negative pairs between a-b, a-c, b-c (both orders), in one bin.
    positives = np.array([[2.0], [6.0], [0.0]])
    negatives = np.array([[4.0 + 6], [4 + 10], [6 + 10]])
    histograms = ClassHistograms(0.0, 0.5, positives, negatives, positives[:, 0], negatives[:, 0])
    weights = np.array([[1, 1, 1], [2, 1, 0], [0, 2, 1], [3, 0, 0]], float)
    found = histograms.curve(weights)
    assert found.true_positives[:, 0].tolist() == [8, 2 * 2 + 6, 2 * 6, 3 * 2]
    # 20 + (w - 1) . n, at least 0.
    assert found.false_positives[:, 0].tolist() == [20, 20 + 10 - 16, 20 - 10 + 14, max(20 + 20 - 14 - 16, 0)]
    assert (found.negatives == found.false_positives[:, 0]).all()


def brute_force(sample: Embeddings, weights: np.ndarray, threshold: float) -> np.ndarray:
    """F1 at the threshold, AUROC, and TPR at FPR .01 of one resample, (3,), counting every pair as often as
    its two classes were drawn."""
    scores = oracle.similarities(sample.vectors)
    upper = np.triu_indices(len(sample), 1)
    a, b = sample.labels[upper[0]], sample.labels[upper[1]]
    score, same = scores[upper], a == b
    often = np.where(same, weights[a], weights[a] * weights[b])
    order = np.argsort(-score)
    score, true, false = score[order], np.where(same, often, 0)[order], np.where(same, 0, often)[order]
    accepted, alarms = np.cumsum(true), np.cumsum(false)
    reach = score >= threshold
    positives, negatives = accepted[-1], alarms[-1]
    tp, fp = true[reach].sum(), false[reach].sum()
    auroc = (true * (negatives - alarms)).sum() / (positives * negatives)
    within = alarms <= 0.01 * negatives
    return np.array([2 * tp / (tp + fp + positives), auroc, accepted[within].max() / positives])


def of_curve(curve: Curve, threshold: float) -> np.ndarray:
    return np.stack([curve.at(threshold).fbeta()[..., 0], curve.auroc, curve.tpr_at_fpr(0.01)], -1)


@pytest.mark.parametrize(("classes", "images", "seed"), [(40, 5, 0), (30, 4, 1), (80, 2, 2), (150, 3, 3)])
@pytest.mark.parametrize("threshold", [0.6, 0.8])
def test_intervals_are_close_to_brute_force(classes: int, images: int, seed: int, threshold: float) -> None:
    """Ends of intervals from the same resamples differ from brute force by at most a tenth of the interval's
    width for AUROC and a fifth for the others. Brute force for F1 counts a share of 1 / classes too few
    negatives (a class is never compared with its copy), and TPR at an FPR moves in steps."""
    sample = clustered(np.random.default_rng(seed), classes, images)
    threshold = float(np.float32(threshold))
    curve, histograms = histograms_of(sample, thresholds=(threshold,))
    source = bootstrap(classes, resamples=400)
    centre = of_curve(histograms.curve(), threshold)[0]
    found = np.concatenate([of_curve(each, threshold) for each in source.curves(histograms)])
    naive = np.array([brute_force(sample, weights, threshold) for weights in drawn(source)])
    exact = of_curve(curve, threshold)
    assert exact == pytest.approx(brute_force(sample, np.ones(classes), threshold), abs=1e-6)
    for at, tolerance in enumerate((0.2, 0.1, 0.2)):
        ends = source.interval(exact[at], centre[at], found[:, at])
        expected = source.interval(exact[at], exact[at], naive[:, at])
        width = expected[1] - expected[0]
        assert ends == pytest.approx(expected, abs=tolerance * width), at


def test_intervals_widen_with_the_level_and_repeat_with_the_seed() -> None:
    sample = clustered(np.random.default_rng(0), 30, 3)
    _, histograms = histograms_of(sample)
    found = []
    for level in (0.5, 0.9, 0.99):
        source = bootstrap(30, level=level)
        auroc = np.concatenate([each.auroc for each in source.curves(histograms)])
        again = np.concatenate([each.auroc for each in bootstrap(30, level=level).curves(histograms)])
        assert np.array_equal(auroc, again)
        found.append(source.interval(0.9, 0.9, auroc))
    assert found[2][0] < found[1][0] < found[0][0] < found[0][1] < found[1][1] < found[2][1]


def test_intervals_cover_the_truth_at_about_their_level() -> None:
    """At least 85 % of the 95 % intervals of 60 data sets with 60 classes each contain the overall mean."""
    generator = np.random.default_rng(0)
    values, intervals = [], []
    for _ in range(60):
        curve, histograms = histograms_of(clustered(generator, 60, 3), thresholds=(0.625,))
        source = bootstrap(60, resamples=200)
        centre = of_curve(histograms.curve(), 0.625)[0]
        found = np.concatenate([of_curve(each, 0.625) for each in source.curves(histograms)])
        values.append(of_curve(curve, 0.625))
        intervals.append([source.interval(values[-1][at], centre[at], found[:, at]) for at in range(3)])
    truth = np.mean(values, 0)
    low, high = np.moveaxis(np.array(intervals), -1, 0)
    covered = ((low <= truth) & (truth <= high)).mean(0)
    assert (covered >= 0.85).all(), covered
    # The intervals are not uselessly wide.
    assert (np.mean(high - low, 0) < 8 * np.std(values, 0)).all()
