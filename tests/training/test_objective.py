from __future__ import annotations

import pytest
import torch

from mlbench.errors import SuiteError
from mlbench.training.model import build_model, build_teacher
from mlbench.training.objective import Batch, build_objective

TEACHER = ("teacher=toy", "distiller=toy")


def objective_of(case):
    return build_objective(case, build_model(case.spec, case.seed), build_teacher(case.spec, case.seed))


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator())


LABELS = torch.arange(8) % 6


def test_losses_add_up_by_their_weights(planned, images) -> None:
    losses = "losses={cosface: {scale: 16, margin: 0.1}, pair: {weight: 0.25}}"
    both = objective_of(planned(overrides=("loss=null", losses)).cases[0]).eval()
    first, second = both.terms
    assert (first.weight, second.weight) == (1.0, 0.25)
    embeddings = both.model(images)
    expected = first.centres(embeddings, LABELS, first.loss) + 0.25 * second.loss(embeddings, LABELS)
    torch.testing.assert_close(both(Batch(images, LABELS)), expected)


def test_the_same_loss_may_stand_twice_under_two_names(planned) -> None:
    losses = "losses={near: {name: cosface, margin: 0.1}, far: {name: cosface, margin: 0.5, weight: 2}}"
    objective = objective_of(planned(overrides=("loss=null", losses)).cases[0])
    assert [(term.name, term.loss.margin) for term in objective.terms] == [("near", 0.1), ("far", 0.5)]
    near, far = (term.centres.centres for term in objective.terms)
    assert not torch.equal(near, far)  # centres of their own, drawn apart
    assert set(objective.state()["losses"]) == {"near", "far"}


def test_mixed_labels_mix_the_cross_entropies(planned, images) -> None:
    objective = objective_of(planned().cases[0]).eval()
    others = LABELS.roll(1)
    parts = [objective(Batch(images, labels)) for labels in (LABELS, others)]
    mixed = objective(Batch(images, LABELS, others, share=0.3))
    torch.testing.assert_close(mixed, 0.3 * parts[0] + 0.7 * parts[1])


def test_a_loss_that_takes_mixed_images_itself_is_asked(planned, images) -> None:
    objective = objective_of(planned(overrides=("loss=pair",)).cases[0]).eval()

    class Loss:
        def __call__(self, embeddings, labels):
            raise AssertionError

        def mixed(self, embeddings, labels, others, share):
            return embeddings.sum() * 0 + share + others.sum()

    objective.terms[0].loss = Loss()
    others = LABELS.roll(1)
    assert objective(Batch(images, LABELS, others, share=0.5)).item() == 0.5 + others.sum()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "loss=pair",
            r"--set loss=pair: loss 'pair' compares images by their labels",
        ),
        (
            "sampler={name: partial_fc, rate: 1}",
            r"--set sampler=.*: sampler 'partial_fc' moves its centres",
        ),
    ],
)
def test_what_cannot_take_mixed_images_says_so(planned, change: str, message: str) -> None:
    case = planned(overrides=("mixing=toy", change)).cases[0]
    with pytest.raises(SuiteError, match=message):
        objective_of(case)


def test_a_distiller_sees_the_images_without_augmentation_alone(planned, images) -> None:
    objective = objective_of(planned(overrides=(*TEACHER, "distiller.weight=3")).cases[0]).eval()
    clean, targets = images.flip(0), torch.rand(8, 8, generator=torch.Generator())
    value = objective(Batch(images, LABELS, clean=clean, targets=targets))
    embeddings = objective.model(images), objective.model(clean)
    (term,) = objective.terms
    expected = term.centres(embeddings[0], LABELS, term.loss) + 3 * objective.distiller(
        embeddings[1], targets
    )
    torch.testing.assert_close(value, expected)


def test_a_distiller_of_weight_nothing_still_has_the_model_see_the_images(planned, images) -> None:
    objective = objective_of(planned(overrides=(*TEACHER, "distiller.weight=0")).cases[0]).train()
    seen = []
    objective.model.neck.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    targets = torch.rand(8, 8, generator=torch.Generator())
    objective(Batch(images, LABELS, clean=images, targets=targets)).backward()
    assert seen == [16]
    assert not objective.distiller.projection.weight.grad.any()


def test_a_teacher_stays_as_it_is_and_takes_images_of_any_size(planned, images) -> None:
    teacher = build_teacher(planned(overrides=(*TEACHER, "image.teacher_size=32")).cases[0].spec, 0)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    teacher.train()
    vectors = teacher.encode(images)
    assert vectors.shape == (8, teacher.dim) == (8, 8)
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())
    large = torch.nn.functional.interpolate(
        teacher._normalise(images), (32, 32), mode="bilinear", align_corners=False, antialias=True
    )
    assert torch.equal(vectors, teacher.backbone(large).mean((2, 3)))


#: Toy embeddings are short.
MAGFACE = "{name: magface, l_a: 0.01, u_a: 5, l_m: 0.1, u_m: 0.4, lambda_g: 3, scale: 16}"


def magnitude(embeddings) -> torch.Tensor:
    lengths = embeddings.square().sum(1).sqrt().clamp(0.01, 5)
    return 3 * (lengths / 25 + 1 / lengths).sum() / len(lengths)


@pytest.mark.parametrize("sampler", ["all", "{name: partial_fc, rate: 1}"])
def test_a_regulariser_is_added_once_whatever_the_sampler(planned, images, sampler) -> None:
    case = planned(overrides=(f"loss={MAGFACE}", f"sampler={sampler}")).cases[0]
    objective = objective_of(case).eval()
    (term,) = objective.terms
    embeddings = objective.model(images).detach().requires_grad_()
    value = objective.loss(embeddings, Batch(images, LABELS))
    own = term.centres(embeddings, LABELS, term.loss)
    torch.testing.assert_close(value, own + magnitude(embeddings))
    torch.testing.assert_close(
        torch.stack([*objective.values.values()]), torch.stack([own, magnitude(embeddings)]).detach()
    )
    assert [*objective.values] == ["loss magface", "loss magface magnitude"]
    (found,) = torch.autograd.grad(value, embeddings)
    (expected,) = torch.autograd.grad(own + magnitude(embeddings), embeddings)
    torch.testing.assert_close(found, expected)


def test_a_regulariser_is_added_once_to_mixed_images_and_has_the_weight_of_its_loss(planned, images) -> None:
    losses = f"losses={{far: {{{MAGFACE[1:-1]}, weight: 0.5}}, cosface: {{weight: 2}}}}"
    objective = objective_of(planned(overrides=("loss=null", losses)).cases[0]).eval()
    others = LABELS.roll(1)
    embeddings = objective.model(images)
    value = objective.loss(embeddings, Batch(images, LABELS, others, share=0.3))
    far, near = (
        0.3 * term.centres(embeddings, LABELS, term.loss) + 0.7 * term.centres(embeddings, others, term.loss)
        for term in objective.terms
    )
    torch.testing.assert_close(value, 0.5 * (far + magnitude(embeddings)) + 2 * near)
    expected = {"loss far": far, "loss far magnitude": magnitude(embeddings), "loss cosface": near}
    assert objective.values.keys() == expected.keys()
    for name, each in expected.items():
        torch.testing.assert_close(objective.values[name], each.detach())


def test_a_regulariser_is_computed_in_float32_under_autocast(planned, images) -> None:
    objective = objective_of(planned(overrides=(f"loss={MAGFACE}",)).cases[0]).eval()
    with torch.autocast("cpu", torch.bfloat16):
        embeddings = objective.model.embed(images).to(torch.bfloat16)
        objective.loss(embeddings, Batch(images, LABELS))
    assert objective.values["loss magface magnitude"] == magnitude(embeddings.float())


@pytest.mark.parametrize("share", [0.8, 0.3])
@pytest.mark.parametrize(("loss", "statistics"), [("adaface", ("mean", "std")), ("curricularface", ("t",))])
def test_a_mixed_batch_moves_running_statistics_once(planned, images, loss, statistics, share) -> None:
    """As a batch of the labels with the larger share does."""
    case = planned(overrides=(f"loss={loss}",)).cases[0]
    others = LABELS.roll(1)
    mixed, plain = (objective_of(case).train() for _ in range(2))
    mixed(Batch(images, LABELS, others, share=share)).backward()
    plain(Batch(images, LABELS if share > 0.5 else others))
    assert mixed.terms[0].loss.training
    for name in statistics:
        found, expected = (getattr(each.terms[0].loss, name) for each in (mixed, plain))
        assert torch.equal(found, expected)
