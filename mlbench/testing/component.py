"""Checks of what every component promises, whatever its kind."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any
from unittest import SkipTest

from mlbench.contracts import KINDS, Component
from mlbench.options import Schema
from mlbench.planning.settings import Changes
from mlbench.testing.check import Subject, expect

__all__ = ["CHECKS", "imports_nothing_heavy"]

_HEAVY = ("torch", "torchvision", "timm", "open_clip", "pytorch_metric_learning")


def imports_nothing_heavy(*components: Component) -> None:
    """Raise AssertionError unless the modules of factories and predictions can be imported without torch, so
    that `mlbench validate` answers at once. Takes one new process, for all the components together."""
    targets = {
        target for each in components for target in (each.factory, each.predict, each.advise) if target
    }
    modules = sorted({target.partition(":")[0] for target in targets})
    program = (
        "import sys, importlib\n"
        "for module in sys.argv[1:]:\n"
        "    importlib.import_module(module)\n"
        f"    heavy = {set(_HEAVY)} & sys.modules.keys()\n"
        "    if heavy:\n"
        "        sys.exit(f'{module} imports {sorted(heavy)} at its top; import them inside functions')"
    )
    command = [sys.executable, "-P", "-c", program, *modules]
    # What this process finds, the new one shall find.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    expect(done.returncode == 0, done.stderr.strip())


def summary_is_one_line(subject: Subject) -> None:
    fits = re.fullmatch(r"[^\n]{10,100}[^.\n]", subject.component.summary)
    expect(fits, "the summary is one line of 11 to 101 characters without a full stop at its end")


def source_is_a_paper_or_an_address(subject: Subject) -> None:
    fits = re.fullmatch(r"(arXiv:\d{4}\.\d{4,5}|https://\S+)?", subject.component.source)
    expect(fits, 'the source is "arXiv:1801.09414", an https address, or empty')


def every_option_is_documented(subject: Subject) -> None:
    options = [option.name for option in subject.entry.schema.options]
    text = inspect.getdoc(subject.entry.schema.factory) or ""
    _, heading, rest = text.partition("Options\n-------\n")
    section = rest.partition("\n\n")[0] if heading else text
    lines = re.findall(r"^(\w+(?:, \w+)*): ", section, flags=re.MULTILINE)
    described = [name for line in lines for name in line.split(", ")]
    expect(
        described == options,
        'the docstring of the factory, or its section "Options", has a line "name: what it is" for each '
        f"option, in their order; it describes {described} and the options are {options}",
    )


def defaults_are_valid(subject: Subject) -> None:
    if missing := subject.missing():
        raise SkipTest(f"{subject} needs the options {', '.join(missing)}; give them to checks()")
    options = subject.entry.check(subject.options)
    expect(
        subject.entry.check(options) == options,
        "options spelt out, as a record has them, mean the same as the defaults they came from",
    )


def predict_takes_what_the_factory_takes(subject: Subject) -> None:
    if not subject.component.predict:
        return
    factory = subject.entry.schema
    predict = Schema(_resolve(subject.component.predict), owner=str(subject), provides=_provides(subject))
    expect(
        set(predict.provided) <= set(factory.provided),
        f"predict may ask for {list(factory.provided)}, as the factory does, and asks for "
        f"{list(predict.provided)}",
    )
    taken, wanted = (
        [(option.name, option.default) for option in each.options] for each in (predict, factory)
    )
    expect(taken == wanted, f"predict has the options and defaults of the factory: {wanted}, not {taken}")


def preset_is_a_mapping_of_sections(subject: Subject) -> None:
    Changes.read(subject.component.preset, lambda key: f"preset of {subject}: {'.'.join(map(str, key))}")


def _provides(subject: Subject) -> tuple[str, ...]:
    return KINDS[subject.component.kind].provides


def _resolve(target: str) -> Callable[..., Any]:
    module, _, attribute = target.partition(":")
    function: Callable[..., Any] = getattr(import_module(module), attribute)
    return function


CHECKS = (
    summary_is_one_line,
    source_is_a_paper_or_an_address,
    every_option_is_documented,
    defaults_are_valid,
    predict_takes_what_the_factory_takes,
    preset_is_a_mapping_of_sections,
)
