import pickle

import numpy as np
import pytest
from PIL import Image

from mlbench_datasets import camera
from mlbench_datasets.augmentation import Camera
from mlbench_datasets.camera import photograph
from mlbench_datasets.surface import SURFACES, surface

QUADRANTS = ((220, 40, 40), (40, 200, 40), (40, 60, 220), (230, 220, 60))


def generator(seed):
    return np.random.Generator(np.random.Philox(key=seed))


def pixels(image):
    return np.asarray(image, dtype=np.float64)


@pytest.fixture
def document():
    """Four quadrants of different colours: red, green, blue, yellow in reading order."""
    small = Image.new("RGB", (2, 2))
    small.putdata(QUADRANTS)
    return small.resize((160, 100), Image.Resampling.NEAREST)


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0, 4.0])
@pytest.mark.parametrize("size", [16, 33, 128])
def test_photograph_is_rgb_of_the_size(document, size, strength):
    photo = photograph(document, generator(0), size=size, strength=strength)
    assert (photo.mode, photo.size) == ("RGB", (size, size))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK"])
def test_photograph_takes_any_mode(document, mode):
    assert photograph(document.convert(mode), generator(0), size=32).mode == "RGB"


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (900, 3), (20, 20)])
def test_photograph_takes_any_shape(shape):
    assert photograph(Image.new("RGB", shape), generator(0), size=32).size == (32, 32)


def test_photograph_repeats_from_the_same_state(document):
    first, second = (photograph(document, generator(5), size=64).tobytes() for _ in range(2))
    assert first == second


def test_photograph_differs_between_states(document):
    assert len({photograph(document, generator(seed), size=64).tobytes() for seed in range(20)}) == 20


def test_photograph_leaves_the_document_alone(document):
    before = document.tobytes()
    photograph(document, generator(0), size=64)
    assert document.tobytes() == before


@pytest.mark.parametrize("strength", [0.0, 1.0, 3.0])
def test_photograph_draws_as_much_whatever_it_does(document, strength):
    after = []
    for image in (document, Image.new("L", (7, 90))):
        state = generator(3)
        photograph(image, state, size=48, strength=strength)
        after.append(state.random())
    reference = generator(3)
    photograph(document, reference, size=48)
    assert after == [reference.random()] * 2


def test_photograph_at_strength_0_is_a_plain_resize(document):
    plain = document.resize((64, 64), Image.Resampling.BILINEAR)
    for seed in range(10):
        flat = photograph(document, generator(seed), size=64, strength=0.0)
        assert np.abs(pixels(flat) - pixels(plain)).mean() < 3  # JPEG


def test_photograph_goes_further_with_strength(document):
    flat = pixels(photograph(document, generator(0), size=64, strength=0.0))

    def distance(strength):
        photos = [photograph(document, generator(seed), size=64, strength=strength) for seed in range(20)]
        return np.mean([np.abs(pixels(photo) - flat).mean() for photo in photos])

    distances = [distance(strength) for strength in (0.0, 0.25, 0.5, 1.0, 2.0)]
    assert distances == sorted(distances)
    assert distances[3] > 10


def test_photograph_keeps_the_document_upright_and_in_view(document):
    right = 0
    for seed in range(50):
        photo = pixels(photograph(document, generator(seed), size=64))
        seen = [photo[y, x] for y in (18, 46) for x in (18, 46)]
        nearest = [np.abs(np.array(QUADRANTS) - colour).sum(axis=1).argmin() for colour in seen]
        right += nearest == [0, 1, 2, 3]
    assert right >= 48


def test_surface_is_rgb_and_draws_as_much_whatever_it_is():
    seen, after = set(), set()
    for seed in range(40):
        state = generator(seed)
        kind = SURFACES[int(generator(seed).random() * len(SURFACES))]
        image = surface(state, 24)
        assert (image.mode, image.size) == ("RGB", (24, 24))
        seen.add(kind)
        after.add(str(state.bit_generator.state["state"]["counter"]))
    assert seen == set(SURFACES)
    assert len(after) == 1


def test_camera_augmentation_is_picklable_and_repeats(document):
    augmentation = Camera(strength=0.7).build(48)
    copy = pickle.loads(pickle.dumps(augmentation))
    first = augmentation(document, generator(1))
    assert first.size == (48, 48)
    assert copy(document, generator(1)).tobytes() == first.tobytes()
    assert augmentation(document, generator(2)).tobytes() != first.tobytes()


def test_noise_fits_its_statement():
    drawn = camera._noise(generator(0), 64).astype(float)
    assert drawn.shape == (64, 3, 64)
    assert (drawn.min(), drawn.max()) == (0, camera._LOUDEST)
    assert drawn.mean() == pytest.approx(camera._LOUDEST / 2, abs=0.2)
    assert drawn.std() == pytest.approx(camera._NOISE, rel=0.02)


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0, 4.0])
@pytest.mark.parametrize("seed", range(6))
def test_exposure_of_white_and_black_stays_within_a_byte(seed, strength):
    # A sum that wrapped around would turn some white pixels dark, or black ones light.
    light = np.ones((48, 48), dtype=np.float32)
    uniforms = generator(seed).random(64)
    noise = camera._noise(generator(seed), 48)
    shown = []
    for level in (0, 255):
        scene, draws = Image.new("RGB", (48, 48), (level,) * 3), camera._Draws(uniforms, strength)
        levels, black, white = camera._expose(scene, light.copy(), noise, draws)
        shown.append((levels - black) / (white - black))
    dark, bright = shown
    assert (bright >= dark).all()
    assert bright.max() <= 2 + 0.8 * strength


def test_noise_has_the_strength_that_is_drawn():
    scene, light = Image.new("RGB", (64, 64), (128,) * 3), np.ones((64, 64), dtype=np.float32)
    draws = camera._Draws(np.full(64, 0.999), 1.0)  # no rare event, and the most of everything else
    levels, black, white = camera._expose(scene, light, camera._noise(generator(0), 64), draws)
    shown = 255 * (levels - black) / (white - black)
    smooth = shown.mean(axis=(0, 2), keepdims=True) + shown.mean(axis=(0, 1), keepdims=True) - shown.mean()
    assert (shown - smooth).std() == pytest.approx(7, rel=0.1)
    assert shown.mean() == pytest.approx(128, rel=0.05)


@pytest.mark.parametrize("steps", [1, 3])
def test_padded_repeats_the_edges(steps):
    image = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
    expected = np.pad(image, ((steps, steps), (steps, steps), (0, 0)), mode="edge")
    assert (camera._padded(image, steps) == expected).all()
