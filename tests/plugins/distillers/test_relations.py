"""Relations between the images of a batch, by hand and against loops over pairs and triples."""

import itertools
import math

import pytest
import torch
from torch.nn import functional as F

from mlbench_distillers import relations
from mlbench_distillers.relations import Relations


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def huber(difference):
    size = abs(difference)
    return 0.5 * size * size if size < 1 else size - 0.5


def cosine_at(vertex, first, second):
    sides = [[a - b for a, b in zip(end, vertex, strict=True)] for end in (first, second)]
    return sum(a * b for a, b in zip(*sides, strict=True)) / math.hypot(*sides[0]) / math.hypot(*sides[1])


def naive(students, teachers):
    """Both losses, one pair and one triple at a time."""
    own, wanted = students.tolist(), teachers.tolist()
    pairs = list(itertools.permutations(range(len(own)), 2))
    triples = list(itertools.permutations(range(len(own)), 3))
    means = [sum(math.dist(rows[i], rows[j]) for i, j in pairs) / len(pairs) for rows in (own, wanted)]
    distances = [
        huber(math.dist(own[i], own[j]) / means[0] - math.dist(wanted[i], wanted[j]) / means[1])
        for i, j in pairs
    ]
    angles = [
        huber(cosine_at(own[j], own[i], own[k]) - cosine_at(wanted[j], wanted[i], wanted[k]))
        for i, j, k in triples
    ]
    return sum(distances) / len(distances), sum(angles) / len(angles)


def unit(*shape, dtype=torch.float64):
    return F.normalize(torch.randn(*shape, dtype=dtype))


def plane(*angles):
    radians = torch.tensor(angles, dtype=torch.float64).deg2rad()
    return torch.stack([radians.cos(), radians.sin()], dim=1)


def test_relations_by_hand():
    students, teachers = plane(0, 90, 180), plane(0, 120, 240)
    # Distances √2, √2, 2 as multiples of their mean against three equal ones.
    mean = (2 * math.sqrt(2) + 2) / 3
    distances = (2 * huber(math.sqrt(2) / mean - 1) + huber(2 / mean - 1)) / 3
    # Angles of 45, 90 and 45 degrees against three of 60.
    angles = (2 * huber(math.sqrt(0.5) - 0.5) + huber(0 - 0.5)) / 3
    assert math.isclose(Relations(1, 0)(students, teachers).item(), distances, rel_tol=1e-9)
    assert math.isclose(Relations(0, 1)(students, teachers).item(), angles, rel_tol=1e-9)
    assert math.isclose(Relations(3, 5)(students, teachers).item(), 3 * distances + 5 * angles, rel_tol=1e-9)


@pytest.mark.parametrize(("count", "dim", "teacher_dim"), [(3, 2, 2), (4, 3, 8), (9, 6, 2), (13, 2, 5)])
def test_relations_equal_loops_over_pairs_and_triples(count, dim, teacher_dim):
    students, teachers = unit(count, dim), unit(count, teacher_dim)
    distances, angles = naive(students, teachers)
    assert math.isclose(Relations(1, 0)(students, teachers).item(), distances, rel_tol=1e-9)
    assert math.isclose(Relations(0, 1)(students, teachers).item(), angles, rel_tol=1e-9)


def test_large_differences_count_linearly():
    # The angle at the middle image is almost 180 degrees for the students and almost 0 for the teachers: the
    # cosines differ by almost 2.
    students, teachers = plane(0, 2, 4), plane(0, 180, 1)
    assert abs(cosine_at(*students[[1, 0, 2]].tolist()) - cosine_at(*teachers[[1, 0, 2]].tolist())) > 1.9
    assert math.isclose(
        Relations(0, 1)(students, teachers).item(), naive(students, teachers)[1], rel_tol=1e-9
    )


def test_rotation_of_the_space_changes_no_relation():
    teachers = unit(7, 3)
    turned = teachers @ torch.linalg.qr(torch.randn(5, 3, dtype=torch.float64)).Q.T
    assert Relations(1, 2)(turned, teachers).item() < 1e-12


@pytest.mark.parametrize("held", [1, 300, 10**9])
def test_angles_do_not_depend_on_how_many_are_held(held, monkeypatch):
    students, teachers = unit(10, 4).requires_grad_(), unit(10, 6)
    expected = naive(students, teachers)[1]
    whole = torch.autograd.grad(Relations(0, 1)(students, teachers), students)[0]
    monkeypatch.setattr(relations, "_HELD", held)
    angles = Relations(0, 1)(students, teachers)
    assert math.isclose(angles.item(), expected, rel_tol=1e-9)
    torch.testing.assert_close(torch.autograd.grad(angles, students)[0], whole)


@pytest.mark.parametrize("weights", [(1, 0), (0, 1)])
def test_gradients_pass_gradcheck(weights):
    students, teachers = unit(6, 3).requires_grad_(), unit(6, 4)
    assert torch.autograd.gradcheck(lambda each: Relations(*weights)(each, teachers), students)


def test_relations_of_near_images_keep_float32_precision():
    teachers = unit(6, 64)
    centre = unit(1, 64)
    students = F.normalize(centre + 1e-3 * teachers)
    exact = Relations(1, 1)(students, teachers).item()
    assert math.isclose(Relations(1, 1)(students.float(), teachers.float()).item(), exact, rel_tol=1e-2)


def test_equal_images_have_finite_gradients():
    teachers = unit(6, 4, dtype=torch.float32)
    students = unit(6, 4, dtype=torch.float32)
    teachers[1], students[1] = teachers[0], students[0]
    students.requires_grad_()
    loss = Relations(1, 2)(students, teachers)
    loss.backward()
    assert math.isfinite(loss.item())
    assert students.grad.abs().max() < 10
    # The equal images have no direction to each other, for students and teachers.
    students.grad = None
    Relations(1, 2)(students, students.detach().clone()).backward()
    assert students.grad.abs().max() < 1e-6


def test_one_image_has_no_relation_and_two_have_no_angle():
    one, two = unit(1, 4).requires_grad_(), unit(2, 4).requires_grad_()
    for students in (one, two):
        loss = Relations(1, 2)(students, unit(len(students), 4))
        loss.backward()
        # Two images are always at their mean distance.
        assert loss.item() == pytest.approx(0)
        assert students.grad.abs().max() < 1e-12
