from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlbench.errors import SuiteError
from mlbench.planning.settings import Changes, Settings

DIMS = st.integers(0, 9)
OVERRIDES = st.fixed_dictionaries(
    {},
    optional={
        "neck": st.sampled_from(["gap", "flatten", {"name": "gap", "dim": 3}, {"name": "gap"}]),
        "neck.dim": DIMS,
        "loss": st.sampled_from(["cosface", {"scale": 2}]),
        "loss.margin": DIMS,
        "sampler": st.sampled_from([None, "all"]),
        "image": st.fixed_dictionaries({"size": DIMS}),
        "precision": st.sampled_from(["fp32", "bf16"]),
    },
).filter(lambda o: not ("neck.dim" in o and isinstance(o.get("neck"), dict) and "dim" in o["neck"]))


def where(key: tuple[str | int, ...]) -> str:
    return "s.yaml:1: " + ".".join(map(str, key))


def read(overrides: dict[str, Any]) -> Changes:
    return Changes.read(overrides, where)


def made(*steps: dict[str, Any]) -> Settings:
    result = Settings()
    for step in steps:
        result = result.updated(read(step))
    return result


@pytest.mark.parametrize(
    ("steps", "neck"),
    [
        ([{"neck": "gap"}], {"name": "gap"}),
        ([{"neck": {"name": "gap", "dim": 8}}], {"name": "gap", "dim": 8}),
        ([{"neck": {"name": "gap", "dim": 8}}, {"neck": {"dim": 9}}], {"name": "gap", "dim": 9}),
        ([{"neck": {"name": "gap", "dim": 8}}, {"neck.dim": 9}], {"name": "gap", "dim": 9}),
        ([{"neck": {"name": "gap", "dim": 8}}, {"neck.name": "flatten"}], {"name": "flatten", "dim": 8}),
        ([{"neck": {"name": "gap", "dim": 8}}, {"neck": "flatten"}], {"name": "flatten"}),
        ([{"neck": {"name": "gap", "dim": 8}}, {"neck": {"name": "gap"}}], {"name": "gap"}),
        (
            [{"neck": {"name": "gap", "dim": 8}}, {"neck.dim": 9, "neck": "flatten"}],
            {"name": "flatten", "dim": 9},
        ),
        ([{"neck": "gap"}, {"neck": None}], None),
        ([{"neck": None}, {"neck.dim": 3}], {"dim": 3}),
        ([{"neck": None}, {"neck": "gap"}], {"name": "gap"}),
        ([], None),
    ],
)
def test_a_name_replaces_and_an_option_changes(
    steps: list[dict[str, Any]], neck: dict[str, Any] | None
) -> None:
    assert made(*steps).section("neck") == neck


def test_settings_are_never_changed_in_place() -> None:
    before = made({"neck": {"name": "gap", "dim": 8}})
    before.updated(read({"neck.dim": 9}))
    assert before.section("neck") == {"name": "gap", "dim": 8}


def test_every_value_knows_where_it_was_written() -> None:
    settings = made({"neck": {"name": "gap", "dim": 8}, "precision": "bf16"}).updated(
        Changes.read({"neck.norm": "ln"}, lambda _: "--set neck.norm=ln")
    )
    assert settings.where("neck", "dim") == "s.yaml:1: neck.dim"
    assert settings.where("neck", "norm") == "--set neck.norm=ln"
    assert settings.where("neck") == "s.yaml:1: neck.name"
    assert settings.where("neck", "unset") == "s.yaml:1: neck.name"
    assert settings.where("precision") == "s.yaml:1: precision"
    assert settings.where("loss") == ""
    assert settings.value("precision") == "bf16"
    assert settings.value("loss") is None


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"nek": "gap"}, r"nek: unknown key 'nek' \(did you mean 'neck'\?\)"),
        ({"nek.dim": 3}, r"nek.dim: unknown key 'nek' \(did you mean 'neck'\?\)"),
        (
            {"neck.": 3},
            r"neck.: unknown key 'neck.'; expected the name of a neck or a mapping of its options",
        ),
        ({"neck": ["gap"]}, r"neck: expected the name of a neck or a mapping of its options, not \['gap'\]"),
        ({"neck": 12}, "neck: expected the name of a neck or a mapping of its options, not 12"),
        ({"neck": True}, "neck: expected the name of a neck or a mapping of its options, not True"),
        ({"image": 64}, r"image: expected a mapping such as \{size: 128\}, not 64"),
        ({"image": "big"}, r"image: expected a mapping such as \{size: 128\}, not 'big'"),
        ({"precision": 16}, "precision: expected the name of a precision, not 16"),
        ({"precision": {"a": 1}}, "precision: expected the name of a precision, not {'a': 1}"),
        ({"precision.x": "fp32"}, "precision.x: unknown key 'precision.x'; expected the name of a precision"),
        ({"neck": {"dim": 3}, "neck.dim": 4}, "neck.dim: neck.dim is set by s.yaml:1: neck.dim too"),
    ],
)
def test_wrong_shapes_and_unknown_sections_are_named(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(SuiteError, match=f"^s.yaml:1: {message}$"):
        read(overrides)


def test_joined_refuses_what_both_set() -> None:
    with pytest.raises(SuiteError, match=r"neck.dim: neck.dim is set by .* too"):
        read({"neck.dim": 1}).joined(read({"neck": {"dim": 1}}))
    with pytest.raises(SuiteError, match=r"neck: neck is set by .* too"):
        read({"neck": "gap"}).joined(read({"neck": "gap"}))


def plain(settings: Settings) -> dict[Any, Any]:
    return {path: leaf.value for path, leaf in settings}


@settings(max_examples=100, derandomize=True, deadline=None)
@given(base=OVERRIDES, overrides=OVERRIDES)
def test_applying_overrides_twice_is_applying_them_once(
    base: dict[str, Any], overrides: dict[str, Any]
) -> None:
    assert plain(made(base, overrides, overrides)) == plain(made(base, overrides))


@settings(max_examples=100, derandomize=True, deadline=None)
@given(overrides=OVERRIDES)
def test_order_of_keys_changes_nothing(overrides: dict[str, Any]) -> None:
    assert plain(made(overrides)) == plain(made(dict(reversed(overrides.items()))))
