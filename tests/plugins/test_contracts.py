"""Plugins that were written for past contracts: frozen copies in `contracts`, one folder for each version."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from conftest import TOY_SUITE

from mlbench import runner
from mlbench.claims.suite_claims import claims_of_store
from mlbench.contracts import CONTRACT, KINDS, OLDEST_CONTRACT
from mlbench.environment import Device
from mlbench.planning.plan import make_plan
from mlbench.planning.suite import load_suite
from mlbench.plugins import Plugin, load_plugins
from mlbench.records.store import Store
from mlbench.registry import Registry

CONTRACTS = Path(__file__).parent / "contracts"

SUITE = (
    TOY_SUITE.partition("base:")[0]
    + """\
base:
  image: {size: 16}
  dataset: toy
  augmentation: v1
  backbone: {name: v1, width: 8}
  neck: {name: v1, dim: 4}
  sampler: v1
  teacher: toy
  distiller: {name: v1, weight: 0.1}
  batch_sampler: v1
  recipe: v1
  metrics: [v1_rank, v1_spread]
  threshold: {name: v1, cosine: 0.25}
matrix:
  loss.name: [v1_pairs, v1_centres]
seeds: [0, 1]
claims:
  mean:
    name: v1
    sentence: One is not worse than the other.
    case: v1_pairs
    other: v1_centres
    metric: v1_rank
    differ: [loss]
"""
)


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], Plugin]]:
    """Load the frozen copy of a version."""
    modules = []

    def load(version: int) -> Plugin:
        folder = CONTRACTS / f"v{version}"
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        ((name, target),) = project["entry-points"]["mlbench"].items()
        monkeypatch.syspath_prepend(folder)
        modules.append(target)
        (plugin,) = load_plugins(sources=[EntryPoint(name, target, "mlbench")])
        return plugin

    yield load
    for module in modules:
        sys.modules.pop(module, None)


@pytest.mark.parametrize("version", range(1, CONTRACT + 1))
def test_a_plugin_for_every_released_contract_is_kept(frozen: Callable[[int], Plugin], version: int) -> None:
    """A new `CONTRACT` needs a copy of a plugin that is written for it, in tests/plugins/contracts."""
    plugin = frozen(version)
    assert plugin.contract == version
    if version < OLDEST_CONTRACT:
        assert f"it is built for contract {version}" in plugin.error
        return
    assert list(plugin.notes()) == []
    left_out = {"dataset", "mixing", "section", "tracker"}
    assert {each.kind for each in plugin.components} >= KINDS.keys() - left_out
    for entry in Registry([plugin]):
        given = (
            {"sentence": "So.", "case": "a", "other": "b", "metric": "f1"}
            if str(entry) == "claim 'v1'"
            else {}
        )
        assert entry.check(given).items() >= given.items()


@pytest.mark.skipif(OLDEST_CONTRACT > 1, reason="contract 1 is no longer supported")
def test_a_plugin_for_contract_1_trains_and_is_evaluated(
    frozen: Callable[[int], Plugin], registry: Registry, write: Callable[..., Path], tmp_path: Path
) -> None:
    suite = load_suite(write(whole=SUITE), Registry((*registry.plugins, frozen(1))))
    plan = make_plan(suite, Device("cpu", "test"))
    store = Store(tmp_path / "results", "toy")
    records = runner.run(plan, store, _Silent(), measuring=False)
    assert [record.error for record in records] == 4 * [""]
    for record in records:
        assert {"v1_rank", "v1_spread"} <= record.metrics.keys()
        assert record.evaluation["threshold"]["distance"] == pytest.approx(0.75)
        assert record.components["neck"]["package"] == "(no package)"
    (judgement,) = claims_of_store(plan, store)
    assert (judgement.claim.id, judgement.finding is not None) == ("mean", True), judgement.reason


class _Silent:
    def case(self, *arguments: object) -> None: ...
    def stage(self, *arguments: object) -> None: ...
    def epoch(self, *arguments: object) -> None: ...
    def finished(self, *arguments: object) -> None: ...
