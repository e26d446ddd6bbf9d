"""The options of a component: read off its options class, checked before anything is built."""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import ValidationError

from mlbench.contracts.nested import InnerError, Resolver
from mlbench.contracts.options import NESTED, Options
from mlbench.contracts.paths import spelt_out
from mlbench.errors import ComponentError, OptionError, close_match, first_line, hint

__all__ = ["Option", "Schema", "first_problem", "options_of", "type_text"]


@dataclass(frozen=True, slots=True)
class Option:
    """One option: its name, its type as text, its default as JSON (None when it is required), its
    docstring."""

    name: str
    type: str
    default: str | None
    description: str = ""


class Schema:
    """The options of one options class, a subclass of its kind's `base`. owner: for messages.

    Raises ComponentError for what is no such class, has no `build`, has an option that no suite can set, or a
    default that is not of its option's type.
    """

    def __init__(self, options_class: object, base: type[Options], *, owner: str) -> None:
        if not (isinstance(options_class, type) and issubclass(options_class, base)):
            raise ComponentError(f"{owner}: expected a subclass of {base.__name__}, not {options_class!r}")
        if missing := sorted(options_class.__abstractmethods__):
            raise ComponentError(f"{owner}: {options_class.__name__} has no {' and no '.join(missing)}")
        taken = {"name", *(name for name in dir(base) if name not in base.model_fields)}
        for name in options_class.model_fields.keys() & taken:
            raise ComponentError(f"{owner}: an option cannot be called {name!r}")
        self.owner = owner
        self.options_class: type[Options] = options_class
        self._check_defaults()

    @cached_property
    def options(self) -> tuple[Option, ...]:
        """Every option, in the order of the class."""
        return options_of(self.options_class)

    def check(self, given: Mapping[str, Any], resolve: Resolver | None = None) -> dict[str, Any]:
        """`given` with every default filled in, as plain JSON data. resolve: for inner components. Raises
        OptionError for the first problem."""
        return _plain(self.make(given, resolve))

    def make(self, given: Mapping[str, Any], resolve: Resolver | None = None) -> Options:
        """The options. Raises as `check`."""
        fields = self.options_class.model_fields.items()
        given = spelt_out(given, {name: field.get_default() for name, field in fields})
        # Twice, so that a default is held to its type too.
        return self._validated(_plain(self._validated(given, given, resolve)), given, resolve)

    def _validated(
        self, options: Mapping[str, Any], given: Mapping[str, Any], resolve: Resolver | None
    ) -> Options:
        """`options` checked. given: those of them that are not defaults."""
        try:
            # By way of JSON, because a suite file is plain data: a list becomes a tuple and a text a path,
            # but no text becomes a number.
            return self.options_class.model_validate_json(json.dumps(options), context=resolve)
        except InnerError as error:
            path = _path_to(error.given, options.get(error.field)) or ()
            keys = filter(None, (error.field, *path, error.option))
            raise OptionError(str(error), ".".join(keys)) from None
        except ValidationError as error:
            option, message = first_problem(error, given, self._types, of=f" of {self.owner}")
            raise OptionError(message, option) from None

    def _check_defaults(self) -> None:
        """Raise ComponentError for a type hint that names nothing, and for a default of another type."""
        try:
            _ = self._types
        except Exception as error:  # evaluating an annotation may raise anything
            name = self.options_class.__name__
            raise ComponentError(
                f"{self.owner}: a type hint of {name} cannot be read: {first_line(error)}"
            ) from error
        fields = self.options_class.model_fields
        try:
            defaults = _plain(self.options_class.model_construct())
            self.options_class.model_validate_json(json.dumps(defaults, default=str))
        except ValidationError as error:
            for problem in error.errors(include_url=False):
                name = str(problem["loc"][0]) if problem["loc"] else ""
                if name in fields and problem["type"] != "missing":
                    shown = _shown(defaults[name])
                    raise ComponentError(
                        f"{self.owner}: the default of {name!r} is {shown}; expected "
                        f"{type_text(self._types[name])}"
                    ) from None
        except Exception:  # a validator of the author's own, which `make` reports with the options of a suite
            return

    @cached_property
    def _types(self) -> dict[str, Any]:
        return _types_of(self.options_class)


def options_of(options_class: type[Options]) -> tuple[Option, ...]:
    """Every option of a class, in its order."""
    types, docstrings = _types_of(options_class), _docstrings(options_class)
    result = []
    for name, field in options_class.model_fields.items():
        default = None if field.is_required() else json.dumps(field.get_default(), default=str)
        result.append(Option(name, type_text(types[name]), default, docstrings.get(name, "")))
    return tuple(result)


def _types_of(options_class: type[Options]) -> dict[str, Any]:
    hints = get_type_hints(options_class, include_extras=True)
    return {name: hints[name] for name in options_class.model_fields}


def _docstrings(options_class: type[Options]) -> dict[str, str]:
    """The docstrings below the fields of a class and its bases; a subclass that changes a default need not
    repeat its docstring.

    pydantic can read them too, but when it creates a class, which costs every command 2 ms a class.
    """
    found: dict[str, str] = {}
    for each in reversed(options_class.__mro__):
        if not issubclass(each, Options):
            continue
        try:
            (definition,) = ast.parse(textwrap.dedent(inspect.getsource(each))).body
        except (OSError, SyntaxError):  # a class without a source file
            continue
        assert isinstance(definition, ast.ClassDef)
        for field, below in pairwise(definition.body):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = inspect.cleandoc(text)
    return found


def _plain(options: Options) -> dict[str, Any]:
    """Options as plain JSON data."""
    return options.model_dump(mode="json", warnings=False)


def first_problem(
    error: ValidationError, given: Mapping[str, Any], types: Mapping[str, Any], of: str = ""
) -> tuple[str, str]:
    """The first problem of a validation: the key that it is about, and what is wrong, in our words.

    types: type hint of each key that may be given. of: what has these keys, as in " of neck 'gap'".
    """
    first = error.errors(include_url=False)[0]
    if not first["loc"]:  # a validator of several options
        return "", f"{of.removeprefix(' of ')}: {first['msg'].partition(', ')[2] or first['msg']}"
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


def _path_to(wanted: Any, value: Any) -> tuple[str, ...] | None:
    """Keys and indices from a value to the equal of `wanted` in it; None where it is not there."""
    if value == wanted:
        return ()
    items = (
        value.items() if isinstance(value, Mapping) else enumerate(value if isinstance(value, list) else ())
    )
    for key, each in items:
        if (rest := _path_to(wanted, each)) is not None:
            return (str(key), *rest)
    return None


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def type_text(hint: Any) -> str:
    """A type hint as a suite's writer would put it: "int >= 1", "'bn' | 'ln'", "list of float"."""
    arguments = get_args(hint)
    origin = get_origin(hint)
    if isinstance(hint, type) and hint in NESTED:
        return f"{NESTED[hint]} (its name, or a mapping of name and options)"
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
