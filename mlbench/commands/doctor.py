"""The doctor: devices, versions, plugins and folders of this machine, each with its problem."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from mlbench.environment import cache_dir, check_torch, devices, library_versions
from mlbench.errors import MlbenchError
from mlbench.plugins import Plugin
from mlbench.table import Table

__all__ = ["examination_table", "examine"]

#: Bytes of free disk below which there is a warning.
LOW_DISK = 5 * 10**9


def examine(plugins: Sequence[Plugin]) -> list[dict[str, str]]:
    """Findings, each with "what", "value" and "problem" ("" where there is none)."""
    findings = [_finding("python", platform.python_version())]
    findings += [
        _finding(name, version, "not installed" if version == "not installed" else "")
        for name, version in library_versions().items()
    ]
    findings.append(_finding("cores", str(os.cpu_count())))
    for device in devices():
        problem = _problem(partial(check_torch, device))
        findings.append(_finding(f"device {device.name}", device.product, problem))
    for plugin in plugins:
        value = f"{plugin.package} {plugin.version}, components: {len(plugin.components)}"
        problem = "; ".join(plugin.notes())
        findings.append(_finding(f"plugin {plugin.name}", value, problem))
    count = sum(len(plugin.components) for plugin in plugins)
    findings.append(_finding("components", str(count)))
    data = os.environ.get("MLBENCH_DATA")
    if data is None:
        findings.append(_finding("MLBENCH_DATA", "not set: relative data paths start at the suite file"))
    else:
        findings.append(_finding("MLBENCH_DATA", data, "" if Path(data).is_dir() else "no such folder"))
    findings += [_disk("results", Path("results")), _disk("cache", cache_dir())]
    return findings


def examination_table(findings: list[dict[str, str]]) -> Table:
    """The findings as a table."""
    headings = ("what", "value", "problem")
    return Table(headings, [[finding[heading] for heading in headings] for finding in findings])


def _problem(check: Callable[[], object]) -> str:
    try:
        check()
    except MlbenchError as error:
        return str(error)
    return ""


def _disk(name: str, folder: Path) -> dict[str, str]:
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    problem = ""
    if not existing.is_dir():
        problem = "is no folder"
    elif not os.access(existing, os.W_OK):
        problem = "cannot be written"
    elif free < LOW_DISK:
        problem = "little free disk"
    return _finding(f"{name} folder", f"{folder}, {free / 1e9:.1f} GB free", problem)


def _finding(what: str, value: str, problem: str = "") -> dict[str, str]:
    return {"what": what, "value": value, "problem": problem}
