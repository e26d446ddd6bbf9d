"""Options that are other components: a field whose type is the options class of a kind.

    class Scheduled(LossOptions):
        inner: LossOptions

A suite gives such an option as any component: its name, or a mapping of its name and options. The value of
the field is the options of that component, complete and checked; `self.inner.build(context)` builds it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from mlbench.errors import ComponentError, OptionError

__all__ = ["InnerError", "Resolver", "inner_components", "nested_schema"]

#: Finds a component of a kind by what a suite gives, its name or a mapping, and returns its options. It is
#: the context of the validation. Raises OptionError and ComponentError.
Resolver = Callable[[str, Any], Any]


class InnerError(OptionError):
    """An inner component is wrong. option: the wrong option of it. field, given: the option of the outer
    component that holds it, and what the suite gives there for the inner one."""

    def __init__(self, message: str, option: str, field: str, given: Any) -> None:
        super().__init__(message, option)
        self.field = field
        self.given = given


def nested_schema(kind: str, base: type[BaseModel]) -> CoreSchema:
    """The schema of a field with this type. base: the options class of the kind.

    Without a resolver the shape of the value alone is checked."""

    def check(value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, base):
            return value
        if not isinstance(value, str | Mapping):
            raise PydanticCustomError("component", "no component")
        resolve: Resolver | None = info.context
        if resolve is None:
            return value
        try:
            return resolve(kind, value)
        except OptionError as error:
            raise InnerError(str(error), error.option, info.field_name or "", value) from None
        except ComponentError as error:
            raise InnerError(str(error), "name", info.field_name or "", value) from None

    def plain(value: Any) -> Any:
        if not isinstance(value, base):
            return value
        name = getattr(value, "registered_name", "")
        if not name:
            raise ComponentError(
                f"an inner {kind} is made of {type(value).__name__} itself; give its registered name, or a "
                'mapping such as {"name": "..."}'
            )
        return {"name": name, **value.model_dump(mode="json", warnings=False)}

    return core_schema.with_info_plain_validator_function(
        check, serialization=core_schema.plain_serializer_function_ser_schema(plain)
    )


def inner_components(options: BaseModel, base: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    """Every inner component of options, also of inner ones, with the path of its option ("inner",
    "parts.0.inner"). base: of every options class."""

    def walk(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        if isinstance(value, base):
            yield ".".join(path), value
            yield from fields(value, path)
        elif isinstance(value, Mapping):
            for key, each in value.items():
                yield from walk(each, (*path, str(key)))
        elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
            for index, each in enumerate(value):
                yield from walk(each, (*path, str(index)))

    def fields(model: BaseModel, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        for name in type(model).model_fields:
            yield from walk(getattr(model, name), (*path, name))

    yield from fields(options, ())
