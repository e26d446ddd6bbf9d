from __future__ import annotations

import itertools
import json
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import oracle
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN
from sklearn.metrics import average_precision_score, roc_auc_score

from mlbench.contracts import Quantity, Target
from mlbench.errors import ComponentError, DataError
from mlbench.evaluation.all_pairs_evaluation import AllPairsEvaluation, evaluate_all_pairs
from mlbench.evaluation.calibration import fit_threshold
from mlbench.evaluation.embeddings import Embeddings
from mlbench.evaluation.engine import Engine, verification_curve
from mlbench.evaluation.estimates import BuiltMetric
from mlbench.evaluation.similarity_grid import STEP, on_grid
from mlbench.evaluation.threshold import Threshold
from mlbench_metrics.retrieval import Retrieval
from mlbench_metrics.thresholds import BestF1, FprAtMost
from mlbench_metrics.verification import Verification

METRICS = [BuiltMetric.of(Retrieval()), BuiltMetric.of(Verification())]
PLAIN = Engine(resamples=0, threads=1)


def judge(
    sample: Embeddings, similarity: float | None = None, engine: Engine = PLAIN, seed: int = 0
) -> AllPairsEvaluation:
    threshold = Threshold(similarity, "" if similarity is not None else "none was asked for")
    return evaluate_all_pairs(sample, threshold, METRICS, np.random.default_rng(seed), engine)


def values(found: AllPairsEvaluation) -> dict[str, float | None]:
    return {name: estimate.value for name, estimate in found.metrics.items()}


def angles(*degrees: float) -> np.ndarray:
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], 1)


def clustered(seed: int = 0, classes: int = 40, images: int = 4, dim: int = 8) -> Embeddings:
    generator = np.random.default_rng(seed)
    centres = np.repeat(generator.normal(size=(classes, dim)), images, 0)
    vectors = centres + 0.7 * generator.normal(size=centres.shape)
    return Embeddings.of(vectors.astype(np.float32), np.repeat(np.arange(classes), images))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_every_metric_equals_the_naive_oracle_and_scikit_learn(seed: int) -> None:
    generator = np.random.default_rng(seed)
    for _ in range(15):
        case = oracle.random_case(generator)
        if not case.comparable:
            with pytest.raises(DataError):
                judge(case.embeddings)
            continue
        scores, same = case.pairs()
        threshold = float(generator.choice([*scores, np.float32(generator.uniform(-1, 1))]))
        found = judge(case.embeddings, threshold)
        rankings = [oracle.of_ranking(each) for each in case.rankings().values()]
        expected = {name: np.mean([each[name] for each in rankings]) for name in rankings[0]}
        true, false = (int((members & (scores >= threshold)).sum()) for members in (same, ~same))
        positives, negatives = int(same.sum()), int((~same).sum())
        points = oracle.operating_points(scores, same)
        f1 = oracle.fbeta(true, false, positives)
        best = max(oracle.fbeta(t, f, positives) for _, t, f in points)
        expected |= {
            "precision": true / max(true + false, 1),
            "recall": true / positives,
            "accuracy": (true + negatives - false) / len(same),
            "f1": f1,
            "f0.5": oracle.fbeta(true, false, positives, 0.5),
            "f1_optimistic": best,
            "f1_gap": best - f1,
            "threshold": 1 - threshold,
            "auroc": roc_auc_score(same, scores),
            "average_precision": average_precision_score(same, scores),
        }
        # One order of each pair is enough.
        data = case.embeddings
        both = np.flatnonzero(data.queries & data.gallery)
        twice = sum(data.labels[a] != data.labels[b] for a, b in itertools.combinations(both, 2))
        if negatives - twice >= 10:
            within = [t for _, t, f in points if f <= negatives / 10]
            expected["tpr_at_fpr_1e-1"] = max(within, default=0) / positives
        else:
            assert found.metrics["tpr_at_fpr_1e-1"].note.startswith("not resolvable")
        assert {name: found.metrics[name].value for name in expected} == pytest.approx(expected, abs=1e-12)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_intervals_of_tiny_sets_are_finite_and_contain_the_value(seed: int) -> None:
    """Some resamples have no positive or no negative pair; a warning would be an error."""
    generator = np.random.default_rng(seed)
    engine = Engine(resamples=20, threads=1)
    for _ in range(3):
        case = oracle.random_case(generator, most=8)
        if case.comparable:
            for estimate in judge(case.embeddings, 0.5, engine, seed % 100).metrics.values():
                if estimate.low is not None:
                    assert np.isfinite([estimate.low, estimate.high]).all()
                    assert estimate.low <= estimate.high


def with_pml(sample: Embeddings) -> Mapping[str, float]:
    calculator = AccuracyCalculator(
        include=(
            "precision_at_1",
            "r_precision",
            "mean_average_precision",
            "mean_average_precision_at_r",
            "mean_reciprocal_rank",
        ),
        device=torch.device("cpu"),
        knn_func=CustomKNN(CosineSimilarity()),
        kmeans_func=lambda *_: None,  # the default needs faiss, for metrics that are not used here
    )
    vectors, labels = torch.from_numpy(sample.vectors), torch.from_numpy(sample.labels)
    queries, gallery = torch.from_numpy(sample.queries), torch.from_numpy(sample.gallery)
    if sample.queries.all() and sample.gallery.all():
        return calculator.get_accuracy(vectors, labels)
    return calculator.get_accuracy(vectors[queries], labels[queries], vectors[gallery], labels[gallery])


@pytest.mark.parametrize("roles", ["all", "disjoint"])
@pytest.mark.parametrize("seed", range(4))
def test_retrieval_equals_pytorch_metric_learning(seed: int, roles: str) -> None:
    generator = np.random.default_rng(seed)
    labels = generator.integers(30, size=250)  # of different sizes, some with a single image
    labels[:5] = 100 + np.arange(5)
    vectors = (generator.normal(size=(131, 12))[labels] + generator.normal(size=(250, 12))).astype(np.float32)
    sample = Embeddings.of(vectors, labels)
    if roles == "disjoint":
        queries = generator.random(250) < 0.4
        sample = Embeddings(vectors, labels, queries, ~queries)
    found, theirs = values(judge(sample)), with_pml(sample)
    assert found["recall_at_1"] == pytest.approx(theirs["precision_at_1"], abs=1e-9)
    assert found["r_precision"] == pytest.approx(theirs["r_precision"], abs=1e-9)
    assert found["map_at_r"] == pytest.approx(theirs["mean_average_precision_at_r"], abs=1e-9)
    assert found["map"] == pytest.approx(theirs["mean_average_precision"], abs=1e-9)
    assert found["mrr"] == pytest.approx(theirs["mean_reciprocal_rank"], abs=1e-6)  # float32


def test_collapsed_embeddings_retrieve_nothing_and_have_auroc_one_half() -> None:
    generator = np.random.default_rng(0)
    vectors = np.repeat(generator.normal(size=(1, 33)), 60, axis=0).astype(np.float32)
    found = values(judge(Embeddings.of(vectors, np.arange(60) // 3), 0.5))
    assert [found[name] for name in ("recall_at_1", "recall_at_10", "map_at_r", "r_precision")] == [0] * 4
    assert (found["auroc"], found["eer"]) == (0.5, 0.5)
    assert (found["recall"], found["precision"]) == (1, pytest.approx(2 / 59))
    notes = judge(Embeddings.of(vectors, np.arange(60) // 3, "mine"), 0.5).notes
    assert [note[:46] for note in notes] == ["the embeddings of mine are almost one point: t"]
    assert judge(clustered(), 0.5).notes == []


def test_the_threshold_of_calibration_is_scored_on_test() -> None:
    # Calibration: positives at 10 degrees, the nearest negative at 40. Test: positives at 20 degrees
    # (missed by a threshold of 10), negatives far away.
    calibration = Embeddings.of(angles(0, 10, 50, 60), [0, 0, 1, 1])
    test = Embeddings.of(angles(0, 20, 90, 110), [0, 0, 1, 1])
    threshold = fit_threshold(BestF1(), verification_curve(calibration, PLAIN))
    assert threshold.distance == pytest.approx(1 - np.cos(np.deg2rad(10)), abs=STEP)
    found = judge(test, threshold.similarity)
    assert found.metrics["f1"].value == 0
    assert found.metrics["f1_optimistic"].value == 1
    assert found.metrics["f1_gap"].value == 1
    at = found.metrics["f1_optimistic_threshold"].value
    assert at == pytest.approx(1 - np.cos(np.deg2rad(20)), abs=STEP)
    assert found.metrics["recall_at_1"].value == 1
    assert found.plain()["threshold"] == {"distance": threshold.distance, "note": ""}


def test_a_threshold_fitted_on_the_same_pairs_equals_the_optimistic_one() -> None:
    for seed in range(5):
        sample = clustered(seed)
        threshold = fit_threshold(BestF1(), verification_curve(sample, PLAIN))
        found = values(judge(sample, threshold.similarity))
        assert found["f1"] == found["f1_optimistic"] > 0
        assert found["f1_gap"] == 0
        assert found["threshold"] == found["f1_optimistic_threshold"]


def test_without_a_threshold_values_are_missing_with_a_note() -> None:
    sample = clustered()
    threshold = fit_threshold(FprAtMost(fpr=1e-6), verification_curve(sample, PLAIN))
    assert threshold == Threshold(
        None,
        "a false positive rate of 1e-06 needs 1,000,000 negative pairs; the calibration split has 12,480",
        target=Target("fpr", 1e-6, at_most=True),
    )
    assert threshold.distance is None
    found = evaluate_all_pairs(sample, threshold, METRICS, np.random.default_rng(0), PLAIN)
    assert found.metrics["threshold"] == threshold.estimate
    assert (threshold.estimate.value, threshold.estimate.note) == (None, threshold.note)
    for name in ("f1", "f0.5", "precision", "recall", "accuracy", "f1_gap"):
        assert found.metrics[name].value is None
        assert found.metrics[name].note == "no threshold was fitted"
    assert found.metrics["f1_optimistic"].value > 0
    assert found.notes == [f"no threshold: {threshold.note}"]
    assert found.plain()["threshold"] == threshold.plain()
    assert threshold.plain() == {
        "distance": None,
        "note": threshold.note,
        "target": {"quantity": "fpr", "value": 1e-6, "at_most": True},
    }


def test_a_fitted_threshold_is_rounded_to_the_grid() -> None:
    assert fit_threshold(lambda curve: 0.1, None).similarity == float(on_grid(0.1))


def test_a_rate_with_too_few_negatives_has_no_value() -> None:
    # 24 images of 12 classes: 24 x 22 / 2 = 264 different negative pairs.
    found = judge(clustered(classes=12, images=2)).metrics
    for rate in ("1e-5", "1e-4", "1e-3"):
        for name in ("tpr_at_fpr", "fnmr_at_fmr", "threshold_at_fpr"):
            assert found[f"{name}_{rate}"].value is None
    assert found["tpr_at_fpr_1e-3"].note == "not resolvable: 264 different negative pairs, 1,000 needed"
    for rate in ("1e-2", "1e-1"):
        assert found[f"tpr_at_fpr_{rate}"].value is not None


def label_images() -> Embeddings:
    """As many photos and labels as in the published study, in families of similar labels."""
    generator = np.random.default_rng(0)
    family = np.repeat(generator.normal(size=(28, 16)), 4, 0)
    label = np.repeat(family + 0.5 * generator.normal(size=(112, 16)), 5, 0)
    vectors = label + 0.4 * generator.normal(size=label.shape)
    return Embeddings.of(vectors.astype(np.float32), np.repeat(np.arange(112), 5))


def test_counts_of_ordered_pairs_equal_the_published_study_and_are_even() -> None:
    found = judge(label_images())
    assert (found.facts["positive_pairs"], found.facts["negative_pairs"]) == (2240, 310_800)
    for counts in (found.curve.true_positives, found.curve.false_positives, found.curve.ties):
        assert not (counts % 2).any()
    for column in ("true_positives", "false_positives"):
        assert not any(count % 2 for count in found.sweep[column])


@pytest.mark.parametrize("similarity", [None, -0.75])
def test_sweep_is_exact_in_steps_of_a_hundredth(similarity: float | None) -> None:
    sample = clustered(dim=3)
    scores = on_grid(oracle.similarities(sample.vectors))
    np.fill_diagonal(scores, -9)
    same = sample.labels[:, None] == sample.labels[None]
    sweep = judge(sample, similarity).sweep
    for distance, true, false in zip(*sweep.values(), strict=True):
        reach = scores >= on_grid(1 - distance)
        assert (true, false) == ((reach & same).sum(), (reach & ~same).sum())
    assert sweep["distance"] == [step / 100 for step in range(len(sweep["distance"]))]
    assert sweep["true_positives"][-2] < sweep["true_positives"][-1] == 480


def test_sweep_ends_when_every_positive_pair_is_accepted() -> None:
    # Positives are at most 10 degrees apart, 1 - cos = .0152; negatives at least 80.
    found = judge(Embeddings.of(angles(0, 10, 90, 95), [0, 0, 1, 1]))
    assert found.sweep == {
        "distance": [0, 0.01, 0.02],
        "true_positives": [0, 2, 4],
        "false_positives": [0, 0, 0],
    }


def test_facts_count_images_and_pairs() -> None:
    labels = np.array([0, 0, 0, 1, 2, 2, 3])
    vectors = np.random.default_rng(0).normal(size=(7, 4))
    everyone = judge(Embeddings.of(vectors, labels))
    expected = {
        "images": 7,
        "classes": 4,
        "single_image_classes": 2,
        "queries": 7,
        "queries_without_positive": 2,
        "gallery": 7,
        "positive_pairs": 8,
        "negative_pairs": 34,
        "threshold_resolution": STEP,
        "products": "float32",
    }
    assert {name: everyone.facts[name] for name in expected} == expected
    assert "intervals" not in everyone.facts
    assert everyone.notes[0].startswith("2 of 7 queries have no other image of their class")
    queries = np.array([1, 0, 0, 1, 1, 0, 0], bool)
    gallery = np.array([0, 1, 1, 0, 0, 1, 0], bool)
    split = judge(Embeddings(vectors, labels, queries, gallery)).facts
    names = ("images", "classes", "queries", "queries_without_positive", "gallery", "positive_pairs")
    assert [split[name] for name in names] == [6, 3, 3, 1, 3, 3]
    assert split["negative_pairs"] == 6


def test_values_by_class_are_means_over_queries() -> None:
    generator = np.random.default_rng(3)
    case = oracle.random_case(generator, most=40)
    while not case.comparable or len(case.embeddings) < 20:
        case = oracle.random_case(generator, most=40)
    found = judge(case.embeddings)
    rankings = case.rankings()
    for at, label in enumerate(found.classes):
        own = [
            oracle.of_ranking(relevant)
            for query, relevant in rankings.items()
            if case.embeddings.labels[query] == label
        ]
        assert found.queries_by_class[at] == len(own)
        for name, by_class in found.by_class.items():
            if own:
                assert by_class[at] == pytest.approx(np.mean([each[name] for each in own]))
            else:
                assert np.isnan(by_class[at])


def test_intervals_are_deterministic_by_seed_and_widen_with_the_level() -> None:
    sample = clustered(classes=60)
    narrow, again, other, wide = (
        judge(sample, 0.6, Engine(resamples=300, level=level, threads=threads), seed).metrics
        for level, seed, threads in ((0.8, 0, 1), (0.8, 0, 2), (0.8, 1, 1), (0.99, 0, 1))
    )
    assert narrow == again
    assert narrow != other
    headline = ("recall_at_1", "map_at_r", "mrr", "f1", "precision", "recall", "auroc", "eer")
    for name in (*headline, "average_precision", "f1_optimistic", "tpr_at_fpr_1e-2", "fnmr_at_fmr_1e-2"):
        assert wide[name].low < narrow[name].low < narrow[name].value < narrow[name].high < wide[name].high
    assert narrow["threshold"].low is None
    assert judge(sample, 0.6).metrics["f1"].low is None


def test_record_states_method_level_and_resamples() -> None:
    facts = judge(clustered(), 0.5, Engine(resamples=10, level=0.9, threads=1)).facts
    assert facts["intervals"] == {
        "method": "bootstrap over classes, first-order projection for pairs",
        "level": 0.9,
        "resamples": 10,
    }
    assert json.loads(json.dumps(facts)) == facts


@pytest.mark.parametrize("products", ["float32", "tf32", "bf16"])
def test_tensors_and_arrays_have_the_same_metrics(products: str) -> None:
    sample = clustered()
    engine = Engine(products=products, resamples=20, threads=1)
    tensors = replace(sample, vectors=torch.from_numpy(sample.vectors))
    one, other = judge(sample, 0.5, engine), judge(tensors, 0.5, engine)
    assert one.metrics == other.metrics
    assert one.plain() == other.plain()


def test_facts_state_the_error_of_rounded_products() -> None:
    sample = clustered()
    rows = oracle.unit(sample.vectors)
    exact = rows.astype(np.float64) @ rows.astype(np.float64).T
    worst = {}
    for products in ("float32", "tf32", "bf16"):
        facts = judge(sample, 0.5, replace(PLAIN, products=products)).facts
        worst[products] = facts.get("products_difference", 0.0)
    coarse = torch.from_numpy(rows).bfloat16().double().numpy()
    coarse /= np.linalg.norm(coarse, axis=1, keepdims=True)
    assert worst["float32"] == 0
    assert worst["bf16"] == pytest.approx(np.abs(coarse @ coarse.T - exact).max(), rel=1e-3)
    assert 0 < worst["tf32"] < worst["bf16"] / 4
    assert worst["bf16"] < 2**-7


def test_units_and_directions_are_as_announced() -> None:
    found = judge(clustered(), 0.5).metrics
    assert list(found) == ["threshold", *(name for each in METRICS for name in each.quantities)]
    assert (found["threshold"].unit, found["threshold"].higher_is_better) == ("distance", None)
    assert found["eer"].higher_is_better is False
    assert found["recall_at_1"].higher_is_better is True
    headings = {name: (each.heading, each.headline) for name, each in found.items() if each.heading}
    assert headings == {
        "threshold": ("at distance", False),
        "recall_at_1": ("Recall@1", True),
        "map_at_r": ("MAP@R", False),
        "f1": ("F1", True),
        "precision": ("precision", False),
        "recall": ("recall", False),
        "f1_optimistic": ("F1 optimistic", False),
    }


class Ranked:
    def per_query(self, ranks):
        return {"found": np.ones(len(ranks.counts))}


class Curved:
    def of_curve(self, curve, threshold):
        return {"found": curve.auroc}


class Spread:
    def of_embeddings(self, embeddings):
        return {"found": float(np.asarray(embeddings.vectors).std()), "text": "nothing to see"}


def test_a_metric_of_the_embeddings_has_a_value_or_a_note() -> None:
    sample = clustered()
    built = BuiltMetric(Spread(), {"found": Quantity("spread"), "text": Quantity("none")})
    found = evaluate_all_pairs(sample, Threshold(None), [built], np.random.default_rng(0), Engine(threads=1))
    assert found.metrics["found"].value == pytest.approx(sample.vectors.std())
    assert (found.metrics["text"].value, found.metrics["text"].note) == (None, "nothing to see")
    assert found.metrics["found"].low is None


@pytest.mark.parametrize("announced", [[], ["found", "more"], ["other"]])
@pytest.mark.parametrize("metric", [Ranked(), Curved(), Spread()])
def test_a_metric_must_measure_what_it_announces(metric, announced) -> None:
    built = BuiltMetric(metric, {name: Quantity("something") for name in announced})
    with pytest.raises(ComponentError) as raised:
        evaluate_all_pairs(
            clustered(), Threshold(None), [built], np.random.default_rng(0), Engine(resamples=5)
        )
    assert "return the quantities that they announce" in str(raised.value)
    assert "found" in str(raised.value) or "more" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_missing(value: float) -> None:
    class Odd:
        def of_curve(self, curve, threshold):
            return {"odd": value}

    built = BuiltMetric(Odd(), {"odd": Quantity("odd")})
    found = evaluate_all_pairs(clustered(), Threshold(None), [built], np.random.default_rng(0), PLAIN)
    assert (found.metrics["odd"].value, found.metrics["odd"].note) == (None, "not a number")


@pytest.mark.parametrize(
    "value", [None, np.zeros(3), [1.0], object(), 1j], ids=lambda value: type(value).__name__
)
def test_a_value_that_is_not_a_number_is_an_error_that_names_the_metric(value: object) -> None:
    class OfCurve:
        def of_curve(self, curve, threshold):
            return {"odd": value}

    class OfEmbeddings:
        def of_embeddings(self, embeddings):
            return {"odd": value}

    class PerQuery:
        def per_query(self, ranks):
            return {"odd": value}

    for metric in (OfCurve(), OfEmbeddings(), PerQuery()):
        built = BuiltMetric(metric, {"odd": Quantity("odd")})
        with pytest.raises(ComponentError, match=r"^metric .odd. .*expected"):
            evaluate_all_pairs(clustered(), Threshold(None), [built], np.random.default_rng(0), PLAIN)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.where(np.arange(160) == 3, np.nan, 1.0)}, "mine: labels are float64, some missing"),
        ({"labels": np.array([None, "a"] * 80, object)}, "mine: labels are object, some missing"),
        ({"vectors": np.full((160, 8), np.nan)}, "mine: the embedding of image 0 is not finite"),
        ({"vectors": np.zeros((160, 8))}, "mine: the embedding of image 0 is zero"),
        ({"vectors": np.ones((150, 8))}, "mine: 150 embeddings but labels of shape (160,)"),
        ({"vectors": np.ones(160)}, "mine: embeddings have shape (160,)"),
        ({"labels": np.zeros(160, int)}, "mine: 1 class; at least 2"),
        ({"labels": np.arange(160)}, "mine: no query has another image of its class"),
    ],
)
def test_embeddings_that_cannot_be_compared_are_an_error_of_one_line(change, message) -> None:
    sample = replace(clustered(), name="mine", **change)
    for attempt in (judge, lambda sample: verification_curve(sample, PLAIN)):
        with pytest.raises(DataError) as raised:
            attempt(sample)
        assert str(raised.value).startswith(message)
        assert "\n" not in str(raised.value)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("images", "queries", "classes", "exact"),
    [
        (5000, 5000, 3, False),  # 8 million positives, more than the budget holds
        (
            7000,
            3500,
            16,
            True,
        ),  # 1.5 million positives, about as many as it holds, almost all with different scores
    ],
)
def test_memory_stays_within_the_budget(images: int, queries: int, classes: int, exact: bool) -> None:
    """The budget is 128 MiB above the peak resident memory of a small evaluation."""
    program = f"""
        import gc
        import numpy as np
        from mlbench.evaluation.embeddings import Embeddings
        from mlbench.evaluation.all_pairs_evaluation import evaluate_all_pairs
        from mlbench.evaluation.engine import Engine
        from mlbench.evaluation.estimates import BuiltMetric
        from mlbench.evaluation.similarity_grid import STEP
        from mlbench.evaluation.threshold import Threshold
        from mlbench_metrics.retrieval import Retrieval
        from mlbench_metrics.verification import Verification

        metrics = [
            BuiltMetric(Retrieval(), Retrieval().quantities()),
            BuiltMetric(Verification(), Verification().quantities()),
        ]

        def resident(what):
            with open("/proc/self/status") as status:
                return next(int(line.split()[1]) for line in status if line.startswith(what)) / 1024

        def measure(images, queries, classes):
            vectors = np.random.default_rng(0).normal(size=(images, 64)).astype(np.float32)
            everyone = np.ones(images, bool)
            sample = Embeddings(vectors, np.arange(images) % classes, np.arange(images) < queries, everyone)
            gc.collect()
            with open("/proc/self/clear_refs", "w") as clear:
                clear.write("5")
            before = resident("VmRSS")
            engine = Engine(memory=128 << 20, resamples=50, threads=1)
            found = evaluate_all_pairs(sample, Threshold(0.1), metrics, np.random.default_rng(0), engine)
            # With too many positives, every grid point is a threshold.
            return resident("VmHWM") - before, len(found.curve.similarities) < 2 / STEP

        measure(600, 600, 60)
        print(*measure({images}, {queries}, {classes}))
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    peak, was_exact = result.stdout.split()
    assert float(peak) < 128
    assert was_exact == str(exact)
