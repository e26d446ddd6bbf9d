from __future__ import annotations

import pickle
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlbench.contracts import GALLERY, QUERY, GroupedSplit, PairedDataset, PairList
from mlbench.planning.limit import limit_of, limited


@dataclass
class Images:
    """A split of given labels and roles; an image is its index."""

    labels: list[int]
    roles: list[int] = field(default_factory=list)

    @property
    def num_classes(self) -> int:
        return max(self.labels) + 1

    @property
    def groups(self) -> np.ndarray:
        return np.arange(len(self.labels)) % 3

    def __len__(self) -> int:
        return len(self.labels)

    def label(self, index: int) -> int:
        return self.labels[index]

    def image(self, index: int) -> int:
        return index

    def class_name(self, label: int) -> str:
        return f"class {label}"

    def role(self, index: int) -> int:
        return self.roles[index] if self.roles else QUERY | GALLERY


class Data:
    version, disjoint, notes = "v1", True, ("mind this",)

    def __init__(self, split: Images) -> None:
        self._split = split

    def split(self, name: str) -> Images:
        return self._split


class Paired(Data):
    def pairs(self) -> PairList:
        return PairList(*[np.zeros(1, np.int64)] * 4)


@given(st.lists(st.integers(1, 9), min_size=2, max_size=30), st.integers(8, 60), st.randoms())
@settings(max_examples=100, deadline=None)
def test_a_limited_split_has_the_first_images_of_the_first_classes(counts, most, random) -> None:
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    random.shuffle(labels)
    whole = Images(labels)
    data = Data(whole)
    split = limited(data, most).split("train")
    if len(labels) <= most:
        assert limited(data, most) is data
        return
    each = max(4, -(-most // len(counts)))
    classes = min(len(counts), max(2, most // each))
    expected = [
        index for index, label in enumerate(labels) if label < classes and labels[:index].count(label) < each
    ]
    assert [split.image(index) for index in range(len(split))] == expected
    assert [split.label(index) for index in range(len(split))] == [labels[index] for index in expected]
    assert split.num_classes == classes == len({split.label(index) for index in range(len(split))})
    assert isinstance(split, GroupedSplit)
    np.testing.assert_array_equal(split.groups, whole.groups[expected])


def test_queries_and_gallery_images_of_a_class_are_both_kept() -> None:
    whole = Images([0, 1] * 50, [GALLERY] * 80 + [QUERY] * 20)
    split = limited(Data(whole), 16).split("test")
    roles = Counter((split.label(index), split.role(index)) for index in range(len(split)))
    assert roles == {(label, role): 8 for label in (0, 1) for role in (QUERY, GALLERY)}


def test_a_limited_data_set_has_its_own_version_and_says_so() -> None:
    found = limited(Data(Images([0, 1] * 50)), 10)
    assert found.version == "v1; limited to 10 images a split"
    assert found.disjoint
    counts = "train 10 of 100, calibration 10 of 100, test 10 of 100"
    note = f"limited to 10 images a split ({counts}): the metrics are those of a first look"
    assert found.notes == ("mind this", note)
    assert pickle.loads(pickle.dumps(found.split("train"))).images == found.split("train").images


def test_the_limit_is_read_from_the_version() -> None:
    assert limit_of(limited(Data(Images([label // 9 for label in range(90)])), 12).version) == 12
    for version in ("v1", "", "None", "v1; limited to images a split", "v1; limited to 3 images a splits"):
        assert limit_of(version) is None


def test_a_test_split_with_pairs_stays_whole() -> None:
    found = limited(Paired(Images([0, 1] * 50)), 10)
    assert isinstance(found, PairedDataset)
    assert (len(found.split("train")), len(found.split("test"))) == (10, 100)
    assert not isinstance(limited(Data(Images([0, 1] * 50)), 10), PairedDataset)


def test_of_shared_classes_the_same_are_kept_in_all_splits() -> None:
    class Closed(Data):
        def split(self, name: str) -> Images:
            return self._split if name == "train" else Backwards([*range(100)])

    class Backwards(Images):
        def class_name(self, label: int) -> str:
            return f"class {99 - label}"

    found = limited(Closed(Images([label for label in range(100) for _ in range(20)])), 100)
    names = [
        [split.class_name(split.label(index)) for index in range(len(split))]
        for split in (found.split("train"), found.split("test"))
    ]
    assert len(set(names[0])) == 25
    assert set(names[0]) == set(names[1])
    assert found.split("test").num_classes == 25


@pytest.mark.parametrize("limit", [None, 8])
def test_a_plan_is_limited_and_has_other_fingerprints(planned, limit) -> None:
    (case,) = planned(limit=limit).cases
    assert len(case.dataset.split("train")) == (24 if limit is None else 8)
    assert (case.fingerprint == planned().cases[0].fingerprint) == (limit is None)
