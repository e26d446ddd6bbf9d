"""mlbench: a benchmark suite for metric learning.

Authors of plugins import from `mlbench.plugin`, and their tests from `mlbench.testing`.
"""

__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    if name == "__version__":  # looking it up takes longer than all other imports here
        from importlib.metadata import version

        return version("mlbench")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
