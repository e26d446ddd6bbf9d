from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pytest
from pydantic import AfterValidator, Field, ValidationError, model_validator

from mlbench.contracts.options import MixingOptions, NeckOptions
from mlbench.contracts.shapes import Features
from mlbench.errors import ComponentError, OptionError
from mlbench.options import Option, Schema, type_text


def even(value: int) -> int:
    if value % 2:
        raise ValueError("not even")
    return value


class Toy(NeckOptions):
    """A neck."""

    dim: Annotated[int, Field(ge=1)] = 8
    """Width of the
    embeddings."""
    norm: Literal["batch", "layer"] = "layer"
    rate: float = 0.5
    betas: tuple[float, float] | None = None
    folder: Path = Path("x")
    pairs: Annotated[int, AfterValidator(even)] = 2
    needed: str

    def build(self, features: Features) -> Any:
        return self, features


SCHEMA = Schema(Toy, NeckOptions, owner="neck 'toy'")


def test_fields_are_options_with_type_default_and_docstring() -> None:
    assert SCHEMA.options[:2] == (
        Option("dim", "int >= 1", "8", "Width of the\nembeddings."),
        Option("norm", "'batch' | 'layer'", '"layer"', ""),
    )
    assert SCHEMA.options[-1] == Option("needed", "str", None, "")


def test_check_fills_in_defaults_as_plain_data_and_is_stable() -> None:
    checked = SCHEMA.check({"needed": "y", "rate": 1, "betas": [0.9, 0.99]})
    assert checked == {
        "dim": 8,
        "norm": "layer",
        "rate": 1.0,
        "betas": [0.9, 0.99],
        "folder": "x",
        "pairs": 2,
        "needed": "y",
    }
    assert SCHEMA.check(checked) == checked


def test_make_gives_frozen_options_with_their_types() -> None:
    made = SCHEMA.make({"needed": "y", "betas": [0.9, 0.99], "folder": "a/b"})
    assert isinstance(made, Toy)
    assert (made.needed, made.betas, made.folder) == ("y", (0.9, 0.99), Path("a/b"))
    with pytest.raises(ValidationError, match="frozen"):
        made.needed = "z"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("options", "option", "message"),
    [
        ({"dmi": 1}, "dmi", "unknown key 'dmi' (did you mean 'dim'?) of neck 'toy'"),
        ({"dim": "64"}, "dim", "'dim' of neck 'toy' is \"64\"; expected int >= 1"),
        ({"dim": True}, "dim", "'dim' of neck 'toy' is true; expected int >= 1"),
        ({"dim": 64.0}, "dim", "'dim' of neck 'toy' is 64.0; expected int >= 1"),
        ({"dim": None}, "dim", "'dim' of neck 'toy' is null; expected int >= 1"),
        ({"dim": 0}, "dim", "'dim' of neck 'toy' is 0; expected int >= 1"),
        (
            {"norm": "latch"},
            "norm",
            "'norm' of neck 'toy' is \"latch\"; expected 'batch' | 'layer' (did you mean 'batch'?)",
        ),
        ({"norm": 3}, "norm", "'norm' of neck 'toy' is 3; expected 'batch' | 'layer'"),
        (
            {"betas": [1.0, "x"]},
            "betas",
            "'betas' of neck 'toy' is [1.0, \"x\"]; expected [float, float] | null",
        ),
        ({"betas": [1.0]}, "betas", "'betas' of neck 'toy' is [1.0]; expected [float, float] | null"),
        ({"pairs": 3}, "pairs", "'pairs' of neck 'toy' is 3: not even"),
        ({"rate": "x" * 99}, "rate", f"'rate' of neck 'toy' is \"{'x' * 76}...; expected float"),
    ],
)
def test_a_wrong_option_is_named_with_what_was_expected(
    options: dict[str, Any], option: str, message: str
) -> None:
    with pytest.raises(OptionError) as caught:
        SCHEMA.check({"needed": "y", **options})
    assert (str(caught.value), caught.value.option) == (message, option)


def test_a_missing_option_is_named() -> None:
    with pytest.raises(OptionError, match=r"^missing key 'needed' of neck 'toy'; expected str$"):
        SCHEMA.check({})


class Bounded(Toy):
    """A preset."""

    dim: int = 16
    betas: tuple[float, float] | None = (0.5, 0.9)
    needed: str = "given"


def test_a_subclass_that_changes_a_default_keeps_type_bounds_and_docstring() -> None:
    schema = Schema(Bounded, NeckOptions, owner="neck 'toy'")
    assert schema.options[0] == Option("dim", "int >= 1", "16", "Width of the\nembeddings.")
    assert [option.name for option in schema.options] == [option.name for option in SCHEMA.options]
    assert schema.check({})["dim"] == 16
    with pytest.raises(OptionError, match=r"^'dim' of neck 'toy' is 0; expected int >= 1$"):
        schema.check({"dim": 0})


class Narrowed(Toy):
    dim: Annotated[int, Field(ge=10)] = 16
    norm: Literal["layer"] = "layer"
    needed: str = "given"


def test_a_subclass_may_narrow_an_option() -> None:
    schema = Schema(Narrowed, NeckOptions, owner="neck 'toy'")
    assert schema.options[0] == Option("dim", "int >= 10", "16", "Width of the\nembeddings.")
    with pytest.raises(OptionError, match=r"^'dim' of neck 'toy' is 9; expected int >= 10$"):
        schema.check({"dim": 9})
    with pytest.raises(OptionError, match=r"^'norm' of neck 'toy' is \"batch\"; expected 'layer'$"):
        schema.check({"norm": "batch"})


class TooSmall(Toy):
    dim: int = 0


class OfAnotherType(Toy):
    dim: int = "x"  # type: ignore[assignment]


class Made(Toy):
    pairs: Annotated[int, Field(default_factory=lambda: 1.5)]  # type: ignore[assignment]


class Unreadable(Toy):
    other: "Nowhere" = 3  # type: ignore[name-defined]  # noqa: F821, UP037


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (TooSmall, "the default of 'dim' is 0; expected int >= 1"),
        (OfAnotherType, "the default of 'dim' is \"x\"; expected int >= 1"),
        (Made, "the default of 'pairs' is 1.5; expected int"),
        (
            Unreadable,
            "a type hint of Unreadable cannot be read: NameError: name 'Nowhere' is not defined",
        ),
    ],
)
def test_a_default_that_is_not_of_its_type_is_a_mistake_of_the_class(wrong: type[Toy], message: str) -> None:
    with pytest.raises(ComponentError) as caught:
        Schema(wrong, NeckOptions, owner="neck 'x'")
    assert str(caught.value) == f"neck 'x': {message}"


class Either(Toy):
    left: int | None = None
    right: int | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.left is None and self.right is None:
            raise OptionError("give left or right", "left")
        return self


def test_defaults_that_need_another_option_are_no_mistake() -> None:
    assert Schema(Either, NeckOptions, owner="neck 'x'").check({"needed": "y", "left": 1})["left"] == 1


class Strict(Toy):
    needed: str = "given"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.dim % 8:
            raise OptionError(f"neck x: dim {self.dim} is no multiple of 8", "dim")
        return self


def test_a_validator_of_the_class_raises_its_own_error() -> None:
    with pytest.raises(OptionError, match=r"^neck x: dim 3 is no multiple of 8$") as caught:
        Schema(Strict, NeckOptions, owner="neck 'x'").check({"dim": 3})
    assert caught.value.option == "dim"


class Plain(Toy):
    needed: str = "given"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.dim % 8:
            raise ValueError("dim is no multiple of 8")
        return self


def test_a_value_error_of_a_validator_of_several_options_is_one_line() -> None:
    with pytest.raises(OptionError, match=r"^neck 'x': dim is no multiple of 8$") as caught:
        Schema(Plain, NeckOptions, owner="neck 'x'").check({"dim": 3})
    assert caught.value.option == ""


class NoBuild(NeckOptions):
    dim: int = 3


class Named(Toy):
    name: str = "x"


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pydantic's own, that the field hides a method

    class Hides(Toy):
        predict: int = 1  # type: ignore[assignment]


class OtherKind(MixingOptions):
    def build(self) -> Any:
        return self


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (3, "expected a subclass of NeckOptions, not 3"),
        (even, "expected a subclass of NeckOptions, not <function even"),
        (OtherKind, "expected a subclass of NeckOptions, not <class"),
        (NoBuild, "NoBuild has no build"),
        (Named, "an option cannot be called 'name'"),
        (Hides, "an option cannot be called 'predict'"),
    ],
)
def test_a_class_that_breaks_the_contract_is_refused(given: Any, message: str) -> None:
    with pytest.raises(ComponentError, match=f"^neck 'x': {message}"):
        Schema(given, NeckOptions, owner="neck 'x'")


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (int, "int"),
        (bool, "true | false"),
        (Path, "path"),
        (int | None, "int | null"),
        (Annotated[float, Field(gt=0, le=1)], "float > 0 and <= 1"),
        (Annotated[int, Field(ge=2), Field(multiple_of=2)], "int >= 2 and multiple of 2"),
        (Annotated[str, Field(pattern="^a$")], "str matching ^a$"),
        (Annotated[list[int], Field(min_length=1)], "list of int with length >= 1"),
        (list[Annotated[int, Field(ge=0)]], "list of int >= 0"),
        (tuple[float, ...], "list of float"),
        (tuple[int, str], "[int, str]"),
        (Sequence[str], "list of str"),
        (dict[str, float], "mapping of float"),
        (dict[str, Any], "mapping"),
        (list[dict[str, Any]], "list of mapping"),
        (Mapping[str, int], "mapping of int"),
        (Literal["a", 1, None], "'a' | 1 | None"),
    ],
)
def test_type_text_reads_as_a_suite_is_written(hint: Any, text: str) -> None:
    assert type_text(hint) == text
