"""Imports of the modules of options classes, in a process of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from mlbench.contracts import Component
from mlbench.testing.check import Subject, expect

__all__ = ["imports_nothing_heavy", "module_imports_lightly"]

_HEAVY = ("torch", "torchvision", "timm", "open_clip", "pytorch_metric_learning")

#: Most seconds of CPU time that a module may take besides mlbench.plugin.
SECONDS = 1.0

#: Imports the modules of its arguments one after another and prints a line of JSON on each. It ends after the
#: first that raises an error or imports a large package, because those that follow could not be told apart.
_PROGRAM = f"""
import importlib, json, os, sys, tempfile, time
import mlbench.plugin, mlbench.contracts.options
answer = os.fdopen(os.dup(1), "w")
with tempfile.TemporaryFile() as printed:
    os.dup2(printed.fileno(), 1)
    for module in sys.argv[1:]:
        printed.seek(0)
        printed.truncate()
        error = ""
        start = time.process_time()
        try:
            importlib.import_module(module)
        except BaseException as raised:
            error = f"{{type(raised).__name__}}: {{raised}}".splitlines()[0]
        seconds = time.process_time() - start
        sys.stdout.flush()
        printed.seek(0)
        text = printed.read().decode(errors="replace")
        heavy = sorted({set(_HEAVY)} & sys.modules.keys())
        print(json.dumps([module, heavy, text, seconds, error]), file=answer, flush=True)
        if heavy or error:
            break
"""


class _Import(NamedTuple):
    """heavy: large packages that it imports. printed: what it writes to stdout. seconds: of CPU time."""

    heavy: list[str]
    printed: str
    seconds: float
    error: str


_known: dict[str, _Import] = {}


def imports_nothing_heavy(*components: Component) -> None:
    """Raise AssertionError unless the modules of the options classes can be imported without torch, so
    that `mlbench validate` starts fast, and print nothing. Starts one process for all components."""
    for module in _imported(each.options.partition(":")[0] for each in components):
        _expect_light(module)


def module_imports_lightly(subject: Subject) -> str:
    module = subject.component.options.partition(":")[0]
    for each in _imported([module]):
        _expect_light(each)
    return f"{_known[module].seconds:.2f} s of CPU time"


def _imported(modules: Iterable[str]) -> Iterator[str]:
    """The modules, once each is in `_known`."""
    every = sorted(set(modules))
    yield from [module for module in every if module in _known]
    while unknown := [module for module in every if module not in _known]:
        command = [sys.executable, "-P", "-c", _PROGRAM, *unknown]
        # The new process imports from the same folders as this one.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        found = [json.loads(line) for line in done.stdout.splitlines()]
        if not found:  # the module ended the process
            text = done.stderr.strip().splitlines()[-1:] or [f"the process ended with {done.returncode}"]
            found = [[unknown[0], [], "", 0.0, text[0]]]
        for module, *values in found:
            _known[module] = _Import(*values)
            yield module


def _expect_light(module: str) -> None:
    found = _known[module]
    expect(not found.error, f"importing {module} raises {found.error}; make it importable")
    expect(
        not found.heavy,
        f"{module} imports {', '.join(map(repr, found.heavy))} at its top; import inside build(), because "
        "`mlbench list` and `mlbench validate` import this module",
    )
    line = found.printed.strip().splitlines()[:1]
    expect(
        not found.printed,
        f"importing {module} prints {line[0] if line else found.printed!r} to stdout, which breaks --json; "
        "remove the print, or use logging",
    )
    expect(
        found.seconds <= SECONDS,
        f"importing {module} takes {found.seconds:.1f} s of CPU time, more than {SECONDS:g} s; move its "
        "imports of large packages and its computations into build()",
    )
