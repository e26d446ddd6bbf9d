"""A check tests one requirement of the contract on one component."""

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

#: Context that `build` takes, by kind.
_CONTEXTS: Mapping[str, Any] = {
    "batch_sampler": BatchContext,
    "dataset": DatasetContext,
    "distiller": DistillerContext,
    "loss": LossContext,
    "sampler": SamplerContext,
}
#: Names of the arguments of `build`, or of the fields of its context, by kind.
_PROVIDES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(KINDS, ()),
    **{kind: tuple(field.name for field in fields(context)) for kind, context in _CONTEXTS.items()},
    "augmentation": ("image_size",),
    "backbone": ("image_size",),
    "neck": ("features",),
}


def expect(condition: object, message: str) -> None:
    """Raise AssertionError with the message unless the condition holds, under `python -O` too."""
    if not condition:
        raise AssertionError(message)


class Subject:
    """The component under test and its options.

    given: options, and arguments of `build` that replace those of the checks.
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
        """Build the component. Raises SkipTest if required options or files are missing, AssertionError if
        the component raises another MlbenchError."""
        made = self.attempt(**provided)
        expect(
            not isinstance(made, MlbenchError),
            f"{self} cannot be made for its checks: {made}; give checks() other options, or another value of "
            f"what it is built for ({', '.join(_PROVIDES[self.component.kind])})",
        )
        return made

    def attempt(self, **provided: Any) -> Any:
        """Build the component, or return the MlbenchError that it raises. Raises SkipTest as `build` does."""
        if missing := self.missing():
            raise SkipTest(f"{self} needs the options {', '.join(missing)}; give them to checks()")
        try:
            return self._options().build(*self._arguments(provided))
        except (DataError, WeightsError) as error:
            raise SkipTest(f"{self} needs files: {error}") from None
        except MlbenchError as error:
            return error

    def predict(self, **provided: Any) -> Any:
        """Return the prediction of the component, None if it makes none."""
        return self._options().predict(*self._arguments(provided))

    def quantities(self) -> Any:
        """Return the quantities of a metric."""
        return self._options().quantities()

    def _options(self) -> Any:
        return self.entry.make(self.options)

    def _arguments(self, provided: Mapping[str, Any]) -> list[Any]:
        """Return the arguments of `build` and `predict`."""
        values = {**provided, **self.provided}
        if (context := _CONTEXTS.get(self.component.kind)) is not None:
            return [context(**values)]
        return [values[name] for name in _PROVIDES[self.component.kind]]

    def refuses(self, **provided: Any) -> bool:
        """Whether `predict` raises OptionError."""
        try:
            self.predict(**provided)
        except OptionError:
            return True
        return False


@dataclass(frozen=True)
class Check:
    """Call it to check: raises AssertionError if the requirement is not met, SkipTest if it cannot run."""

    subject: Subject
    function: Callable[[Subject], None]

    @property
    def name(self) -> str:
        return self.function.__name__

    def __str__(self) -> str:
        return f"{self.subject}-{self.name}"

    def __call__(self) -> None:
        self.function(self.subject)
