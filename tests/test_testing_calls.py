"""Checks of components that take tensors: each finds its fault, and the message says what to change."""

from __future__ import annotations

import ast
import os
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_testing
from test_testing import CHANGE, failures

from mlbench import testing
from mlbench.contracts import KINDS
from mlbench.contracts.options import BASES
from mlbench.plugin import Component, Features, LossContext, LossOptions, NeckOptions
from mlbench.testing import checks


class FaultyCallNeck(NeckOptions):
    fault: str

    def build(self, features: Features) -> Any:
        return neck(features.channels, self.fault)


def neck(channels: int, fault: str) -> Any:
    import torch
    from torch import nn

    class Neck(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dim = 4
            self.linear = nn.Linear(channels, 4)
            self.offset = torch.randn(4) if fault == "no buffer" else torch.zeros(4)
            if fault == "build seeds":
                torch.manual_seed(0)

        def forward(self, features: Any) -> Any:
            embeddings = self.linear(features.mean((2, 3))) + self.offset
            if fault == "nan":
                return embeddings * float("nan")
            if fault == "squeezes":
                return embeddings.squeeze(0)
            if fault == "batch":
                return embeddings - embeddings.mean(0)
            if fault == "draws":
                return embeddings * (1 + 0 * random.random())
            if fault == "numpy dropout" and self.training:
                return embeddings * (np.random.randint(9) < 9)  # noqa: NPY002
            if fault == "seeds" and self.training:
                torch.manual_seed(0)
            if fault == "double" and not torch.is_autocast_enabled("cpu"):
                return embeddings.double()
            if fault == "autocast double" and torch.is_autocast_enabled("cpu"):
                return embeddings.double()
            if fault == "overflow" and torch.is_autocast_enabled("cpu"):
                return embeddings * float("inf")
            if fault == "root" and torch.is_autocast_enabled("cpu"):
                return embeddings + (embeddings - embeddings.detach()).abs().sqrt()
            if fault == "traced" and torch.compiler.is_compiling():
                return 2 * embeddings
            if fault == "raises" and len(features) == 1:
                raise IndexError("no second image\nand a second line")
            return embeddings

    return Neck()


class FaultyCallLoss(LossOptions):
    fault: str

    def build(self, context: LossContext) -> Any:
        return loss(self.fault)


def loss(fault: str) -> Any:
    import torch

    class Pairs:
        """Squared distances of positive pairs; no torch.nn.Module."""

        def __call__(self, embeddings: Any, labels: Any) -> Any:
            same = labels[:, None] == labels
            apart = (embeddings[:, None] - embeddings).square().sum(2)
            value = (apart * same).sum() / same.sum()
            rank, ranks = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
            if fault == "nan":
                return value * float("nan")
            if fault == "rank":
                return value + rank
            if fault == "world":
                return value * ranks - (value * (ranks - 1)).detach()
            if fault == "deviation":
                return value + embeddings.detach().sum() / (len(embeddings) - 1) * 0
            if fault == "draws":
                return value + 0 * random.random()
            if fault == "double":
                return value.double()
            if fault == "undefined" and value.dtype == torch.bfloat16:
                return value / 0
            return value

    return Pairs()


OPTIONS = {"neck": FaultyCallNeck, "loss": FaultyCallLoss}
FAULTS = [
    ("neck", "squeezes", "takes_any_batch_size", "shape (4,); return (1, 4)"),
    ("neck", "batch", "takes_any_batch_size", "differs in a batch of 1 and of 7"),
    ("neck", "raises", "takes_any_batch_size", "IndexError: no second image; raised in "),
    ("neck", "double", "runs_in_bfloat16", "for float32 is float64; return float32"),
    ("neck", "autocast double", "runs_in_bfloat16", "under bfloat16 autocast is float64; return float32"),
    ("neck", "overflow", "runs_in_bfloat16", "output under bfloat16 autocast is not finite"),
    ("neck", "root", "runs_in_bfloat16", "under bfloat16 autocast is not finite; add a small constant"),
    ("neck", "build seeds", "keeps_global_generators", "build() seeds the global generators of torch"),
    ("neck", "draws", "keeps_global_generators", "evaluation mode draws from or seeds the global generators"),
    ("neck", "numpy dropout", "keeps_global_generators", "training mode draws from or seeds the global"),
    ("neck", "seeds", "keeps_global_generators", "training mode seeds the global generators of torch"),
    ("neck", "no buffer", "state_dict_is_complete", "register_buffer()"),
    ("neck", "traced", "can_be_compiled", "with torch.compile differ; remove what depends on tracing"),
    ("loss", "deviation", "takes_any_batch_size", "loss of a batch of 1 is not finite"),
    ("loss", "draws", "keeps_global_generators", "global generators of Python; draw from torch's"),
    ("loss", "double", "runs_in_bfloat16", "float64; return float32"),
    ("loss", "undefined", "runs_in_bfloat16", "loss under bfloat16 autocast is not finite"),
    ("loss", "rank", "gathered_batch_has_the_same_loss", "not from the rank"),
    ("loss", "world", "gathered_batch_has_the_same_loss", "the gradient of rank 0 on a gathered batch"),
]


def component(kind: str) -> Component:
    target = f"test_testing_calls:{OPTIONS[kind].__name__}"
    return Component(kind, "faulty", target, "with one fault or none")


@pytest.mark.parametrize("kind", OPTIONS)
def test_checks_pass_without_a_fault(kind) -> None:
    assert failures(component(kind), fault="").keys() == {"every_option_is_documented"}


@pytest.mark.parametrize(("kind", "fault", "check", "message"), FAULTS)
def test_check_finds_the_fault(kind, fault, check, message) -> None:
    found = failures(component(kind), check, fault=fault)[check]
    assert message in found
    assert "\n" not in found
    assert CHANGE.search(found)


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("neck", ("takes_any_batch_size", "state_dict_is_complete", "can_be_compiled")),
        ("loss", ("takes_any_batch_size", "gathered_batch_has_the_same_loss")),
    ],
)
def test_output_that_is_not_finite_gets_no_other_diagnosis(kind, names) -> None:
    found = failures(component(kind), fault="nan")
    assert {"every_option_is_documented", *names} <= found.keys()
    del found["every_option_is_documented"]
    assert all(re.search("not finite|is nan", message) for message in found.values())
    assert all("is not finite; clamp" in found[name] for name in names)


@pytest.mark.parametrize("kind", KINDS)
def test_every_check_has_a_component_that_violates_it(kind) -> None:
    component = Component(kind, "any", "test_testing_calls:FaultyCallLoss", "only its kind matters")
    violated = {
        "catalogue_has_valid_options",  # in commands/test_list_search
        "module_imports_lightly",  # in test_testing_command
        *(check for _, _, check, _ in (*test_testing.FAULTS, *FAULTS)),
        *(check for _, check, _ in test_testing.GENERAL_FAULTS),
    }
    assert {check.name for check in checks(component)} <= violated


def messages(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of each message of a failure in a module; "X" for what is filled in."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("expect", "AssertionError"):
            message = node.args[-1]
            yield message.lineno, text(message)


def text(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(text(part) for part in node.values)
    return str(node.value) if isinstance(node, ast.Constant) else "X"


@pytest.mark.parametrize(
    "path", sorted(Path(testing.__file__).parent.glob("*.py")), ids=lambda path: path.stem
)
def test_every_message_says_what_to_change(path) -> None:
    lacking = [(line, found) for line, found in messages(path) if found != "X" and not found.endswith("; X")]
    assert [each for each in lacking if not CHANGE.search(each[1])] == []


def returning(self: Any, *arguments: Any) -> Any:
    return self.returned or None


#: Options of each kind, whose `build` returns None or a text, which cannot be used.
RETURNING = {kind: base for kind, base in BASES.items() if "build" in KINDS[kind].method}
for _kind, _base in RETURNING.items():
    globals()[f"Returning_{_kind}"] = type(
        f"Returning_{_kind}",
        (_base,),
        {
            "__module__": __name__,
            "__annotations__": {"returned": str},
            "returned": "",
            "build": returning,
            "quantities": returning,
        },
    )


@pytest.mark.parametrize(
    ("kind", "returned"),
    # A section may be None.
    [(kind, returned) for kind in RETURNING for returned in ("", "text") if returned or kind != "section"],
)
def test_result_of_build_is_at_fault_and_not_the_file_that_uses_it(kind, returned) -> None:
    component = Component(kind, "faulty", f"test_testing_calls:Returning_{kind}", "with a wrong result")
    given = {"epochs": 1, "batch_size": 4} if kind == "recipe" else {}
    found = failures(component, returned=returned, **given).values()
    assert not [message for message in found if re.search(r"\.py:\d+ raises", message)]
    assert all(CHANGE.search(message) for message in found)
    wanted = (
        "returns ('text'|a str)|with what the component returns; return a"
        if returned
        else "^build returns None; return a"
    )
    assert [message for message in found if re.search(wanted, message)]
