"""A check: one promise of the contract, put to the test on one component."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any
from unittest import SkipTest

from mlbench.contracts import KINDS, Component
from mlbench.contracts.options import (
    BatchContext,
    DatasetContext,
    DistillerContext,
    LossContext,
    SamplerContext,
)
from mlbench.errors import DataError, MlbenchError, OptionError, WeightsError
from mlbench.plugins import Plugin
from mlbench.registry import Entry

__all__ = ["Check", "Subject", "expect"]

#: Kinds whose `build` takes a context, and the context.
_CONTEXTS: Mapping[str, Any] = {
    "batch_sampler": BatchContext,
    "dataset": DatasetContext,
    "distiller": DistillerContext,
    "loss": LossContext,
    "sampler": SamplerContext,
}
#: What `build` takes, by kind.
_PROVIDES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(KINDS, ()),
    **{kind: tuple(field.name for field in fields(context)) for kind, context in _CONTEXTS.items()},
    "augmentation": ("image_size",),
    "backbone": ("image_size",),
    "neck": ("features",),
}


def expect(condition: object, message: str) -> None:
    """Raise AssertionError with what the contract asks unless it is so, under `python -O` too."""
    if not condition:
        raise AssertionError(message)


class Subject:
    """The component that is checked, with the options to make it of.

    given: options, and what stands in for the small values that a check provides otherwise.
    """

    def __init__(self, component: Component, given: Mapping[str, Any]) -> None:
        provides = _PROVIDES[component.kind]
        self.component = component
        self.entry = Entry(component, Plugin("under test", component.options, "unregistered", "0"))
        self.options = {name: value for name, value in given.items() if name not in provides}
        self.provided = {name: value for name, value in given.items() if name in provides}

    def __str__(self) -> str:
        return f"{self.component.kind}-{self.component.name}"

    def missing(self) -> list[str]:
        """Required options that are not given."""
        return [
            each.name for each in self.entry.options if each.default is None and each.name not in self.options
        ]

    def build(self, **provided: Any) -> Any:
        """The component. Raises SkipTest where it needs options that are not given, or files that are not
        there, AssertionError where it refuses."""
        made = self.attempt(**provided)
        expect(
            not isinstance(made, MlbenchError),
            f"{self} cannot be made for its checks: {made}; give checks() other options, or another value of "
            f"what it is built for ({', '.join(_PROVIDES[self.component.kind])})",
        )
        return made

    def attempt(self, **provided: Any) -> Any:
        """The component, or the MlbenchError with which it refuses what is provided."""
        if missing := self.missing():
            raise SkipTest(f"{self} needs the options {', '.join(missing)}; give them to checks()")
        try:
            return self._options().build(*self._arguments(provided))
        except (DataError, WeightsError) as error:
            raise SkipTest(f"{self} needs files: {error}") from None
        except MlbenchError as error:
            return error

    def predict(self, **provided: Any) -> Any:
        """What the component says that it would be, None where it does not say."""
        return self._options().predict(*self._arguments(provided))

    def quantities(self) -> Any:
        """What a metric announces."""
        return self._options().quantities()

    def _options(self) -> Any:
        return self.entry.make(self.options)

    def _arguments(self, provided: Mapping[str, Any]) -> list[Any]:
        """What `build` and `predict` take."""
        values = {**provided, **self.provided}
        if (context := _CONTEXTS.get(self.component.kind)) is not None:
            return [context(**values)]
        return [values[name] for name in _PROVIDES[self.component.kind]]

    def refuses(self, **provided: Any) -> bool:
        """Whether what it would be is refused, with an OptionError."""
        try:
            self.predict(**provided)
        except OptionError:
            return True
        return False


@dataclass(frozen=True)
class Check:
    """Call it: it passes, raises AssertionError with what the contract asks, or unittest.SkipTest."""

    subject: Subject
    function: Callable[[Subject], None]

    @property
    def name(self) -> str:
        return self.function.__name__

    def __str__(self) -> str:
        return f"{self.subject}-{self.name}"

    def __call__(self) -> None:
        self.function(self.subject)
