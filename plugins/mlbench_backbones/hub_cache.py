"""The local cache of the Hugging Face hub, and a check whether the hub answers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from mlbench_backbones.checkpoint import sha256

__all__ = ["cached_file", "cached_version", "reachable"]

#: Seconds to wait for the hub's answer before a download. The hub's client would retry for minutes.
_TIMEOUT = 5.0


def cached_file(repository: str, names: Iterable[str]) -> Path | None:
    """The first of these files of a repository that is in the cache, or None."""
    from huggingface_hub import try_to_load_from_cache

    for name in names:
        file = try_to_load_from_cache(repository, name)
        if isinstance(file, str):
            return Path(file)
    return None


def cached_version(repository: str, names: Iterable[str]) -> str:
    """Hash of the file that `cached_file` returns; "" without one."""
    file = cached_file(repository, names)
    if file is None:
        return ""
    # The cache names a large file by its hash, and a snapshot links to it.
    name = file.resolve().name
    return f"sha256 {name}" if re.fullmatch(r"[0-9a-f]{64}", name) else sha256(file)


def reachable(endpoint: str) -> bool:
    """Whether anything answers at that address."""
    from huggingface_hub import get_session

    try:
        get_session().head(endpoint, timeout=_TIMEOUT)
    # Any answer counts; any error of the HTTP client means that there was none.
    except Exception:
        return False
    return True
