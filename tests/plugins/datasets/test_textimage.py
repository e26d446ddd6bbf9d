import hashlib
import itertools
import json
import pickle
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mlbench.contracts import GALLERY, QUERY, Dataset, Split
from mlbench.errors import DataError
from mlbench.planning.gallery import check_protocol
from mlbench.plugin import DatasetContext
from mlbench_datasets import fonts, textimage
from mlbench_datasets.documents.catalogue import LAYOUTS, draw_document, layout_of
from mlbench_datasets.expansions import expansion
from mlbench_datasets.fonts import Face
from mlbench_datasets.textimage import TextImage

SPLITS = ("train", "calibration", "test")


def small(**options):
    sizes = {"classes": 6, "calibration_classes": 5, "test_classes": 4, "views": 3, "eval_views": 2}
    return TextImage(**{**sizes, **options}).build(DatasetContext(Path(), 48))


def digest(image):
    return hashlib.sha256(image.tobytes()).hexdigest()


def test_textimage_keeps_the_contract():
    data = small()
    assert isinstance(data, Dataset)
    assert data.disjoint is True
    assert not data.notes
    for name in SPLITS:
        assert isinstance(data.split(name), Split)


@pytest.mark.parametrize(
    ("name", "classes", "views"), [("train", 6, 3), ("calibration", 5, 2), ("test", 4, 2)]
)
def test_split_has_its_classes_and_views(name, classes, views):
    split = small().split(name)
    assert split.num_classes == classes
    assert [split.label(index) for index in range(len(split))] == list(np.repeat(range(classes), views))
    assert {split.role(index) for index in range(len(split))} == {QUERY | GALLERY}


def test_split_images_are_rgb_of_the_image_size():
    image = small().split("train").image(0)
    assert (image.mode, image.size) == ("RGB", (48, 48))


@pytest.mark.parametrize("index", [-1, 18])
def test_split_refuses_an_index_outside(index):
    split = small().split("train")
    with pytest.raises(IndexError):
        split.image(index)
    with pytest.raises(IndexError):
        split.label(index)


def test_class_names_are_unique_across_splits():
    data = small()
    names = [
        data.split(name).class_name(label) for name in SPLITS for label in range(data.split(name).num_classes)
    ]
    assert len(set(names)) == len(names) == 15
    assert names[0] == "train/000000"


def test_images_have_the_same_bits_in_another_process_and_in_any_order():
    split = small().split("test")
    here = [digest(split.image(index)) for index in range(len(split))]
    program = (
        "import hashlib, json, sys, mlbench_datasets.textimage as t;"
        "from pathlib import Path; from mlbench.plugin import DatasetContext;"
        "o = dict(classes=6, calibration_classes=5, test_classes=4, views=3, eval_views=2);"
        "s = t.TextImage(**o).build(DatasetContext(Path(), 48)).split('test');"
        "d = {i: hashlib.sha256(s.image(i).tobytes()).hexdigest() for i in reversed(range(len(s)))};"
        "json.dump([d[i] for i in range(len(s))], sys.stdout)"
    )
    there = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(there.stdout) == here


def test_import_loads_no_torch():
    program = (
        "import sys; from pathlib import Path; from mlbench.plugin import DatasetContext;"
        "from mlbench_datasets.textimage import TextImage;"
        "TextImage().build(DatasetContext(Path(), 32)); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_class_does_not_depend_on_how_many_there_are():
    few, many = small().split("train"), small(classes=400_000).split("train")
    assert few.document(5).tobytes() == many.document(5).tobytes()
    assert few.image(16).tobytes() == many.image(16).tobytes()


def test_splits_and_seeds_show_different_documents():
    documents = {digest(small(seed=seed).split(name).document(0)) for seed in range(3) for name in SPLITS}
    assert len(documents) == 9


def test_views_of_a_class_are_different_photographs_of_one_document():
    split = small().split("train")
    assert len({digest(split.image(index)) for index in range(3)}) == 3
    flat = small(strength=0.0).split("train")
    first, second = (np.asarray(flat.image(index), dtype=float) for index in range(2))
    assert np.abs(first - second).mean() < 1


def test_millions_of_classes_cost_nothing():
    small()  # the first looks up versions
    tracemalloc.start()
    split = TextImage(classes=5_000_000).build(DatasetContext(Path(), 32)).split("train")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000
    assert len(split) == 40_000_000
    assert split.image(len(split) - 1).size == (32, 32)
    assert split.class_name(4_999_999) == "train/4999999"


def test_split_pickles_small_and_shows_the_same_images():
    split = small(classes=400_000).split("train")
    packed = pickle.dumps(split)
    assert len(packed) < 400
    assert digest(pickle.loads(packed).image(7)) == digest(split.image(7))


def test_look_alikes_share_their_layout_and_differ_in_pixels():
    for family in range(10):
        members = [
            draw_document(0, "train", 4 * family + member, family_size=4, pixels=96) for member in range(4)
        ]
        assert len({image.size for image in members}) == 1
        assert len({digest(image) for image in members}) == 4


def test_look_alikes_are_nearer_than_strangers_of_the_same_kind():
    by_layout = {}
    for family in range(60):
        by_layout.setdefault(layout_of(0, "train", family), []).append(family)

    def distance(first, second):
        one, two = (
            np.asarray(draw_document(0, "train", label, family_size=4, pixels=64), dtype=float)
            for label in (first, second)
        )
        return np.abs(one - two).mean()

    pairs = [(one, two) for families in by_layout.values() for one, two in itertools.pairwise(families)]
    assert len(pairs) > 20
    within = np.mean([distance(4 * one, 4 * one + 1) for one, _ in pairs])
    between = np.mean([distance(4 * one, 4 * two) for one, two in pairs])
    assert within < 0.8 * between


def test_layouts_are_many_and_all_occur():
    assert len(LAYOUTS) >= 6
    assert {layout_of(0, "train", family) for family in range(150)} == set(LAYOUTS)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_renders_with_any_draws(layout):
    families = [family for family in range(400) if layout_of(1, "test", family) == layout]
    for family in families[:8]:
        image = draw_document(1, "test", family, family_size=1, pixels=64)
        assert image.mode == "RGB"
        assert max(image.size) == 64
        assert np.asarray(image).std() > 10  # not blank


def test_no_two_of_200_documents_are_the_same():
    assert (
        len({digest(draw_document(0, "test", label, family_size=4, pixels=64)) for label in range(200)})
        == 200
    )


def test_document_is_drawn_finer_than_it_is_photographed():
    assert max(small().split("train").document(0).size) == 96


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"strength": 0.7},
        {"family": 2},
        {"views": 4},
        {"classes": 7},
        {"closed": True},
        {"expand": 8},
    ],
)
def test_version_changes_with_the_options(change):
    assert small(**change).version != small().version
    assert small(**change).version == small(**change).version


def test_closed_shows_the_training_documents_in_other_photographs():
    closed = small(closed=True)
    train, others = closed.split("train"), [closed.split(name) for name in ("calibration", "test")]
    assert not closed.disjoint
    assert train.image(4).tobytes() == small().split("train").image(4).tobytes()
    names = [train.class_name(label) for label in range(6)]
    for split in others:
        assert [split.class_name(label) for label in range(split.num_classes)] == names
        assert [split.label(index) for index in range(len(split))] == list(np.repeat(range(6), 2))
        assert split.document(5).tobytes() == train.document(5).tobytes()
    photographs = [split.image(index) for split in (train, *others) for index in range(len(split))]
    assert len({digest(image) for image in photographs}) == len(photographs) == 42


def test_closed_is_a_closed_set_protocol():
    check_protocol(small(closed=True), "train")
    with pytest.raises(DataError, match="share no class"):
        check_protocol(small(), "train")


@pytest.mark.parametrize("expand", [8, 24])
def test_expand_makes_classes_of_each_training_document(expand):
    plain, data = small(), small(expand=expand)
    train = data.split("train")
    assert [data.split(name).num_classes for name in SPLITS] == [6 * expand, 5, 4]
    assert len(train) == 6 * expand * 3
    assert train.class_name(0) == "train/000000@0"
    assert train.class_name(2 * expand - 1).startswith("train/000001@270-flipped")
    assert len({train.class_name(label) for label in range(6 * expand)}) == 6 * expand
    # The unchanged document comes first, in the same photographs.
    first = [train.image(3 * expand * document + view) for document in range(6) for view in range(3)]
    assert [*map(digest, first)] == [digest(plain.split("train").image(index)) for index in range(18)]
    assert digest(data.split("test").image(7)) == digest(plain.split("test").image(7))


def test_expand_photographs_turned_flipped_and_halved_documents():
    flat = small(expand=24, strength=0.0, views=1).split("train")
    plain = small().split("train").document(1)
    shown = [np.asarray(flat.image(24 + number), dtype=float) for number in range(24)]
    for number in range(24):
        assert digest(flat.document(24 + number)) == digest(expansion(plain, number))
        small_one = expansion(plain, number).resize((48, 48), Image.Resampling.BOX)
        distances = [np.abs(np.asarray(small_one, dtype=float) - each).mean() for each in shown]
        assert np.argmin(distances) == number


def test_expand_of_a_closed_set_expands_all_splits():
    closed = small(expand=8, closed=True)
    assert [closed.split(name).num_classes for name in SPLITS] == [48, 48, 48]
    assert closed.split("test").class_name(13) == closed.split("train").class_name(13)


def test_version_changes_with_the_image_size():
    first, second = (TextImage().build(DatasetContext(Path(), size)).version for size in (64, 128))
    assert first != second


def test_version_names_the_generator_and_the_renderer(monkeypatch):
    before = small().version
    assert "Pillow" in before
    assert "FreeType" in before
    monkeypatch.setattr(textimage, "REVISION", textimage.REVISION + 1)
    assert small().version != before


def test_textimage_without_a_font_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr(fonts, "FACES", {"sans": (Face("fontpkg-nowhere", "Nowhere.ttf"),)})
    for cached in (fonts.versions, textimage._renderer):
        cached.cache_clear()
    with pytest.raises(DataError, match="pip install fontpkg-nowhere"):
        TextImage().build(DatasetContext(Path(), 32))
