"""Checks of components of every kind."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from unittest import SkipTest

from mlbench.contracts import Component
from mlbench.contracts.options import BASES
from mlbench.planning.settings import Changes
from mlbench.testing.check import Subject, expect

__all__ = ["CHECKS", "imports_nothing_heavy"]

_HEAVY = ("torch", "torchvision", "timm", "open_clip", "pytorch_metric_learning")


def imports_nothing_heavy(*components: Component) -> None:
    """Raise AssertionError unless the modules of the options classes can be imported without torch, so
    that `mlbench validate` starts fast. Starts one process for all components."""
    modules = sorted({each.options.partition(":")[0] for each in components})
    program = (
        "import sys, importlib\n"
        "for module in sys.argv[1:]:\n"
        "    importlib.import_module(module)\n"
        f"    heavy = {set(_HEAVY)} & sys.modules.keys()\n"
        "    if heavy:\n"
        "        sys.exit(f'{module} imports {sorted(heavy)} at its top; import them inside functions')"
    )
    command = [sys.executable, "-P", "-c", program, *modules]
    # The new process imports from the same folders as this one.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    expect(done.returncode == 0, done.stderr.strip())


def summary_is_one_line(subject: Subject) -> None:
    summary = subject.component.summary
    fits = isinstance(summary, str) and re.fullmatch(r"[^\n]{10,100}[^.\n]", summary)
    expect(fits, "the summary must be one line of 11 to 101 characters without a final full stop")


def source_is_a_paper_or_an_address(subject: Subject) -> None:
    source = subject.component.source
    fits = isinstance(source, str) and re.fullmatch(r"(arXiv:\d{4}\.\d{4,5}|https://\S+)?", source)
    expect(fits, 'the source must be of the form "arXiv:1801.09414", an https address or empty')


def every_option_is_documented(subject: Subject) -> None:
    missing = [option.name for option in subject.entry.options if not option.description.strip()]
    expect(not missing, f"every option must have a docstring below its field; not so: {', '.join(missing)}")
    documentation = inspect.getdoc(subject.entry.options_class)
    expect(
        documentation != inspect.getdoc(BASES[subject.component.kind]),
        "the options class must have a docstring",
    )


def defaults_are_valid(subject: Subject) -> None:
    if missing := subject.missing():
        raise SkipTest(f"{subject} needs the options {', '.join(missing)}; pass them to checks()")
    options = subject.entry.check(subject.options)
    expect(
        subject.entry.check(options) == options,
        "options written out in full, as in a record, must equal the defaults",
    )


def settings_are_a_mapping_of_sections(subject: Subject) -> None:
    settings = subject.entry.options_class.settings()
    Changes.read(settings, lambda key: f"settings of {subject}: {'.'.join(map(str, key))}")


def speeds_depend_on_known_options(subject: Subject) -> None:
    options = subject.entry.options_class
    named = {*options.speed_neutral, *getattr(options, "training_only", ())}
    unknown = sorted(named - {option.name for option in subject.entry.options})
    expect(not unknown, f"speed_neutral and training_only must name options; not so: {', '.join(unknown)}")


CHECKS = (
    summary_is_one_line,
    source_is_a_paper_or_an_address,
    every_option_is_documented,
    defaults_are_valid,
    settings_are_a_mapping_of_sections,
    speeds_depend_on_known_options,
)
