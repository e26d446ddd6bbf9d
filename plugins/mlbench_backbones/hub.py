"""The Hugging Face hub's cache on this machine, and whether the hub answers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

__all__ = ["cached_file", "reachable"]

#: Seconds in which the hub must answer once before a download begins. Its client would try for minutes.
_TIMEOUT = 5.0


def cached_file(repository: str, names: Iterable[str]) -> Path | None:
    """The first of a repository's files of these names that is in the cache."""
    from huggingface_hub import try_to_load_from_cache

    for name in names:
        file = try_to_load_from_cache(repository, name)
        if isinstance(file, str):
            return Path(file)
    return None


def reachable(endpoint: str) -> bool:
    """Whether anything answers at that address."""
    from huggingface_hub import get_session

    try:
        get_session().head(endpoint, timeout=_TIMEOUT)
    # Any answer will do, and whatever the HTTP client raises means that there was none.
    except Exception:
        return False
    return True
