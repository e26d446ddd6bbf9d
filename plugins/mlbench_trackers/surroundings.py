"""The surroundings of the trackers: environment variables, and the revision of the code."""

from __future__ import annotations

import os
import subprocess
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

__all__ = ["library_call", "revision"]


@contextmanager
def library_call(defaults: Mapping[str, str]) -> Iterator[None]:
    """Calls of a tracker's library are made in the block, without warnings, which are about its own code.

    defaults: environment variables inside the block; those that are set already stay as they are. Whatever
    the block changes in the environment is undone."""
    before = dict(os.environ)
    os.environ.update({name: value for name, value in defaults.items() if name not in before})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


def revision() -> str:
    """The commit of the current folder; "" where it has none."""
    command = ["git", "rev-parse", "--verify", "--quiet", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
