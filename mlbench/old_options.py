"""The options of a component: read off its factory's signature, checked before anything is built."""

from __future__ import annotations

import inspect
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, PydanticUserError, ValidationError, create_model

from mlbench.errors import ComponentError, OptionError, close_match, hint

__all__ = ["Option", "Schema", "first_problem", "hints_of", "type_text"]


@dataclass(frozen=True, slots=True)
class Option:
    """One option: its name, its type as text, and its default as JSON (None when it is required)."""

    name: str
    type: str
    default: str | None


class Schema:
    """What a factory takes: `provided` by mlbench by name, and options that a suite may set.

    Raises ComponentError when the signature breaks the contract: an ordinary parameter that the kind
    does not provide, an option without a type or with a name that no suite can use, ``*args``, ``**kwargs``.
    """

    def __init__(self, factory: Callable[..., Any], *, owner: str, provides: tuple[str, ...]) -> None:
        self.owner = owner
        self.factory = factory
        try:
            parameters = inspect.signature(factory).parameters.values()
            hints = hints_of(factory, [p for p in parameters if p.kind is p.KEYWORD_ONLY])
        # Not callable, or a type hint that is a string and names nothing.
        except (TypeError, ValueError, NameError, AttributeError, SyntaxError) as error:
            raise ComponentError(f"{owner}: the signature of its factory cannot be read: {error}") from None
        fields: dict[str, Any] = {}
        provided = []
        for parameter in parameters:
            name = parameter.name
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise ComponentError(f"{owner}: its factory takes *{name}; options must be spelt out")
            if parameter.kind is not parameter.KEYWORD_ONLY:
                if name not in provides:
                    raise ComponentError(
                        f"{owner}: its factory asks for {name!r}, which is not provided "
                        f"({', '.join(provides) or 'nothing is'}); options are keyword-only (after a *)"
                    )
                provided.append(name)
            elif name == "name" or name.startswith("_"):  # "name" is how a suite names the component
                raise ComponentError(f"{owner}: an option cannot be called {name!r}")
            elif name not in hints:
                raise ComponentError(f"{owner}: option {name!r} has no type hint")
            else:
                default = ... if parameter.default is parameter.empty else parameter.default
                fields[name] = (hints[name], default)
        self.provided = tuple(provided)
        self._fields = fields

    @cached_property
    def _model(self) -> type[BaseModel]:
        # Strict: a suite that says epochs: "10" or scale: true has a mistake in it.
        config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # a name that hides one of pydantic's
                return create_model("Options", __config__=config, **self._fields)
        except (PydanticUserError, NameError, TypeError, UserWarning) as error:
            reason = str(error).splitlines()[0]
            raise ComponentError(f"{self.owner}: its options cannot be checked: {reason}") from None

    @cached_property
    def options(self) -> tuple[Option, ...]:
        """Every option, in the order of the signature."""
        result = []
        for name, (type_hint, default) in self._fields.items():
            text = None if default is ... else json.dumps(default, default=str)
            result.append(Option(name, type_text(type_hint), text))
        return tuple(result)

    def check(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """`given` with every default filled in, as plain JSON data.

        Raises OptionError for the first problem.
        """
        filled = self._validate(given).model_dump(mode="json", warnings=False)
        self._validate(filled, given)  # so that a default is held to its type too
        return filled

    def build(self, given: Mapping[str, Any], provided: Mapping[str, Any]) -> Any:
        """Call the factory with the options `given` and what it asks for out of `provided`."""
        options = dict(self._validate(given))
        return self.factory(**{name: provided[name] for name in self.provided}, **options)

    def _validate(self, options: Mapping[str, Any], given: Mapping[str, Any] | None = None) -> BaseModel:
        try:
            # By way of JSON, because a suite file is plain data: a list is welcome where a tuple is
            # meant and a string where a path is, yet no string becomes a number.
            return self._model.model_validate_json(json.dumps(options))
        except ValidationError as error:
            types = {name: type_hint for name, (type_hint, _) in self._fields.items()}
            by_user = options if given is None else given
            option, message = first_problem(error, by_user, types, of=f" of {self.owner}")
            raise OptionError(message, option) from None


def hints_of(factory: Callable[..., Any], parameters: list[inspect.Parameter]) -> dict[str, Any]:
    """Type hints of these parameters alone: the others may name types that are only imported for a
    type checker, as torch's are where a factory's module imports torch late."""
    annotations = {p.name: p.annotation for p in parameters if p.annotation is not p.empty}
    holder = type("Options", (), {"__annotations__": annotations, "__module__": factory.__module__})
    return get_type_hints(holder, include_extras=True)


def first_problem(
    error: ValidationError, given: Mapping[str, Any], types: Mapping[str, Any], of: str = ""
) -> tuple[str, str]:
    """The first problem of a validation: the key that it is about, and what is wrong, in our words.

    types: type hint of each key that may be given. of: what has these keys, as in " of neck 'gap'".
    """
    first = error.errors(include_url=False)[0]
    key = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        return key, f"unknown key {key!r} ({hint(key, types)}){of}"
    if key not in given and first["type"] == "missing":
        return key, f"missing key {key!r}{of}; expected {type_text(types[key])}"
    if key not in given:
        return key, f"the default of {key!r}{of} is not {type_text(types[key])}"
    value = given[key]
    if first["type"] in ("value_error", "assertion_error"):  # a validator of the author's own
        return key, f"{key!r}{of} is {_shown(value)}: {first['msg'].partition(', ')[2]}"
    message = f"{key!r}{of} is {_shown(value)}; expected {type_text(types[key])}"
    if first["type"] == "literal_error" and isinstance(value, str):
        near = close_match(value, [text for text in get_args(types[key]) if isinstance(text, str)])
        message += f" (did you mean {near!r}?)" if near else ""
    return key, message


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def type_text(hint: Any) -> str:
    """A type hint as a suite's writer would put it: "int >= 1", "'bn' | 'ln'", "list of float"."""
    arguments = get_args(hint)
    origin = get_origin(hint)
    if origin is Annotated:
        parts = [part for item in arguments[1:] for part in getattr(item, "metadata", [item])]
        bounds = [
            f"{sign} {getattr(part, attribute)}"
            for part in parts
            for attribute, sign in _BOUNDS.items()
            if getattr(part, attribute, None) is not None
        ]
        return " ".join([type_text(arguments[0]), " and ".join(bounds)]).strip()
    if origin is Literal:
        return " | ".join(repr(argument) for argument in arguments)
    if origin in (Union, UnionType):
        return " | ".join(type_text(argument) for argument in arguments)
    if origin is tuple and ... not in arguments:
        return f"[{', '.join(map(type_text, arguments))}]"
    if origin in (list, set, frozenset, tuple, Sequence):
        return f"list of {type_text(arguments[0])}".removesuffix(" of value")
    if origin in (dict, Mapping):
        return f"mapping of {type_text(arguments[1])}".removesuffix(" of value")
    return _WORDS.get(hint, getattr(hint, "__name__", str(hint)))


_BOUNDS = {
    "ge": ">=",
    "gt": ">",
    "le": "<=",
    "lt": "<",
    "multiple_of": "multiple of",
    "min_length": "with length >=",
    "max_length": "with length <=",
    "pattern": "matching",
}
_WORDS: dict[Any, str] = {Any: "value", None: "null", NoneType: "null", bool: "true | false", Path: "path"}
_LONGEST = 80
