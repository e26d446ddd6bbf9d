"""Distances to a teacher, by hand and against closed forms."""

import math

import pytest
import torch

from mlbench.errors import OptionError
from mlbench_distillers.distances import cosine, kl, l1, relational

FACTORIES = {"kl": kl, "cosine": cosine, "l1": l1, "relational": relational}
each_distance = pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES)
each_of_images = pytest.mark.parametrize("factory", [kl, cosine, l1], ids=["kl", "cosine", "l1"])


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def direct(factory, width, **options):
    return factory(width, width, projection=False, **options)


@pytest.mark.parametrize("temperature", [1.0, 0.1, 4.0])
def test_kl_by_hand(temperature):
    # The softmax of (0, 1/t) and (1/t, 0) differ by tanh(1/2t) in both places, with log ratios of 1/t.
    distance = direct(kl, 2, temperature=temperature)(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 0.2]]))
    assert math.isclose(distance.item(), math.tanh(0.5 / temperature) / temperature, rel_tol=1e-5)


def test_kl_is_from_the_teacher_to_the_student():
    students, teachers = torch.tensor([[0.6, 0.8, 0.0]]), torch.tensor([[0.0, 0.0, 1.0]])
    wanted, own = ([math.exp(x) for x in row[0].tolist()] for row in (teachers, students))
    wanted, own = ([x / sum(row) for x in row] for row in (wanted, own))
    expected = sum(p * math.log(p / q) for p, q in zip(wanted, own, strict=True))
    assert math.isclose(direct(kl, 3)(students, teachers).item(), expected, rel_tol=1e-5)


def test_kl_at_temperature_1_is_about_the_cosine_distance_by_the_width():
    students, teachers = torch.randn(2, 64, 512)
    small, plain = (direct(factory, 512)(students, teachers).item() for factory in (kl, cosine))
    assert math.isclose(small, plain / 512, rel_tol=0.05)
    assert small < 0.004


def test_cosine_and_l1_by_hand():
    students, teachers = torch.tensor([[2.0, 0.0], [0.0, 5.0]]), torch.tensor([[0.3, 0.4], [0.0, 1.0]])
    assert math.isclose(direct(cosine, 2)(students, teachers).item(), (0.4 + 0) / 2, rel_tol=1e-6)
    assert math.isclose(direct(l1, 2)(students, teachers).item(), (0.4 + 0.8 + 0 + 0) / 4, rel_tol=1e-6)


@each_of_images
def test_distances_of_images_are_means_over_the_batch(factory):
    students, teachers = torch.randn(2, 6, 5)
    distance = direct(factory, 5)
    each = [distance(students[[at]], teachers[[at]]) for at in range(6)]
    torch.testing.assert_close(distance(students, teachers), torch.stack(each).mean())


@each_distance
def test_lengths_do_not_matter(factory):
    students, teachers = torch.randn(2, 6, 5)
    distance = direct(factory, 5)
    longer = distance(students * torch.rand(6, 1) * 9, teachers * 0.01)
    torch.testing.assert_close(longer, distance(students, teachers))


@each_distance
def test_a_student_like_its_teacher_is_at_no_distance_and_stays(factory):
    teachers = torch.randn(6, 5)
    # A power of two: no bit changes, and with it no sign of a difference.
    students = (4 * teachers).requires_grad_()
    distance = direct(factory, 5)(students, teachers)
    distance.backward()
    assert abs(distance.item()) < 1e-6
    assert students.grad.abs().max() < 1e-6


@each_distance
def test_gradients_are_those_of_finite_differences(factory):
    distance = factory(3, 4, projection=True).double()
    students = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    teachers = torch.randn(5, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda each: distance(each, teachers), students)
    weights = distance.projection.weight

    def of_weights(values):
        return torch.func.functional_call(distance, {"projection.weight": values}, (students, teachers))

    assert torch.autograd.gradcheck(of_weights, weights)


@each_distance
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("alike", [True, False])
def test_small_batches_and_equal_embeddings_have_finite_gradients(factory, count, alike):
    students = (torch.ones(count, 4) if alike else torch.randn(count, 4)).requires_grad_()
    distance = direct(factory, 4)(students, torch.randn(count, 4))
    distance.backward()
    assert distance.shape == ()
    assert math.isfinite(distance.item())
    assert students.grad.abs().max() < 100


@each_distance
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_half_precision_of_the_model_is_not_that_of_the_distance(factory, dtype):
    students, teachers = torch.randn(6, 3).to(dtype), torch.randn(6, 4).to(dtype)
    distance = factory(3, 4, projection=True)
    expected = distance(students.float(), teachers.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        given = distance(students.requires_grad_(), teachers)
    given.backward()
    assert given.dtype == torch.float32
    assert torch.equal(given, expected)
    assert students.grad.dtype == dtype
    assert distance.projection.weight.grad.dtype == torch.float32


@each_distance
def test_the_projection_is_linear_without_bias_and_drawn_from_the_global_generator(factory):
    distances = []
    for _ in range(2):
        torch.manual_seed(5)
        distances.append(factory(3, 7, projection=True))
    (weight,), (again,) = (list(distance.parameters()) for distance in distances)
    assert weight.shape == (7, 3)
    assert torch.equal(weight, again)
    students, teachers = torch.randn(6, 3), torch.randn(6, 7)
    expected = direct(factory, 7)(students @ weight.T, teachers)
    torch.testing.assert_close(distances[0](students, teachers), expected)


@each_of_images
def test_widths_that_differ_need_a_projection(factory):
    assert [tuple(weight.shape) for weight in factory(256, 512).parameters()] == [(512, 256)]
    assert list(factory(512, 512, projection=False).parameters()) == []
    with pytest.raises(OptionError, match=r"256 dimensions and the teacher's 512; .* dim to 512$") as caught:
        factory(256, 512, projection=False)
    assert caught.value.option == "projection"


def test_relational_takes_any_widths_and_projects_only_when_asked():
    assert list(relational(256, 512).parameters()) == []
    assert [tuple(weight.shape) for weight in relational(256, 512, projection=True).parameters()] == [
        (512, 256)
    ]


@each_distance
def test_weight_and_images_are_for_the_objective_to_use(factory):
    students, teachers = torch.randn(2, 4, 5)
    plain, other = factory(5, 5), factory(5, 5, weight=0.0, images="augmented")
    assert (plain.weight, plain.images) == (1.0, "clean")
    assert (other.weight, other.images) == (0.0, "augmented")
    other.load_state_dict(plain.state_dict())
    assert torch.equal(plain(students, teachers), other(students, teachers))
