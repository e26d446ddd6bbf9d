"""The key `plugins` of a suite: files with components, without a package."""

from __future__ import annotations

from pathlib import Path

from mlbench.errors import SuiteError
from mlbench.planning.document import Document
from mlbench.plugin_files import PluginFile, add_plugin_files
from mlbench.registry import Registry

__all__ = ["suite_registry"]


def suite_registry(document: Document, registry: Registry) -> Registry:
    """The registry with the components of the suite's own files, whose paths start at the suite's folder.

    Problems of their imports, such as prints, are noted. Raises SuiteError for files that are missing or no
    plugins."""
    given = document.data.get("plugins") if isinstance(document.data, dict) else None
    if not given:
        return registry
    if not isinstance(given, list) or not all(isinstance(each, str) and each for each in given):
        where = document.where(("plugins",))
        raise SuiteError(f"{where}: expected a list of Python files, such as [./my_loss.py]")
    folder = Path(document.path).parent
    files = [
        PluginFile(folder / name, f"{document.where(('plugins', index))} {name}")
        for index, name in enumerate(given)
    ]
    plugins = add_plugin_files(registry.plugins, files)
    for plugin in plugins[len(registry.plugins) :]:
        for line in plugin.notes():
            registry.note(line)
    return registry.replaced(plugins)
