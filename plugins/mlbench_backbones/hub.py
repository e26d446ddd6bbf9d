"""The Hugging Face hub's cache on this machine, and whether the hub answers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from mlbench_backbones.checkpoint import sha256

__all__ = ["cached_file", "cached_version", "reachable"]

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


def cached_version(repository: str, names: Iterable[str]) -> str:
    """Hash of the file that `cached_file` finds; "" where there is none yet."""
    file = cached_file(repository, names)
    if file is None:
        return ""
    # The cache calls a large file by its hash, and a snapshot is a link to it.
    name = file.resolve().name
    return f"sha256 {name}" if re.fullmatch(r"[0-9a-f]{64}", name) else sha256(file)


def reachable(endpoint: str) -> bool:
    """Whether anything answers at that address."""
    from huggingface_hub import get_session

    try:
        get_session().head(endpoint, timeout=_TIMEOUT)
    # Any answer will do, and whatever the HTTP client raises means that there was none.
    except Exception:
        return False
    return True
