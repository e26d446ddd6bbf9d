from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from mlbench.cli import main
from mlbench.commands.kinds import KindContract, kind_text
from mlbench.contracts import EVERY_KIND, KINDS, Component
from mlbench.contracts.options import BASES, PREDICTIONS
from mlbench.testing import checks


@pytest.mark.parametrize("kind", KINDS)
def test_duties_name_every_check_of_the_kit_and_no_other(kind: str) -> None:
    tested = [check.name for check in checks(Component(kind, "any", "module:Class", "any component"))]
    named = [duty.check for duty in (*EVERY_KIND, *KINDS[kind].duties)]
    assert sorted(named) == sorted(tested), f"make mlbench/contracts/kinds.py name the checks of kind {kind}"


@pytest.mark.parametrize("kind", KINDS)
def test_contract_of_a_kind_is_read_off_its_classes(kind: str) -> None:
    found = KindContract.of(kind)
    assert (found.kind, found.base, found.options) == (
        kind,
        BASES[kind].__name__,
        tuple(BASES[kind].model_fields),
    )
    members = {member.name: member for member in found.members}
    assert ("predict" in members) == (kind in PREDICTIONS)
    assert all(member.meaning for member in found.members)
    assert all(each.meaning for each in found.types)
    if kind in PREDICTIONS:
        assert members["predict"].signature.endswith(f"-> {PREDICTIONS[kind].__name__} | None")
        assert PREDICTIONS[kind].__name__ in {each.name for each in found.types}


def test_contract_of_a_loss() -> None:
    found = KindContract.of("loss")
    assert (found.method, found.takes, found.returns) == (
        "build",
        "LossContext(num_classes, dim)",
        "CentreLoss | PairLoss",
    )
    assert found.given[0].meaning.startswith("num_classes: classes of the train split. dim: width of the")
    assert [each.name for each in found.types] == ["CentreLoss", "PairLoss", "MixedLoss", "LossShape"]
    logits = next(each for each in found.types[0].members if each.name == "logits")
    assert logits.signature == (
        "logits(cosines: torch.Tensor, targets: torch.Tensor, norms: torch.Tensor) -> torch.Tensor"
    )
    assert logits.meaning.startswith("cosines: (N, K, centres_per_class) float in [-1, 1]")
    shape = found.types[-1]
    assert (
        shape.signature
        == "LossShape(centres_per_class: int = 0, parameters: int = 0, needs: tuple[Need, ...] = ())"
    )


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("kind", KINDS)
def test_kind_text_fits_a_terminal(kind: str, width: int) -> None:
    lines = kind_text(KindContract.of(kind), ["a", "b"], width).splitlines()
    assert max(map(len, lines)) <= width
    assert lines[-1] == "Components: a, b"


def test_show_without_a_name_shows_the_kind() -> None:
    shown = CliRunner().invoke(main, ["show", "claim"])
    assert shown.exit_code == 0
    assert "given:    judge is given evidence: Evidence\n" in shown.output
    data = json.loads(CliRunner().invoke(main, ["show", "claim", "--json"]).output)
    assert data["options"][0] == "sentence"
    assert "better" in data["components"]
    assert data["duties"][0]["check"] == "claim_is_judged_by_evidence"
