"""Which class centres take part: planned sizes and refusals, without building anything."""

import pytest

from mlbench.errors import OptionError
from mlbench_samplers.centres import all_centres, partial_fc, predict_all_centres, predict_partial_fc


def partial(num_classes, batch_labels, rate, *, build=False):
    function = partial_fc if build else predict_partial_fc
    return function(num_classes, 8, 1, batch_labels, 0, rate=rate)


@pytest.mark.parametrize("centres_per_class", [1, 3])
def test_centres_predict_what_they_build(centres_per_class):
    provided = {"num_classes": 50, "dim": 8, "centres_per_class": centres_per_class}
    every = all_centres(**provided)
    some = partial_fc(**provided, batch_labels=10, seed=0, rate=0.3)
    assert predict_all_centres(**provided) == (sum(p.numel() for p in every.parameters()), ())
    predicted = predict_partial_fc(**provided, batch_labels=10, seed=0, rate=0.3).parameters
    assert predicted == sum(p.numel() for p in some.parameters()) == 50 * 8 * centres_per_class


@pytest.mark.parametrize(
    ("num_classes", "rate", "sampled"),
    [(100, 0.29, 29), (30, 0.1, 3), (1000, 0.3, 300), (7, 0.5, 3), (390_144, 0.3, 117_043), (3, 1.0, 3)],
)
def test_partial_fc_samples_the_floor_of_its_share(num_classes, rate, sampled):
    assert partial_fc(num_classes, 1, 1, 1, 0, rate=rate).sampled == sampled


@pytest.mark.parametrize("build", [False, True])
def test_partial_fc_refuses_fewer_centres_than_labels(build):
    with pytest.raises(OptionError) as caught:
        partial(500, 128, 0.1, build=build)
    message = str(caught.value)
    assert caught.value.option == "rate"
    for part in (
        "rate 0.1",
        "500 classes",
        "50 centres",
        "the 128 different labels",
        "raise rate to 0.256 or more",
    ):
        assert part in message


@pytest.mark.parametrize(("num_classes", "batch_labels"), [(500, 128), (1000, 7), (999, 512), (8191, 1024)])
def test_partial_fc_advice_is_the_smallest_rate_in_thousandths_that_works(num_classes, batch_labels):
    with pytest.raises(OptionError) as caught:
        partial(num_classes, batch_labels, 1e-5)
    advised = float(str(caught.value).split("raise rate to ")[1].split(" ")[0])
    partial(num_classes, batch_labels, advised)
    with pytest.raises(OptionError, match="raise rate"):
        partial(num_classes, batch_labels, advised - 0.001)


def test_partial_fc_sends_few_classes_to_the_other_sampler():
    with pytest.raises(OptionError, match="use sampler all"):
        partial(100, 128, 0.9)


def test_partial_fc_at_rate_one_takes_any_number_of_classes():
    assert partial(100, 128, 1.0) == (800, ())


def test_partial_fc_takes_a_number_instead_of_a_share():
    assert partial_fc(1000, 8, 1, 16, 0, centres=200).sampled == 200
    assert predict_partial_fc(1000, 8, 1, 16, 0, centres=200) == (8000, ())


@pytest.mark.parametrize(
    ("options", "option", "message"),
    [
        ({}, "", "expected one of rate and centres; neither is given"),
        ({"rate": 0.5, "centres": 50}, "rate", "expected one of rate and centres; both are given"),
        ({"centres": 101}, "centres", "101 centres of 100 classes; expected at most all"),
        ({"centres": 9}, "centres", "fewer than the 10 different labels .* raise centres to 10 or more"),
    ],
)
@pytest.mark.parametrize("function", [partial_fc, predict_partial_fc])
def test_partial_fc_takes_exactly_one_size_that_fits(function, options, option, message):
    with pytest.raises(OptionError, match=message) as caught:
        function(100, 8, 1, 10, 0, **options)
    assert caught.value.option == option


@pytest.mark.parametrize(
    ("num_classes", "batch_size", "rate", "few"),
    [(1000, 10, 0.1, False), (1000, 10, 0.099, True), (50, 10, 1.0, False), (50, 10, 0.9, True)],
)
def test_partial_fc_says_when_few_negatives_are_left(num_classes, batch_size, rate, few):
    notes = partial(num_classes, batch_size, rate).notes
    assert len(notes) == few
    assert all("expect worse accuracy below ten times that" in note for note in notes)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_partial_fc_builds_the_optimizer_that_is_asked_for(dtype):
    def build(**options):
        return partial_fc(20, 8, 1, 4, 0, rate=0.5, dtype=dtype, **options).optimizer

    assert type(build()).__name__ == "RowAdamW"
    assert build(betas=(0.5, 0.6)).betas == (0.5, 0.6)
    assert (build(optimizer="sgd").nesterov, build(optimizer="momentum").nesterov) == (True, False)
    assert build(optimizer="sgd", momentum=0.5).mu == 0.5
    assert str(build(optimizer="sgd").momentum.dtype) == f"torch.{dtype}"
