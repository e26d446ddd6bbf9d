"""The doctor: what this machine offers a run, and what stands in its way."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from mlbench.environment import cache_dir, check_torch, devices, library_versions
from mlbench.errors import MlbenchError
from mlbench.registry import Registry

__all__ = ["examination_table", "examine"]

#: Less free disk than this is worth a warning.
LOW_DISK = 5 * 10**9


def examine(registry: Registry) -> list[dict[str, str]]:
    """Findings, each with "what", "value" and "problem" ("" when all is well)."""
    findings = [_finding("python", platform.python_version())]
    findings += [
        _finding(name, version, "not installed" if version == "not installed" else "")
        for name, version in library_versions().items()
    ]
    findings.append(_finding("cores", str(os.cpu_count())))
    for device in devices():
        problem = ""
        try:
            check_torch(device)
        except MlbenchError as error:
            problem = str(error)
        findings.append(_finding(f"device {device.name}", device.product, problem))
    for plugin in registry.plugins:
        value = f"{plugin.package} {plugin.version}, {len(plugin.components)} components"
        findings.append(_finding(f"plugin {plugin.name}", value, plugin.error))
    data = os.environ.get("MLBENCH_DATA")
    if data is None:
        findings.append(_finding("MLBENCH_DATA", "not set: relative data paths start at the suite file"))
    else:
        findings.append(_finding("MLBENCH_DATA", data, "" if Path(data).is_dir() else "no such folder"))
    findings += [_disk("results", Path("results")), _disk("cache", cache_dir())]
    return findings


def examination_table(findings: list[dict[str, str]]) -> Table:
    """The findings as a table."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("what", "value", "problem"):
        table.add_column(heading)
    for finding in findings:
        table.add_row(finding["what"], finding["value"], finding["problem"])
    return table


def _disk(name: str, folder: Path) -> dict[str, str]:
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    problem = ""
    if not os.access(existing, os.W_OK):
        problem = "cannot be written"
    elif free < LOW_DISK:
        problem = "little free disk"
    return _finding(f"{name} folder", f"{folder}, {free / 1e9:.1f} GB free", problem)


def _finding(what: str, value: str, problem: str = "") -> Any:
    return {"what": what, "value": value, "problem": problem}
