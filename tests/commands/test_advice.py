"""Advice as tables and JSON, from whatever sampler has some to give."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import mlbench

from mlbench.commands.advice import advice_json, advice_table, advise
from mlbench.errors import ComponentError, OptionError
from mlbench.plugin import Advice, Choice, Component, HeadContext, SamplerContext, SamplerOptions
from mlbench.plugins import Plugin
from mlbench.registry import Registry

ADVICE = Advice(
    (Choice("full", 1000, 2 * 10**9, 0.5), Choice("some", 100, 10**9, 0.1)), "Use some.", "for a test"
)


class Able(SamplerOptions):
    rate: float | None = None

    def build(self, context: SamplerContext) -> Any:
        return context

    def advise(self, context: HeadContext) -> Advice:
        text = f"{context.num_classes} {context.dim} {context.batch_size} {self.rate}"
        return Advice(ADVICE.choices, text, "")


@pytest.fixture
def registry(registry: Registry) -> Registry:
    able = Component("sampler", "able_one", f"{__name__}:Able", "advises")
    return Registry((*registry.plugins, Plugin("able", "able", "able", "1.0", (able,))))


def ask(registry: Registry, name: str, rate: float | None = None) -> Advice:
    return advise(registry, name, num_classes=10, dim=20, batch_size=30, rate=rate)


def test_advice_comes_from_the_sampler_of_that_name(registry: Registry) -> None:
    assert ask(registry, "able_one").recommendation == "10 20 30 None"
    assert ask(registry, "able-one", 0.5).recommendation == "10 20 30 0.5"


def test_a_sampler_without_advice_is_refused(registry: Registry) -> None:
    with pytest.raises(ComponentError, match=r"sampler 'all' has no advice; it is for samplers"):
        ask(registry, "all")
    with pytest.raises(ComponentError, match=r"unknown sampler 'partial_fx' \(did you mean 'partial_fc'"):
        ask(registry, "partial-fx")


def test_a_rate_out_of_range_is_refused(registry: Registry) -> None:
    with pytest.raises(OptionError, match=r"'rate' .*is 1.5; expected float > 0 and <= 1"):
        ask(registry, "partial_fc", 1.5)


def test_the_table_compares_with_the_first() -> None:
    assert advice_table(ADVICE).rows == [
        ("full", "1,000", "2.00", "500.0", "1.0 x"),
        ("some", "100", "1.00", "100.0", "5.0 x"),
    ]


def test_advice_as_json_has_every_number() -> None:
    data = json.loads(advice_json(ADVICE))
    assert data["choices"][1] == {"name": "some", "sampled": 100, "bytes": 10**9, "seconds": 0.1}
    assert (data["recommendation"], data["basis"]) == ("Use some.", "for a test")


def test_the_command_prints_choices_and_a_recommendation() -> None:
    question = ("advise", "partial-fc", "--classes", 300, "--dim", 8, "--batch", 16, "--rate", 0.5)
    shown = mlbench(*question)
    assert shown.returncode == 0, shown.stderr
    assert "partial_fc 0.5" in shown.stdout
    assert "note: predicted for this machine" in shown.stderr
    assert len(json.loads(mlbench(*question, "--json").stdout)["choices"]) == 2
    refused = mlbench("advise", "all", "--classes", 300, "--dim", 8, "--batch", 16)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
