"""Losses and evaluation of a case with nested widths, against each width by itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_train import trained
from torch.nn.functional import cross_entropy, normalize, one_hot

from mlbench.errors import DataError, SuiteError
from mlbench.evaluation.embeddings import Embeddings, prefixes
from mlbench.evaluation.engine import Engine
from mlbench.evaluation.file_evaluation import EvaluationRequest, evaluate_file
from mlbench.training.case_evaluation import evaluate_case
from mlbench.training.checkpoint_score import build_score
from mlbench.training.model import build_model
from mlbench.training.objective import Batch, build_objective

WIDTHS = (2, 4, 8)
NESTED = "widths=[2, 4, 8]"
LABELS = torch.arange(8) % 6


def objective_of(case):
    return build_objective(case, build_model(case.spec, case.seed))


def cosface(embeddings, centres, labels, scale=16.0, margin=0.1):
    cosines = normalize(embeddings) @ normalize(centres).T
    return cross_entropy(scale * (cosines - margin * one_hot(labels, len(centres))), labels)


def test_the_loss_is_the_mean_over_the_prefixes_with_class_centres_of_their_own(planned) -> None:
    losses = "losses={cosface: {scale: 16, margin: 0.1}, pair: {weight: 0.25}}"
    objective = objective_of(planned(overrides=("loss=null", losses, NESTED)).cases[0])
    terms = {term.name: term for term in objective.terms}
    names = [f"{loss}{at}" for loss in ("cosface", "pair") for at in ("@2", "@4", "")]
    assert list(terms) == names == list(objective.state()["losses"])
    embeddings = 3 * torch.randn((8, 8), generator=torch.Generator().manual_seed(0))
    embeddings.requires_grad_()
    expected = torch.zeros(())
    for width, at in zip(WIDTHS, ("@2", "@4", ""), strict=True):
        prefix = embeddings[:, :width]
        centres = terms[f"cosface{at}"].centres.centres[:, 0]
        assert centres.shape == (6, width)
        expected = expected + cosface(prefix, centres, LABELS) / 3
        cosines = normalize(prefix) @ normalize(prefix).T
        same = LABELS[:, None] == LABELS
        expected = expected + 0.25 * (cosines[~same].mean() - cosines[same].mean()) / 3
    found = objective.loss(embeddings, Batch(torch.zeros(8), LABELS))
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(each, embeddings)[0] for each in (found, expected)]
    torch.testing.assert_close(*gradients)
    assert (gradients[0][:, :2].abs().sum() > gradients[0][:, 4:6].abs().sum()).item()


def test_the_whole_width_begins_as_in_a_case_without_nested_ones(planned) -> None:
    plain, nested = (objective_of(planned(overrides=each).cases[0]) for each in ((), (NESTED,)))
    assert torch.equal(plain.terms[0].centres.centres, nested.terms[-1].centres.centres)
    assert all(torch.equal(*pair) for pair in zip(plain.model.parameters(), nested.model.parameters()))  # noqa: B905
    assert not torch.equal(nested.terms[1].centres.centres, nested.terms[2].centres.centres[..., :4])


def test_further_terms_of_a_loss_are_those_of_each_prefix(planned) -> None:
    objective = objective_of(planned(overrides=("loss=magface", NESTED)).cases[0])
    embeddings = 20 * torch.randn((8, 8), generator=torch.Generator().manual_seed(0))
    found = objective.loss(embeddings, Batch(torch.zeros(8), LABELS))
    names = [f"loss magface{at}{term}" for at in ("@2", "@4", "") for term in ("", " magnitude")]
    assert list(objective.values) == names
    torch.testing.assert_close(found, sum(objective.values.values()) / 3)
    for width, at in zip(WIDTHS, ("@2", "@4", ""), strict=True):
        (expected,) = objective.terms[0].loss.regularisers(embeddings[:, :width]).values()
        assert objective.values[f"loss magface{at} magnitude"] == expected


def test_a_distiller_sees_the_whole_embeddings(planned) -> None:
    teacher = ("teacher=toy", "distiller=toy", NESTED)
    from mlbench.training.model import build_teacher

    case = planned(overrides=teacher).cases[0]
    model = build_model(case.spec, case.seed)
    objective = build_objective(case, model, build_teacher(case.spec, case.seed))
    assert objective.distiller.projection.in_features == 8


def test_every_width_has_centres_that_a_row_sampler_updates(planned, tmp_path) -> None:
    common = (NESTED, "recipe.lr=0.01", "recipe.batch_size=4", "recipe.epochs=1")
    case = planned(overrides=(*common, "sampler={name: partial_fc, rate: 0.7}")).cases[0]
    before = [term.centres.centres.clone() for term in objective_of(case).terms]
    after = [term.centres.centres for term in trained(case, tmp_path)[0].terms]
    assert [tuple(each.shape) for each in after] == [(6, 1, width) for width in WIDTHS]
    assert all((new != old).any() for new, old in zip(after, before, strict=True))


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_all_rows_sampled_trains_as_all_centres_do_at_every_width(planned, tmp_path, optimizer) -> None:
    common = (NESTED, f"recipe.optimizer={optimizer}", "recipe.lr=0.01", "recipe.epochs=2")
    found = []
    for sampler in ("all", f"{{name: partial_fc, rate: 1, optimizer: {optimizer}}}"):
        objective, result = trained(planned(overrides=(*common, f"sampler={sampler}")).cases[0], tmp_path)
        found.append((result.curves["loss"], [term.centres.centres.detach() for term in objective.terms]))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-4)
    for pair in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(*pair, rtol=1e-3, atol=1e-4)


def test_widths_that_do_not_end_with_the_neck_s_dim_are_refused_once_it_is_built(planned) -> None:
    """The toy backbone predicts no shape, so that the plan cannot know it."""
    with pytest.raises(
        SuiteError, match=r"^--set widths=\[2, 4\]: the last width is 4, but the neck's dim is 8"
    ):
        objective_of(planned(overrides=("widths=[2, 4]",)).cases[0])


def embedded(name: str) -> Embeddings:
    """Embeddings of 24 images of 6 classes, of unit length."""
    generator = np.random.default_rng(len(name))
    centres = np.repeat(generator.normal(size=(6, 8)), 4, 0)
    vectors = centres + 0.7 * generator.normal(size=centres.shape)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Embeddings.of(vectors.astype(np.float32), np.repeat(np.arange(6), 4), name)


def test_metrics_of_a_width_are_those_of_a_file_with_the_prefixes(planned, registry, tmp_path) -> None:
    case = planned(overrides=(NESTED,)).cases[0]
    asked, done = [], []

    def embed(name: str) -> Embeddings:
        asked.append(name)
        return embedded(name)

    found = evaluate_case(case, embed, lambda at, total: done.append(at / total))
    assert sorted(asked) == ["calibration", "test"]  # embedded once for all widths
    assert done == sorted(done)
    assert done[-1] == 1
    for width in WIDTHS:
        for name in ("calibration", "test"):
            prefix = embedded(name).vectors[:, :width].astype(np.float64)
            prefix = (prefix / np.linalg.norm(prefix, axis=1, keepdims=True)).astype(np.float32)
            np.savez(tmp_path / f"{name}.npz", embeddings=prefix, labels=embedded(name).labels)
        request = EvaluationRequest(
            file=tmp_path / "test.npz", calibration=tmp_path / "calibration.npz", threads=1
        )
        expected = evaluate_file(request, registry, lambda done, total: None)
        at = "" if width == 8 else f"@{width}"
        facts = found.facts if width == 8 else found.facts["widths"][str(width)]
        assert expected.metrics.keys() == {
            name.removesuffix(at) for name in found.metrics if ("@" in name) == bool(at) and name.endswith(at)
        }
        for name, each in expected.metrics.items():
            assert (each.value, each.low, each.high) == tuple(
                getattr(found.metrics[f"{name}{at}"], field) for field in ("value", "low", "high")
            )
        assert facts["threshold"]["distance"] == expected.facts["threshold"]["distance"]
    assert len({found.metrics[name].value for name in ("threshold", "threshold@2", "threshold@4")}) == 3


def test_notes_of_a_width_are_added_where_they_are_not_those_of_the_whole(planned) -> None:
    case = planned(overrides=("widths=[2, 8]",)).cases[0]

    def embed(name: str) -> Embeddings:
        vectors = embedded(name).vectors.copy()
        vectors[:, 0], vectors[:, 1] = 0.5, 1e-3 * vectors[:, 1]
        labels = embedded(name).labels.copy()
        labels[0] = 9  # alone in its class
        return replace(Embeddings.of(vectors, labels, name))

    notes = evaluate_case(case, embed, lambda done, total: None).notes
    assert sum("have no other image" in note for note in notes) == 1
    assert any(note.startswith("width 2: the embeddings of test are almost one point") for note in notes)


def test_a_prefix_that_is_zero_says_at_which_width(planned) -> None:
    vectors = embedded("test").vectors.copy()
    vectors[3, :2] = 0
    with pytest.raises(DataError, match=r"^test at width 2: the embedding of image 3 is zero"):
        prefixes(replace(embedded("test"), vectors=vectors), 2)


def test_prefixes_of_a_tensor_are_those_of_an_array() -> None:
    found = prefixes(embedded("test"), 4).vectors
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(24), abs=1e-6)
    tensor = prefixes(
        replace(embedded("test"), vectors=torch.from_numpy(embedded("test").vectors)), 4
    ).vectors
    assert (tensor.dtype, found.dtype) == (torch.float32, np.float32)
    assert np.array_equal(tensor.numpy(), found)


@pytest.mark.parametrize("name", ["map_at_r", "recall"])
def test_checkpoints_may_be_selected_by_the_metric_of_a_width(planned, name: str) -> None:
    whole, nested = (
        build_score(planned(overrides=(NESTED, f"recipe.select_by={each}")).cases[0], Engine(threads=1))
        for each in (name, f"{name}@4")
    )
    assert nested(embedded("test")) == whole(prefixes(embedded("test"), 4))
    assert nested(embedded("test")) != whole(embedded("test"))
