from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

import pytest
from click.testing import CliRunner

from mlbench.cli import main
from mlbench.commands.search import matches_table, nearest, search
from mlbench.plugin import CatalogueItem, Component, Features, NeckOptions
from mlbench.plugins import Plugin
from mlbench.registry import Registry
from mlbench.testing import checks


class Offering(NeckOptions):
    """A neck that offers three of its options by name."""

    model: str = "small"
    """Which."""

    @classmethod
    def catalogue(cls) -> Iterable[CatalogueItem]:
        sizes = (("Small_B0", 1_000_000), ("small_b1", 2_340_000), ("large", None))
        return [
            CatalogueItem(name, {"model": name}, f"number {place}", count, 32, ("a", "b", "c"))
            for place, (name, count) in enumerate(sizes)
        ]

    def build(self, features: Features) -> Any:
        return features


class Raising(Offering):
    """A neck whose catalogue cannot be read."""

    @classmethod
    def catalogue(cls) -> Iterable[CatalogueItem]:
        raise RuntimeError("no table")


class Odd(Offering):
    """A neck whose catalogue has names alone."""

    @classmethod
    def catalogue(cls) -> Any:
        return ["small"]


@pytest.fixture
def offering() -> Registry:
    components = [
        Component("neck", name.lower(), f"test_list_search:{name}", f"a neck that is {about}")
        for name, about in (("Offering", "large inside"), ("Raising", "broken"), ("Odd", "odd"))
    ]
    components.append(Component("metric", "any", "test_list_search:Gone", "a metric that has no module"))
    return Registry([Plugin("toys", "test_list_search", "acme", "1.2", tuple(components))])


def found_by(pattern: str, registry: Registry) -> list[str]:
    return [match.suite for match in search(registry, pattern, lambda line: None)[0]]


def test_components_come_first_and_items_show_how_a_suite_has_them(offering: Registry) -> None:
    large = ["neck: offering", "neck: {name: offering, model: large}"]
    assert found_by("LARGE", offering) == large
    assert found_by("lar*", offering) == large
    assert found_by("*mall?b?", offering) == [
        "neck: {name: offering, model: Small_B0}",
        "neck: {name: offering, model: small_b1}",
    ]
    assert found_by("mall*", offering) == []
    assert found_by("metric", offering) == ["metrics: [any]"]


def test_a_catalogue_that_cannot_be_read_is_named_and_the_others_are_searched(offering: Registry) -> None:
    notes: list[str] = []
    found, names = search(offering, "small_b1", notes.append)
    assert [match.name for match in found] == ["small_b1"]
    assert set(names) == {"offering", "raising", "odd", "any", "Small_B0", "small_b1", "large"}
    start = "the catalogue of"
    assert notes[1:] == [
        f"{start} neck 'odd' of acme 1.2 cannot be read: TypeError: it has 'small'; expected a CatalogueItem",
        f"{start} neck 'raising' of acme 1.2 cannot be read: RuntimeError: no table",
    ]
    assert notes[0].startswith(f"{start} metric 'any' of acme 1.2 cannot be read: ")


def test_the_table_has_the_columns_that_something_fills(offering: Registry) -> None:
    table = matches_table(search(offering, "*_b?", lambda line: None)[0])
    assert table.headings == ["in a suite", "parameters", "px", "pretrained", "what it is"]
    assert table.rows[1][1:] == ["2.3M", "32", "a, b, and 1 more", "number 1"]
    table = matches_table(search(offering, "inside", lambda line: None)[0])
    assert table.headings == ["in a suite", "what it is"]


class Unsettable(Offering):
    """A neck whose catalogue has an option that it lacks."""

    @classmethod
    def catalogue(cls) -> Iterable[CatalogueItem]:
        return [CatalogueItem("tall", {"height": 3})]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Odd", "gives ['small']; return CatalogueItems"),
        ("Unsettable", "offers tall with options that a suite cannot set: unknown key 'height'"),
        ("Offering", ""),
    ],
)
def test_the_kit_checks_catalogues(name: str, message: str) -> None:
    component = Component("neck", "any", f"test_list_search:{name}", "any component")
    (check,) = [each for each in checks(component) if each.name == "catalogue_has_valid_options"]
    with pytest.raises(AssertionError, match=re.escape(message)) if message else nullcontext():
        check()


def test_nearest_names() -> None:
    assert nearest("*Smal_b0*", ["Small_B0", "small_b1", "gap"]) == ["Small_B0", "small_b1"]
    assert nearest("zzz", ["gap"]) == []


def test_list_finds_models_and_losses_of_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)  # pytest-xdist may set it
    shown = CliRunner().invoke(main, ["list", "backbone", "--search", "resnet5?"])
    assert shown.exit_code == 0, shown.output
    (row,) = [line for line in shown.output.splitlines() if "model: resnet50," in line]
    assert row.split("  ")[0] == "backbone: {name: timm, model: resnet50, weights: hub}"
    assert "  23.5M  224  a1_in1k, " in row
    data = json.loads(CliRunner().invoke(main, ["list", "--search", "circle*", "--json"]).output)
    (circle,) = data
    assert circle["suite"] == "loss: {name: pml, loss: CircleLoss}"


def test_list_says_what_is_near_where_nothing_matches() -> None:
    shown = CliRunner().invoke(main, ["list", "backbone", "--search", "resnett50"])
    assert shown.exit_code == 1
    assert "nothing matches 'resnett50'; the nearest names are 'resnet50'" in shown.output


def test_searching_imports_no_torch() -> None:
    program = (
        "import sys; from click.testing import CliRunner; from mlbench.cli import main\n"
        "assert CliRunner().invoke(main, ['list', '--search', 'circle']).exit_code == 0\n"
        "print({'torch', 'timm', 'open_clip'} & sys.modules.keys())"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"
