"""A model as a sequence of layers, which can be cut between any two of them.

Forward hooks record the layers that a model calls, and their arguments. Layers that pass their output
unchanged to the next one form the sequence; everything before them (patches, positions, the class token) is
one more layer, the stem.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

__all__ = [
    "Layers",
    "MethodLayer",
    "called_layers",
    "layers_of",
    "sequence_of",
    "sequential",
    "without_layers",
]

Layers = Sequence[tuple[str, nn.Module]]

_CONTAINERS = (nn.Sequential, nn.ModuleList)


class MethodLayer(nn.Module):
    """One method of a model as a layer: maps x to `model.method(x)`."""

    def __init__(self, model: nn.Module, method: str) -> None:
        super().__init__()
        self.model = model
        self.method = method

    def forward(self, x: torch.Tensor) -> Any:
        return getattr(self.model, self.method)(x)


class ConstantArguments(nn.Module):
    """A layer with constant arguments after its input, such as rotary positions."""

    def __init__(self, layer: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        super().__init__()
        self.layer = layer
        self.names = list(keywords)
        for index, value in enumerate((*arguments, *keywords.values())):
            if isinstance(value, torch.Tensor):
                self.register_buffer(f"argument_{index}", value.detach(), persistent=False)
            else:
                setattr(self, f"argument_{index}", value)
        self.count = len(arguments)

    def forward(self, x: torch.Tensor) -> Any:
        values = [getattr(self, f"argument_{index}") for index in range(self.count + len(self.names))]
        keywords = dict(zip(self.names, values[self.count :], strict=True))
        return self.layer(x, *values[: self.count], **keywords)


@dataclass(frozen=True)
class _Call:
    name: str
    layer: nn.Module
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    output: Any

    def extras(self) -> list[Any]:
        """Arguments of the layer after its input."""
        return [*self.arguments[1:], *self.keywords.values()]

    def constant(self, again: _Call) -> bool:
        """Whether the extra arguments are the same in another run and are not learnt."""
        if len(self.arguments) != len(again.arguments) or self.keywords.keys() != again.keywords.keys():
            return False
        return all(_constant(one, other) for one, other in zip(self.extras(), again.extras(), strict=True))

    def bound(self) -> nn.Module:
        """The layer as a function of its input alone."""
        if not self.extras():
            return self.layer
        return ConstantArguments(self.layer, self.arguments[1:], self.keywords)


def layers_of(network: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Name and module of each layer, in order: the network's children, with nn.Sequentials expanded."""
    for name, child in network.named_children():
        if type(child) in _CONTAINERS:
            yield from layers_of(child, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", child


def sequential(layers: Layers) -> nn.Sequential:
    """The layers as one nn.Sequential, with underscores for the dots in their names."""
    sequence = nn.Sequential()
    for name, layer in layers:
        sequence.add_module(name.replace(".", "_"), layer)
    return sequence


def sequence_of(model: nn.Module, method: str, images: torch.Tensor) -> list[tuple[str, nn.Module]] | None:
    """Layers that compute `model.method(images)` one after another; None if the model is not such a sequence.

    The layers are the model's own modules, after a `MethodLayer` for the computation before the first one.
    The model must be in evaluation mode. images: (1, 3, H, W).
    """
    run = getattr(model, method)
    with torch.no_grad():
        calls, output = _observe(model, run, images)
    chain = _chain(calls, output)
    if any(call.extras() for call in chain):
        # A run with two other images shows which arguments are constant; gradients show which are learnt.
        with torch.enable_grad():
            others, _ = _observe(model, run, images.flip(2).repeat(2, 1, 1, 1))
        again = {call.name: call for call in others}
        changing = [i for i, call in enumerate(chain) if not call.constant(again[call.name])]
        chain = chain[changing[-1] + 1 :] if changing else chain
    if not chain:
        return None
    layers = [(call.name, call.bound()) for call in chain]
    if chain[0].arguments[0] is not images:
        stem = without_layers(model, {call.name for call in chain})
        layers.insert(0, (calls[0].name, MethodLayer(stem, method)))
    try:
        with torch.no_grad():
            same = _same(sequential(layers)(images), output)
    # The stem of a model that does more than call its layers may raise anything.
    except Exception:
        return None
    return layers if same else None


def without_layers(model: nn.Module, names: set[str], prefix: str = "") -> nn.Module:
    """A copy of the model that shares its parameters and lacks the named layers. A container drops them; any
    other module gets nn.Identity instead."""
    twin = copy.copy(model)
    twin._modules = {}
    for name, child in model._modules.items():
        path = f"{prefix}{name}"
        if path in names:
            if not isinstance(model, _CONTAINERS):
                twin._modules[name] = nn.Identity()
        elif child is not None and any(other.startswith(f"{path}.") for other in names):
            twin._modules[name] = without_layers(child, names, f"{path}.")
        else:
            twin._modules[name] = child
    return twin


def called_layers(run: Callable[..., Any], model: nn.Module, *arguments: Any) -> tuple[list[str], Any]:
    """Names of the model's layers (`layers_of`) that `run` calls, in order, and the output of `run`."""
    with torch.no_grad():
        calls, output = _observe(model, run, *arguments)
    return list(dict.fromkeys(call.name for call in calls)), output


def _observe(model: nn.Module, run: Callable[..., Any], *arguments: Any) -> tuple[list[_Call], Any]:
    calls: list[_Call] = []

    def hook(name: str) -> Callable[..., None]:
        def note(layer: nn.Module, arguments: Any, keywords: Any, output: Any) -> None:
            calls.append(_Call(name, layer, arguments, keywords, output))

        return note

    handles = [layer.register_forward_hook(hook(name), with_kwargs=True) for name, layer in layers_of(model)]
    try:
        return calls, run(*arguments)
    finally:
        for handle in handles:
            handle.remove()


def _chain(calls: list[_Call], output: Any) -> list[_Call]:
    """The last calls, each with the previous call's unchanged output as input, up to `output`. A layer called
    twice ends the chain."""
    times = Counter(call.name for call in calls)
    chain: list[_Call] = []
    for call in reversed(calls):
        if call.output is not output or times[call.name] > 1 or not call.arguments:
            break
        chain.insert(0, call)
        output = call.arguments[0]
    return chain


def _constant(one: Any, other: Any) -> bool:
    if isinstance(one, (list, tuple)):
        # Tensors inside a list would not move to another device with the module.
        return type(one) is type(other) and not _tensors(one) and one == other
    return _same(one, other) and not getattr(other, "requires_grad", False)


def _tensors(values: Sequence[Any]) -> bool:
    return any(isinstance(v, torch.Tensor) or (isinstance(v, (list, tuple)) and _tensors(v)) for v in values)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.shape == other.shape and (one.is_meta or torch.allclose(one, other, equal_nan=True))
    return type(one) is type(other) and bool(one == other)
