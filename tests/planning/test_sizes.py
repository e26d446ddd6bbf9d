"""Sizes of a suite: what each changes, and where its keys stand in the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import TOY_SUITE
from hypothesis import given
from hypothesis import strategies as st

from mlbench.errors import SuiteError
from mlbench.planning.document import Document, parse_document
from mlbench.planning.heading import read_heading
from mlbench.planning.sizes import choose_size, size_notes
from mlbench.planning.suite import Suite, load_suite
from mlbench.planning.variants import MAX_SUITE_NAME
from mlbench.registry import Registry

Load = Callable[..., Suite]

PATH = Path("s.yaml")

#: Lines 13 to 29 of a suite file, after the toy suite.
SIZES = """\
title: A study
matrix:
  neck.dim: [4, 8]
  loss.scale: [16.0, 32.0]
cases:
  slow: {recipe.lr: 1e-4, neck: {name: flatten, dim: 12}}
tolerances: {f1: 0.1, recall_at_1: 0.2}
sizes:
  cpu:
    about: >-
      A look.
      Nothing more.
    base: {image.size: 32, metrics.retrieval: {k: [1]}}
    matrix: {loss.scale: null, neck.dim: [4, 16]}
    cases: {slow: {neck: {dim: 6}}}
    tolerances: {f1: 0.3, recall_at_1: null}
  gpu: {seeds: [0, 1], cases: {slow: null, 4-16.0: null, 4-32.0: {recipe.epochs: 7}, more: {neck.dim: 99}}}
"""


@pytest.fixture
def load(write: Callable[..., Path], registry: Registry) -> Load:
    def load(more: str = SIZES, size: str | None = None, *overrides: str) -> Suite:
        return load_suite(write(more), registry, overrides=overrides, size=size)

    return load


def document(text: str) -> Document:
    return parse_document(text, PATH)


def test_the_first_size_is_the_default(load: Load) -> None:
    suite = load()
    assert [spec.plain() for spec in suite.specs] == [spec.plain() for spec in load(SIZES, "cpu").specs]
    assert (suite.name, suite.title, suite.heading) == ("toy-cpu", "A study", "A study, size cpu")
    assert (suite.size, suite.about, suite.sizes) == ("cpu", "A look. Nothing more.", ("cpu", "gpu"))
    assert load(SIZES, "gpu").size == "gpu"


def test_a_suite_without_sizes_has_none(load: Load) -> None:
    suite = load("title: A study\n")
    assert (suite.name, suite.size, suite.about, suite.sizes) == ("toy", "", "", ())
    assert (suite.heading, suite.removed) == ("A study", {})


def test_a_size_changes_what_it_names_and_keeps_the_rest(load: Load) -> None:
    suite = load()
    assert [spec.name for spec in suite.specs] == ["4", "16", "slow"]
    four, _, slow = (spec.plain() for spec in suite.specs)
    assert four["image"]["size"] == slow["image"]["size"] == 32
    assert four["metrics"] == {"retrieval": {"k": [1]}, "verification": four["metrics"]["verification"]}
    assert (four["loss"]["scale"], four["loss"]["margin"]) == (16.0, 0.1)
    assert slow["neck"]["name"] == "flatten"
    assert (slow["neck"]["dim"], slow["recipe"]["lr"]) == (6, 1e-4)
    assert (suite.seeds, suite.tolerances) == ((0,), {"f1": 0.3})
    assert load(SIZES, "gpu").tolerances == {"f1": 0.1, "recall_at_1": 0.2}


def test_cases_of_a_size_remove_change_and_add_cases_wherever_they_come_from(load: Load) -> None:
    suite = load(SIZES, "gpu")
    plain = {spec.name: spec.plain() for spec in suite.specs}
    assert list(plain) == ["4-32.0", "8-16.0", "8-32.0", "more"]
    assert [each["recipe"]["epochs"] for each in plain.values()] == [7, 2, 2, 2]
    assert (plain["more"]["neck"]["name"], plain["more"]["neck"]["dim"]) == ("gap", 99)
    assert suite.seeds == (0, 1)


def test_cases_that_only_other_sizes_have_are_remembered_with_their_labels(load: Load) -> None:
    assert load(SIZES, "gpu").removed == {
        "slow": {},
        "4": {"neck.dim": "4"},
        "16": {"neck.dim": "16"},
    }
    here = load(SIZES, "cpu").removed
    assert set(here) == {"4-32.0", "8-16.0", "8-32.0", "more"}
    assert here["8-16.0"] == {"neck.dim": "8", "loss.scale": "16.0"}
    only = "cases: {a: {}, b: {neck.dim: 3}}\nsizes: {cpu: {cases: {b: null}}}\n"
    assert load(only).removed == {"b": {}}


def test_base_of_a_size_follows_the_rules_of_changes(load: Load) -> None:
    """Another component drops the options of the former one, a dotted key keeps them."""

    def base(text: str) -> dict[str, Any]:
        return load(f"sizes: {{cpu: {{base: {text}}}}}\n").specs[0].plain()

    assert base("{loss: softmax}")["loss"]["name"] == "softmax"
    assert base("{neck.name: flatten}")["neck"] == {**base("{}")["neck"], "name": "flatten"}
    assert base("{loss: {name: cosface}}")["loss"]["scale"] == 64.0
    assert base("{loss: {scale: 3}}")["loss"] == {**base("{}")["loss"], "scale": 3.0}
    assert list(base("{metrics: [retrieval]}")["metrics"]) == ["retrieval"]
    assert "sampler" not in base("{sampler: null}")


def test_a_case_wins_over_the_base_of_a_size_and_set_over_both(load: Load) -> None:
    text = "cases: {a: {neck.dim: 5}}\nsizes: {cpu: {base: {neck.dim: 6}}}\n"
    assert load(text).specs[0].plain()["neck"]["dim"] == 5
    assert load(text, None, "neck.dim=7").specs[0].plain()["neck"]["dim"] == 7


def test_places_are_those_of_the_key_inside_the_size(load: Load) -> None:
    four, sixteen, slow = load().specs
    assert four.parts["neck"].where("dim").endswith("toy.yaml:26: sizes.cpu.matrix.neck.dim.0")
    assert sixteen.parts["neck"].where("dim").endswith("toy.yaml:26: sizes.cpu.matrix.neck.dim.1")
    assert slow.parts["neck"].where("dim").endswith("toy.yaml:27: sizes.cpu.cases.slow.neck.dim")
    assert slow.parts["neck"].where("name").endswith("toy.yaml:18: cases.slow.neck.name")
    assert four.parts["loss"].where("scale").endswith("toy.yaml:7: base.loss.scale")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sizes: {}", r"13: sizes: expected sizes by name, such as \{cpu: \{base: \{image.size: 96\}\}\}"),
        ("sizes: null", "13: sizes: expected sizes by name, .*"),
        ("sizes: [cpu]", "13: sizes: expected sizes by name, .*"),
        (
            "sizes:\n  c/u: {}",
            r"14: sizes.c/u: 'c/u' cannot name a size \(letters, digits and \. _ -, .*\)",
        ),
        ("sizes: {'': {}}", "13: sizes.: '' cannot name a size .*"),
        ("sizes: {cpu: null}", r"13: sizes.cpu: expected a mapping of what changes .*, not None"),
        ("sizes:\n  cpu: {}\n  gpu: 3", r"15: sizes.gpu: expected a mapping of what changes .*, not 3"),
        ("sizes:\n  cpu: {suite: x}", "14: sizes.cpu.suite: 'suite' is not part of a size"),
        ("sizes:\n  cpu: {sizes: {}}", "14: sizes.cpu.sizes: 'sizes' is not part of a size"),
        (
            "sizes:\n  cpu:\n    matrx: {}",
            r"15: sizes.cpu.matrx: unknown key 'matrx' \(did you mean 'matrix'\?\)",
        ),
        ("sizes:\n  cpu:\n    image.size: 3", "15: sizes.cpu.image.size: unknown key 'image.size' .*"),
        ("sizes:\n  cpu:\n    image: {size: 3}", "15: sizes.cpu.image: 'image' belongs under 'base'"),
        ("sizes:\n  cpu:\n    about: 3", "15: sizes.cpu.about: expected text, not 3"),
        (
            "sizes:\n  cpu:\n    base: [1]",
            r"15: sizes.cpu.base: expected a mapping of settings, such as \{image.size: 96\}, not \[1\]",
        ),
        (
            "sizes:\n  cpu:\n    base: null",
            "15: sizes.cpu.base: expected a mapping of settings, .*, not null",
        ),
        (
            "sizes:\n  cpu:\n    cases: [a]",
            r"15: sizes.cpu.cases: expected a mapping of settings by case, not \[a\]",
        ),
        (
            "sizes:\n  cpu:\n    cases:\n      a: 3",
            "16: sizes.cpu.cases.a: expected a mapping of settings, .*, not 3",
        ),
        (
            "cases: {first: {}}\nsizes:\n  cpu:\n    cases:\n      frist: null",
            r"17: sizes.cpu.cases.frist: there is no case 'frist' to remove \(did you mean 'first'\?\)",
        ),
        (
            "cases: {first: {}}\nsizes:\n  cpu:\n    cases: {first: null}",
            "16: sizes.cpu.cases: removes every case",
        ),
        (
            "matrix: {neck.dim: [4, 8]}\nsizes:\n  cpu:\n    matrix: {neck.dmi: null}",
            r"16: sizes.cpu.matrix.neck.dmi: matrix has no 'neck.dmi' to remove \(did you mean .*\)",
        ),
        (
            "sizes:\n  cpu:\n    tolerances: {f1: null}",
            r"15: sizes.cpu.tolerances.f1: tolerances has no 'f1' to remove \(none is available\)",
        ),
        (
            "sizes:\n  cpu:\n    seeds: null",
            r"15: sizes.cpu.seeds: the suite has no 'seeds' to remove \(.*\)",
        ),
        ("sizes:\n  cpu:\n    seeds: 3", "15: sizes.cpu.seeds: 'seeds' is 3; expected list of .*"),
        ("sizes:\n  cpu:\n    seeds: [1, 1]", "15: sizes.cpu.seeds: a seed occurs twice"),
        ("sizes:\n  cpu:\n    matrix: [a]", "15: sizes.cpu.matrix: 'matrix' is .*; expected mapping"),
        (
            "tolerances: {f1: 0.1}\nsizes:\n  cpu:\n    tolerances:\n      f1: -1",
            "17: sizes.cpu.tolerances.f1: 'tolerances' is .*; expected mapping of float >= 0",
        ),
        (
            "sizes:\n  cpu:\n    tolerances:\n      f2: 1",
            "16: sizes.cpu.tolerances.f2: no case measures 'f2' .*",
        ),
        (
            "sizes:\n  cpu:\n    base:\n      neck.dmi: 1",
            "16: sizes.cpu.base.neck.dmi: unknown key 'dmi' .* of neck 'gap'",
        ),
        (
            "sizes:\n  cpu:\n    base:\n      nek: 1",
            r"16: sizes.cpu.base.nek: unknown key 'nek' \(did you mean 'neck'\?\)",
        ),
        ("sizes:\n  cpu:\n    cases:\n      a/b: {}", "16: sizes.cpu.cases.a/b: 'a/b' cannot name a case .*"),
        (
            "matrix: {neck.dim: [4, 8]}\nexclude: [{neck.dim: 8}]\nsizes: {cpu: {matrix: {neck.dim: [4]}}}",
            "14: exclude.0.neck.dim: the axis 'neck.dim' has no value '8' .*",
        ),
        ("sizes:\n  cpu: {}\n  gpu:\n    base: {nek: 3}", "16: sizes.gpu.base.nek: unknown key 'nek' .*"),
        ("sizes:\n  cpu: {}\n  gpu:\n    matrx: {}", "16: sizes.gpu.matrx: unknown key 'matrx' .*"),
    ],
)
def test_a_mistake_is_one_line_with_its_place(load: Load, text: str, message: str) -> None:
    with pytest.raises(SuiteError, match=rf"^\S+toy\.yaml:{message}$"):
        load(f"{text}\n")


def test_a_wrong_size_is_one_line(load: Load) -> None:
    with pytest.raises(SuiteError, match=r"toy\.yaml:20: sizes: no size 'gpo' \(did you mean 'gpu'\?\)$"):
        load(SIZES, "gpo")
    with pytest.raises(SuiteError, match=r"toy\.yaml: has no sizes; leave --size cpu out$"):
        load("", "cpu")


def test_a_file_that_is_no_suite_is_no_suite_at_any_size() -> None:
    assert choose_size(document("[1]"), "cpu").document.data == [1]


def test_the_name_with_the_size_must_fit_too(write: Callable[..., Path], registry: Registry) -> None:
    text = TOY_SUITE.replace("suite: toy", f"suite: {'s' * (MAX_SUITE_NAME - 3)}")
    with pytest.raises(SuiteError, match=r"toy.yaml:1: suite: 'suite' is \"s+-cpu\"; expected str matching"):
        load_suite(write("sizes: {cpu: {}}\n", whole=text), registry)


CLAIMS = """\
suite: s
claims:
  one: {name: better, by: 0.1, metric: f1}
  two: {name: better, by: 0.2}
sizes:
  cpu:
    claims:
      one: {by: 0.3, metric: null, needs: cuda}
      two: {name: trend}
      three: {name: table}
"""


def test_a_claim_keeps_the_keys_that_a_size_does_not_name() -> None:
    found = choose_size(document(CLAIMS)).document
    assert found.data == {
        "suite": "s-cpu",
        "claims": {
            "one": {"name": "better", "by": 0.3, "needs": "cuda"},
            "two": {"name": "trend"},
            "three": {"name": "table"},
        },
    }
    places = {
        ("claims", "one", "by"): "s.yaml:8: sizes.cpu.claims.one.by",
        ("claims", "one", "name"): "s.yaml:3: claims.one.name",
        ("claims", "one"): "s.yaml:3: claims.one",
        ("claims", "two", "name"): "s.yaml:9: sizes.cpu.claims.two.name",
        ("claims", "three"): "s.yaml:10: sizes.cpu.claims.three",
        ("claims",): "s.yaml:2: claims",
        ("suite",): "s.yaml:1: suite",
    }
    assert {key: found.where(key) for key in places} == places
    with pytest.raises(SuiteError, match=r"s.yaml:8: sizes.cpu.claims.one.than: claims.one has no 'than' to"):
        choose_size(document(CLAIMS.replace("metric: null", "than: null")))


NAMES = st.sampled_from(["a", "b", "c"])
MAPPINGS = st.dictionaries(NAMES, st.integers(0, 3))


@given(whole=MAPPINGS, changes=st.dictionaries(NAMES, st.integers(4, 6) | st.none()))
def test_any_mapping_is_changed_by_name(whole: dict[str, int], changes: dict[str, int | None]) -> None:
    """Also one of a key that this module has never heard of."""
    data = {"suite": "s", "novel": whole, "sizes": {"x": {"novel": changes}}}
    lines = {("sizes", "x", "novel", name): 7 for name in changes} | {("novel", name): 3 for name in whole}
    text = Document("s.yaml", data, lines)
    unknown = [name for name, value in changes.items() if value is None and name not in whole]
    if unknown:
        with pytest.raises(SuiteError, match=f"s.yaml:7: sizes.x.novel.{unknown[0]}: novel has no"):
            choose_size(text)
        return
    found = choose_size(text).document
    expected = {name: value for name, value in {**whole, **changes}.items() if value is not None}
    assert found.data == {"suite": "s-x", "novel": expected}
    for name in expected:
        changed = f"s.yaml:7: sizes.x.novel.{name}" if name in changes else f"s.yaml:3: novel.{name}"
        assert found.where(("novel", name)) == changed
        assert found.where(("novel", name, "below")) == f"{changed}.below"
    assert data["novel"] == whole  # the whole document stays as it is


def test_notes_say_what_a_size_is_and_which_others_there_are() -> None:
    assert size_notes("", "", (), chosen=False) == []
    assert size_notes("cpu", "A look.", ("cpu",), chosen=False) == ["size cpu: A look."]
    assert size_notes("cpu", "A look.", ("cpu", "gpu"), chosen=True) == ["size cpu: A look."]
    assert size_notes("b", "", ("a", "b", "c"), chosen=False) == [
        "size b",
        "other sizes: a, c (choose with --size)",
    ]


def test_a_heading_has_name_title_and_tolerances_of_its_size(write: Callable[..., Path]) -> None:
    path = write(SIZES)
    found = read_heading(path)
    assert (found.name, found.title, found.size) == ("toy-cpu", "A study, size cpu", "cpu")
    assert found.tolerances == {"f1": 0.3}
    assert read_heading(path, "gpu").name == "toy-gpu"
    assert read_heading(write("sizes: {cpu: {}}\n")).title == "toy-cpu"
