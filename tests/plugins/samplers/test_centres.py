"""Options of the samplers: sizes, and wrong options."""

import pytest

from mlbench.errors import OptionError
from mlbench.plugin import SamplerContext
from mlbench_samplers.centres import AllCentres, PartialFC


def context(num_classes=100, batch_labels=10, dim=8, each=1):
    return SamplerContext(num_classes, dim, each, batch_labels, batch_labels, seed=0)


def partial(num_classes, batch_labels, rate, *, build=False):
    options, given = PartialFC(rate=rate), context(num_classes, batch_labels)
    return options.build(given) if build else options.predict(given)


@pytest.mark.parametrize("centres_per_class", [1, 3])
def test_centres_predict_what_they_build(centres_per_class):
    given = context(50, each=centres_per_class)
    for options in (AllCentres(), PartialFC(rate=0.3)):
        count = sum(parameter.numel() for parameter in options.build(given).parameters())
        assert options.predict(given).parameters == count == 50 * 8 * centres_per_class


@pytest.mark.parametrize(
    ("num_classes", "rate", "sampled"),
    [(100, 0.29, 29), (30, 0.1, 3), (1000, 0.3, 300), (7, 0.5, 3), (390_144, 0.3, 117_043), (3, 1.0, 3)],
)
def test_partial_fc_samples_the_floor_of_its_share(num_classes, rate, sampled):
    assert PartialFC(rate=rate).build(context(num_classes, 1, dim=1)).sampled == sampled


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


def test_partial_fc_recommends_sampler_all_for_few_classes():
    with pytest.raises(OptionError, match="use sampler all"):
        partial(100, 128, 0.9)


def test_partial_fc_with_rate_1_takes_any_number_of_classes():
    assert partial(100, 128, 1.0) == (800, ())


def test_partial_fc_takes_a_number_of_centres():
    assert PartialFC(centres=200).build(context(1000, 16)).sampled == 200
    assert PartialFC(centres=200).predict(context(1000, 16)) == (8000, ())


@pytest.mark.parametrize(
    ("options", "option", "message"),
    [
        ({}, "", "expected one of rate and centres; neither is given"),
        ({"rate": 0.5, "centres": 50}, "rate", "expected one of rate and centres; both are given"),
        ({"centres": 101}, "centres", "101 centres of 100 classes; expected at most all"),
        ({"centres": 9}, "centres", "fewer than the 10 different labels .* raise centres to 10 or more"),
    ],
)
@pytest.mark.parametrize("method", ["build", "predict"])
def test_partial_fc_takes_exactly_one_size_that_fits(method, options, option, message):
    with pytest.raises(OptionError, match=message) as caught:
        getattr(PartialFC(**options), method)(context())
    assert caught.value.option == option


@pytest.mark.parametrize(
    ("num_classes", "batch_size", "rate", "few"),
    [(1000, 10, 0.1, False), (1000, 10, 0.099, True), (50, 10, 1.0, False), (50, 10, 0.9, True)],
)
def test_partial_fc_notes_too_few_negatives(num_classes, batch_size, rate, few):
    notes = partial(num_classes, batch_size, rate).notes
    assert len(notes) == few
    assert all("expect worse accuracy below ten times that" in note for note in notes)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_partial_fc_builds_the_named_optimizer(dtype):
    def build(**options):
        return PartialFC(rate=0.5, dtype=dtype, **options).build(context(20, 4)).optimizer

    assert type(build()).__name__ == "RowAdamW"
    assert build(betas=(0.5, 0.6)).betas == (0.5, 0.6)
    assert (build(optimizer="sgd").nesterov, build(optimizer="momentum").nesterov) == (True, False)
    assert build(optimizer="sgd", momentum=0.5).mu == 0.5
    assert str(build(optimizer="sgd").momentum.dtype) == f"torch.{dtype}"
