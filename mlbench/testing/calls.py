"""Checks of components that take tensors: backbones, necks, losses, samplers and distillers."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from unittest import SkipTest

import torch
from torch import nn

from mlbench.seeding import torch_generator, torch_seed
from mlbench.testing.check import Subject, expect
from mlbench.testing.finite import expect_finite
from mlbench.testing.random_state import drawing_from_torch_alone, expect_not_seeded, untouched
from mlbench.testing.usage import MOST, Usage, usages

__all__ = ["CHECKS"]

_SIZES = (1, 3, MOST)


def takes_any_batch_size(subject: Subject) -> None:
    """Batches of 1, 3 and 7: the last batch of a split has any size. Networks are in evaluation mode, because
    a batch norm in training mode needs two images."""
    for usage in usages(subject):
        if usage.is_objective:
            continue
        usage.train(False)
        with torch.no_grad():
            whole = usage.call(usage.batch(MOST))
            expect_finite(f"the output for a batch of {MOST}", whole)
            for size in _SIZES:
                part = usage.call(usage.batch(size))
                wanted = (size, *whole.shape[1:])
                expect(
                    tuple(part.shape) == wanted,
                    f"the output for a batch of {size} has shape {tuple(part.shape)}; return {wanted} (do "
                    "not squeeze a batch of 1)",
                )
                expect_finite(f"the output for a batch of {size}", part)
                expect(
                    _close(part, whole[:size], 1e-4),
                    f"in evaluation mode, the output for an image differs in a batch of {size} and of "
                    f"{MOST}; compute each from its image alone, without the batch's statistics",
                )
    for size in _SIZES:
        for usage in usages(subject):
            if usage.is_objective:
                _expect_finite(usage, usage.batch(size), f"of a batch of {size}")


def runs_in_bfloat16(subject: Subject) -> None:
    """Training under bfloat16 autocast with 3 examples. Images stay float32, as mlbench passes them; features
    and embeddings are bfloat16."""
    for usage in usages(subject):
        examples = usage.batch(3)
        if subject.component.kind != "backbone":
            examples = examples.to(torch.bfloat16)
        with torch_seed(0, "bfloat16"), torch.autocast("cpu", torch.bfloat16):
            output = _expect_finite(usage, examples, "under bfloat16 autocast")
        expect(
            output.dtype in (torch.float32, torch.bfloat16),
            f"the output under bfloat16 autocast is {_name(output)}; return float32 or bfloat16",
        )
    for usage in usages(subject):
        with torch_seed(0, "float32"):
            output = usage.call(usage.batch(3))
        expect(
            output.dtype == torch.float32,
            f"the output for float32 is {_name(output)}; return float32 (cast NumPy arrays and constants)",
        )


def keeps_global_generators(subject: Subject) -> None:
    """See `mlbench.testing.random_state` for what is allowed."""
    expect_not_seeded("build()", lambda: usages(subject, None))
    for usage in usages(subject):
        if not usage.is_objective:
            usage.train(False)
            with torch.no_grad(), untouched("a call in evaluation mode", "draw in training mode only"):
                usage.call(usage.batch(3))
        usage.train()
        with torch_seed(0, "training"), drawing_from_torch_alone("a call in training mode"):
            usage.call(usage.batch(3))
        expect_not_seeded("a call in training mode", partial(usage.call, usage.batch(3)))


def state_dict_is_complete(subject: Subject) -> None:
    """A component built with another seed gives the same output with the state_dict of the first, which was
    in training."""
    for first, second in zip(usages(subject, 0), usages(subject, 1), strict=True):
        if not isinstance(first.part, nn.Module):
            raise SkipTest(f"{subject} is no torch.nn.Module, so a checkpoint keeps nothing of it")
        first.train()
        with torch_seed(0, "training"):
            first.call(first.batch(3))
        second.part.load_state_dict(copy.deepcopy(first.part.state_dict()))
        outputs = []
        for usage in (first, second):
            usage.train(usage.is_objective)
            with torch.no_grad(), torch_seed(0, "stored"):
                outputs.append(usage.call(usage.batch(MOST)))
        expect_finite("the output after a training step", outputs[0])
        expect(
            torch.equal(*outputs),
            "the output after load_state_dict differs from the original's; keep everything that it depends "
            "on as a Parameter or with register_buffer(), so that state_dict() has it",
        )


def can_be_compiled(subject: Subject) -> None:
    """Output and gradients are the same with torch.compile, which mlbench applies to the parts of the network
    with `compute.compile`. The backend aot_eager traces forward and backward pass as the default one does and
    generates no code, so it needs no C++ compiler and takes a second. Graph breaks are allowed."""
    for usage in usages(subject):
        usage.train(False)
        parts = [usage.part]
        if subject.component.kind == "backbone":
            parts = [usage.part.frozen, usage.part.trained]
        plain = _output_and_gradients(usage, parts)
        expect_finite("the output", plain[0])
        expect_finite("a gradient of the parameters", plain[1:])
        torch.compiler.reset()
        try:
            with warnings.catch_warnings():
                # Tracing reads the gradients of intermediate tensors, of which torch warns.
                warnings.simplefilter("ignore")
                traced = _output_and_gradients(
                    usage, [torch.compile(each, backend="aot_eager") for each in parts]
                )
        finally:
            torch.compiler.reset()
        same = all(_close(one, other, 1e-3) for one, other in zip(plain, traced, strict=True))
        expect(
            same,
            "output or gradients with torch.compile differ; remove what depends on "
            "tracing, such as torch.compiler.is_compiling(), counters in Python and .data",
        )


def _output_and_gradients(usage: Usage, parts: Iterable[Callable[..., torch.Tensor]]) -> list[torch.Tensor]:
    usage.part.zero_grad()
    output = usage.batch(3)
    for part in parts:
        output = part(output)
    if output.requires_grad:
        torch.autograd.backward(_scalar(usage, output))
    gradients = [each.grad for each in usage.part.parameters() if each.grad is not None]
    return [output.detach(), *(each.clone() for each in gradients)]


def _scalar(usage: Usage, output: torch.Tensor) -> torch.Tensor:
    """A scalar of an output, for its gradients."""
    if usage.is_objective:
        return output
    # Random weights, because the sum of squares is constant after a norm.
    return (output * torch.randn(output.shape, generator=torch_generator(0, "weights"))).sum()


def _expect_finite(usage: Usage, examples: torch.Tensor, when: str) -> torch.Tensor:
    """Check a training step. Returns the output."""
    what = "loss" if usage.is_objective else "output"
    usage.train()
    examples.requires_grad_()
    output = usage.call(examples)
    expect(
        torch.isfinite(output).all(),
        f"the {what} {when} is not finite; clamp before divisions, logarithms and exponentials",
    )
    if output.requires_grad:
        torch.autograd.backward(_scalar(usage, output))
        parameters = usage.part.named_parameters() if isinstance(usage.part, nn.Module) else ()
        for name, tensor in (("the input", examples), *parameters):
            expect(
                tensor.grad is None or torch.isfinite(tensor.grad).all(),
                f"the gradient of {name} {when} is not finite; add a small constant below roots and "
                "divisions, or clamp before them",
            )
    return output.detach()


def _close(one: torch.Tensor, other: torch.Tensor, tolerance: float) -> bool:
    """Whether two tensors are equal within a share of the largest number in the second, because the order of
    a sum depends on the size of the batch and on the compiler."""
    return bool((one - other).abs().max() <= tolerance * other.abs().max().clamp(min=1e-3))


def _name(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


_ALL = (takes_any_batch_size, runs_in_bfloat16, keeps_global_generators)

CHECKS: dict[str, tuple[Callable[[Subject], object], ...]] = {
    "backbone": (*_ALL, state_dict_is_complete, can_be_compiled),
    "neck": (*_ALL, state_dict_is_complete, can_be_compiled),
    "loss": (*_ALL, state_dict_is_complete),
    "sampler": _ALL,
    "distiller": (*_ALL, state_dict_is_complete),
}
