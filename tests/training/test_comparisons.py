from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from made_splits import CATALOGUE, CLOSED, OPEN, Data, Split

from mlbench.contracts import GALLERY, QUERY, SplitName
from mlbench.evaluation.embeddings import Embeddings
from mlbench.training.comparisons import class_names, compared, splits_of


def case_of(data: Data, gallery: str, split: str = "test") -> SimpleNamespace:
    evaluation = SimpleNamespace(gallery=gallery, split=split)
    return SimpleNamespace(dataset=data, spec=SimpleNamespace(evaluation=evaluation))


def embedded(data: Data, name: SplitName) -> Embeddings:
    """Embeddings that say which class they are of, whatever their labels."""
    split = data.split(name)
    roles = np.array([split.role(index) for index in range(len(split))])
    return Embeddings(
        np.array([[float(ord(each)), 1.0] for each in split.classes]),
        np.array([split.label(index) for index in range(len(split))]),
        (roles & QUERY) > 0,
        (roles & GALLERY) > 0,
        name,
        groups=split.groups,
    )


@pytest.mark.parametrize(
    ("data", "gallery", "name", "queries", "found"),
    [
        (OPEN, "test", "test", "eeff", "eeff"),
        (CLOSED, "train", "test", "abc", "aaabbb"),
        (CLOSED, "train", "calibration", "ab", "aaabbb"),
        (CATALOGUE, "gallery", "test", "ab", "abcc"),
        (CATALOGUE, "gallery", "calibration", "abab", "abcc"),
        (CATALOGUE, "test", "calibration", "abab", "abab"),
        (CATALOGUE, "test", "train", "aabb", "aabb"),
        # Of the images that only are in the gallery, those that are alone in their class ask in a closed set.
        (Data(Split("aabb"), Split("ab"), Split("aacb", (3, 2, 2, 2))), "train", "test", "acb", "aabb"),
    ],
)
def test_queries_meet_the_gallery_of_the_protocol(
    data: Data, gallery: str, name: SplitName, queries: str, found: str
) -> None:
    case = case_of(data, gallery)
    result = compared(case, name, lambda split: embedded(data, split))  # type: ignore[arg-type]
    names = class_names(case, name)  # type: ignore[arg-type]
    for member, expected in ((result.queries, queries), (result.gallery, found)):
        assert "".join(names[label] for label in result.labels[member]) == expected
        assert "".join(chr(int(value)) for value in result.vectors[member, 0]) == expected
    assert result.name == name


def test_only_what_is_compared_is_embedded() -> None:
    assert splits_of(case_of(OPEN, "test")) == {"calibration", "test"}  # type: ignore[arg-type]
    assert splits_of(case_of(CLOSED, "train")) == {"calibration", "test", "train"}  # type: ignore[arg-type]
    assert splits_of(case_of(OPEN, "test", "train")) == {"calibration", "train"}  # type: ignore[arg-type]
    asked = []
    compared(case_of(OPEN, "test"), "test", lambda name: asked.append(name) or embedded(OPEN, name))  # type: ignore[arg-type]
    assert asked == ["test"]


def test_an_image_in_two_splits_does_not_find_itself() -> None:
    data = Data(Split("aabb"), Split("ab", groups=np.array([7, -1])), CATALOGUE.test)
    data.test = Split("ababcc", CATALOGUE.test.roles, np.array([-1, -1, 7, -1, -1, -1]))
    case = case_of(data, "gallery")
    result = compared(case, "calibration", lambda split: embedded(data, split))  # type: ignore[arg-type]
    assert result.groups.tolist() == [7, -1, -1, -1, 7, -1, -1, -1]
