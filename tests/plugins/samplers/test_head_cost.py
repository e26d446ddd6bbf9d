"""Cost of a head: predicted against measured memory, and the recommendation for given numbers."""

import json
import statistics
import subprocess
import sys

import pytest

from mlbench.plugin import Advice, Choice, HeadContext
from mlbench_samplers import head_cost
from mlbench_samplers.centres import PartialFC
from mlbench_samplers.head_cost import full_bytes, partial_bytes, recommend

GIGA = 10**9

#: Peak bytes of three steps of a head, above what the process held before it was built.
PROGRAM = """
import json, sys, torch
from mlbench_losses.margin import CosFace
from mlbench_samplers.class_centres import ClassCentres
from mlbench_samplers.row_optimizers import RowAdamW
from mlbench_samplers.sampled_centres import SampledCentres

def resident(what):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(what))

def run(classes, dim, batch, sampled):
    if sampled:
        head = SampledCentres(classes, dim, 1, sampled=sampled, seed=0, optimizer=RowAdamW)
    else:
        head = ClassCentres(classes, dim, 1)
        optimizer = torch.optim.AdamW(head.parameters())
    for _ in range(3):
        embeddings = torch.randn(batch, dim, requires_grad=True)
        (head.stand_in if sampled else head.centres).grad = None
        head(embeddings, torch.randint(classes, (batch,)), CosFace(scale=64.0, margin=0.4)).backward()
        head.update(1e-3, 1e-3) if sampled else optimizer.step()

torch.set_num_threads(1)
run(1000, 32, 8, 500)
run(1000, 32, 8, 0)
before = resident("VmRSS")
run(*json.loads(sys.argv[1]))
print(resident("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("classes", "dim", "batch", "sampled"),
    [
        (100_000, 256, 64, 0),
        (60_000, 64, 512, 0),
        (150_000, 256, 128, 15_000),
        (60_000, 128, 512, 40_000),
        (150_000, 256, 8, 120_000),
    ],
)
def test_predicted_memory_is_what_is_measured(classes, dim, batch, sampled):
    question = json.dumps([classes, dim, batch, sampled])
    command = [sys.executable, "-c", PROGRAM, question]
    # What a process holds at its peak differs by a tenth from run to run: the middle of three.
    measured = statistics.median(
        int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(3)
    )
    predicted = partial_bytes(classes, dim, batch, sampled) if sampled else full_bytes(classes, dim, batch)
    assert predicted == pytest.approx(measured, rel=0.15)


def choices(*, gain=10.0, needed=GIGA, full=2 * GIGA, sampled=40_000):
    return [
        Choice("full softmax", 400_000, full, 1.0),
        Choice("partial_fc 0.1", sampled, needed, 1.0 / gain),
    ]


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({}, "Use partial_fc 0.1: 10.0 x as fast as the full softmax. It saves 900.0 ms in each step"),
        ({"gain": 1.1}, "Use sampler all: the full softmax fits, and partial_fc 0.1 would be only 1.1 x"),
        (
            {"sampled": 1279},
            r"Raise the rate to 0\.004 or more: .* ten times the batch's labels, 1,280 centres",
        ),
        ({"full": 9 * GIGA}, "Use partial_fc 0.1: the full softmax needs 9.0 GB and 8.0 GB are free; this"),
        (
            {"needed": 20 * GIGA},
            "It does not fit: partial_fc 0.1 needs 20.0 GB and 8.0 GB are free. .* 3 such",
        ),
    ],
)
def test_the_recommendation_follows_from_the_numbers(numbers, words):
    import re

    assert re.match(words, recommend(choices(**numbers), 400_000, 128, 8 * GIGA))


@pytest.fixture
def _quick(monkeypatch):
    monkeypatch.setattr(head_cost, "_TRIAL", 2**14)


@pytest.mark.usefixtures("_quick")
def test_advice_looks_at_the_full_softmax_and_several_rates():
    given = PartialFC().advise(HeadContext(100_000, 32, 16))
    assert isinstance(given, Advice)
    names = [choice.name for choice in given.choices]
    assert names == ["full softmax", *(f"partial_fc {rate:g}" for rate in (0.5, 0.3, 0.1, 0.03, 0.01))]
    assert [choice.sampled for choice in given.choices] == [100_000, 50_000, 30_000, 10_000, 3_000, 1_000]
    assert all(choice.seconds > 0 for choice in given.choices)
    sizes = [choice.bytes for choice in given.choices[1:]]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.usefixtures("_quick")
def test_advice_of_one_size_and_of_few_classes():
    for options in (PartialFC(rate=0.25), PartialFC(centres=250)):
        found = options.advise(HeadContext(1000, 8, 16)).choices
        assert [(choice.name, choice.sampled) for choice in found] == [
            ("full softmax", 1000),
            ("partial_fc 0.25", 250),
        ]
    few = PartialFC().advise(HeadContext(20, 8, 16))
    assert [choice.sampled for choice in few.choices] == [20]
    assert few.recommendation.startswith("Use sampler all: for enough negatives")
