"""A page of a suite of toys that was run for real, in this process, without measuring."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import TESTS, TOY_SUITE, install_plugin

from mlbench.cli import main

#: Three cases in two seeds, with a question and a claim. The text of the question is markup where it is not
#: escaped, and runs from right to left.
SUITE = (
    TOY_SUITE
    + """\
question: "</script><script>document.title='broken'</script> & \\"quoted\\" \u05e9\u05dc\u05d5\u05dd"
title: "<b>Toys</b>"
matrix:
  neck.dim: [8, 4]
cases:
  untrained: {recipe.epochs: 0}
seeds: [0, 1]
claims:
  wider:
    name: better
    sentence: "Wider is better than <i>narrow</i>."
    case: {neck.dim: 8}
    than: {neck.dim: 4}
    metric: recall_at_1
"""
)


@dataclass(frozen=True)
class Made:
    """A finished run. folder: where it was started. ran: what the run printed."""

    folder: Path
    ran: Result

    @property
    def suite(self) -> Path:
        return self.folder / "toy.yaml"

    @property
    def page(self) -> Path:
        return self.folder / "results/toy/report.html"

    def invoke(self, *arguments: object) -> Result:
        """The command line in this process and this folder, with the toys installed."""
        return _invoke(self.folder, *arguments)


def run_toys(folder: Path) -> Made:
    """The suite, run in a folder."""
    install_plugin(folder / "site", "toys")
    (folder / "toy.yaml").write_text(SUITE, encoding="utf-8")
    ran = _invoke(folder, "run", "toy.yaml", "--no-measure", "--device", "cpu")
    assert ran.exit_code == 0, ran.output
    return Made(folder, ran)


def _invoke(folder: Path, *arguments: object) -> Result:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder / "site")
        patch.syspath_prepend(TESTS)
        patch.setenv("MLBENCH_CACHE", str(folder / "cache"))
        patch.delenv("COLUMNS", raising=False)
        patch.chdir(folder)
        return CliRunner().invoke(main, list(map(str, arguments)))
