"""Distances to a teacher, computed by hand and from closed forms."""

import math

import pytest
import torch

from mlbench.plugin import DistillerContext, OptionError
from mlbench_distillers.distances import L1, Cosine, Kl, Relational

each_distance = pytest.mark.parametrize("options_class", [Kl, Cosine, L1, Relational])
each_of_images = pytest.mark.parametrize("options_class", [Kl, Cosine, L1])


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def built(options_class, dim, teacher_dim, **options):
    return options_class(**options).build(DistillerContext(dim, teacher_dim))


def direct(options_class, width, **options):
    return built(options_class, width, width, projection=False, **options)


@pytest.mark.parametrize("temperature", [1.0, 0.1, 4.0])
def test_kl_by_hand(temperature):
    # The softmax of (0, 1/t) and of (1/t, 0) differ by tanh(1/2t) in both values, with log ratios of 1/t.
    distance = direct(Kl, 2, temperature=temperature)(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 0.2]]))
    assert math.isclose(distance.item(), math.tanh(0.5 / temperature) / temperature, rel_tol=1e-5)


def test_kl_is_weighted_by_the_teachers_softmax():
    students, teachers = torch.tensor([[0.6, 0.8, 0.0]]), torch.tensor([[0.0, 0.0, 1.0]])
    wanted, own = ([math.exp(x) for x in row[0].tolist()] for row in (teachers, students))
    wanted, own = ([x / sum(row) for x in row] for row in (wanted, own))
    expected = sum(p * math.log(p / q) for p, q in zip(wanted, own, strict=True))
    assert math.isclose(direct(Kl, 3)(students, teachers).item(), expected, rel_tol=1e-5)


def test_kl_at_temperature_1_is_about_the_cosine_distance_divided_by_the_width():
    students, teachers = torch.randn(2, 64, 512)
    small, plain = (direct(each, 512)(students, teachers).item() for each in (Kl, Cosine))
    assert math.isclose(small, plain / 512, rel_tol=0.05)
    assert small < 0.004


def test_cosine_and_l1_by_hand():
    students, teachers = torch.tensor([[2.0, 0.0], [0.0, 5.0]]), torch.tensor([[0.3, 0.4], [0.0, 1.0]])
    assert math.isclose(direct(Cosine, 2)(students, teachers).item(), (0.4 + 0) / 2, rel_tol=1e-6)
    assert math.isclose(direct(L1, 2)(students, teachers).item(), (0.4 + 0.8 + 0 + 0) / 4, rel_tol=1e-6)


@each_of_images
def test_distances_of_images_are_means_over_the_batch(options_class):
    students, teachers = torch.randn(2, 6, 5)
    distance = direct(options_class, 5)
    each = [distance(students[[at]], teachers[[at]]) for at in range(6)]
    torch.testing.assert_close(distance(students, teachers), torch.stack(each).mean())


@each_distance
def test_lengths_do_not_matter(options_class):
    students, teachers = torch.randn(2, 6, 5)
    distance = direct(options_class, 5)
    longer = distance(students * torch.rand(6, 1) * 9, teachers * 0.01)
    torch.testing.assert_close(longer, distance(students, teachers))


@each_distance
def test_a_student_equal_to_its_teacher_has_distance_and_gradient_zero(options_class):
    teachers = torch.randn(6, 5)
    # A power of two changes no bit of the unit vectors, so all differences are 0.
    students = (4 * teachers).requires_grad_()
    distance = direct(options_class, 5)(students, teachers)
    distance.backward()
    assert abs(distance.item()) < 1e-6
    assert students.grad.abs().max() < 1e-6


@each_distance
def test_gradients_pass_gradcheck(options_class):
    distance = built(options_class, 3, 4, projection=True).double()
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
def test_small_batches_and_equal_embeddings_have_finite_gradients(options_class, count, alike):
    students = (torch.ones(count, 4) if alike else torch.randn(count, 4)).requires_grad_()
    distance = direct(options_class, 4)(students, torch.randn(count, 4))
    distance.backward()
    assert distance.shape == ()
    assert math.isfinite(distance.item())
    assert students.grad.abs().max() < 100


@each_distance
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_distance_of_half_precision_embeddings_is_computed_in_float32(options_class, dtype):
    students, teachers = torch.randn(6, 3).to(dtype), torch.randn(6, 4).to(dtype)
    distance = built(options_class, 3, 4, projection=True)
    expected = distance(students.float(), teachers.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        given = distance(students.requires_grad_(), teachers)
    given.backward()
    assert given.dtype == torch.float32
    assert torch.equal(given, expected)
    assert students.grad.dtype == dtype
    assert distance.projection.weight.grad.dtype == torch.float32


@each_distance
def test_projection_is_linear_without_bias_and_initialised_from_the_global_generator(options_class):
    distances = []
    for _ in range(2):
        torch.manual_seed(5)
        distances.append(built(options_class, 3, 7, projection=True))
    (weight,), (again,) = (list(distance.parameters()) for distance in distances)
    assert weight.shape == (7, 3)
    assert torch.equal(weight, again)
    students, teachers = torch.randn(6, 3), torch.randn(6, 7)
    expected = direct(options_class, 7)(students @ weight.T, teachers)
    torch.testing.assert_close(distances[0](students, teachers), expected)


@each_of_images
def test_widths_that_differ_need_a_projection(options_class):
    assert [tuple(weight.shape) for weight in built(options_class, 256, 512).parameters()] == [(512, 256)]
    assert list(built(options_class, 512, 512, projection=False).parameters()) == []
    with pytest.raises(OptionError, match=r"256 dimensions and the teacher's 512; .* dim to 512$") as caught:
        built(options_class, 256, 512, projection=False)
    assert caught.value.option == "projection"


def test_relational_takes_any_widths_and_projects_only_with_the_option():
    assert list(built(Relational, 256, 512).parameters()) == []
    assert [tuple(weight.shape) for weight in built(Relational, 256, 512, projection=True).parameters()] == [
        (512, 256)
    ]


@each_distance
def test_weight_and_images_do_not_change_the_distance(options_class):
    students, teachers = torch.randn(2, 4, 5)
    plain, other = built(options_class, 5, 5), built(options_class, 5, 5, weight=0.0, images="augmented")
    assert (plain.weight, plain.images) == (1.0, "clean")
    assert (other.weight, other.images) == (0.0, "augmented")
    other.load_state_dict(plain.state_dict())
    assert torch.equal(plain(students, teachers), other(students, teachers))
