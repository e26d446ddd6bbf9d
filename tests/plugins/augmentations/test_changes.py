"""Augmentations: their output, and that it depends on the passed generator only."""

# ruff: noqa: NPY002 (timm draws from the global generators)

import pickle
import random

import numpy as np
import pytest
from PIL import Image
from timm.data.auto_augment import rand_augment_transform
from timm.data.transforms import RandomResizedCropAndInterpolation

from mlbench.contracts.options import AugmentationOptions
from mlbench.errors import OptionError
from mlbench.options import Schema
from mlbench_augmentations.augmentations import (
    ChainOfAugmentations,
    CropRandAugment,
    DocumentAugmentation,
    FlipCrop,
    RandAugment,
    ResizedCrop,
)
from mlbench_augmentations.document_changes import _GROUPS

AUGMENTATIONS = {
    "flip_crop": FlipCrop().build(32),
    "resized_crop": ResizedCrop().build(24),
    "randaugment": RandAugment().build(24),
    "crop_randaugment": CropRandAugment().build(24),
    "document": DocumentAugmentation().build(24),
    "chain": ChainOfAugmentations(parts=(FlipCrop(), ResizedCrop())).build(24),
}
each_augmentation = pytest.mark.parametrize("augmentation", AUGMENTATIONS.values(), ids=AUGMENTATIONS.keys())


def generator(seed):
    return np.random.Generator(np.random.Philox(key=seed))


def seeded(seed):
    """Seeds the global generators as the first use of the passed generator does."""
    first, second = generator(seed).integers(2**32, size=2).tolist()
    random.seed(first)
    np.random.seed(second)


@pytest.fixture
def image():
    """An image whose pixels all have different colours."""
    rows, columns = np.mgrid[0:32, 0:32].astype(np.uint8)
    return Image.fromarray(np.stack([8 * rows, 8 * columns, 4 * (rows + columns)], axis=2))


@pytest.fixture
def global_states():
    """Fails the test if the state of a global generator has changed."""
    random.seed(1)
    np.random.seed(2)
    before = random.getstate(), np.random.get_state()
    yield
    assert random.getstate() == before[0]
    np.testing.assert_equal(np.random.get_state(), before[1])


@each_augmentation
def test_augmentation_repeats_from_the_same_state_and_is_picklable(augmentation, image, global_states):
    copy = pickle.loads(pickle.dumps(augmentation))
    for seed in range(10):
        first, second = augmentation(image, generator(seed)), copy(image, generator(seed))
        assert (first.mode, first.size, first.tobytes()) == ("RGB", second.size, second.tobytes())


@each_augmentation
def test_augmentation_differs_between_states_and_does_not_change_its_input(augmentation, image):
    before = image.tobytes()
    assert len({augmentation(image, generator(seed)).tobytes() for seed in range(30)}) > 10
    assert image.tobytes() == before


@each_augmentation
@pytest.mark.parametrize("size", [(1, 1), (50, 3), (3, 50), (90, 70)])
def test_augmentation_takes_any_size(augmentation, size):
    for seed in range(8):
        assert augmentation(Image.new("RGB", size), generator(seed)).mode == "RGB"


@each_augmentation
def test_augmentation_restores_the_global_generators_after_an_error(augmentation, global_states):
    with pytest.raises((AttributeError, TypeError)):
        augmentation(None, generator(0))


@pytest.mark.parametrize("name", ["resized_crop", "crop_randaugment", "document"])
def test_crops_have_the_training_size(name):
    assert AUGMENTATIONS[name](Image.new("RGB", (90, 70)), generator(0)).size == (24, 24)


def test_flip_crop_shifts_and_flips(image):
    """Tries every shift by up to 4 pixels and both orientations."""
    padded = np.pad(np.asarray(image), ((4, 4), (4, 4), (0, 0)), constant_values=9)
    crops = {}
    for top in range(9):
        for left in range(9):
            crop = padded[top : top + 32, left : left + 32]
            crops[crop.tobytes()] = (top, left, False)
            crops[crop[:, ::-1].tobytes()] = (top, left, True)
    augmentation = FlipCrop(fill=(9, 9, 9)).build(32)
    found = [crops[augmentation(image, generator(seed)).tobytes()] for seed in range(300)]
    tops, lefts, flips = zip(*found, strict=True)
    assert set(tops) == set(lefts) == set(range(9))
    assert 100 < sum(flips) < 200


def test_flip_crop_pads_a_larger_image_in_proportion(image):
    large = image.resize((64, 96), Image.Resampling.NEAREST)
    seen = {FlipCrop(pad=4, flip=0.0).build(32)(large, generator(seed)).tobytes() for seed in range(300)}
    padded = np.pad(np.asarray(large), ((12, 12), (8, 8), (0, 0)))
    every = {padded[y : y + 96, x : x + 64].tobytes() for y in range(25) for x in range(17)}
    assert seen <= every
    assert len(seen) > 150


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_flip_crop_without_padding_only_flips(image, flip):
    expected = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else image
    augmented = FlipCrop(pad=0, flip=flip).build(32)(image, generator(0))
    assert augmented.tobytes() == expected.tobytes()


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "random"])
def test_resized_crop_equals_timms(image, interpolation):
    theirs = RandomResizedCropAndInterpolation(24, (0.3, 0.9), (0.5, 1.5), interpolation)
    ours = ResizedCrop(scale=(0.3, 0.9), ratio=(0.5, 1.5), flip=0.0, interpolation=interpolation).build(24)
    for seed in range(10):
        seeded(seed)
        assert ours(image, generator(seed)).tobytes() == theirs(image).tobytes()


@pytest.mark.parametrize("option", ["scale", "ratio"])
def test_resized_crop_refuses_bounds_the_wrong_way_round(option):
    for options_class in (ResizedCrop, CropRandAugment):
        with pytest.raises(OptionError, match=rf"{option} \[0\.9, 0\.5\] is the wrong way round") as caught:
            options_class(**{option: (0.9, 0.5)})
        assert caught.value.option == option


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("rand-m7-mstd0.5-inc1", {"magnitude": 7}),
        ("rand-m6-mstd0.5-inc1", {"magnitude": 6}),
        ("rand-m9-mstd0-n3-p0.25-inc0", {"magnitude_std": 0.0, "layers": 3, "probability": 0.25}),
        ("rand-m5-n1-p1.0", {"magnitude": 5, "magnitude_std": 0.0000001, "layers": 1, "probability": 1.0}),
    ],
)
@pytest.mark.parametrize("interpolation", ["bicubic", "random"])
def test_randaugment_equals_timms(image, text, options, interpolation):
    settings = {"img_mean": (1, 2, 3)}
    if interpolation == "bicubic":
        settings["interpolation"] = Image.Resampling.BICUBIC
    theirs = rand_augment_transform(text, settings)
    ours = RandAugment(
        **options, increasing="inc1" in text, interpolation=interpolation, fill=(1, 2, 3)
    ).build(24)
    changed = 0
    for seed in range(40):
        seeded(seed)
        expected = theirs(image).tobytes()
        assert ours(image, generator(seed)).tobytes() == expected
        changed += expected != image.tobytes()
    assert changed > 10


@pytest.mark.parametrize(("magnitude", "increasing"), [(0, False), (10, True)])
def test_randaugment_without_a_bit_left_is_black(image, magnitude, increasing):
    augmentation = RandAugment(
        magnitude=magnitude, magnitude_std=0.0, layers=1, probability=1.0, increasing=increasing
    ).build(24)
    augmented = [augmentation(image, generator(seed)) for seed in range(60)]
    assert any(not np.asarray(image).any() for image in augmented)


def test_crop_randaugment_crops_flips_and_then_changes(image):
    augmentation = CropRandAugment(scale=(0.5, 1.0), magnitude=7).build(24)
    for seed in range(10):
        state = generator(seed)
        expected = RandAugment(magnitude=7).build(24)(
            ResizedCrop(scale=(0.5, 1.0)).build(24)(image, state), state
        )
        assert augmentation(image, generator(seed)).tobytes() == expected.tobytes()


def test_document_without_groups_is_a_plain_resize(image):
    plain = image.resize((24, 24), Image.Resampling.BILINEAR, reducing_gap=2.0)
    assert DocumentAugmentation(probability=0.0).build(24)(image, generator(0)).tobytes() == plain.tobytes()


def test_document_draws_from_each_group_with_its_probability(image, monkeypatch):
    """Each change records its name instead; 2,000 images, 4 groups."""
    drawn = []
    groups = tuple(
        tuple(
            lambda image, generator, place=(number, place): drawn.append(place) or image
            for place in range(len(group))
        )
        for number, group in enumerate(_GROUPS)
    )
    monkeypatch.setattr("mlbench_augmentations.document_changes._GROUPS", groups)
    state = generator(0)
    for _ in range(2000):
        DocumentAugmentation().build(4)(image, state)
    assert [len(group) for group in groups] == [2, 4, 2, 7]
    for number, group in enumerate(groups):
        counts = [drawn.count((number, place)) for place in range(len(group))]
        assert 900 < sum(counts) < 1100
        assert min(counts) > 0.7 * 1000 / len(group)


@pytest.mark.parametrize(
    "change", [change for group in _GROUPS for change in group], ids=lambda change: change.__name__
)
def test_document_changes_are_of_the_same_size(image, change):
    image.putpixel((20, 15), (255, 0, 255))  # else a median leaves the picture as it is
    changed = [change(image, generator(seed)) for seed in range(20)]
    assert {(new.mode, new.size) for new in changed} == {("RGB", (32, 32))}
    assert any(new.tobytes() != image.tobytes() for new in changed)


def test_document_moves_within_its_bounds():
    """A dot in the middle moves by at most 0.1 of the size; a dot at the side turns by at most 15 degrees."""
    move = next(change for change in _GROUPS[0] if change.__name__ == "_move")
    dots = Image.new("RGB", (200, 200))
    dots.paste((255, 0, 0), (96, 96, 105, 105))
    dots.paste((0, 255, 0), (156, 96, 165, 105))
    shifts, angles, lengths = [], [], []
    for seed in range(300):
        pixels = np.asarray(move(dots, generator(seed)), dtype=float)
        (x0, y0), (x1, y1) = (
            [np.average(axis, weights=pixels[:, :, channel]) for axis in np.mgrid[0:200, 0:200][::-1]]
            for channel in (0, 1)
        )
        shifts.append(np.abs([x0 - 100, y0 - 100]).max())
        angles.append(abs(np.degrees(np.arctan2(y1 - y0, x1 - x0))))
        lengths.append(np.hypot(x1 - x0, y1 - y0) / 60)
    assert 18 < max(shifts) < 20.6
    assert 14 < max(angles) < 15.3
    assert 0.89 < min(lengths) < 0.91
    assert 1.09 < max(lengths) < 1.11


@pytest.mark.parametrize(
    ("options_class", "option", "value"),
    [
        (FlipCrop, "pad", -1),
        (FlipCrop, "fill", [0, 0, 256]),
        (ResizedCrop, "scale", [0.0, 1.0]),
        (ResizedCrop, "ratio", [0.0, 1.0]),
        (ResizedCrop, "interpolation", "cubic"),
        (RandAugment, "magnitude", 11),
        (RandAugment, "magnitude_std", -1.0),
        (RandAugment, "layers", 0),
        (CropRandAugment, "probability", 1.5),
        (DocumentAugmentation, "probability", -0.1),
    ],
)
def test_options_out_of_range_are_refused(options_class, option, value):
    schema = Schema(options_class, AugmentationOptions, owner="augmentation")
    with pytest.raises(OptionError) as caught:
        schema.check({option: value})
    assert caught.value.option.split(".")[0] == option


def test_a_chain_applies_its_parts_in_turn_with_one_generator(image):
    parts = (FlipCrop(), ResizedCrop())
    one, other = generator(3), generator(3)
    expected = image
    for part in parts:
        expected = part.build(24)(expected, other)
    assert ChainOfAugmentations(parts=parts).build(24)(image, one).tobytes() == expected.tobytes()
    assert one.integers(2**32) == other.integers(2**32)
