from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any
from unittest.mock import ANY

import pytest

from mlbench.commands import listing
from mlbench.planning.plan import Plan
from mlbench.plugin import Component, Features, LossContext, LossOptions, NeckOptions
from mlbench.plugins import Plugin
from mlbench.registration import Fault
from mlbench.registry import Registry


class Toy(NeckOptions):
    """A toy."""

    size: int
    """Pixels."""
    name_of_thing: str | None = None
    rate: float = 0.5
    """Share of things that are dropped. This description is long enough for a second line
    in the listing."""

    def build(self, features: Features) -> Any:
        return features


class Bare(LossOptions):
    def build(self, context: LossContext) -> Any:
        return context


@pytest.fixture
def toys_only() -> Registry:
    components = (
        Component("neck", "toy", "test_listing:Toy", "a toy", source="arXiv:1"),
        Component("loss", "bare", "test_listing:Bare", "takes nothing"),
        Component("neck", "other", "test_listing:Toy", "another"),
    )
    return Registry([Plugin("toys", "test_listing", "acme", "1.2", components)])


def test_components_table_says_a_kind_once(toys_only: Registry) -> None:
    table = listing.components_table(list(toys_only))
    assert table.headings == ("kind", "name", "what it is", "package")
    assert table.rows == [
        ("loss", "bare", "takes nothing", "acme"),
        ("neck", "other", "another", "acme"),
        ("", "toy", "a toy", "acme"),
    ]
    assert listing.components_table([]).rows == []


def test_components_json_is_complete(toys_only: Registry) -> None:
    assert json.loads(listing.components_json(list(toys_only)))[2] == {
        "kind": "neck",
        "name": "toy",
        "options": "test_listing:Toy",
        "summary": "a toy",
        "source": "arXiv:1",
        "plugin": "toys",
        "package": "acme",
        "version": "1.2",
    }


def test_component_text_shows_options_and_documentation(toys_only: Registry) -> None:
    lines = listing.component_text(toys_only.get("neck", "toy")).splitlines()
    assert lines[: lines.index("Kind neck: feature maps to embeddings (more: mlbench show neck)")] == [
        "neck toy: a toy",
        "source:   arXiv:1",
        "package:  acme 1.2 (plugin toys)",
        "class:    test_listing:Toy",
        "",
        "A toy.",
        "",
        "Options:",
        "  size: int, required",
        "      Pixels.",
        "  name_of_thing: str | null, default null",
        "  rate: float, default 0.5",
        "      Share of things that are dropped. This description is long enough for a",
        "      second line in the listing.",
        "",
    ]
    lines = listing.component_text(toys_only.get("loss", "bare")).splitlines()
    assert lines[1] == "source:   none stated"
    assert "No options." in lines


def test_component_text_ends_with_what_its_kind_asks(toys_only: Registry) -> None:
    text = listing.component_text(toys_only.get("loss", "bare"), width=60)
    assert "given:    build is given LossContext(num_classes, dim)" in text
    assert "returns:  CentreLoss | PairLoss" in text
    assert "  logits (N, K), finite for targets of -1\n      logits_keep_the_contract\n" in text
    assert max(map(len, text.splitlines())) <= 80


def test_component_text_shows_settings_of_other_sections(registry: Registry) -> None:
    lines = listing.component_text(registry.get("recipe", "preset")).splitlines()
    at = lines.index("Settings of other sections, where the suite does not set them:")
    assert lines[at + 1] == "  image:         {crop_ratio: 0.5}"


def test_component_json_has_all_that_the_text_has(toys_only: Registry) -> None:
    data = json.loads(listing.component_json(toys_only.get("neck", "toy")))
    assert (data["documentation"], data["formula"], data["class"]) == ("A toy.", "", "test_listing:Toy")
    assert data["contract"]["given"] == [
        {"name": "features", "type": "FeatureShape | TokensShape", "fields": [], "meaning": ""}
    ]
    duty = {
        "text": "a torch.nn.Module with `dim`; rows that depend on their image alone",
        "check": "embeddings_have_its_dim",
    }
    assert duty in data["contract"]["duties"]


def test_component_json_tells_required_from_null(toys_only: Registry) -> None:
    data = json.loads(listing.component_json(toys_only.get("neck", "toy")))
    assert data["options"] == [
        {"name": "size", "type": "int", "default": None, "description": "Pixels.", "required": True},
        {
            "name": "name_of_thing",
            "type": "str | null",
            "default": None,
            "description": "",
            "required": False,
        },
        {"name": "rate", "type": "float", "default": 0.5, "description": ANY, "required": False},
    ]


def test_plugins_are_shown_with_their_errors(toys_only: Registry) -> None:
    fault = Fault("its summary is None", "correct it", "neck", "mine")
    plugins = (
        *toys_only.plugins,
        Plugin("bad", "bad", "acme", "1", error="ImportError: x"),
        Plugin("half", "half", "acme", "1", faults=(fault,), seconds=0.25, printed="hello\n"),
    )
    assert listing.plugins_table(plugins).rows == [
        ("toys", "acme 1.2", "3", "0.00", ""),
        ("bad", "acme 1", "0", "0.00", "ImportError: x"),
        ("half", "acme 1", "0", "0.25", "neck 'mine': its summary is None; its import prints 'hello'"),
    ]
    shown = json.loads(listing.plugins_json(plugins))
    assert shown[1]["error"] == "ImportError: x"
    assert shown[2]["faults"] == [asdict(fault)]


def test_plan_table_has_a_row_a_case(planned: Callable[..., Plan]) -> None:
    table = listing.plan_table(planned("seeds: [0, 7]\nmatrix:\n  neck.dim: [4, 16]\n"))
    assert table.rows == [
        ("4", "0, 7", "6", "24", "100%", "6", "?", "?", "?"),
        ("16", "0, 7", "6", "24", "100%", "6", "?", "?", "?"),
    ]
    assert len(table.headings) == 9


def test_plan_json_holds_every_run_in_full(planned: Callable[..., Plan]) -> None:
    plan = planned("seeds: [0, 7]\nmatrix:\n  neck.dim: [4, 16]\n")
    data = json.loads(listing.plan_json(plan))
    assert [(each["case"], each["seed"]) for each in data] == [("4", 0), ("4", 7), ("16", 0), ("16", 7)]
    assert data[3] == {
        "suite": "toy",
        "case": "16",
        "seed": 7,
        "axes": {"neck.dim": "16"},
        "fingerprint": plan.cases[3].fingerprint,
        "record": plan.cases[3].key,
        "forecast": {
            "parameters": None,
            "centres": None,
            "classes": 6,
            "images": 24,
            "steps": 6,
            "batch_labels": 6,
            "dim": None,
            "weights": "",
            "notes": [],
            "drawn": 1.0,
        },
        "settings": plan.cases[3].spec.plain(),
    }
