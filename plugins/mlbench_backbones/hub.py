"""The local cache of the Hugging Face hub, and whether the hub is reachable."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from mlbench_backbones.checkpoint import sha256

__all__ = ["cached_file", "cached_version", "reachable"]

#: Seconds to wait for the hub's answer before a download. Its client would retry for minutes.
_TIMEOUT = 5.0


def cached_file(repository: str, names: Iterable[str]) -> Path | None:
    """The first of these files of a repository that is in the cache."""
    from huggingface_hub import try_to_load_from_cache

    for name in names:
        file = try_to_load_from_cache(repository, name)
        if isinstance(file, str):
            return Path(file)
    return None


def cached_version(repository: str, names: Iterable[str]) -> str:
    """Hash of the file that `cached_file` returns; "" where there is none."""
    file = cached_file(repository, names)
    if file is None:
        return ""
    # The cache names a large file by its hash; the snapshot is a link to it.
    name = file.resolve().name
    return f"sha256 {name}" if re.fullmatch(r"[0-9a-f]{64}", name) else sha256(file)


def reachable(endpoint: str) -> bool:
    """Whether a server answers at this address."""
    from huggingface_hub import get_session

    try:
        get_session().head(endpoint, timeout=_TIMEOUT)
    # Every exception of the HTTP client means that no answer came.
    except Exception:
        return False
    return True
