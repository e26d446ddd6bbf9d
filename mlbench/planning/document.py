"""A YAML document with the line of every key.

The dialect is YAML 1.2's core schema, in which `no`, `on` and `12:30` are text and `1e-3` is a number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mlbench.errors import SuiteError

__all__ = ["Document", "KeyPath", "flow_text", "load_document", "parse_document", "parse_value"]

KeyPath = tuple[str | int, ...]

_TAG = "tag:yaml.org,2002:"

#: Limits against aliases of aliases and long numbers that would fill the memory.
_MOST_VALUES, _MOST_DIGITS = 100_000, 1000
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$"
    r"|[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$"
)


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
    """The data of a YAML file, and the line of every key path in it. moved: key paths of data that stand
    elsewhere in the file, and where; what lies below them moved with them."""

    path: str
    data: Any
    lines: dict[KeyPath, int] = field(repr=False)
    moved: Mapping[KeyPath, KeyPath] = field(default_factory=dict, repr=False)

    def where(self, key: KeyPath) -> str:
        """ "file:line: a.b", with the line of the nearest key that is in the file."""
        for length in range(len(key), 0, -1):
            if key[:length] in self.moved:
                key = (*self.moved[key[:length]], *key[length:])
                break
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
    return parse_document(text, path)


def parse_document(text: str, path: Path) -> Document:
    """The document of the text of the file `path`, which need not exist yet. Raises SuiteError for invalid
    YAML."""
    try:
        return Document(str(path), *_parse(text))
    except _Problem as problem:
        raise SuiteError(f"{path}:{problem.line}: {problem}") from None


def parse_value(text: str, origin: str) -> Any:
    """One YAML value from the command line: "12", "1e-3", "[0, 1]", "{name: gap}"."""
    try:
        return _parse(text)[0]
    except _Problem as problem:
        raise SuiteError(f"{origin}: {problem}") from None


def flow_text(value: Any) -> str:
    """Plain data as YAML on one line, as `parse_value` reads it."""
    text: str = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=math.inf
    )
    return text.removesuffix("...\n").strip()


class _Problem(Exception):  # noqa: N818 - becomes a SuiteError once the file's name is known
    """A problem of a YAML text, with its line."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


def _parse(text: str) -> tuple[Any, dict[KeyPath, int]]:
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
        if node is None:
            return None, {}
        builder = _Builder()
        return builder.build(node, ()), builder.lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        lines = text.splitlines() or [""]
        line = min(mark.line if mark else 0, len(lines) - 1)  # the end of the text may be counted as a line
        message = f"not valid YAML: {', '.join(filter(None, (error.context, error.problem)))}"
        if "\t" in lines[line]:
            message += " (a tab; indent with spaces)"
        raise _Problem(message, line + 1) from None
    except yaml.YAMLError as error:  # characters that YAML does not allow
        line = text.count("\n", 0, getattr(error, "position", 0)) + 1
        raise _Problem(f"not valid YAML: {str(error).splitlines()[0]}", line) from None
    except RecursionError:
        raise _Problem("nested too deeply", 1) from None


class _Builder:
    """Turns nodes into plain data and records their lines."""

    def __init__(self) -> None:
        self.lines: dict[KeyPath, int] = {}
        self._open: set[int] = set()

    def build(self, node: yaml.Node, key: KeyPath) -> Any:
        self.lines.setdefault(key, node.start_mark.line + 1)
        if len(self.lines) > _MOST_VALUES:
            raise self._error(node, f"more than {_MOST_VALUES:,} values")
        if id(node) in self._open:
            raise self._error(node, "an alias that contains itself")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
                return dict(self._items(node, key))
            if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
                return [self.build(item, (*key, index)) for index, item in enumerate(node.value)]
            if isinstance(node, yaml.ScalarNode):
                return self._scalar(node)
            raise self._error(node, f"the tag {node.tag}; suites hold plain data only")
        finally:
            self._open.discard(id(node))

    def _items(self, node: yaml.MappingNode, key: KeyPath) -> Iterator[tuple[str, Any]]:
        seen: set[str] = set()
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._error(key_node, "a key that is not a name")
            name = key_node.value  # the text itself: 128 and true may be labels
            if name in seen:
                raise self._error(key_node, f"the key {name!r} occurs twice")
            seen.add(name)
            self.lines[(*key, name)] = key_node.start_mark.line + 1
            yield name, self.build(value_node, (*key, name))

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        tag, text = node.tag.removeprefix(_TAG), node.value
        if tag == "null":
            return None
        if tag == "bool":
            return text.lower() == "true"
        if tag in ("int", "float"):
            return self._number(node, tag)
        if tag == "str":
            return text
        raise self._error(node, f"the tag {node.tag}; suites hold plain data only")

    def _number(self, node: yaml.ScalarNode, tag: str) -> int | float:
        text = node.value
        if len(text) > _MOST_DIGITS:
            raise self._error(node, f"a number of {len(text)} digits")
        try:
            if tag == "int":
                return int(text, 0 if text[:2] in ("0o", "0x") else 10)
            number = float(re.sub(r"\.(?=inf|nan)", "", text.lower()))
        except ValueError:  # an explicit tag, as in "!!int twelve"
            raise self._error(node, f"{text!r} is not a number") from None
        if not math.isfinite(number):
            raise self._error(node, f"{text} is not a finite number")
        return number

    def _error(self, node: yaml.Node, problem: str) -> _Problem:
        return _Problem(problem, node.start_mark.line + 1)
