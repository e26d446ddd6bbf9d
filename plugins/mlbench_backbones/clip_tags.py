"""Tags of open_clip's pretrained weights, read from the package's source without torch.

Importing open_clip imports torch, which takes seconds; the table consists of plain calls with constants.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["clean_tag", "model_on_hub", "tags_of"]

#: Suffix of a model's name for its variant with QuickGELU.
_QUICK = "-quickgelu"

#: open_clip's settings by tag: url, hf_hub, quick_gelu and more.
_Tags = Mapping[str, Mapping[str, Any]]


def clean_tag(tag: str) -> str:
    """The form in which open_clip compares tags: "laion2b_s34b_b79k" for "laion2B-s34B-b79K"."""
    return tag.lower().replace("-", "_")


def tags_of(model: str) -> _Tags | None:
    """Tags of a model with their settings; None if open_clip's table cannot be read."""
    table = _table()
    return table.get(model, {}) if table else None


def model_on_hub(repository: str) -> tuple[str, str] | None:
    """The model and tag whose weights are in a hub repository."""
    for model, tags in _table().items():
        for tag, settings in tags.items():
            if "/".join(settings.get("hf_hub", "").split("/")[:2]) == repository:
                return model, tag
    return None


@cache
def _table() -> Mapping[str, _Tags]:
    package = find_spec("open_clip")
    if package is None or not package.submodule_search_locations:
        return {}
    source = Path(package.submodule_search_locations[0], "pretrained.py")
    named: dict[str, _Tags] = {}
    table: dict[str, _Tags] = {}
    try:
        statements = ast.parse(source.read_text(encoding="utf-8")).body
    except (OSError, SyntaxError):
        return {}
    for statement in statements:
        if not isinstance(statement, ast.Assign) or not isinstance(statement.targets[0], ast.Name):
            continue
        name, value = statement.targets[0].id, statement.value
        if isinstance(value, ast.Call):
            named[name] = _tags(value)
        elif name == "_PRETRAINED" and isinstance(value, ast.Dict):
            for key, tags in zip(value.keys, value.values, strict=True):
                if isinstance(key, ast.Constant):
                    found = named.get(tags.id, {}) if isinstance(tags, ast.Name) else _tags(tags)
                    table[str(key.value)] = found
    for model, each in list(table.items()):
        quick = {tag: settings for tag, settings in each.items() if settings.get("quick_gelu")}
        if quick:
            table[model + _QUICK] = quick
    return table


def _tags(node: ast.expr) -> _Tags:
    """The constants in `dict(tag=_pcfg(hf_hub="...", quick_gelu=True), ...)`, by tag."""
    return {
        tag.arg: {
            each.arg: each.value.value
            for each in tag.value.keywords
            if each.arg and isinstance(each.value, ast.Constant)
        }
        for tag in getattr(node, "keywords", ())
        if tag.arg and isinstance(tag.value, ast.Call)
    }
