"""The base of every options class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, get_type_hints

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, PrivateAttr
from pydantic_core import CoreSchema

from mlbench.contracts.catalogue import CatalogueItem
from mlbench.contracts.nested import nested_schema

__all__ = ["NESTED", "Options"]

#: Kind of each options class that an option of another component may have as its type; filled by
#: `mlbench.contracts.options`.
NESTED: dict[type, str] = {}


class Options(BaseModel):
    """Options of a component: frozen, strict (no string becomes a number), unknown ones refused, defaults
    checked.

    A field that a subclass declares again with the same type keeps its bounds and its docstring, so that only
    the default changes; with bounds or another type, it has those. A validator of a subclass raises
    OptionError, naming the option that is wrong.

    An option whose type is the options class of a kind (`LossOptions`, `tuple[AugmentationOptions, ...]`) is
    another component. A suite names it, with its options; the value is its own options, which build it.

    speed_neutral: options that change no speed, such as a margin or the choice of initial weights. Cases that
    differ in nothing else share one measurement. libraries: distributions that the component uses, besides
    those that its package requires, such as an optional one; the record has their versions. registered_name:
    of an inner component, else ""."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        protected_namespaces=(),
    )

    speed_neutral: ClassVar[frozenset[str]] = frozenset()
    libraries: ClassVar[tuple[str, ...]] = ()

    _registered_name: str = PrivateAttr("")

    @property
    def registered_name(self) -> str:
        """Name of an inner component, else ""."""
        return self._registered_name

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        kind = NESTED.get(cls)
        return handler(source) if kind is None else nested_schema(kind, cls)

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        own = cls.__annotations__
        for base in cls.__mro__[1:]:
            for name, field in getattr(base, "__pydantic_fields__", {}).items():
                if name in own and _type_of(own[name], cls, bounds=True) == _type_of(field.annotation, base):
                    bounds = field.metadata
                    own[name] = Annotated[field.annotation, *bounds] if bounds else field.annotation

    @classmethod
    def settings(cls) -> Mapping[str, Any]:
        """Settings for other sections where the suite does not say otherwise: a mapping as under `base`, such
        as {"mixing": {"name": "mixup"}, "backbone": {"drop_path": 0.05}}."""
        return {}

    @classmethod
    def catalogue(cls) -> Iterable[CatalogueItem]:
        """What the component offers by name, such as the models of a library, for `mlbench list --search`.
        Quickly: no torch, no network."""
        return ()


def _type_of(annotation: Any, owner: type, *, bounds: bool = False) -> Any:
    """The type of an annotation in the module of `owner`, without bounds; with `bounds` they are kept."""
    holder = type("Holder", (), {"__annotations__": {"it": annotation}, "__module__": owner.__module__})
    try:
        return get_type_hints(holder, include_extras=bounds)["it"]
    except NameError:  # pydantic reports it
        return annotation
