"""Cases chosen by name or by labels, and paired over the other axes."""

from __future__ import annotations

from typing import Any

import pytest

from mlbench.errors import ClaimError
from mlbench.planning.case_groups import named_axes, paired_cases

AXES = {
    "gap-ln-x": {"neck.name": "gap", "neck.norm": "ln", "data": "x"},
    "gap-bn-x": {"neck.name": "gap", "neck.norm": "bn", "data": "x"},
    "flat-ln-x": {"neck.name": "flat", "neck.norm": "ln", "data": "x"},
    "flat-ln-y": {"neck.name": "flat", "neck.norm": "ln", "data": "y"},
    "gap-ln-y": {"neck.name": "gap", "neck.norm": "ln", "data": "y"},
    "off-true": {"flag": "true"},
    "alone": {},
}


def test_names_are_one_stratum() -> None:
    assert paired_cases(["alone", "gap-ln-x"], AXES) == {"": ("alone", "gap-ln-x")}


def test_labels_are_paired_over_the_other_axes() -> None:
    """gap-bn-x has no partner, as there is no flat-bn-x."""
    groups: list[Any] = [{"neck.name": "flat"}, {"neck.name": "gap"}]
    pairs = {"ln, x": ("flat-ln-x", "gap-ln-x"), "ln, y": ("flat-ln-y", "gap-ln-y")}
    assert paired_cases(groups, AXES) == pairs
    assert named_axes(groups) == ["neck.name"]


def test_an_axis_that_one_group_names_is_no_stratum_of_the_other() -> None:
    groups: list[Any] = [{"neck.name": "flat", "neck.norm": "ln"}, {"neck.name": "gap", "neck.norm": "bn"}]
    assert paired_cases(groups, AXES) == {"x": ("flat-ln-x", "gap-bn-x")}


def test_a_case_by_name_belongs_to_every_stratum() -> None:
    groups: list[Any] = [{"neck.name": "flat"}, "alone"]
    assert paired_cases(groups, AXES) == {"ln, x": ("flat-ln-x", "alone"), "ln, y": ("flat-ln-y", "alone")}


def test_labels_are_compared_as_they_are_written_in_case_names() -> None:
    assert paired_cases([{"flag": True}], AXES) == {"": ("off-true",)}


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (["gap"], "there is no case 'gap' (choose from: alone, flat-ln-x,"),
        (["gap-ln-z"], "there is no case 'gap-ln-z' (did you mean 'gap-ln-"),
        ([{"neck.nam": "gap"}], "no axis 'neck.nam' in the matrix (did you mean 'neck.name'?)"),
        ([{"neck.name": "gup"}], "the axis 'neck.name' has no value 'gup' (did you mean 'gap'?)"),
        ([{"neck.name": "flat", "neck.norm": "bn"}], "no case has {neck.name: flat, neck.norm: bn}"),
        (
            [{"neck.name": "gap"}, {"neck.name": "flat", "neck.norm": "ln"}],
            "{neck.name: gap} chooses both 'gap-ln-x' and 'gap-bn-x'; name one more axis",
        ),
        ([{"neck.name": "gap"}, {"flag": "true"}], "no two of these cases have the same labels"),
        ([{}], "a group of cases is empty; give labels on axes, such as {neck.norm: ln}"),
        ([{"neck.name": ["gap"]}], "{neck.name: ['gap']}: expected a label on every axis"),
    ],
)
def test_mistakes(groups: list[Any], message: str) -> None:
    with pytest.raises(ClaimError) as caught:
        paired_cases(groups, AXES)
    assert message in str(caught.value)
