"""Presets: the standard recipe with other defaults."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from mlbench.contracts import Recipe
from mlbench_recipes.standard import standard

__all__ = ["preset"]


def preset(name: str, text: str, **defaults: Any) -> Callable[..., Recipe]:
    """A factory that takes every option of `standard`, with `defaults` in place of the standard ones.

    text: its documentation, to which that of the options is added.
    """
    signature = inspect.signature(standard, eval_str=True)
    parameters = [
        parameter.replace(default=defaults.pop(option, parameter.default))
        for option, parameter in signature.parameters.items()
    ]
    assert not defaults, f"not options of the standard recipe: {sorted(defaults)}"
    filled = {parameter.name: parameter.default for parameter in parameters}

    def factory(**options: Any) -> Recipe:
        return standard(**{**filled, **options})

    _, heading, options_text = (inspect.getdoc(standard) or "").partition("Options\n")
    factory.__name__ = factory.__qualname__ = name
    factory.__doc__ = f"{inspect.cleandoc(text)}\n\n{heading}{options_text}"
    factory.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return factory
