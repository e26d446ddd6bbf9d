from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mlbench.errors import SuiteError
from mlbench.planning.document import load_document, parse_value

WORDS = st.text("abcdefg", min_size=1, max_size=5)
SCALARS = st.none() | st.booleans() | st.integers(-999, 999) | WORDS
DATA = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=20,
)


def load(folder: Path, text: str | bytes) -> Any:
    path = folder / "s.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_document(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("1_000", "1_000"),
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("-7", -7),
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        ("true", True),
        ("~", None),
        ("", None),
        ("'12'", "12"),
        ("!!str 12", "12"),
        ("[0, {a: 1}]", [0, {"a": 1}]),
        ("{128: x, true: y}", {"128": "x", "true": "y"}),
        ("[&a [1], *a]", [[1], [1]]),
    ],
)
def test_values_are_read_as_yaml_1_2(text: str, value: object) -> None:
    parsed = parse_value(text, "--set")
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a: [1, 2\nb: }",
            ":2: not valid YAML: while parsing a flow sequence, did not find expected ',' or ']'",
        ),
        ("a:\n\tb: 1", ":2: not valid YAML: .*found character.* \\(a tab; indent with spaces\\)"),
        ("a: 1\nb: 2\na: 3", ":3: the key 'a' occurs twice"),
        ("x:\n  {a: 1, a: 2}", ":2: the key 'a' occurs twice"),
        ("a: 1\n--- \nb: 1", ":2: not valid YAML: expected a single document.*"),
        ("a: *b", ":1: not valid YAML: found undefined alias"),
        ("a: &b {c: *b}", ":1: an alias that contains itself"),
        ("a: !!python/object:os.system {}", ":1: the tag .*os.system; suites hold plain data only"),
        ("a: !x [1]", ":1: the tag !x; suites hold plain data only"),
        ("a: !!set {x}", ":1: the tag .*:set; suites hold plain data only"),
        ("a: !!int twelve", ":1: 'twelve' is not a number"),
        ("a: .inf", ":1: .inf is not a finite number"),
        ("a: 1e999", ":1: 1e999 is not a finite number"),
        (f"a: {'9' * 5000}", ":1: a number of 5000 digits"),
        ("? [1]\n: 2", ":1: a key that is not a name"),
        ("[" * 3000 + "]" * 3000, ":1: nested too deeply"),
        ("a: 1\nb: \0", ":2: not valid YAML: unacceptable character #x0000.*"),
        (b"title: \xff", ": is not UTF-8 text \\(byte 7\\)"),
    ],
)
def test_a_broken_file_is_named_with_its_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(SuiteError, match=rf"s\.yaml{message}$"):
        load(tmp_path, text)


def test_aliases_that_multiply_are_stopped(tmp_path: Path) -> None:
    bomb = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
    for n in range(1, 8):
        bomb += f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n"
    with pytest.raises(SuiteError, match="more than 100,000 values"):
        load(tmp_path, bomb)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"x\.yaml: no such suite file"):
        load_document(tmp_path / "x.yaml")
    with pytest.raises(SuiteError, match="is a folder; expected a suite file"):
        load_document(tmp_path)


def test_a_value_of_the_command_line_is_named_without_a_line() -> None:
    with pytest.raises(SuiteError, match=r"^--set a=\[1: not valid YAML: "):
        parse_value("[1", "--set a=[1")


def test_byte_order_mark_and_windows_line_ends_are_welcome(tmp_path: Path) -> None:
    document = load(tmp_path, b"\xef\xbb\xbfa: 1\r\nb:\r\n  c: x\r\n")
    assert document.data == {"a": 1, "b": {"c": "x"}}
    assert document.lines["b", "c"] == 3


def test_where_gives_the_line_of_the_nearest_key_there_is(tmp_path: Path) -> None:
    document = load(tmp_path, "a: 1\nb:\n  c: {d: 1,\n      e: 2}\n  f:\n  - 1\n  - 2\n")
    path = tmp_path / "s.yaml"
    assert document.where(("b", "c", "e")) == f"{path}:4: b.c.e"
    assert document.where(("b", "f", 1)) == f"{path}:7: b.f.1"
    assert document.where(("b", "c", "x", "y")) == f"{path}:3: b.c.x.y"
    assert document.where(("z",)) == f"{path}:1: z"
    assert document.where(()) == f"{path}:1"
    assert load(tmp_path, "").where(()) == f"{path}:1"


@settings(max_examples=50, derandomize=True, deadline=None)
@given(data=DATA, flow=st.booleans())
def test_data_and_lines_agree_with_the_text(data: Any, flow: bool, tmp_path_factory: Any) -> None:
    text = yaml.safe_dump(data, default_flow_style=flow, width=20)
    document = load(tmp_path_factory.mktemp("document"), text)
    assert document.data == data
    lines = text.splitlines()
    for key, line in document.lines.items():
        if key and isinstance(key[-1], str):
            assert key[-1] in lines[line - 1]
