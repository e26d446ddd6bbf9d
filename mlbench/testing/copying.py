"""Copies of a component as worker processes get them."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

from mlbench.errors import first_line

__all__ = ["copies"]


def copies(original: Any, what: str) -> dict[str, Any]:
    """Copies by how they were made: by pickling, as for a worker process that is started afresh, and by
    copy.deepcopy. what: for messages, such as "a split". Raises AssertionError for what cannot be copied."""
    ways: dict[str, Callable[[Any], Any]] = {
        "a pickled copy": lambda each: pickle.loads(pickle.dumps(each)),  # noqa: S301
        "a deep copy": copy.deepcopy,
    }
    made = {}
    for how, way in ways.items():
        try:
            made[how] = way(original)
        # Pickling raises many kinds of errors.
        except Exception as error:
            raise AssertionError(
                f"{what} cannot be pickled or copied for worker processes ({first_line(error)}); define its "
                "class at the top of a module, and keep no lambdas, open files or locks in it (open them at "
                "the first use, and leave them out in __getstate__)"
            ) from None
    return made
