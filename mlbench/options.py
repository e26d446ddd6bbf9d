"""The options of a component: read off its factory's signature, checked before anything is built."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from mlbench.errors import ComponentError, OptionError, hint

__all__ = ["Option", "Schema", "problem"]


@dataclass(frozen=True, slots=True)
class Option:
    """One option: its name, its type as text, and its default as JSON (None when it is required)."""

    name: str
    type: str
    default: str | None


class Schema:
    """What a factory takes: `provided` by mlbench by name, and options that a suite may set.

    Raises ComponentError when the signature breaks the contract: an ordinary parameter that the kind
    does not provide, an option without a type, or ``*args``/``**kwargs``.
    """

    def __init__(self, factory: Callable[..., Any], *, owner: str, provides: tuple[str, ...]) -> None:
        self.owner = owner
        self.factory = factory
        parameters = inspect.signature(factory).parameters.values()
        hints = _hints(factory, [p for p in parameters if p.kind is p.KEYWORD_ONLY])
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
        config = ConfigDict(extra="forbid", strict=True, protected_namespaces=(), validate_default=True)
        return create_model("Options", __config__=config, **self._fields)

    @cached_property
    def options(self) -> tuple[Option, ...]:
        """Every option, in the order of the signature."""
        result = []
        for name, (type_hint, default) in self._fields.items():
            text = None if default is ... else json.dumps(default, default=str)
            result.append(Option(name, _type_text(type_hint), text))
        return tuple(result)

    def check(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """`given` with every default filled in, as plain JSON data.

        Raises OptionError for the first problem.
        """
        return self._validate(given).model_dump(mode="json")

    def build(self, given: Mapping[str, Any], provided: Mapping[str, Any]) -> Any:
        """Call the factory with the options `given` and what it asks for out of `provided`."""
        options = dict(self._validate(given))
        return self.factory(**{name: provided[name] for name in self.provided}, **options)

    def _validate(self, given: Mapping[str, Any]) -> BaseModel:
        try:
            # By way of JSON, because a suite file is plain data: a list is welcome where a tuple is
            # meant and a string where a path is, yet no string becomes a number.
            return self._model.model_validate_json(json.dumps(given))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            option = ".".join(str(part) for part in first["loc"])
            raise OptionError(f"{problem(first, list(self._fields))} of {self.owner}", option) from None


def _hints(factory: Callable[..., Any], parameters: list[inspect.Parameter]) -> dict[str, Any]:
    """Type hints of these parameters alone: the others may name types that are only imported for a
    type checker, as torch's are where a factory's module imports torch late."""
    annotations = {p.name: p.annotation for p in parameters if p.annotation is not p.empty}
    holder = type("Options", (), {"__annotations__": annotations, "__module__": factory.__module__})
    return get_type_hints(holder, include_extras=True)


def problem(error: Mapping[str, Any], known: list[str]) -> str:
    """One pydantic error in our words: what is wrong with which key, and what was expected."""
    key = str(error["loc"][-1]) if error["loc"] else ""
    if error["type"] == "extra_forbidden":
        return f"unknown key {key!r} ({hint(key, known)})"
    if error["type"] == "missing":
        return f"missing key {key!r}"
    message = error["msg"][0].lower() + error["msg"][1:]
    return f"{key!r} is {json.dumps(error['input'], default=str)}: {message}"


def _type_text(hint: Any) -> str:
    """A type hint as a reader would write it: "int >= 1", "'bn' | 'ln'"."""
    metadata = getattr(hint, "__metadata__", ())
    if metadata:
        bounds = []
        for item in metadata:
            for part in getattr(item, "metadata", [item]):
                for attribute, sign in (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<")):
                    if getattr(part, attribute, None) is not None:
                        bounds.append(f"{sign} {getattr(part, attribute)}")
        return " ".join([_type_text(hint.__origin__), *bounds])
    arguments = getattr(hint, "__args__", ())
    if str(hint).startswith("typing.Literal"):
        return " | ".join(repr(argument) for argument in arguments)
    return hint.__name__ if inspect.isclass(hint) and not arguments else str(hint).replace("typing.", "")
