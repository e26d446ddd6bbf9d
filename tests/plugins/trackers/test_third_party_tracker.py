"""The tracker of docs/trackers.md works; a built-in one without its library says so."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import Result
from conftest import TESTS, TOY_SUITE

from mlbench.contracts.options import TrackerContext
from mlbench.errors import TrackerError
from mlbench.registry import Registry
from mlbench.testing import checks

(CODE,) = re.findall(r"```python\n(.*?)```", (TESTS.parent / "docs/trackers.md").read_text(), flags=re.DOTALL)


def test_it_tracks_a_run(run: Callable[..., Result]) -> None:
    Path("lines.py").write_text(CODE)
    Path("toy.yaml").write_text(TOY_SUITE + "seeds: [0, 1]\nplugins: [lines.py]\ntrack: lines\n")
    run("run", "toy.yaml", "--device", "cpu", "--no-measure", "--set", "evaluation.resamples=0")
    rows = list(csv.reader(Path("results/toy/cases.csv").read_text().splitlines()))
    assert [row[:3] for row in rows] == [["base", "0", "done"], ["base", "1", "done"]]
    assert all(0 <= float(row[3]) <= 1 for row in rows)


@pytest.fixture
def component(third_party: Callable[..., object]):
    third_party("acme_lines", CODE)
    (found,) = import_module("acme_lines").mlbench_components()
    return found


def test_it_keeps_the_contract(component) -> None:
    names = {str(check).rpartition("-")[2]: check for check in checks(component)}
    names["tracker_takes_a_run_that_stops"]()
    names["tracker_leaves_the_process_alone"]()


@pytest.mark.parametrize(
    ("name", "module"), [("tensorboard", "torch.utils.tensorboard"), ("mlflow", "mlflow"), ("wandb", "wandb")]
)
def test_a_missing_library_is_named_with_its_extra(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(TrackerError) as caught:
        registry.get("tracker", name).make({}).build(TrackerContext("toy", "", tmp_path))
    assert str(caught.value).startswith(
        f"tracker '{name}' needs mlbench[{name}]: pip install 'mlbench[{name}]' (ModuleNotFoundError: "
    )
