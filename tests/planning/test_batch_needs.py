"""Batches without the pairs that a loss needs are refused, or noted, before training."""

from __future__ import annotations

import pytest

from mlbench.contracts import BatchesShape, LossShape
from mlbench.errors import SuiteError
from mlbench.planning.batch_needs import Batches, check_batches


def test_batches_of_one_class_teach_a_pair_loss_nothing(planned) -> None:
    overrides = ("loss={name: pml, loss: TripletMarginLoss}", "batch_sampler={name: m_per_class, m: 8}")
    message = (
        r"batch_sampler 'm_per_class' \(m 8\) with batch_size 8 makes batches without images of two classes, "
        r"from which loss 'pml' \(--set loss=.*\) learns nothing; .*raise recipe.batch_size$"
    )
    with pytest.raises(SuiteError, match=message):
        planned(overrides=overrides)
    assert planned(overrides=(*overrides, "batch_sampler.m=4")).cases[0].forecast.notes == ()
    # A loss with class centres needs no negatives in the batch.
    assert planned(overrides=overrides[1:]).cases[0].forecast.notes == ()
    # A case without training needs no batches.
    assert planned(overrides=(*overrides, "recipe.epochs=0")).cases[0].forecast.steps == 0


@pytest.mark.parametrize("loss", ["contrastive", "multi_similarity", "supcon", "triplet_pair"])
def test_one_image_a_class_teaches_a_pair_loss_nothing(planned, loss: str) -> None:
    single = (f"loss={loss}", "dataset.views=1", "dataset.classes=16")
    with pytest.raises(SuiteError, match=f"without two images of one class, from which loss '{loss}'"):
        planned(overrides=single)
    # Each image several times: pairs of one class.
    (case,) = planned(overrides=(*single, "batch_sampler=repeated")).cases
    assert case.forecast.notes == ()


def test_few_pairs_of_one_class_are_noted(planned) -> None:
    (case,) = planned(overrides=("loss=supcon", "dataset.classes=100", "dataset.views=2")).cases
    (note,) = case.forecast.notes
    assert "'shuffle' with batch_size 8 makes batches with 0.14 pairs of two images of one class" in note
    assert "m_per_class" in note


def test_every_loss_of_a_case_is_checked(planned) -> None:
    losses = "losses={cosface: {}, near: {name: supcon}}"
    with pytest.raises(SuiteError, match=r"from which loss 'supcon' \(--set losses=.*\) learns nothing"):
        planned(overrides=("loss=null", losses, "batch_sampler={name: m_per_class, m: 8}"))


def test_a_loss_that_needs_another_layout_is_refused(planned) -> None:
    rows = ("loss={name: triplet_pair, triplets: rows}", "recipe.batch_size=9")
    with pytest.raises(SuiteError, match=r"takes batches of anchor, positive, negative.*'shuffle' with"):
        planned(overrides=rows)
    planned(overrides=(*rows, "batch_sampler=hard_triplets"))
    square = ("loss={name: pml, loss: SmoothAPLoss}", "batch_sampler={name: m_per_class, m: 2}")
    with pytest.raises(SuiteError, match=r"as many images of each class as classes.*\(m 2\) with batch"):
        planned(overrides=square)
    planned(overrides=(*square, "recipe.batch_size=4"))


def test_a_forecast_has_the_share_of_images_that_an_epoch_shows(planned) -> None:
    m_per_class = "batch_sampler={name: m_per_class, m: 4}"
    drawn = [planned(overrides=each).cases[0].forecast.drawn for each in ((), (m_per_class,))]
    assert drawn == [1.0, pytest.approx(1 - (1 - 2 / 6) ** 3)]


def test_an_unknown_need_is_a_mistake_in_the_plugin_of_the_loss(planned) -> None:
    parts = planned().cases[0].spec.parts
    batches = Batches(parts["batch_sampler"], BatchesShape(3), 8, 6)
    message = (
        r"'cosface': it needs 'pears' in a batch .*; this is a mistake in plugin 'losses' \(mlbench .*\)$"
    )
    with pytest.raises(SuiteError, match=message):
        check_batches(batches, [(parts["loss"], LossShape(needs=("pears",)))])  # type: ignore[arg-type]
