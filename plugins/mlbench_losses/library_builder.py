"""Builds objects of pytorch-metric-learning from plain data."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from torch import nn

from mlbench.plugin import OptionError, hint
from mlbench_losses.pml import known_names

__all__ = ["LibraryBuilder"]

#: Parameters that are objects of the library, with the subpackage of their classes.
_OBJECTS = {
    "distance": "distances",
    "embedding_regularizer": "regularizers",
    "loss": "losses",
    "miner": "miners",
    "reducer": "reducers",
    "weight_regularizer": "regularizers",
}
#: Parameters that cannot be written as plain data, that only a subclass may set, or that slow training.
_LEFT_OUT = {"aggregation_func", "collect_stats", "iter_fn", "mat_based_loss", "weight_init_func"}
#: Classes that cannot be used here, with the reason.
_UNFIT = {
    "BatchedDistance": "it takes a function, which is not plain data",
    "ClassWeightedReducer": "its weights are not plain data",
    "DoNothingReducer": "it returns no scalar",
    "MultipleReducers": "its reducers are not plain data",
}


class LibraryBuilder:
    """Builds losses, miners and their parts for a number of classes and a width of embeddings.

    classes: number of classes that a loss built so far has weights for; None if none has.
    """

    def __init__(self, num_classes: int, dim: int) -> None:
        self._sizes = {"num_classes": num_classes, "embedding_size": dim, "descriptors_dim": dim}
        self.classes: int | None = None

    def build(self, part: str, name: str, options: Mapping[str, Any], *, option: str) -> nn.Module:
        """An object of the class `name` in pytorch_metric_learning.`part`. Raises OptionError.

        option: the component's option that `name` and `options` come from, for messages.
        """
        if name not in (known := known_names(part)):
            raise OptionError(
                f"loss pml: pytorch_metric_learning.{part} has no {name!r} ({hint(name, known)})", option
            )
        if name in _UNFIT:
            raise OptionError(f"loss pml: {name} cannot be used here: {_UNFIT[name]}", option)
        cls = getattr(import_module(f"pytorch_metric_learning.{part}"), name)
        parameters = _parameters(cls)
        sizes = {
            key: value
            for key, value in self._sizes.items()
            if key in parameters and parameters[key].default is inspect.Parameter.empty
        }
        taken = {key: value for key, value in parameters.items() if key not in sizes}
        takes = f"{name} takes {', '.join(map(_shown, taken.values())) or 'no options'}"
        for key in options:
            if key in sizes:
                raise OptionError(f"loss pml: {name}'s {key} is filled in; leave it out", option)
            if key not in taken:
                raise OptionError(f"loss pml: {name} has no {key!r} ({hint(key, taken)}); {takes}", option)
        missing = [
            key
            for key, value in taken.items()
            if value.default is inspect.Parameter.empty and key not in options
        ]
        if missing:
            raise OptionError(f"loss pml: {name} needs {', '.join(missing)}; {takes}", option)
        arguments = {
            key: self._argument(name, taken[key], value, option=option) for key, value in options.items()
        }
        try:
            made: nn.Module = cls(**sizes, **arguments)
        except Exception as error:  # constructors of the library raise errors of any type
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise OptionError(f"loss pml: {name}: {reason}; {takes}", option) from None
        self.classes = sizes.get("num_classes") or arguments.get("num_classes") or self.classes
        return made

    def _argument(self, name: str, parameter: inspect.Parameter, value: Any, *, option: str) -> Any:
        """The value as an argument of the library's constructor."""
        key, default = parameter.name, parameter.default
        if key in _OBJECTS and value is not None:
            given = {"name": value} if isinstance(value, str) else value
            if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
                raise OptionError(
                    f"loss pml: {name}'s {key} is {value!r}; expected a class name in "
                    f"pytorch_metric_learning.{_OBJECTS[key]}, or a mapping of its name and its options",
                    option,
                )
            rest = {word: each for word, each in given.items() if word != "name"}
            return self.build(_OBJECTS[key], given["name"], rest, option=option)
        if isinstance(default, bool):
            expected, fits = "true or false", isinstance(value, bool)
        elif isinstance(default, int | float):
            expected, fits = "a number", isinstance(value, int | float) and not isinstance(value, bool)
        else:
            return value
        if not fits:
            raise OptionError(f"loss pml: {name}'s {key} is {value!r}; expected {expected}", option)
        return value


def _parameters(cls: type) -> dict[str, inspect.Parameter]:
    """Parameters of a constructor, and those of its bases that it accepts as **kwargs."""
    found: dict[str, inspect.Parameter] = {}
    for base in cls.__mro__:
        if "__init__" not in vars(base):
            continue
        own = list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]
        for parameter in own:
            if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                found.setdefault(parameter.name, parameter)
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in own):
            break
    return {name: parameter for name, parameter in found.items() if name not in _LEFT_OUT}


def _shown(parameter: inspect.Parameter) -> str:
    default = parameter.default
    return parameter.name if default is inspect.Parameter.empty else f"{parameter.name}={default!r}"
