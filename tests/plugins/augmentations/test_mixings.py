"""Mixings: against timm at the same draws, and against hand-computed cases."""

# ruff: noqa: NPY002 (timm draws from the global generators)

import pickle
import random

import numpy as np
import pytest
import torch
from timm.data.mixup import Mixup

from mlbench.contracts.options import MixingOptions
from mlbench.errors import OptionError
from mlbench.options import Schema
from mlbench_augmentations.mixings import CutMix, MixupCutMix
from mlbench_augmentations.mixings import Mixup as OurMixup


def generator(seed):
    return np.random.Generator(np.random.Philox(key=seed))


def images(count, size=8):
    """A batch whose pixels have as many different values as bytes allow."""
    values = torch.randint(0, 256, (count, 3, size, size), generator=torch.Generator().manual_seed(0))
    return values.to(torch.uint8)


class Drawn(Mixup):
    """timm's mixing with these draws."""

    def __init__(self, share, cut):
        super().__init__(num_classes=2)
        self._params_per_batch = lambda: (share, cut)


@pytest.mark.parametrize("options_class", [OurMixup, CutMix, MixupCutMix])
@pytest.mark.parametrize("count", [1, 2, 5, 6])
def test_mixing_repeats_without_changing_the_batch_or_global_states(options_class, count):
    mixing, batch = options_class(), images(count)
    before = batch.clone()
    random.seed(1)
    np.random.seed(2)
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    copy = pickle.loads(pickle.dumps(mixing))
    for seed in range(10):
        first, second = mixing(batch, generator(seed)), copy(batch, generator(seed))
        assert torch.equal(first.images, second.images)
        assert (first.share, first.partners.tolist()) == (second.share, second.partners.tolist())
        assert (first.images.dtype, first.images.shape) == (torch.float32, batch.shape)
        assert (first.partners.dtype, first.partners.device.type) == (torch.int64, "cpu")
        assert type(first.share) is float
        assert 0 <= first.share <= 1
        assert 0 <= first.images.min() <= first.images.max() <= 255
    assert torch.equal(batch, before)
    assert random.getstate() == states[0]
    np.testing.assert_equal(np.random.get_state(), states[1])
    assert torch.equal(torch.get_rng_state(), states[2])


@pytest.mark.parametrize("options_class", [OurMixup, CutMix, MixupCutMix])
def test_mixing_reads_no_value_of_the_images(options_class):
    """A meta tensor has no values: reading one, which would wait for a GPU, raises an error."""
    batch = torch.empty(4, 3, 8, 8, dtype=torch.uint8, device="meta")
    for seed in range(5):
        mixed = options_class()(batch, generator(seed))
        assert (mixed.images.device.type, mixed.partners.device.type) == ("meta", "cpu")


@pytest.mark.parametrize("count", [4, 5])
def test_mixup_is_the_weighted_mean_with_the_partner(count):
    batch = images(count)
    mixed = OurMixup(alpha=0.4)(batch, generator(3))
    assert 0 < mixed.share < 1
    for place, partner in enumerate(mixed.partners.tolist()):
        expected = mixed.share * batch[place].double() + (1 - mixed.share) * batch[partner].double()
        torch.testing.assert_close(mixed.images[place].double(), expected, rtol=0, atol=1e-4)
    assert mixed.partners.tolist() == list(range(count))[::-1]


@pytest.mark.parametrize("count", [4, 5])
def test_cutmix_pastes_one_box_and_counts_its_area(count):
    batch = images(count, size=16)
    shares = set()
    for seed in range(60):
        mixed = CutMix()(batch, generator(seed))
        pasted = (mixed.images == batch.flip(0)).all(dim=(0, 1))
        own = (mixed.images == batch).all(dim=(0, 1))
        assert (pasted ^ own).all()
        rows, columns = pasted.any(dim=1), pasted.any(dim=0)
        assert int(pasted.sum()) == int(rows.sum()) * int(columns.sum())
        assert mixed.share == 1 - int(pasted.sum()) / 256
        shares.add(mixed.share)
    assert len(shares) > 20


def test_mixup_equals_timms_at_the_same_share():
    batch, target = images(6), torch.zeros(6, dtype=torch.long)
    for seed in range(20):
        mixed = OurMixup(alpha=0.3)(batch, generator(seed))
        expected, _ = Drawn(mixed.share, cut=False)(batch.float(), target)
        assert torch.equal(mixed.images, expected)


def test_cutmix_equals_timms_at_the_same_draws():
    batch = images(6, size=16)
    target = torch.tensor([0, 0, 0, 1, 1, 1])
    for seed in range(20):
        mixed = CutMix(alpha=0.7)(batch, generator(seed))
        state = generator(seed)  # the draws, made again: whether to mix, the share, the seeds of the box
        state.random(2)
        share = float(state.beta(0.7, 0.7))
        np.random.seed(state.integers(2**32, size=2).tolist()[1])
        expected, soft = Drawn(share, cut=True)(batch.float(), target)
        assert torch.equal(mixed.images, expected)
        # Smoothing .1 spreads .05 over each of two classes.
        assert soft[0, 0].item() == pytest.approx(0.05 + 0.9 * mixed.share, abs=1e-6)


def test_share_has_the_beta_distribution():
    batch = images(2, size=2)
    for alpha in (0.2, 1.0):
        state = generator(0)
        shares = np.array([OurMixup(alpha=alpha)(batch, state).share for _ in range(3000)])
        assert abs(shares.mean() - 0.5) < 0.03
        assert abs(shares.var() - 1 / (4 * (2 * alpha + 1))) < 0.01


def test_batches_are_mixed_with_the_probability():
    batch, state = images(2, size=2), generator(0)
    assert OurMixup(probability=0.0)(batch, state) is None
    mixed = sum(OurMixup(probability=0.25)(batch, state) is not None for _ in range(2000))
    assert 420 < mixed < 580


@pytest.mark.parametrize(("probability", "expected"), [(0.0, 0), (0.5, 500), (1.0, 1000)])
def test_mixup_cutmix_switches_between_both(probability, expected):
    batch, state = images(4, size=16), generator(0)
    mixing = MixupCutMix(mixup_alpha=1.0, cutmix_probability=probability)
    cut = 0
    for _ in range(1000):
        mixed = mixing(batch, state)
        cut += bool((mixed.images == mixed.images.round()).all())  # a mean of bytes is hardly ever whole
    assert abs(cut - expected) < (60 if 0 < probability < 1 else 1)


def test_mixup_cutmix_draws_each_share_from_its_own_distribution():
    batch, state = images(2, size=32), generator(0)
    blend = MixupCutMix(mixup_alpha=0.01, cutmix_alpha=50.0, cutmix_probability=0.0)
    shares = [blend(batch, state).share for _ in range(200)]
    assert np.mean([0.01 < share < 0.99 for share in shares]) < 0.2
    cut = MixupCutMix(mixup_alpha=0.01, cutmix_alpha=50.0, cutmix_probability=1.0)
    assert all(cut(batch, state).share > 0.3 for _ in range(200))


@pytest.mark.parametrize(
    ("options_class", "option", "value"),
    [
        (OurMixup, "alpha", 0.0),
        (OurMixup, "probability", 1.1),
        (CutMix, "alpha", -1.0),
        (MixupCutMix, "mixup_alpha", 0.0),
        (MixupCutMix, "cutmix_probability", -0.1),
    ],
)
def test_options_out_of_range_are_refused(options_class, option, value):
    with pytest.raises(OptionError) as caught:
        Schema(options_class, MixingOptions, owner="mixing").check({option: value})
    assert caught.value.option == option
