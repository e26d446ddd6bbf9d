"""The revision of the user's files that a record belongs to: the commit of the folder of the suite."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

__all__ = ["revision_facts"]

#: Variables in which CI names the commit, for checkouts without git.
_NAMED = ("GITHUB_SHA", "CI_COMMIT_SHA")

#: Seconds after which a git that does not answer, as on a slow network drive, is left alone.
_TIMEOUT = 10


@cache
def revision_facts(folder: Path) -> dict[str, dict[str, object]]:
    """For the environment of a record: {"revision": facts}, of the commit that a folder is checked out at; {}
    where it is not known.

    facts: its hash ("commit"), time in ISO 8601 ("time"), first line ("subject"), and whether tracked files
    have been changed since ("changed"); without git the hash alone, where CI names it. Nothing of it enters a
    fingerprint.
    """
    told = _git(folder, "log", "-1", "--no-show-signature", "--format=%H%n%cI%n%s").splitlines()
    if len(told) >= 2:
        changed = bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))
        subject = "".join(told[2:3])
        return {"revision": {"commit": told[0], "time": told[1], "subject": subject, "changed": changed}}
    named = next(filter(None, map(os.environ.get, _NAMED)), "")
    return {"revision": {"commit": named}} if named else {}


def _git(folder: Path, *arguments: str) -> str:
    """What git prints; "" where it fails."""
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        process = subprocess.run(command, capture_output=True, check=False, timeout=_TIMEOUT)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return process.stdout.decode(errors="replace").strip() if process.returncode == 0 else ""
