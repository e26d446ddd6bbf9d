from __future__ import annotations

from mlbench_datasets.duplicates import HashedImage, duplicate_notes


def test_copies_across_splits_are_named_as_such() -> None:
    images = [
        HashedImage("train", "a", 1, "train/a/1.jpg"),
        HashedImage("train", "b", 2, "train/b/2.jpg"),
        HashedImage("calibration", "a", 2, "val/a/2.jpg"),
        HashedImage("test", "a", 1, "test/a/1.jpg"),
        HashedImage("test", "c", 1, "test/c/9.jpg"),
        HashedImage("test", "c", 2, "test/c/2.jpg"),
    ]
    assert duplicate_notes(images) == [
        "the same image is in train and calibration: train/b/2.jpg and val/a/2.jpg",
        "the same image is in train and test: train/a/1.jpg and test/a/1.jpg (and 2 more)",
        "the same image is in calibration and test: val/a/2.jpg and test/c/2.jpg",
        "duplicates across classes, which no model can tell apart: test/c/9.jpg = test/a/1.jpg",
    ]


def test_copies_within_a_split() -> None:
    images = [
        HashedImage("train", label, 1, name)
        for label, name in (("a", "x"), ("a", "y"), ("b", "z"), ("b", "w"))
    ]
    assert duplicate_notes(images) == [
        "duplicates within a class, which every model matches: y = x, w = z",
        "duplicates across classes, which no model can tell apart: z = x",
    ]
    assert duplicate_notes([HashedImage("train", "a", number, str(number)) for number in range(5)]) == []
