from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlbench.errors import SuiteError
from mlbench.planning.variants import Variant, expand

BASE: dict[str, Any] = {"neck": {"name": "gap", "dim": 8}, "loss": "cosface", "backbone": "timm"}


def where(key: tuple[str | int, ...]) -> str:
    return "s.yaml:1: " + ".".join(map(str, key))


def variants(base: dict[str, Any] = BASE, **keys: Any) -> list[Variant]:
    defaults: dict[str, Any] = {"matrix": {}, "include": [], "exclude": [], "cases": {}}
    return expand(base, **{**defaults, **keys}, where=where)


def named(*args: Any, **keys: Any) -> dict[str, Variant]:
    return {variant.name: variant for variant in variants(*args, **keys)}


def test_a_suite_without_matrix_and_cases_has_one_case() -> None:
    (only,) = variants()
    assert (only.name, only.axes) == ("base", {})
    assert only.settings.section("neck") == {"name": "gap", "dim": 8}


def test_a_matrix_is_a_product_with_the_last_axis_innermost() -> None:
    made = named(matrix={"loss": ["cosface", "softmax"], "neck.dim": [8, 16]})
    assert list(made) == ["cosface-8", "cosface-16", "softmax-8", "softmax-16"]
    assert made["softmax-16"].axes == {"loss": "softmax", "neck.dim": "16"}
    assert made["softmax-16"].settings.section("neck") == {"name": "gap", "dim": 16}


def test_an_axis_takes_whole_components_names_nothing_and_labels() -> None:
    made = named(
        matrix={
            "loss": {"hard": {"name": "cosface", "margin": 0.4}, "soft": "softmax"},
            "sampler": ["all", None],
            "recipe.select": [True],
        }
    )
    assert list(made) == ["hard-all-true", "hard-none-true", "soft-all-true", "soft-none-true"]
    assert made["hard-none-true"].settings.section("loss") == {"name": "cosface", "margin": 0.4}
    assert made["hard-none-true"].settings.section("sampler") is None


def test_a_free_axis_changes_several_keys() -> None:
    made = named(
        matrix={
            "init": {
                "imagenet": {"backbone.weights": "bundled"},
                "none": {"backbone.weights": "none", "recipe": {"name": "standard", "lr": 0.1}},
            }
        }
    )
    assert made["imagenet"].settings.section("recipe") is None
    assert made["none"].settings.section("recipe") == {"name": "standard", "lr": 0.1}
    assert made["none"].settings.section("backbone") == {"name": "timm", "weights": "none"}


@pytest.mark.parametrize("order", [1, -1])
def test_order_of_axes_does_not_lose_an_option(order: int) -> None:
    matrix = dict([("neck.dim", [4, 16]), ("neck", ["gap", "flatten"])][::order])
    made = [variant.settings.section("neck") for variant in variants(matrix=matrix)]
    assert len(made) == 4
    for name, dim in itertools.product(("gap", "flatten"), (4, 16)):
        assert {"name": name, "dim": dim} in made


def test_values_in_the_matrix_know_their_place() -> None:
    made = named(
        matrix={
            "loss": ["cosface", {"name": "softmax", "scale": 3}],
            "neck.dim": {"small": 4},
            "init": {"none": {"backbone.weights": "none"}},
        }
    )["softmax-small-none"]
    assert made.settings.where("loss", "scale") == "s.yaml:1: matrix.loss.1.scale"
    assert made.settings.where("neck", "dim") == "s.yaml:1: matrix.neck.dim.small"
    assert made.settings.where("backbone", "weights") == "s.yaml:1: matrix.init.none.backbone.weights"
    assert made.settings.where("backbone") == "s.yaml:1: base.backbone"


def test_exclude_drops_every_combination_that_it_matches() -> None:
    matrix = {"loss": ["cosface", "softmax"], "neck.dim": [8, 16, 32]}
    assert list(named(matrix=matrix, exclude=[{"loss": "softmax"}, {"neck.dim": 32}])) == [
        "cosface-8",
        "cosface-16",
    ]
    assert len(variants(matrix=matrix, exclude=[{"loss": "softmax", "neck.dim": 8}])) == 5


def test_include_adds_combinations_with_labels_and_with_new_values() -> None:
    made = named(
        matrix={"loss": {"hard": "cosface"}, "neck.dim": [8]},
        include=[{"loss": "hard", "neck.dim": 99, "recipe.epochs": 3}, {"loss": "softmax", "neck.dim": 8}],
    )
    assert list(made) == ["hard-8", "hard-99", "softmax-8"]
    assert made["hard-99"].settings.section("loss") == {"name": "cosface"}
    assert made["hard-99"].settings.section("neck") == {"name": "gap", "dim": 99}
    assert made["hard-99"].settings.section("recipe") == {"epochs": 3}
    assert made["hard-99"].axes == {"loss": "hard", "neck.dim": "99"}
    assert made["hard-99"].settings.where("neck", "dim") == "s.yaml:1: include.0.neck.dim"
    assert made["softmax-8"].settings.section("recipe") is None


def test_cases_start_from_base_and_come_last() -> None:
    made = named(matrix={"neck.dim": [4]}, cases={"wide": {"neck.dim": 99}, "as-base": {}})
    assert list(made) == ["4", "wide", "as-base"]
    assert made["wide"].axes == {}
    assert made["as-base"].settings.section("neck") == {"name": "gap", "dim": 8}


MATRIX = {"neck.dim": [8, 16], "init": {"a": {"loss.scale": 1}, "b": {}}}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"matrix": {"nek": ["gap"]}}, r"matrix.nek: unknown key 'nek' \(did you mean 'neck'\?\)"),
        ({"matrix": {"nek.dim": [3]}}, r"matrix.nek.dim: unknown key 'nek.dim' .*"),
        ({"matrix": {"neck.": ["gap"]}}, r"matrix.neck..0: unknown key 'neck.'; expected .*"),
        (
            {"matrix": {"neck": "gap"}},
            "matrix.neck: expected a list of values or a mapping of labels to values",
        ),
        ({"matrix": {"neck": []}}, "matrix.neck: expected a list .*"),
        ({"matrix": {"neck": {}}}, "matrix.neck: expected a list .*"),
        ({"matrix": {"neck": None}}, "matrix.neck: expected a list .*"),
        ({"matrix": {"neck": [["gap"]]}}, "matrix.neck.0: a list needs a label; .*"),
        ({"matrix": {"neck": [{"dim": 3}]}}, "matrix.neck.0: needs a name, .*"),
        ({"matrix": {"neck": [3]}}, "matrix.neck.0: expected the name of a neck .*, not 3"),
        (
            {"matrix": {"neck.dim": [8, 8]}},
            "matrix.neck.dim.1: two values of this axis would be called '8'; .*",
        ),
        ({"matrix": {"neck.dim": [-8]}}, "matrix.neck.dim.0: '-8' cannot be part of a case's name .*"),
        (
            {"matrix": {"neck.dim": {"a b": 8}}},
            "matrix.neck.dim.a b: 'a b' cannot be part of a case's name .*",
        ),
        ({"matrix": {"init": {"a": 3}}}, r"matrix.init.a: expected a mapping of settings, such as .*"),
        ({"matrix": {"init": {"a": {"nek": 3}}}}, "matrix.init.a.nek: unknown key 'nek' .*"),
        (
            {"matrix": {"neck.dim": [8], "wide": {"yes": {"neck.dim": 9}}}},
            "matrix.wide.yes.neck.dim: neck.dim is set by s.yaml:1: matrix.neck.dim.0 too",
        ),
        ({"matrix": MATRIX, "exclude": [{"dim": 8}]}, r"exclude.0.dim: no axis 'dim' in the matrix .*"),
        (
            {"matrix": MATRIX, "exclude": [{"neck.dim": 9}]},
            r"exclude.0.neck.dim: the axis 'neck.dim' has no value '9' .*",
        ),
        ({"matrix": MATRIX, "exclude": [{}]}, "exclude.0: names no axis; choose from: neck.dim, init"),
        ({"matrix": MATRIX, "exclude": [{"init": "a"}, {"init": "b"}]}, "exclude: excludes every case"),
        ({"exclude": [{"neck": "gap"}]}, "exclude: there is no matrix to exclude; .*"),
        ({"include": [{"neck": "gap"}]}, "include: there is no matrix to include; .*"),
        (
            {"matrix": MATRIX, "include": [{"neck.dim": 9}]},
            "include.0: an included case names every axis; init missing",
        ),
        (
            {"matrix": MATRIX, "include": [{"neck.dim": 9, "init": "c"}]},
            "include.0.init: the axis 'init' has no value 'c' .*",
        ),
        (
            {"matrix": MATRIX, "include": [{"neck.dim": 9, "init": "a", "nek": 1}]},
            "include.0.nek: unknown key 'nek' .*",
        ),
        (
            {"matrix": MATRIX, "include": [{"neck.dim": 8, "init": "a"}]},
            "include.0: a case '8-a' is there already, by .*",
        ),
        (
            {"matrix": {"neck.dim": [8]}, "cases": {"8": {}}},
            "cases.8: a case '8' is there already, by s.yaml:1: matrix",
        ),
        ({"cases": {"a b": {}}}, "cases.a b: 'a b' cannot name a case .*"),
        ({"cases": {"a\n": {}}}, r"cases.a\\n: 'a\\n' cannot name a case .*"),
        ({"cases": {"a": {"nek": 1}}}, "cases.a.nek: unknown key 'nek' .*"),
    ],
)
def test_mistakes_are_named_with_their_place(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(SuiteError, match=f"^s.yaml:1: {message}$"):
        variants(**keys)


def test_an_option_of_base_that_every_case_loses_is_a_mistake() -> None:
    message = r"^s.yaml:1: base.neck.dim: no case has this option, .* replaces the neck; vary neck.name"
    with pytest.raises(SuiteError, match=message):
        variants(matrix={"neck": ["gap", "flatten"]})
    assert variants(matrix={"neck.name": ["gap", "flatten"]})[1].settings.section("neck") == {
        "name": "flatten",
        "dim": 8,
    }
    assert variants(matrix={"neck": ["gap", {"name": "flatten", "dim": 9}]})
    assert variants(matrix={"neck": ["gap", "flatten"]}, cases={"as-base": {}})


@settings(max_examples=60, derandomize=True, deadline=None)
@given(data=st.data())
def test_cases_of_a_matrix_are_the_product_without_what_is_excluded(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    options = ["neck.dim", "loss.scale", "recipe.epochs"]
    matrix = {option: list(range(size)) for option, size in zip(options, sizes, strict=False)}
    entry = st.fixed_dictionaries(
        {}, optional={name: st.sampled_from(values) for name, values in matrix.items()}
    )
    exclude = data.draw(st.lists(entry.filter(bool), max_size=3))
    left = [
        labels
        for labels in (
            dict(zip(matrix, values, strict=True)) for values in itertools.product(*matrix.values())
        )
        if not any(all(labels[name] == value for name, value in each.items()) for each in exclude)
    ]
    if not left:
        with pytest.raises(SuiteError, match="excludes every case"):
            variants(matrix=matrix, exclude=exclude)
        return
    made = variants(matrix=matrix, exclude=exclude)
    assert len(made) == len({variant.name for variant in made}) == len(left) <= math.prod(sizes)
    assert [variant.axes for variant in made] == [{k: str(v) for k, v in labels.items()} for labels in left]
