"""Writes the pages and tables that are generated from the components and their contract: `make docs`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from mlbench import plugin as plugin_module
from mlbench.commands.reference import components_markdown, kinds_markdown, kinds_table
from mlbench.plugins import load_plugins
from mlbench.registry import Registry

__all__ = ["ROOT", "generated"]

ROOT = Path(__file__).resolve().parents[1]


def generated() -> Mapping[Path, str]:
    """The text of every generated page, and of every page with a generated table, by its path."""
    ours = Registry([plugin for plugin in load_plugins() if plugin.package == "mlbench"])
    offered = {name: getattr(plugin_module, name) for name in plugin_module.__all__}
    texts = {
        ROOT / "docs/components.md": components_markdown(ours),
        ROOT / "docs/kinds.md": kinds_markdown(offered),
    }
    for path, names in ((ROOT / "README.md", True), (ROOT / "docs/plugins.md", False)):
        texts[path] = with_table(path.read_text(encoding="utf-8"), kinds_table(ours, names=names))
    return texts


def with_table(page: str, table: str) -> str:
    """A page with its table of kinds, the one whose first column is `kind`, replaced."""
    replaced, count = re.subn(r"^\| kind \|.*\n(?:\|.*\n)+", lambda found: table, page, flags=re.MULTILINE)
    if count != 1:
        raise ValueError(f"a page has {count} tables of kinds; expected 1")
    return replaced


if __name__ == "__main__":
    for path, text in generated().items():
        path.write_text(text, encoding="utf-8")
