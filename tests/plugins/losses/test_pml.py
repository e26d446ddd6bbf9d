"""Losses and miners of pytorch-metric-learning by name: all of the library's, and bad input."""

import random
import subprocess
import sys

import numpy as np
import pytest
import pytorch_metric_learning.losses
import pytorch_metric_learning.miners
import torch
from pytorch_metric_learning import distances, losses, miners, reducers, regularizers

from mlbench.plugin import CentreLoss, LossContext, OptionError, PairLoss, TrainingError
from mlbench_losses.pml import Pml, known_names

CLASSES, DIM = 6, 8
CONTEXT = LossContext(CLASSES, DIM)
UNFIT = {"InstanceLoss", "ManifoldLoss", "MultipleLosses", "SelfSupervisedLoss", "VICRegLoss"}
NEEDED = {"RankedListLoss": {"margin": 0.4, "Tn": 1}, "CrossBatchMemory": {"loss": "ContrastiveLoss"}}
LOSSES = [name for name in known_names("losses") if name not in UNFIT]
MINERS = [name for name in known_names("miners") if name != "EmbeddingsAlreadyPackagedAsTriplets"]
# The library's own warnings about NumPy scalars on tensors and lists as indices.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Using a non-tuple sequence:UserWarning"),
]


def built(loss, **options):
    torch.manual_seed(0)
    return Pml(loss=loss, **{"options": NEEDED.get(loss), **options}).build(CONTEXT)


def batch(*labels, dtype=torch.float32):
    generator = torch.Generator().manual_seed(7)
    leaf = torch.randn(len(labels), DIM, generator=generator).to(dtype).requires_grad_()
    return leaf, torch.tensor(labels)


def test_known_names_are_the_librarys_own():
    offered = {
        name
        for name, kind in vars(pytorch_metric_learning.losses).items()
        if isinstance(kind, type) and issubclass(kind, torch.nn.Module)
    }
    bases = {"BaseLossWrapper", "BaseMetricLossFunction", "GenericPairLoss"}
    assert set(known_names("losses")) == offered - bases
    assert set(known_names("miners")) == {
        name for name, kind in vars(pytorch_metric_learning.miners).items() if isinstance(kind, type)
    } - {"BaseMiner"}


def test_prediction_imports_neither_torch_nor_the_losses():
    program = (
        "import sys; from mlbench.plugin import LossContext; from mlbench_losses.pml import Pml; "
        "Pml(miner='AngularMiner').predict(LossContext(6, 8)); "
        "print({'torch', 'pytorch_metric_learning.losses'} & sys.modules.keys())"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (result.stdout.strip(), result.stderr) == ("set()", "")


@pytest.mark.parametrize("name", LOSSES)
def test_pml_predicts_what_it_builds(name):
    loss = built(name)
    assert isinstance(loss, PairLoss)
    assert not isinstance(loss, CentreLoss)
    count = sum(parameter.numel() for parameter in loss.parameters())
    shape = Pml(loss=name, options=NEEDED.get(name)).predict(CONTEXT)
    assert (shape.centres_per_class, shape.parameters) == (0, count)


@pytest.mark.parametrize(
    ("name", "options", "count"),
    [
        ("SubCenterArcFaceLoss", {"sub_centers": 2}, 2 * CLASSES * DIM),
        ("SoftTripleLoss", {"centers_per_class": 4}, 4 * CLASSES * DIM),
        ("MarginLoss", {"learn_beta": True}, 1),
        ("MarginLoss", {"learn_beta": True, "num_classes": CLASSES}, CLASSES),
        ("CrossBatchMemory", {"loss": {"name": "MarginLoss", "learn_beta": True}}, 1),
    ],
)
def test_pml_predicts_parameters_that_follow_options(name, options, count):
    assert Pml(loss=name, options=options).predict(CONTEXT).parameters == count
    assert sum(parameter.numel() for parameter in built(name, options=options).parameters()) == count


@pytest.mark.parametrize("labels", [(0, 0, 1, 1, 2, 2), (0, 1, 2, 3, 4, 5), (1, 1, 1, 1), (3,)])
@pytest.mark.parametrize("name", LOSSES)
def test_pml_loss_is_finite_in_half_precision_on_any_batch(name, labels):
    """Batches with both kinds of pairs, without positives, of one class, of one image. Two steps, because
    some losses keep statistics."""
    loss = built(name)
    for _ in range(2):
        leaf, targets = batch(*labels, dtype=torch.bfloat16)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = loss(leaf, targets)
        value.backward()
        assert value.shape == ()
        assert value.dtype == torch.float32
        assert value.isfinite()
        assert leaf.grad.isfinite().all()


@pytest.mark.parametrize("name", MINERS)
def test_pml_miner_is_finite_on_any_batch(name):
    loss = built("TripletMarginLoss", miner=name)
    for labels in ((0, 0, 1, 1, 2, 2), (0, 1, 2, 3), (1, 1, 1), (3,)):
        leaf, targets = batch(*labels)
        value = loss(leaf, targets)
        value.backward()
        assert value.isfinite()
        assert leaf.grad.isfinite().all()


@pytest.mark.parametrize(
    ("name", "miner"),
    [(name, None) for name in LOSSES] + [("TripletMarginLoss", name) for name in MINERS],
)
def test_pml_draws_from_torchs_generator_only(name, miner):
    state = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    values = []
    for _ in range(2):
        loss = built(name, miner=miner)
        torch.manual_seed(5)
        values.append(loss(*batch(0, 0, 1, 1, 2, 2)).detach())
    assert torch.equal(*values)
    assert state == (random.getstate(), np.random.get_state()[1].tolist())  # noqa: NPY002


@pytest.mark.parametrize("name", LOSSES)
def test_pml_state_survives_a_checkpoint(name):
    first = built(name)
    torch.manual_seed(9)
    second = Pml(loss=name, options=NEEDED.get(name)).build(CONTEXT)
    second.load_state_dict(first.state_dict())
    arguments = batch(0, 0, 1, 1, 2, 2)
    assert torch.equal(first(*arguments), second(*arguments))


def test_pml_is_the_library_with_objects_from_plain_data():
    given = {
        "margin": 0.3,
        "distance": {"name": "LpDistance", "power": 2},
        "reducer": "MeanReducer",
        "embedding_regularizer": {"name": "LpRegularizer", "p": 1},
        "embedding_reg_weight": 0.01,
    }
    ours = built(
        "TripletMarginLoss", options=given, miner="TripletMarginMiner", miner_options={"margin": 0.5}
    )
    theirs = losses.TripletMarginLoss(
        margin=0.3,
        distance=distances.LpDistance(power=2),
        reducer=reducers.MeanReducer(),
        embedding_regularizer=regularizers.LpRegularizer(p=1),
        embedding_reg_weight=0.01,
    )
    leaf, labels = batch(0, 0, 1, 1, 2, 2, 2)
    mined = miners.TripletMarginMiner(margin=0.5)(leaf, labels)
    torch.testing.assert_close(ours(leaf, labels), theirs(leaf, labels, mined))


def test_pml_remembers_across_batches():
    given = {
        "loss": {"name": "ContrastiveLoss", "neg_margin": 0.5},
        "memory_size": 8,
        "miner": "PairMarginMiner",
    }
    ours = built("CrossBatchMemory", options=given)
    theirs = losses.CrossBatchMemory(
        losses.ContrastiveLoss(neg_margin=0.5), DIM, memory_size=8, miner=miners.PairMarginMiner()
    )
    for labels in ((0, 0, 1, 1), (2, 2, 1, 1), (0, 3, 2, 3)):
        torch.testing.assert_close(ours(*batch(*labels)), theirs(*batch(*labels)))


def test_pml_running_statistics_are_detached_from_the_last_step():
    """The library's statistics keep the graph of the step that they come from."""
    loss = built("DynamicSoftMarginLoss")
    for _ in range(3):
        leaf, labels = batch(0, 0, 1, 1, 2, 2)
        loss(leaf, labels).backward()
        assert leaf.grad.isfinite().all()


def refusal(method, **options):
    with pytest.raises(OptionError) as caught:
        getattr(Pml(**options), method)(CONTEXT)
    message = str(caught.value)
    assert message.startswith("loss pml: ")
    assert "\n" not in message
    return caught.value.option, message


@pytest.mark.parametrize(
    ("options", "option", "message"),
    [
        ({"loss": "TripletMargin"}, "loss", "did you mean 'TripletMarginLoss'?"),
        ({"loss": "GenericPairLoss"}, "loss", "has no 'GenericPairLoss'"),
        ({"loss": "os"}, "loss", "has no 'os'"),
        ({"miner": "AngularMinr"}, "miner", "did you mean 'AngularMiner'?"),
        ({"miner_options": {"angle": 20}}, "miner_options", "miner_options without a miner"),
        ({"loss": "VICRegLoss"}, "loss", "compares two views"),
        ({"loss": "SelfSupervisedLoss"}, "loss", "compares two views"),
        ({"loss": "ManifoldLoss"}, "loss", "takes no labels"),
        ({"loss": "InstanceLoss"}, "loss", "uses the rank of an image's class as the position of an image"),
        ({"loss": "MultipleLosses"}, "loss", "add up losses in the suite"),
    ],
)
def test_pml_options_refuse_names_that_cannot_be_used(options, option, message):
    with pytest.raises(OptionError, match=r"^loss pml: [^\n]+$") as caught:
        Pml(**options)
    assert caught.value.option == option
    assert message in str(caught.value)


@pytest.mark.parametrize("method", ["predict", "build"])
def test_pml_refuses_a_number_of_vectors_that_is_not_a_number(method):
    where, said = refusal(method, loss="SoftTripleLoss", options={"centers_per_class": "2"})
    assert where == "options"
    assert "centers_per_class is '2'; expected a" in said


@pytest.mark.parametrize(
    ("loss", "options", "message"),
    [
        (
            "TripletMarginLoss",
            {"margn": 1},
            "did you mean 'margin'?); TripletMarginLoss takes margin=0.05, swap=",
        ),
        ("TripletMarginLoss", {"margin": "0.1"}, "margin is '0.1'; expected a number"),
        ("TripletMarginLoss", {"margin": True}, "margin is True; expected a number"),
        ("TripletMarginLoss", {"swap": 1}, "swap is 1; expected true or false"),
        ("TripletMarginLoss", {"distance": 2}, "distance is 2; expected a class name"),
        ("TripletMarginLoss", {"distance": {"power": 2}}, "expected a class name"),
        ("TripletMarginLoss", {"distance": "Lp"}, "distances has no 'Lp'"),
        ("TripletMarginLoss", {"distance": {"name": "LpDistance", "q": 2}}, "LpDistance has no 'q'"),
        ("TripletMarginLoss", {"reducer": "DoNothingReducer"}, "it returns no scalar"),
        (
            "TripletMarginLoss",
            {"distance": {"name": "BatchedDistance", "distance": "LpDistance"}},
            "not plain data",
        ),
        ("TripletMarginLoss", {"weight_init_func": "zeros"}, "has no 'weight_init_func'"),
        ("ArcFaceLoss", {"num_classes": 5}, "num_classes is filled in; leave it out"),
        ("ArcFaceLoss", {"distance": "LpDistance"}, "CosineSimilarity"),
        ("RankedListLoss", None, "needs margin, Tn; RankedListLoss takes margin, Tn, imbalance=0.5"),
        ("CrossBatchMemory", None, "needs loss"),
        ("CrossBatchMemory", {"loss": "ArcFaceLoss"}, "not supported for ArcFaceLoss"),
        ("PNPLoss", {"variant": "X"}, "variant=X but must be one of"),
    ],
)
def test_pml_names_what_a_loss_takes(loss, options, message):
    where, said = refusal("build", loss=loss, options=options)
    assert where == "options"
    assert message in said


def test_pml_names_what_a_miner_takes():
    where, said = refusal("build", miner="AngularMiner", miner_options={"angel": 3})
    assert where == "miner_options"
    assert "did you mean 'angle'?); AngularMiner takes angle=20" in said


@pytest.mark.parametrize(
    ("options", "labels", "message"),
    [
        ({"loss": "SmoothAPLoss"}, (0, 0, 1), "SmoothAPLoss cannot take this batch: All classes must have"),
        ({"loss": "PNPLoss", "miner": "AngularMiner"}, (0, 0, 1, 1), "PNPLoss cannot take this batch"),
        (
            {"loss": "CrossBatchMemory", "options": {"loss": "ContrastiveLoss", "memory_size": 2}},
            (0, 0, 1),
            r"assert len\(embeddings\) <= len\(self.embedding_memory\)",
        ),
        ({"loss": "FastAPLoss", "options": {"num_bins": 0}}, (0, 0, 1), "division by zero"),
        ({"loss": "ArcFaceLoss"}, (0, 0, 6), "labels run from 0 to 6; expected 0 to 5"),
    ],
)
def test_pml_explains_what_is_wrong_with_a_batch(options, labels, message):
    loss = Pml(**options).build(CONTEXT)
    with pytest.raises(TrainingError, match=message):
        loss(*batch(*labels))


def test_catalogue_has_the_losses_that_can_be_used_and_the_miners():
    items = {item.name: item for item in Pml.catalogue()}
    assert "VICRegLoss" not in items
    assert items["CircleLoss"][1:3] == ({"loss": "CircleLoss"}, "needs positives and negatives in a batch")
    assert items["SoftTripleLoss"].summary == "with vectors of weights for each class"
    assert items["BatchHardMiner"].options == {"miner": "BatchHardMiner"}
    assert items.keys() == {*known_names("losses"), *known_names("miners")} - UNFIT
