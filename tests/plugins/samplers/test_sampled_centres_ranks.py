"""Sampled centres on several ranks: gloo processes against one process, checkpoints between world sizes."""

import json
import os
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from mlbench.errors import StoreError, TrainingError
from mlbench_losses.margin import CosFace
from mlbench_samplers import cross_entropy
from mlbench_samplers.row_optimizers import RowAdamW, RowSGD
from mlbench_samplers.sampled_centres import SampledCentres
from mlbench_samplers.shards import load_shards, save_shard

CLASSES, DIM, SAMPLED, BATCH = 50, 6, 21, 12
#: Examples of each rank, for worlds of 1, 2 and 3: unequal, and none at all.
CUTS = {1: [12], 2: [9, 3], 3: [7, 0, 5]}
OPTIMIZERS = {"sgd": partial(RowSGD, nesterov=True), "adamw": RowAdamW}
LOSS = CosFace(scale=16.0, margin=0.3)


class LearntScale(nn.Module):
    """A loss with batch statistics and a learnt scale."""

    centres_per_class = 2

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(4.0))

    def forward(self, cosines, norms):
        return self.scale * cosines.amax(2) * (norms / norms.mean()).unsqueeze(1)

    def logits(self, cosines, targets, norms):
        return self(cosines, norms)


class OnlyLogits(CosFace):
    def logits(self, cosines, targets, norms):
        return super().logits(cosines, targets, norms)


def make(optimizer="sgd", each=1, group=None):
    torch.manual_seed(7)
    sampler = SampledCentres(
        CLASSES, DIM, each, sampled=SAMPLED, seed=3, optimizer=OPTIMIZERS[optimizer], group=group
    )
    return sampler.double()


class Training:
    """Training of a linear model and centres, in one process or in the ranks of a group."""

    def __init__(self, optimizer="sgd", group=None, loss=LOSS):
        self.sampler = make(optimizer, loss.centres_per_class, group)
        torch.manual_seed(8)
        self.bare = self.model = nn.Linear(5, DIM).double()
        self.loss = loss.double() if isinstance(loss, nn.Module) else loss
        self.ranks = self.sampler.ranks
        if self.ranks.size > 1:
            self.model = DistributedDataParallel(self.bare, process_group=group)
        parameters = [*self.bare.parameters(), *(loss.parameters() if isinstance(loss, nn.Module) else ())]
        self.optimizer = torch.optim.SGD([*parameters, self.sampler.stand_in], lr=0.05)

    def run(self, steps, limit=0.5):
        losses = []
        cuts = CUTS[self.ranks.size]
        own = slice(sum(cuts[: self.ranks.rank]), sum(cuts[: self.ranks.rank + 1]))
        for step in steps:
            generator = torch.Generator().manual_seed(step)
            images = torch.randn(BATCH, 5, generator=generator, dtype=torch.float64)
            labels = torch.randint(CLASSES, (BATCH,), generator=generator)
            self.optimizer.zero_grad()
            loss = self.sampler(self.model(images[own]), labels[own], self.loss)
            loss.backward()
            if isinstance(self.loss, nn.Module):  # as DistributedDataParallel averages
                for parameter in self.loss.parameters():
                    self.ranks.sum_(parameter.grad).div_(self.ranks.size)
            torch.nn.utils.clip_grad_norm_(
                [p for group in self.optimizer.param_groups for p in group["params"]], limit
            )
            self.optimizer.step()
            self.sampler.update(0.05, 0.01)
            losses.append(loss.item())
        return losses

    def weights(self):
        """The model's weights and all centres, from all ranks."""
        counts = [
            (r + 1) * CLASSES // self.ranks.size - r * CLASSES // self.ranks.size
            for r in range(self.ranks.size)
        ]
        return [*self.bare.parameters(), self.ranks.concatenate(self.sampler.centres.data, counts)]


class LearntMargin(nn.Module):
    """A loss that changes the target's logit alone."""

    centres_per_class = 1
    scale = 8.0

    def __init__(self):
        super().__init__()
        self.margin = nn.Parameter(torch.tensor(0.3, dtype=torch.float64))

    def target_logits(self, cosines, norms):
        return self.scale * (cosines - self.margin * norms / norms.mean())

    def logits(self, cosines, targets, norms):
        cosines, place = cosines.squeeze(2), targets.clamp_min(0).unsqueeze(1)
        own = self.target_logits(cosines.gather(1, place).squeeze(1), norms).unsqueeze(1)
        own = torch.where(targets.unsqueeze(1) >= 0, own, self.scale * cosines.gather(1, place))
        return (self.scale * cosines).scatter(1, place, own)


LEARNT = {"learnt scale": LearntScale, "learnt margin": LearntMargin}


def save(data, path):
    temporary = path.with_suffix(".tmp")
    torch.save(data, temporary)
    os.replace(temporary, path)


def worker(rank, folder):
    """Program of each of three processes; the tests read its result files."""
    folder = Path(folder)
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=3, timeout=timedelta(seconds=60)
    )
    groups = {size: distributed.new_group(list(range(size))) for size in (1, 2, 3)}
    mine = {size: group for size, group in groups.items() if rank < size}
    for optimizer in OPTIMIZERS:
        for size, group in mine.items():
            training = Training(optimizer, group)
            result = {"losses": training.run(range(20)), "weights": training.weights()}
            save(result, folder / f"{optimizer}-{size}-{rank}.pt")
    for size, group in mine.items():
        for name, loss in LEARNT.items():
            training = Training(group=group, loss=loss())
            result = {"losses": training.run(range(5)), "weights": training.weights()}
            save(result, folder / f"{name}-{size}-{rank}.pt")

    # 3 ranks -> 1 -> 2: each continues from the checkpoint of the one before.
    for start, size in ((0, 3), (7, 1), (14, 2)):
        if size in mine:
            training = Training("adamw", mine[size])
            if start:
                assert load_shards(training.sampler, folder / "shards") == start
                training.bare.load_state_dict(torch.load(folder / f"model-{start}.pt"))
            losses = training.run(range(start, start + 7))
            save_shard(training.sampler, folder / "shards")
            if rank == 0:
                save(training.bare.state_dict(), folder / f"model-{start + 7}.pt")
                save(losses, folder / f"resharded-{start}.pt")
            if size == 2:
                save(training.weights(), folder / f"resharded-weights-{rank}.pt")
        distributed.barrier()

    # A loss of which only the logits are used. The number of pieces may differ between ranks.
    cross_entropy._PIECE_BYTES = {"cpu": 400}
    training = Training(group=mine[3], loss=OnlyLogits(scale=16.0, margin=0.3))
    save({"losses": training.run(range(3)), "weights": training.weights()}, folder / f"pieces-3-{rank}.pt")

    # All ranks refuse wrong input of one rank.
    refusals = []
    for label in (torch.tensor([CLASSES]), torch.tensor([0.5]), torch.tensor([1]), torch.tensor([3])):
        labels = label if rank == 1 else torch.tensor([2])
        embeddings = torch.ones(1, DIM, dtype=torch.float64)
        if label.tolist() == [1] and rank == 1:
            embeddings[0, 0] = float("nan")
        sampler = make(group=mine[3])
        if label.tolist() == [3]:
            sampler.seed = rank
        try:
            sampler(embeddings, labels, LOSS)
        except TrainingError as error:
            refusals.append(str(error))
    (folder / f"refusals-{rank}.json").write_text(json.dumps(refusals))
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(worker, (str(path),), nprocs=3)
    return path


def assert_same(result, training, steps):
    expected = training.run(range(steps))
    assert result["losses"] == pytest.approx(expected, rel=1e-9)
    for ours, theirs in zip(result["weights"], training.weights(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_ranks_equal_one_process(folder, size, optimizer):
    for rank in range(size):
        result = torch.load(folder / f"{optimizer}-{size}-{rank}.pt")
        assert_same(result, Training(optimizer), 20)
    assert len(set(result["losses"])) == 20


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("name", LEARNT)
def test_ranks_share_a_loss_with_parameters_and_batch_statistics(folder, size, name):
    for rank in range(size):
        assert_same(torch.load(folder / f"{name}-{size}-{rank}.pt"), Training(loss=LEARNT[name]()), 5)


def test_ranks_may_cut_their_batch_into_pieces(folder):
    for rank in range(3):
        assert_same(torch.load(folder / f"pieces-3-{rank}.pt"), Training(), 3)


def test_three_ranks_then_one_then_two_equal_one_process(folder):
    training = Training("adamw")
    losses = [loss for start in (0, 7, 14) for loss in torch.load(folder / f"resharded-{start}.pt")]
    assert losses == pytest.approx(training.run(range(21)), rel=1e-9)
    for rank in range(2):
        for ours, theirs in zip(
            torch.load(folder / f"resharded-weights-{rank}.pt"), training.weights(), strict=True
        ):
            torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-11)


def test_all_ranks_refuse_wrong_input_of_one(folder):
    for rank in range(3):
        refusals = json.loads((folder / f"refusals-{rank}.json").read_text())
        assert refusals[0].startswith("step 1, rank 1: labels run from 50 to 50; expected 0 to 49")
        assert refusals[1].startswith("step 1, rank 1: labels are")
        assert refusals[2].startswith("step 1: the embeddings are not finite")
        assert refusals[3].startswith("step 1: the ranks chose different classes")


def test_training_continues_from_a_checkpoint(tmp_path):
    for optimizer in OPTIMIZERS:
        training, other = Training(optimizer), Training(optimizer)
        training.run(range(3))
        path = save_shard(training.sampler, tmp_path / optimizer)
        assert path.name == "step0000000003-classes0000000000-0000000050.pt"
        other.run(range(2))
        other.bare.load_state_dict(training.bare.state_dict())
        assert load_shards(other.sampler, tmp_path / optimizer) == 3
        assert other.run(range(3, 6)) == training.run(range(3, 6))


def test_the_newest_complete_step_is_loaded(tmp_path):
    training = Training()
    for _ in range(2):
        training.run(range(2))
        path = save_shard(training.sampler, tmp_path)
    path.rename(tmp_path / path.name.replace("classes0000000000", "classes0000000017"))
    assert load_shards(make(), tmp_path) == 2
    (tmp_path / "step0000000009-classes0000000000-0000000050.pt").write_bytes(b"half a file")
    with pytest.raises(StoreError, match=r"step0000000009.* cannot be loaded"):
        load_shards(make(), tmp_path)


def test_checkpoints_of_other_centres_are_refused(tmp_path):
    with pytest.raises(StoreError, match=r"no step with all 50 classes \(steps found: none\)"):
        load_shards(make(), tmp_path)
    sampler = make("adamw")
    sampler.steps = 4
    save_shard(sampler, tmp_path)
    with pytest.raises(StoreError, match=r"optimizer.first.*expected 50 classes.*optimizer.momentum"):
        load_shards(make("sgd"), tmp_path)


def test_a_checkpoint_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StoreError, match="No space left"):
        save_shard(make(), tmp_path)
    assert not list(tmp_path.iterdir())
