from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, Field

from mlbench.errors import ComponentError, OptionError
from mlbench.options import Option, Schema, type_text

if TYPE_CHECKING:
    import torch


def even(value: int) -> int:
    if value % 2:
        raise ValueError("not even")
    return value


def factory(
    shape: torch.Tensor,
    *,
    dim: Annotated[int, Field(ge=1)] = 8,
    norm: Literal["batch", "layer"] = "layer",
    rate: float = 0.5,
    betas: tuple[float, float] | None = None,
    folder: Path = Path("x"),
    pairs: Annotated[int, AfterValidator(even)] = 2,
    needed: str,
) -> dict[str, Any]:
    return dict(locals())


SCHEMA = Schema(factory, owner="neck 'toy'", provides=("shape", "other"))


def test_ordinary_parameters_are_provided_and_keyword_only_ones_are_options() -> None:
    assert SCHEMA.provided == ("shape",)
    assert SCHEMA.options[:2] == (
        Option("dim", "int >= 1", "8"),
        Option("norm", "'batch' | 'layer'", '"layer"'),
    )
    assert SCHEMA.options[-1] == Option("needed", "str", None)


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


def test_build_gives_the_factory_its_types_and_only_what_it_asks_for() -> None:
    built = SCHEMA.build({"needed": "y", "betas": [0.9, 0.99], "folder": "a/b"}, {"shape": 1, "other": 2})
    assert (built["shape"], built["betas"], built["folder"]) == (1, (0.9, 0.99), Path("a/b"))


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


def no_type(*, dim=3): ...
def star(*dims: int): ...
def stars(**dims: int): ...
def asks(colour: int): ...
def named(*, name: str = "x"): ...
def unknown_type(*, dim: Nowhere = 3): ...  # type: ignore[name-defined]  # noqa: F821
def wrong_type(*, dim: object()): ...  # type: ignore[valid-type]


class Thing: ...


def foreign_type(*, thing: Thing): ...
def hides(*, copy: int = 1): ...
def underscore(*, _dim: int = 1): ...
def wrong_default(*, dim: int = "x"): ...  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (underscore, "an option cannot be called '_dim'"),
        (no_type, "option 'dim' has no type hint"),
        (star, r"its factory takes \*dims; options must be spelt out"),
        (stars, r"its factory takes \*dims; options must be spelt out"),
        (asks, r"its factory asks for 'colour', which is not provided \(shape\); options are keyword-only"),
        (named, "an option cannot be called 'name'"),
        (unknown_type, "the signature of its factory cannot be read: name 'Nowhere' is not defined"),
        (3, "the signature of its factory cannot be read: 3 is not a callable object"),
    ],
)
def test_a_signature_that_breaks_the_contract_is_refused(factory: Any, message: str) -> None:
    with pytest.raises(ComponentError, match=f"^neck 'x': {message}"):
        Schema(factory, owner="neck 'x'", provides=("shape",))


@pytest.mark.parametrize("factory", [foreign_type, hides])
def test_an_option_that_cannot_be_checked_is_refused(factory: Any) -> None:
    with pytest.raises(ComponentError, match=r"^neck 'x': its options cannot be checked: [^\n]+$"):
        Schema(factory, owner="neck 'x'", provides=()).check({})


def test_a_default_of_the_wrong_type_is_refused() -> None:
    with pytest.raises(OptionError, match=r"^the default of 'dim' of neck 'x' is not int$"):
        Schema(wrong_default, owner="neck 'x'", provides=()).check({})


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
