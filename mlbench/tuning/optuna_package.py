"""A check for the package of the extra "tune"."""

from __future__ import annotations

from importlib.util import find_spec

from mlbench.errors import ComponentError

__all__ = ["check_optuna"]


def check_optuna() -> None:
    """Raise ComponentError unless Optuna, which samples the settings of trials, is installed."""
    if find_spec("optuna") is None:
        raise ComponentError("tune needs optuna; install with: pip install 'mlbench[tune]'")
