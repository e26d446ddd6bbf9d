"""Needs of the losses of pytorch-metric-learning, checked on batches with and without pairs."""

import pytest
import torch
from torch.nn.functional import normalize

from mlbench.plugin import LossContext
from mlbench_losses.needs import LIBRARY_NEEDS, PAIRS
from mlbench_losses.pml import Pml, known_names

DIM = 8
CONTEXT = LossContext(6, DIM)
UNFIT = {"InstanceLoss", "ManifoldLoss", "MultipleLosses", "SelfSupervisedLoss", "VICRegLoss"}
NEEDED = {"RankedListLoss": {"margin": 0.4, "Tn": 1}, "CrossBatchMemory": {"loss": "TripletMarginLoss"}}
LOSSES = [name for name in known_names("losses") if name not in UNFIT]
#: With only one kind of pair, they pull all embeddings together, or push them apart.
ONE_SIDED = {
    "ContrastiveLoss",
    "GeneralizedLiftedStructureLoss",
    "MultiSimilarityLoss",
    "RankedListLoss",
    "SignalToNoiseRatioContrastiveLoss",
    "ThresholdConsistentMarginLoss",
}
ONE_CLASS, DISTINCT, SQUARE = [1] * 6, [0, 1, 2, 3, 4, 5], [0, 0, 0, 1, 1, 1, 2, 2, 2]
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Using a non-tuple sequence:UserWarning"),
]


def gradient(name, labels, seed):
    """Embeddings and their gradient, (N, D) each."""
    torch.manual_seed(seed)
    loss = Pml(loss=name, options=NEEDED.get(name)).build(CONTEXT)
    leaf = torch.randn(len(labels), DIM).requires_grad_()
    loss(leaf, torch.tensor(labels)).backward()
    return leaf.detach(), leaf.grad


def learns(name, labels):
    return max(float(gradient(name, labels, seed)[1].norm()) for seed in range(3)) > 1e-5


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_learns_from_a_batch_that_has_what_it_needs(name) -> None:
    assert learns(name, SQUARE)


@pytest.mark.parametrize("labels", [ONE_CLASS, DISTINCT])
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_needs_pairs_if_it_learns_nothing_without_them(name, labels) -> None:
    if name == "CrossBatchMemory":
        pytest.skip("only its first batch lacks pairs; later the memory has them")
    assert learns(name, labels) is (name not in LIBRARY_NEEDS or name in ONE_SIDED)


@pytest.mark.parametrize(("labels", "sign"), [(ONE_CLASS, 1), (DISTINCT, -1)])
@pytest.mark.parametrize("name", sorted(ONE_SIDED))
def test_a_batch_with_one_kind_of_pair_moves_all_embeddings_one_way(name, labels, sign) -> None:
    before, slope = gradient(name, labels, 0)
    after = before - 1e-2 * slope / slope.norm()
    means = [float((normalize(each) @ normalize(each).T).mean()) for each in (before, after)]
    assert sign * (means[1] - means[0]) > 0


def test_a_memory_has_the_pairs_that_a_batch_lacks() -> None:
    torch.manual_seed(0)
    loss = Pml(loss="CrossBatchMemory", options=NEEDED["CrossBatchMemory"]).build(CONTEXT)
    for label in (1, 2):
        leaf = torch.randn(6, DIM).requires_grad_()
        loss(leaf, torch.full((6,), label)).backward()
    assert leaf.grad.any()


@pytest.mark.parametrize(
    ("labels", "right"),
    [(SQUARE, True), ([0, 1, 2] * 3, False), ([0, 0, 0, 1, 1, 1], False), ([0, 0, 1, 1, 2, 2], False)],
)
def test_smooth_ap_is_right_on_square_batches_only(labels, right) -> None:
    """For separated classes, the average precision is 1 and the loss 0."""
    targets = torch.tensor(labels)
    apart = torch.eye(DIM)[targets]
    assert (float(Pml(loss="SmoothAPLoss").build(CONTEXT)(apart, targets)) < 1e-3) is right


def test_predict_returns_the_needs() -> None:
    assert Pml().predict(CONTEXT).needs == PAIRS
    assert Pml(loss="SmoothAPLoss").predict(CONTEXT).needs == (*PAIRS, "square")
    assert Pml(loss="ProxyNCALoss").predict(CONTEXT).needs == ()


def test_instance_loss_depends_on_the_order_of_the_batch() -> None:
    """The reason why it is refused."""
    from pytorch_metric_learning.losses import InstanceLoss

    labels, order = torch.tensor([0, 0, 1, 1]), torch.tensor([2, 3, 0, 1])
    vectors = torch.randn(4, DIM, generator=torch.Generator().manual_seed(0))
    values = [float(InstanceLoss()(vectors[rows], labels[rows])) for rows in (slice(None), order)]
    assert values[0] != pytest.approx(values[1], rel=1e-3)
