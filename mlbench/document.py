"""A YAML document that remembers on which line each key stands.

The dialect is YAML 1.2's core schema, in which `no`, `on` and `12:30` are text and `1e-3` is a number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mlbench.errors import SuiteError

__all__ = ["Document", "KeyPath", "load_document", "parse_value"]

KeyPath = tuple[str | int, ...]

_TAG = "tag:yaml.org,2002:"
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


for _tag, _pattern, _first in (
    ("bool", re.compile(r"true$|True$|TRUE$|false$|False$|FALSE$"), "tTfF"),
    ("int", re.compile(r"[-+]?[0-9]+$|0o[0-7]+$|0x[0-9a-fA-F]+$"), "-+0123456789"),
    ("float", _FLOAT, "-+.0123456789"),
    ("null", re.compile(r"~$|null$|Null$|NULL$|$"), ["~", "n", "N", ""]),
):
    _Loader.add_implicit_resolver(_TAG + _tag, _pattern, list(_first))


@dataclass(frozen=True)
class Document:
    """The data of a YAML file, and the line of every key path in it."""

    path: str
    data: Any
    lines: dict[KeyPath, int] = field(repr=False)

    def where(self, key: KeyPath) -> str:
        """ "file:line: a.b", with the line of the nearest key that is in the file."""
        for length in range(len(key), -1, -1):
            if key[:length] in self.lines:
                break
        text = ".".join(str(part) for part in key)
        return f"{self.path}:{self.lines.get(key[:length], 1)}: {text}".removesuffix(": ")


def load_document(path: Path) -> Document:
    """Read a YAML file. Raises SuiteError when it is missing, not UTF-8 or not valid YAML."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SuiteError(f"{path}: no such suite file") from None
    except IsADirectoryError:
        raise SuiteError(f"{path}: is a folder; expected a suite file (.yaml)") from None
    except OSError as error:
        raise SuiteError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise SuiteError(f"{path}: is not UTF-8 text (byte {error.start})") from None
    return _parse(text, str(path))


def parse_value(text: str, origin: str) -> Any:
    """One YAML value, as a command line gives it: "12", "1e-3", "[0, 1]", "{name: gap}"."""
    return _parse(text, origin).data


def _parse(text: str, path: str) -> Document:
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise SuiteError(f"{path}:{line}: not valid YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:  # characters that no YAML may hold
        raise SuiteError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from None
    lines: dict[KeyPath, int] = {}
    data = None if node is None else _Builder(path, lines).build(node, ())
    return Document(path, data, lines)


class _Builder:
    """Turns nodes into plain data and notes their lines."""

    def __init__(self, path: str, lines: dict[KeyPath, int]) -> None:
        self.path = path
        self.lines = lines
        self._open: set[int] = set()

    def build(self, node: yaml.Node, key: KeyPath) -> Any:
        self.lines.setdefault(key, node.start_mark.line + 1)
        if id(node) in self._open:
            raise self._error(node, "an alias that contains itself")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return dict(self._items(node, key))
            if isinstance(node, yaml.SequenceNode):
                return [self.build(item, (*key, index)) for index, item in enumerate(node.value)]
            return self._scalar(node)
        finally:
            self._open.discard(id(node))

    def _items(self, node: yaml.MappingNode, key: KeyPath) -> Iterator[tuple[str, Any]]:
        seen: set[Hashable] = set()
        for key_node, value_node in node.value:
            name = self._scalar(key_node) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(name, str):
                # Labels such as 128 or true are welcome as keys: they are names.
                name = getattr(key_node, "value", None)
            if not isinstance(name, str):
                raise self._error(key_node, "a key that is not a name")
            if name in seen:
                raise self._error(key_node, f"the key {name!r} stands twice")
            seen.add(name)
            self.lines[(*key, name)] = key_node.start_mark.line + 1
            yield name, self.build(value_node, (*key, name))

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        tag, text = node.tag.removeprefix(_TAG), node.value
        if tag == "null":
            return None
        if tag == "bool":
            return text.lower() == "true"
        if tag == "int":
            return int(text, 0 if text[:2] in ("0o", "0x") else 10)
        if tag == "float":
            number = float(re.sub(r"\.(?=inf|nan)", "", text.lower()))
            if not math.isfinite(number):
                raise self._error(node, f"{text} is not a finite number")
            return number
        if tag == "str":
            return text
        raise self._error(node, f"the tag {node.tag}; suites hold plain data only")

    def _error(self, node: yaml.Node, problem: str) -> SuiteError:
        return SuiteError(f"{self.path}:{node.start_mark.line + 1}: not a valid suite: {problem}")
