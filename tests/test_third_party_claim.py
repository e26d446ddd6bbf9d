"""A kind of claim of a third party, installed as a plugin, is judged and shown as the built-in ones are."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import Result
from conftest import TOY_SUITE
from made_records import planned_record

from mlbench.environment import find_device
from mlbench.planning.plan import make_plan
from mlbench.planning.suite import load_suite
from mlbench.plugins import load_plugins
from mlbench.records.record import Estimate
from mlbench.records.store import Store
from mlbench.registry import Registry
from mlbench.testing import checks

PLUGIN = '''
from collections.abc import Sequence

from mlbench.plugin import Cases, ClaimOptions, Component, Evidence, Finding, hookimpl

class Stable(ClaimOptions):
    """The metric of a case differs little between two others."""

    cases: tuple[Cases, ...]
    """The cases."""
    metric: str
    """The metric."""
    within: float = 0.1
    """The largest difference to the first."""

    def compared(self) -> Sequence[Sequence[Cases]]:
        return [self.cases]

    def quantities(self) -> Sequence[str]:
        return [self.metric]

    def judge(self, evidence: Evidence) -> Finding:
        values = evidence.values(self.cases, self.metric)
        first = [1.0, *(0.0 for _ in self.cases[1:])]
        effects = []
        for place in range(1, len(self.cases)):
            weights = list(first)
            weights[place] = -1.0
            back = [-weight for weight in weights]
            effects.append(values.effect(weights, bound=-self.within, label=f"{place} not above"))
            effects.append(values.effect(back, bound=-self.within, label=f"{place} not below"))
        return Finding.of_all(effects)

@hookimpl
def mlbench_components():
    return [Component("claim", "stable", "acme_stable:Stable", "cases differ by at most so much")]
'''
CLAIMS = """\
seeds: [0, 1, 2]
matrix:
  neck.name: [gap, flatten]
claims:
  same:
    name: stable
    sentence: The neck does not matter.
    cases: [gap, flatten]
    metric: recall_at_1
    differ: [neck]
"""


@pytest.fixture
def run(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, third_party: Callable[..., object]
) -> Callable[..., Result]:
    """The command line with the claim installed too, beside a suite toy.yaml."""
    third_party("acme_stable", PLUGIN)
    monkeypatch.setenv("COLUMNS", "100")
    Path("toy.yaml").write_text(TOY_SUITE + CLAIMS)
    return run


def test_it_is_judged_and_shown(run: Callable[..., Result]) -> None:
    registry = Registry(load_plugins())
    suite = load_suite(Path("toy.yaml"), registry)
    store = Store(Path("results"), "toy")
    plan = json.loads(run("plan", "toy.yaml", "--json", "--device", "cpu").stdout)
    assert len(plan) == 6

    device = find_device("cpu")
    for case in make_plan(suite, device).cases:
        value = 0.5 + 0.001 * case.seed + 0.002 * (case.name == "gap") * case.seed
        store.put(
            planned_record(case, metrics={"recall_at_1": Estimate(value)}, environment={"device": "cpu"})
        )
    shown = run("claims", "toy.yaml", "--device", "cpu").stdout
    assert "same: supported" in shown
    (found,) = json.loads(run("claims", "toy.yaml", "--device", "cpu", "--json").stdout)
    assert (found["kind"], found["verdict"], len(found["finding"]["parts"])) == ("stable", "supported", 2)


def test_it_is_listed_with_its_options(run: Callable[..., Result]) -> None:
    assert "stable" in run("list", "claim").stdout
    text = run("show", "claim", "stable").stdout
    assert "The largest difference to the first." in text
    assert "The claim in one sentence." in text


def test_its_mistakes_name_their_place(run: Callable[..., Result]) -> None:
    path = Path("toy.yaml")
    path.write_text(path.read_text().replace("[gap, flatten]\n    metric", "[gap, flat]\n    metric"))
    (line,) = run("validate", "toy.yaml", code=2).stderr.splitlines()
    assert line.startswith("mlbench: toy.yaml:17: claims.same: there is no case 'flat'")


def test_it_keeps_the_contract(third_party: Callable[..., object]) -> None:
    third_party("acme_stable", PLUGIN)
    (component,) = import_module("acme_stable").mlbench_components()
    for check in checks(component, sentence="It is so.", cases=["a", "b", "c"], metric="recall_at_1"):
        check()
