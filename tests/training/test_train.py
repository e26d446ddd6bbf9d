from __future__ import annotations

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from mlbench.errors import OptionError, PluginError, SuiteError, TrainingError
from mlbench.planning.plan import labels_of
from mlbench.records.record import Estimate
from mlbench.training.feed import build_batches, build_feed
from mlbench.training.input_cache import InputCache
from mlbench.training.model import build_model, build_teacher, state_hash
from mlbench.training.objective import Batch, Term, build_objective
from mlbench.training.optimisation import build_optimizer, check_recipe
from mlbench.training.train import train


def silent(*_: object) -> None:
    pass


def trained(case, tmp_path, score=lambda: 0.0, **announced):
    return trained_model(case, build_model(case.spec, case.seed), tmp_path, score, **announced)


def trained_model(case, model, tmp_path, score=lambda: 0.0, **announced):
    fabric = Fabric(accelerator="cpu", devices=1)
    teacher = build_teacher(case.spec, case.seed)
    objective = build_objective(case, model, teacher)
    source = InputCache(case, "backbone", model, fabric, silent)
    taught = InputCache(case, "teacher", teacher, fabric, silent) if teacher is not None else None
    feed = build_feed(case, objective, source, taught, fabric) if case.recipe.epochs else None
    estimate = lambda: Estimate(score(), **announced)  # noqa: E731
    embed = lambda: torch.rand((24, 4), generator=torch.Generator().manual_seed(0)).numpy()  # noqa: E731
    result = train(case, objective, feed, embed, estimate, fabric, tmp_path / "checkpoints", silent)
    return objective, result


def test_training_lowers_the_loss_and_counts_steps(planned, tmp_path) -> None:
    _, result = trained(planned(overrides=("recipe.epochs=12", "recipe.lr=0.01")).cases[0], tmp_path)
    assert result.steps == 12 * 3  # 24 images in batches of 8
    assert len(result.curves["loss"]) == 12
    assert result.curves["loss"][-1] < 0.5 * result.curves["loss"][0]


def test_training_records_how_much_the_loss_varies_over_the_steps_of_an_epoch(
    planned, tmp_path, monkeypatch
) -> None:
    losses = iter([1.0, 2.0, 6.0, 4.0, 4.0, 4.0])
    monkeypatch.setattr("mlbench.training.step.Step.__call__", lambda step, batch: torch.tensor(next(losses)))
    _, result = trained(planned(overrides=("recipe.epochs=2",)).cases[0], tmp_path)
    assert result.curves["loss"] == [3.0, 4.0]
    assert result.curves["loss_deviation"] == pytest.approx([(14 / 3) ** 0.5, 0.0])


def test_training_records_the_parts_of_the_loss(planned, tmp_path) -> None:
    """A pair loss, a loss with a regulariser, and a distiller; the mean of their sum is the loss."""
    losses = "losses={far: {name: magface, l_a: 0.01, u_a: 5}, pair: {weight: 0.25}}"
    overrides = ("loss=null", losses, "teacher=toy", "distiller=toy", "distiller.weight=3")
    weights = {"loss far": 1, "loss far magnitude": 1, "distiller": 3}
    for more, names in (
        ((), {**weights, "loss pair": 0.25}),
        (("compute.accumulate=2",), {**weights, "loss pair": 0.25}),
        (("mixing=toy", "losses.pair=null"), weights),
    ):
        curves = trained(planned(overrides=(*overrides, *more)).cases[0], tmp_path)[1].curves
        assert {name for name in curves if name.startswith("loss ")} | {"distiller"} == set(names)
        sums = [sum(weight * curves[name][epoch] for name, weight in names.items()) for epoch in range(2)]
        assert sums == pytest.approx(curves["loss"])
    assert not [name for name in trained(planned().cases[0], tmp_path)[1].curves if name.startswith("loss ")]


def test_training_twice_gives_the_same_bits(planned, tmp_path) -> None:
    case = planned().cases[0]
    hashes = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        objective, result = trained(case, tmp_path)
        hashes.append((state_hash(objective.state_dict().values()), tuple(result.curves["loss"])))
    assert hashes[0] == hashes[1]


def test_training_equals_a_bare_loop(planned, tmp_path) -> None:
    """Constant rate, no clipping: plain AdamW on the same batches ends at the same weights."""
    case = planned(
        overrides=("recipe.schedule=constant", "recipe.warmup=0", "recipe.clip_norm=0", "recipe.epochs=3")
    ).cases[0]
    objective, _ = trained(case, tmp_path, score=iter([1.0, 2.0, 3.0]).__next__)

    from mlbench.seeding import numpy_generator

    model = build_model(case.spec, case.seed)
    bare = build_objective(case, model)
    split = case.dataset.split("train")
    images = torch.stack([torch.from_numpy(np.array(split.image(i))).permute(2, 0, 1) for i in range(24)])
    labels = torch.from_numpy(labels_of(split))
    parameters = dict(bare.named_parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for n, p in parameters.items() if p.ndim > 1], "weight_decay": 1e-3},
            {"params": [p for n, p in parameters.items() if p.ndim <= 1], "weight_decay": 0},
        ],
        lr=1e-3,
    )
    batches = build_batches(case, labels.numpy())
    bare.train()
    for epoch in range(3):
        for indices in batches.batches(numpy_generator(case.seed, "batches", epoch)):
            optimizer.zero_grad()
            bare(Batch(images[indices], labels[indices])).backward()
            optimizer.step()
    for name, value in objective.named_parameters():
        torch.testing.assert_close(value, parameters[name], rtol=1e-4, atol=1e-5)


def test_the_rate_warms_up_and_falls_to_nothing(planned, tmp_path) -> None:
    case = planned(overrides=("recipe.epochs=20", "recipe.warmup=0.25", "recipe.lr=0.01")).cases[0]
    rates = trained(case, tmp_path)[1].curves["lr"]
    assert rates.index(max(rates)) == 4  # 15 of 60 steps, 3 an epoch
    assert max(rates) == pytest.approx(0.01, rel=0.07)
    assert rates[-1] == pytest.approx(0.01 * 0.5 / 45)


def test_the_best_checkpoint_is_kept(planned, tmp_path) -> None:
    case = planned(overrides=("recipe.epochs=4",)).cases[0]
    objective, result = trained(case, tmp_path, score=iter([0.1, 0.9, 0.5, 0.9]).__next__)
    assert result.best_epoch == 2
    best = torch.load(tmp_path / "checkpoints" / "best.pt", weights_only=True)
    last = torch.load(tmp_path / "checkpoints" / "last.pt", weights_only=True)
    assert (best["epoch"], last["epoch"]) == (2, 4)
    assert state_hash(objective.model.trained_state().values()) == state_hash(best["model"].values())
    assert state_hash(best["model"].values()) != state_hash(last["model"].values())
    assert best["losses"]["cosface"]["centres"]["centres"].shape[0] == 6


def test_select_last_keeps_the_last(planned, tmp_path) -> None:
    case = planned(overrides=("recipe.epochs=3", "recipe.select=last")).cases[0]
    assert trained(case, tmp_path, score=iter([0.9, 0.5, 0.1]).__next__)[1].best_epoch == 3


@pytest.mark.parametrize(("select", "kept"), [("best", 2), ("last", 4)])
def test_patience_stops_early(planned, tmp_path, select: str, kept: int) -> None:
    case = planned(overrides=("recipe.epochs=9", "recipe.patience=2", f"recipe.select={select}")).cases[0]
    _, result = trained(case, tmp_path, score=iter([0.1, 0.5, 0.4, 0.3, 0.9]).__next__)
    assert result.curves["calibration_f1"] == [0.1, 0.5, 0.4, 0.3]
    assert result.best_epoch == kept
    assert result.notes == ["stopped early after epoch 4"]


def test_lower_is_better_where_the_metric_says_so(planned, tmp_path) -> None:
    overrides = ("recipe.epochs=9", "recipe.patience=2", "recipe.select_by=eer")
    scores = iter([0.5, None, 0.1, 0.4, 0.3]).__next__
    case = planned(overrides=overrides).cases[0]
    _, result = trained(case, tmp_path, score=scores, higher_is_better=False)
    assert result.curves["calibration_eer"] == [0.5, None, 0.1, 0.4, 0.3]
    assert result.best_epoch == 3
    assert result.notes == ["stopped early after epoch 5"]


def test_a_score_that_never_has_a_value_selects_nothing(planned, tmp_path) -> None:
    overrides = ("recipe.epochs=3", "recipe.select_by=eer")
    message = (
        r"^recipe\.select_by: eer had no value on the calibration split \(few pairs\); "
        r"choose another, or set recipe\.select: last$"
    )
    nothing = {"score": lambda: None, "note": "few pairs"}
    with pytest.raises(TrainingError, match=message):
        trained(planned(overrides=overrides).cases[0], tmp_path, **nothing)
    last = planned(overrides=(*overrides, "recipe.select=last")).cases[0]
    assert trained(last, tmp_path, **nothing)[1].best_epoch == 3


def test_evaluate_every_always_includes_the_last_epoch(planned, tmp_path) -> None:
    case = planned(overrides=("recipe.epochs=5", "recipe.evaluate_every=2")).cases[0]
    assert len(trained(case, tmp_path)[1].curves["calibration_f1"]) == 3  # after 2, 4 and 5


def test_a_loss_that_is_not_finite_names_the_step(planned, tmp_path) -> None:
    told = r"loss 'nan' of plugin 'toys' \(toys 1\.0\) returned nan at step 1, on finite embeddings"
    with pytest.raises(PluginError, match=told):
        trained(planned(overrides=("loss=nan",)).cases[0], tmp_path)
    assert (tmp_path / "checkpoints" / "last.pt").exists()


@pytest.mark.parametrize(
    ("batch", "parts", "told"), [(1, 1, "batch of 1 or"), (7, 4, "batch of 7 or in a part of it")]
)
def test_one_image_alone_in_a_batch_norm_is_told(
    planned, tmp_path, batch: int, parts: int, told: str
) -> None:
    sizes = (f"recipe.batch_size={batch}", f"compute.accumulate={parts}")
    case = planned(overrides=("neck={name: gap, dim: 4, norm: bn}", *sizes)).cases[0]
    with pytest.raises(TrainingError, match=rf"one image alone, and step 1 has one in its {told}"):
        trained(case, tmp_path)


def test_a_pair_loss_needs_no_centres(planned, tmp_path) -> None:
    case = planned(overrides=("loss=pair", "recipe.epochs=8", "recipe.lr=0.01")).cases[0]
    objective, result = trained(case, tmp_path)
    assert objective.terms[0].centres is None
    assert result.curves["loss"][-1] < result.curves["loss"][0]


def test_a_loss_with_centres_needs_a_sampler(planned) -> None:
    with pytest.raises(SuiteError, match=r"toy.yaml:7: base.loss.*: loss 'cosface' has class centres"):
        planned(overrides=("sampler=null",))


def test_frozen_parts_stay_as_they_were(planned, tmp_path) -> None:
    case = planned(overrides=("backbone.frozen=true",)).cases[0]
    before = state_hash(build_model(case.spec, case.seed).backbone.frozen.state_dict().values())
    objective, _ = trained(case, tmp_path)
    assert state_hash(objective.model.backbone.frozen.state_dict().values()) == before


def test_centre_lr_moves_only_the_centres(planned, tmp_path) -> None:
    common = ("recipe.epochs=1", "recipe.optimizer=sgd", "recipe.clip_norm=0", "recipe.batch_size=24")
    states = []
    for factor in (1, 10):
        case = planned(overrides=(*common, f"recipe.centre_lr={factor}")).cases[0]
        objective = trained(case, tmp_path)[0]
        states.append(
            (state_hash(objective.model.trained_state().values()), objective.terms[0].centres.centres.clone())
        )
    assert states[0][0] == states[1][0]
    assert not torch.equal(states[0][1], states[1][1])


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "momentum"])
def test_a_sampler_with_an_optimiser_of_its_own_trains_as_the_recipes_does(
    planned, tmp_path, optimizer: str
) -> None:
    """Same centres, same rates, same clipping: with all classes sampled, only rounding differs."""
    losses, centres = [], []
    common = (f"recipe.optimizer={optimizer}", "recipe.lr=0.01", "recipe.clip_norm=0.5", "recipe.centre_lr=4")
    common = (*common, "recipe.lr_factors={sampler: 0.5}")
    for sampler in ("all", f"{{name: partial_fc, rate: 1, optimizer: {optimizer}}}"):
        case = planned(overrides=(*common, "recipe.epochs=4", f"sampler={sampler}")).cases[0]
        objective, result = trained(case, tmp_path, score=iter([1.0, 2.0, 3.0, 4.0]).__next__)
        losses.append(result.curves["loss"])
        centres.append(objective.terms[0].centres.centres.detach())
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    torch.testing.assert_close(*centres, rtol=1e-3, atol=1e-4)


def test_loss_scaling_and_clipping_reach_centres_with_an_optimiser_of_their_own(planned) -> None:
    case = planned(overrides=("sampler={name: partial_fc, rate: 1, optimizer: sgd}",)).cases[0]
    images = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator())
    labels = torch.arange(8) % 6
    centres = []
    for scale in (1.0, 2.0**12):
        objective = build_objective(case, build_model(case.spec, case.seed))
        optimizer = build_optimizer(objective, case)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        for limit in (0.1, 1e9):
            optimizer.zero_grad()
            scaler.scale(objective(Batch(images, labels))).backward()
            scaler.unscale_(optimizer)
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            torch.nn.utils.clip_grad_norm_(parameters, limit)
            scaler.step(optimizer)
            scaler.update()
        centres.append(objective.terms[0].centres.centres.clone())
        # A gradient that overflowed: the scaler lets nothing take this step.
        scaler.scale(objective(Batch(images, labels))).backward()
        parameters[0].grad[:] = float("inf")
        scaler.step(optimizer)
        assert torch.equal(objective.terms[0].centres.centres, centres[-1])
    torch.testing.assert_close(*centres, rtol=1e-4, atol=1e-5)


def test_a_sampler_that_refuses_leaves_the_state_of_the_step_before(planned, tmp_path, monkeypatch) -> None:
    case = planned(overrides=("sampler={name: partial_fc, rate: 1}",)).cases[0]
    from mlbench_samplers.sampled_centres import SampledCentres

    forward, before = SampledCentres.forward, []

    def failing(self, embeddings, labels, loss):
        if self.steps == 4:
            before.append({name: value.clone() for name, value in self.state_dict().items()})
            embeddings = embeddings * float("nan")
        return forward(self, embeddings, labels, loss)

    monkeypatch.setattr(SampledCentres, "forward", failing)
    with pytest.raises(TrainingError, match="step 5: the embeddings are not finite"):
        trained(case, tmp_path)
    kept = torch.load(tmp_path / "checkpoints" / "last.pt", weights_only=True)
    assert kept["losses"]["cosface"]["centres"]["centres"].isfinite().all()
    for name, value in before[0].items():
        assert name == "_extra_state" or torch.equal(kept["losses"]["cosface"]["centres"][name], value)


def test_check_recipe_refuses_an_unknown_optimizer(planned) -> None:
    recipe = planned(overrides=("recipe.optimizer=adamv",)).cases[0].recipe
    with pytest.raises(OptionError, match=r"unknown optimizer 'adamv' \(did you mean 'adam"):
        check_recipe(recipe)


#: Plain gradient steps: what differs is the gradient.
SGD = ("recipe={name: full, optimizer: momentum, schedule: constant, milestones: []}",)


@pytest.mark.parametrize(
    "loss", [("sampler=all",), ("loss=pair",), ("sampler={name: partial_fc, rate: 1, optimizer: sgd}",)]
)
def test_a_batch_in_parts_has_the_gradients_of_the_whole(planned, tmp_path, loss) -> None:
    """Batch norm sees a part at a time, so this model's is out of the way; dropout draws by the part."""
    ends = []
    for parts in (1, 3):
        case = planned(overrides=(*SGD, *loss, f"compute.accumulate={parts}")).cases[0]
        model = build_model(case.spec, case.seed)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum, module.training = 0.0, False
                module.train = lambda mode=True, module=module: module
        objective, result = trained_model(case, model, tmp_path)
        ends.append((result.curves["loss"], [p.detach().clone() for p in objective.parameters()]))
    assert ends[0][0] == pytest.approx(ends[1][0], rel=1e-4)
    for whole, parts in zip(ends[0][1], ends[1][1], strict=True):
        torch.testing.assert_close(parts, whole, rtol=1e-3, atol=1e-5)


def test_a_batch_in_parts_draws_the_same_twice_and_counts_its_statistics_once(planned, tmp_path) -> None:
    """What both passes see is recorded: inputs of the projection after dropout, and the norm's statistics."""
    case = planned(overrides=(*SGD, "neck=noisy", "compute.accumulate=2", "recipe.epochs=1")).cases[0]
    model = build_model(case.spec, case.seed)
    seen, means = [], []
    model.neck.projection.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].clone()))
    norm = model.neck[0]
    model.neck.projection.register_forward_hook(lambda *_: means.append(float(norm.running_mean[0])))
    trained_model(case, model, tmp_path)
    steps = [(*seen[step : step + 2], *seen[step + 2 : step + 4]) for step in range(0, 12, 4)]
    for first, second, first_again, second_again in steps:
        assert torch.equal(first, first_again)
        assert torch.equal(second, second_again)
        assert not torch.equal(first, second)
    for first, second, third, fourth in zip(*(means[offset::4] for offset in range(4)), strict=True):
        assert first != second == third == fourth
    assert int(norm.num_batches_tracked) == 6


@pytest.mark.parametrize(
    ("option", "neck"), [("checkpointing=true", ("neck=noisy",)), ("channels_last=false", ())]
)
def test_how_it_is_computed_changes_no_more_than_rounding(planned, tmp_path, option: str, neck) -> None:
    ends = []
    for override in ("compute.accumulate=1", f"compute.{option}"):
        case = planned(overrides=(*SGD, *neck, override)).cases[0]
        objective, _ = trained(case, tmp_path)
        ends.append(objective.model.state_dict())
    for name, value in ends[0].items():
        torch.testing.assert_close(ends[1][name], value, rtol=1e-4, atol=1e-5)


def test_checkpointing_bears_layers_that_write_into_their_input(planned) -> None:
    backbone = "backbone={name: timm, model: resnet10t, weights: none}"
    gradients = []
    for override in ("compute.checkpointing=false", "compute.checkpointing=true"):
        case = planned(overrides=(override, backbone, "image.size=32")).cases[0]
        model = build_model(case.spec, case.seed)
        images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator())
        model(images).square().sum().backward()
        gradients.append([p.grad for p in model.parameters()])
    torch.testing.assert_close(*gradients)


def test_checkpointing_keeps_nothing_between_its_layers(planned) -> None:
    """The activations that the backward pass keeps: fewer, and still the gradients of the plain pass."""
    kept, gradients = [], []
    for override in ("compute.checkpointing=false", "compute.checkpointing=true"):
        case = planned(overrides=(override, "image.size=64")).cases[0]
        model = build_model(case.spec, case.seed)
        images = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator())
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t, s=sizes: s.append(t.numel()) or t, lambda t: t
        ):
            loss = model(images).square().sum()
        loss.backward()
        kept.append(sum(sizes))
        gradients.append([p.grad for p in model.parameters()])
    assert kept[1] < kept[0]
    torch.testing.assert_close(*gradients)


def test_the_mean_of_the_weights_is_what_is_scored_and_kept(planned, tmp_path) -> None:
    case = planned(overrides=("recipe={name: full, ema: 0.9, epochs: 4}",)).cases[0]
    model = build_model(case.spec, case.seed)
    seen = []

    def score() -> float:
        seen.append(state_hash(model.trained_state().values()))
        return float(len(seen))

    objective, _ = trained_model(case, model, tmp_path, score)
    kept = torch.load(tmp_path / "checkpoints" / "best.pt", weights_only=True)["model"]
    last = torch.load(tmp_path / "checkpoints" / "last.pt", weights_only=True)["model"]
    assert seen[-1] == state_hash(kept.values()) == state_hash(last.values())
    assert state_hash(objective.model.trained_state().values()) == seen[-1]
    plain = planned(overrides=("recipe={name: full, epochs: 4}",)).cases[0]
    other = trained(plain, tmp_path / "plain", score=iter([1.0, 2.0, 3.0, 4.0]).__next__)[0]
    assert state_hash(other.model.trained_state().values()) != seen[-1]


def test_no_epochs_leave_the_model_as_it_starts(planned, tmp_path) -> None:
    case = planned(overrides=("recipe={name: full, epochs: 0}",)).cases[0]
    objective, result = trained(case, tmp_path)
    assert result.steps == 0
    assert result.notes == ["not trained: recipe.epochs is 0"]
    fresh = build_model(case.spec, case.seed)
    assert state_hash(objective.model.state_dict().values()) == state_hash(fresh.state_dict().values())
    assert (tmp_path / "checkpoints" / "last.pt").exists()


@pytest.mark.parametrize("frozen", ["true", "false"])
def test_mixed_training_runs_and_gives_the_same_bits(planned, tmp_path, frozen: str) -> None:
    case = planned(overrides=("mixing=toy", f"backbone.frozen={frozen}")).cases[0]
    hashes = {state_hash(trained(case, tmp_path)[0].state_dict().values()) for _ in range(2)}
    assert len(hashes) == 1
    plain = planned(overrides=(f"backbone.frozen={frozen}",)).cases[0]
    assert state_hash(trained(plain, tmp_path)[0].state_dict().values()) not in hashes


@pytest.mark.parametrize("images", ["clean", "augmented"])
@pytest.mark.parametrize("views", [0, 2])
def test_distillation_pulls_the_embeddings_to_the_teachers(
    planned, tmp_path, images: str, views: int
) -> None:
    """The distance alone is trained, weight 1e3 to the loss's 1: it falls."""
    overrides = (
        "teacher={name: toy, frozen: true}",
        f"distiller={{name: toy, images: {images}, weight: 1000}}",
        "augmentation=jitter",
        f"recipe.views={views}",
        "recipe.epochs=12",
        "recipe.lr=0.01",
    )
    case = planned(overrides=overrides).cases[0]
    _, result = trained(case, tmp_path)
    assert result.curves["loss"][-1] < 0.5 * result.curves["loss"][0]


def test_a_teacher_is_asked_once_for_all_epochs_and_cases(planned, tmp_path, monkeypatch) -> None:
    from mlbench.training.model import Teacher

    asked = []
    encode = Teacher.encode

    def counting(self, images):
        asked.append(len(images))
        return encode(self, images)

    monkeypatch.setattr(Teacher, "encode", counting)
    overrides = ("teacher=toy", "distiller=toy", "augmentation=jitter", "recipe.epochs=3")
    plan = planned("seeds: [0]\nmatrix: {neck.dim: [8, 16]}\n", overrides=overrides)
    for case in plan.cases:
        trained(case, tmp_path)
    assert asked == [64, 64]  # how wide its output is, then all 24 images, each time in a run of 64


def test_training_images_may_be_smaller(planned, tmp_path) -> None:
    case = planned(overrides=("image.train_size=32", "image.size=16")).cases[0]
    seen = []
    model = build_model(case.spec, case.seed)
    model.backbone.trained.register_forward_hook(
        lambda module, inputs, output: seen.append(inputs[0].shape[2])
    )
    trained_model(case, model, tmp_path)
    assert set(seen) == {32}


def test_a_neck_that_depends_on_the_size_refuses_another_for_training(planned) -> None:
    timm = "backbone={name: timm, model: resnet18, weights: none}"
    message = r"neck 'flatten' has other weights for images of 32 px \(image.train_size\) than of 64 px"
    with pytest.raises(SuiteError, match=message):
        planned(overrides=(timm, "neck=flatten", "image.train_size=32", "image.size=64"))
    planned(overrides=(timm, "neck=gap", "image.train_size=32", "image.size=64"))


def test_a_loss_that_stays_nothing_is_noted(planned, tmp_path, monkeypatch) -> None:
    seen = []

    def loss(self, embeddings, batch):
        seen.append(1)
        return embeddings.sum() * (0.0 if len(seen) > idle_after else 1e-3)

    monkeypatch.setattr(Term, "forward", loss)
    case = planned(overrides=("loss=pair", "recipe.epochs=4")).cases[0]
    idle_after = 0
    (note,) = trained(case, tmp_path)[1].notes
    assert note.startswith("the loss was 0 in all 12 steps: it trained nothing;")
    seen.clear()
    idle_after = 6
    (note,) = trained(case, tmp_path)[1].notes
    assert note.startswith("the loss was 0 in every step of 2 of 4 epochs, first of epoch 3:")


def test_the_curve_of_the_rate_is_the_models_own(planned, tmp_path) -> None:
    """Also where the model trains nothing, and only the centres have a rate."""
    overrides = ("recipe.centre_lr=10", "recipe.schedule=constant", "recipe.warmup=0")
    case = planned(overrides=overrides).cases[0]
    model = build_model(case.spec, case.seed).requires_grad_(False)
    assert trained_model(case, model, tmp_path)[1].curves["lr"] == pytest.approx([1e-3, 1e-3])
