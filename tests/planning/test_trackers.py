from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mlbench.errors import SuiteError
from mlbench.planning.suite import load_suite
from mlbench.registry import Registry

Write = Callable[..., Path]


def trackers(path: Path, registry: Registry, *named: str) -> dict[str, dict[str, object]]:
    suite = load_suite(path, registry, track=named)
    return {part.entry.component.name: dict(part.options) for part in suite.trackers}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", []),
        ("track: null", []),
        ("track: []", []),
        ("track: mlflow", ["mlflow"]),
        ("track: {name: mlflow, experiment: x}", ["mlflow"]),
        ("track: [mlflow, {name: tensorboard, folder: runs}]", ["mlflow", "tensorboard"]),
    ],
)
def test_a_suite_names_its_trackers(write: Write, registry: Registry, text: str, names: list[str]) -> None:
    assert list(trackers(write(text), registry)) == names


def test_the_command_line_adds_and_replaces(write: Write, registry: Registry) -> None:
    path = write("track: [{name: tensorboard, folder: a}, mlflow]")
    found = trackers(path, registry, "{name: tensorboard, folder: b}", "wandb")
    assert list(found) == ["tensorboard", "mlflow", "wandb"]
    assert found["tensorboard"] == {"folder": "b"}
    assert list(trackers(path, registry, "none")) == []
    assert list(trackers(path, registry, "none", "wandb")) == ["wandb"]


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        ("track: mlflo", "track", "unknown tracker 'mlflo' (did you mean 'mlflow'?)"),
        ("track: [mlflow, mlflow]", "track.1", "the tracker 'mlflow' is there twice"),
        ("track: 3", "track", "expected the name of a tracker or a mapping"),
        ("track: {folder: x}", "track", "which tracker? it has no name; choose from: mlflow"),
        ("track: {name: mlflow, ur: x}", "track.ur", "unknown key 'ur'"),
        ("track: [{name: wandb, mode: of}]", "track.0.mode", "mode"),
    ],
)
def test_a_mistake_names_its_place(
    write: Write, registry: Registry, text: str, place: str, problem: str
) -> None:
    path = write(text)
    with pytest.raises(SuiteError) as caught:
        trackers(path, registry)
    assert str(caught.value).startswith(f"{path}:13: {place}: ")
    assert problem in str(caught.value)


@pytest.mark.parametrize("name", ["nothing", "[mlflow]", "{mode: offline}", "mlflow\n  x: ["])
def test_a_mistake_on_the_command_line_shows_what_was_typed(
    write: Write, registry: Registry, name: str
) -> None:
    with pytest.raises(SuiteError) as caught:
        trackers(write(), registry, name)
    assert str(caught.value).startswith(f"--track {name}: ")


def test_a_tracker_is_no_setting_of_a_case(write: Write, registry: Registry) -> None:
    with pytest.raises(SuiteError, match=r"--set track=mlflow: trackers are no part of a case; .* --track"):
        load_suite(write(), registry, overrides=("track=mlflow",))


def test_trackers_change_no_case(write: Write, registry: Registry) -> None:
    plain, tracked = (load_suite(write(text), registry).specs[0].plain() for text in ("", "track: mlflow"))
    assert plain == tracked
