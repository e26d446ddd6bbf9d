"""mlbench: a benchmark suite for metric learning.

For plugin authors: mark a function with `hookimpl` that returns a `Component` for each thing the plugin
offers; `contracts` says what each kind of component promises, `errors` what it may raise.
"""

from mlbench import contracts, errors
from mlbench.contracts import Component
from mlbench.hookspecs import hookimpl

__all__ = ["Component", "__version__", "contracts", "errors", "hookimpl"]


def __getattr__(name: str) -> str:
    if name == "__version__":  # read when asked for: looking it up takes longer than all other imports here
        from importlib.metadata import version

        return version("mlbench")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
