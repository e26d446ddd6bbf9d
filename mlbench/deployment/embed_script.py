"""embed.py: one file made of the source of `mlbench.deployment.standalone` and what it uses of mlbench."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from mlbench import __version__
from mlbench.deployment.export_folder import EMBED

__all__ = ["embed_script"]

_MAIN = "mlbench.deployment.standalone"

_HEAD = f'''\
#!/usr/bin/env python3
{EMBED.mark} (mlbench {__version__}), from its source. SPDX-License-Identifier: Apache-2.0
"""Embeddings of images by an ONNX file of mlbench export. Needs numpy, pillow>=12 and onnxruntime alone; for
a .pt2 file torch in place of onnxruntime.

    python embed.py MODEL.onnx photo.jpg folder -o embeddings.csv   (or embeddings.npy)

    from embed import Model, embed
    embeddings = embed(["a.jpg", "b.jpg"], "MODEL.onnx")    # (2, D) float32 of unit length
    same = 1 - embeddings[0] @ embeddings[1] <= Model("MODEL.onnx").threshold

An image is prepared to the bit as in training: upright by EXIF, from its colour profile to sRGB, what is
transparent on white, with more than 8 bits by its white, then cropped and resized.
"""

from __future__ import annotations

'''


@dataclass
class _Module:
    """Top-level definitions of a module by name, with their source, and where its imported names are from:
    (module, name), name "" for the module itself."""

    definitions: dict[str, tuple[ast.stmt, str]] = field(default_factory=dict)
    imported: dict[str, tuple[str, str]] = field(default_factory=dict)
    main: str = ""


@dataclass
class _Script:
    """The collected definitions, each after those that it uses, and the imports of other packages."""

    parts: list[str] = field(default_factory=list)
    known: dict[str, tuple[str, str]] = field(default_factory=dict)
    modules: set[str] = field(default_factory=set)
    names: dict[str, set[str]] = field(default_factory=dict)

    def add(self, module: str, name: str) -> None:
        """Add a name of a module, and what it uses."""
        source = _read(module)
        if name in source.imported:
            origin, original = source.imported[name]
            if origin.partition(".")[0] == "mlbench":
                assert name == original, f"{module} renames {original} of {origin}"
                self.add(origin, name)
            elif original:
                self.names.setdefault(origin, set()).add(_as(original, name))
            else:
                self.modules.add(_as(origin, name))
            return
        if name not in source.definitions:
            return  # of Python, or local
        node, text = source.definitions[name]
        meaning = ast.dump(node)
        if name in self.known:
            other, there = self.known[name]
            assert meaning == other, f"{name} of {module} and of {there} are two things with one name"
            return
        self.known[name] = meaning, module
        for each in ast.walk(node):
            if isinstance(each, ast.Name) and each.id != name:
                self.add(module, each.id)
        self.parts.append(text)

    def text(self) -> str:
        imports = [f"import {each}" for each in sorted(self.modules)]
        imports += [
            f"from {module} import {', '.join(sorted(self.names[module]))}" for module in sorted(self.names)
        ]
        return "\n".join(imports) + "\n\n\n" + "\n\n\n".join(self.parts)


@cache
def embed_script() -> str:
    """The source of embed.py."""
    script = _Script()
    for name in _read(_MAIN).definitions:
        script.add(_MAIN, name)
    return f"{_HEAD}{script.text()}\n\n\n{_read(_MAIN).main}\n"


@cache
def _read(name: str) -> _Module:
    found = find_spec(name)
    assert found is not None
    assert found.origin is not None
    source = Path(found.origin).read_text(encoding="utf-8")
    lines = source.splitlines()
    module = _Module()
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom):
            for each in node.names:
                module.imported[each.asname or each.name] = node.module or "", each.name
        elif isinstance(node, ast.Import):
            for each in node.names:
                module.imported[each.asname or each.name] = each.name, ""
        elif isinstance(node, ast.If):
            module.main = _source(lines, node)
        elif (defined := _name(node)) not in ("", "__all__"):
            module.definitions[defined] = node, _source(lines, node)
    return module


def _name(node: ast.stmt) -> str:
    """The name that a statement at the top of a module defines, "" for none."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return node.name
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    if isinstance(target, ast.Name):
        return target.id
    assert isinstance(node, ast.Expr), "embed.py takes definitions and plain assignments alone"
    return ""


def _source(lines: list[str], node: ast.stmt) -> str:
    """The lines of a definition, with its decorators and the comment above it."""
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(each.lineno for each in decorators)]) - 1
    while lines[first - 1].startswith("#"):
        first -= 1
    return "\n".join(lines[first : node.end_lineno])


def _as(original: str, name: str) -> str:
    return original if name == original else f"{original} as {name}"
