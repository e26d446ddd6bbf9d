from __future__ import annotations

from typing import Any

import pytest

from mlbench.errors import SuiteError
from mlbench.planning.document import KeyPath
from mlbench.tuning.space import Choices, Range, read_space


def where(key: KeyPath) -> str:
    return ".".join(map(str, key))


def read(given: Any) -> Any:
    return read_space(given, where, ("space",))


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"low": 0.1, "high": 0.6}, Range(0.1, 0.6)),
        ({"low": 1, "high": 8}, Range(1, 8)),
        ({"low": 1e-5, "high": 1, "log": True}, Range(1e-5, 1, log=True)),
        ({"low": 0.1, "high": 0.3, "step": 0.1}, Range(0.1, 0.3, step=0.1)),
        ({"choices": ["a", None, {"name": "b", "x": 1}]}, Choices(("a", None, {"name": "b", "x": 1}))),
    ],
)
def test_a_dimension_is_what_the_file_says_and_its_plain_form_says_the_same(form: Any, expected: Any) -> None:
    found = read({"loss.margin": form})["loss.margin"]
    assert found == expected
    plain = {name: value for name, value in found.plain().items() if value is not None}
    assert read({"loss.margin": plain})["loss.margin"] == found


@pytest.mark.parametrize(
    ("values", "whole"),
    [((1, 8, None), True), ((1, 8, 1.0), False), ((1, 8.0, None), False), ((0, 8, 2), True)],
)
def test_a_range_is_whole_where_all_its_numbers_are(values: Any, whole: bool) -> None:
    low, high, step = values
    assert Range(low, high, step=step).whole is whole


def test_ends_of_choices_are_all_of_them_with_their_places() -> None:
    assert Choices(("a", 2)).ends() == [(("choices", 0), "a"), (("choices", 1), 2)]
    assert Choices(("a", {"name": "b"}, None)).texts == ("a", "{name: b}", "null")
    assert Range(1, 2).ends() == ((("low",), 1), (("high",), 2))


FORMS = "{low: 0.1, high: 0.6}, with log: true or a step, or {choices: [a, b]}"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, f"space: expected settings with their values, such as loss.margin: {FORMS}"),
        ([1], f"space: expected settings with their values, such as loss.margin: {FORMS}"),
        ({"los.margin": {}}, "space.los.margin: unknown key 'los' (did you mean 'loss'?)"),
        (
            {"dataset.views": {"low": 1, "high": 2}},
            "space.dataset.views: dataset decides how a trial is scored, so trials could not be compared; "
            "tune settings of training",
        ),
        (
            {"recipe.select_by": {"choices": ["f1", "recall"]}},
            "space.recipe.select_by: recipe.select_by decides how a trial is scored, so trials could not be "
            "compared; tune settings of training",
        ),
        ({"loss.margin": 0.3}, f"space.loss.margin: expected {FORMS}, not 0.3"),
        ({"loss.margin": {}}, f"space.loss.margin: low is missing; expected {FORMS}"),
        ({"loss.margin": {"low": 0}}, f"space.loss.margin: high is missing; expected {FORMS}"),
        (
            {"loss.margin": {"low": 0, "hihg": 1}},
            "space.loss.margin.hihg: unknown key 'hihg' (did you mean 'high'?)",
        ),
        ({"loss.margin": {"low": "0", "high": 1}}, "space.loss.margin.low: expected a number, not '0'"),
        ({"loss.margin": {"low": 0, "high": True}}, "space.loss.margin.high: expected a number, not True"),
        ({"loss.margin": {"low": 1, "high": 1}}, "space.loss.margin.low: expected less than high (1), not 1"),
        (
            {"loss.margin": {"low": 0, "high": 1, "log": True}},
            "space.loss.margin.low: expected more than 0 with log: true, not 0",
        ),
        (
            {"loss.margin": {"low": 1, "high": 2, "log": 1}},
            "space.loss.margin.log: expected true or false, not 1",
        ),
        (
            {"loss.margin": {"low": 1, "high": 2, "log": True, "step": 1}},
            "space.loss.margin.step: give log or step, not both",
        ),
        (
            {"loss.margin": {"low": 0.1, "high": 0.6, "step": 0.2}},
            "space.loss.margin.step: expected a number above 0 that divides high - low (0.5), not 0.2",
        ),
        (
            {"loss.margin": {"low": 0.1, "high": 0.6, "step": 0}},
            "space.loss.margin.step: expected a number above 0 that divides high - low (0.5), not 0",
        ),
        (
            {"loss.margin": {"choices": [1, 2], "low": 1}},
            "space.loss.margin: give a range or choices, not both",
        ),
        (
            {"loss.margin": {"choices": [1]}},
            "space.loss.margin.choices: expected a list of at least 2 values, not [1]",
        ),
        ({"loss.margin": {"choices": [1, 2, 1]}}, "space.loss.margin.choices: a value occurs twice"),
        (
            {"neck.dim": {"low": 8, "high": 16}, "neck": {"choices": ["gap", "squeeze"]}},
            "space.neck.dim: the space replaces the whole neck too; drop one",
        ),
        (
            {"loss.inner": {"choices": ["a", "b"]}, "loss.inner.margin": {"low": 0.1, "high": 0.6}},
            "space.loss.inner.margin: the space replaces the whole loss.inner too; drop one",
        ),
    ],
)
def test_a_mistake_is_one_line_with_its_place(given: Any, message: str) -> None:
    with pytest.raises(SuiteError) as error:
        read(given)
    assert str(error.value) == message
