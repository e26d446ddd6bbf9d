import itertools
import tomllib
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from mlbench.errors import DataError
from mlbench_datasets import fonts
from mlbench_datasets.documents.catalogue import LAYOUTS, draw_document
from mlbench_datasets.documents.sheet import Sheet
from mlbench_datasets.documents.words import Words
from mlbench_datasets.fonts import CHARACTERS, FACES, Face, font, shape, versions

ALL_FACES = sorted({face for faces in FACES.values() for face in faces}, key=str)
NOT_A_CHARACTER = "\U0010ffff"


def face_id(face):
    return f"{Path(face.file).stem}-{face.weight}"


def glyph(face, character):
    return bytes(font(face, 32).getmask(character))


@pytest.mark.parametrize("face", ALL_FACES, ids=face_id)
def test_face_has_a_glyph_for_every_character_of_its_script(face):
    box = glyph(face, NOT_A_CHARACTER)
    assert [character for character in CHARACTERS[face.script] if glyph(face, character) == box] == []


def test_glyph_check_would_notice_a_character_that_is_missing():
    face = FACES["tech"][0]
    assert glyph(face, "漢") == glyph(face, NOT_A_CHARACTER)


def test_arabic_faces_have_every_joined_form():
    letters = CHARACTERS["arabic"]
    forms = {
        form
        for one, two in itertools.product(letters, repeat=2)
        for word in (one + two, "ب" + one + two, one + two + "ب")
        for form in shape(word, "arabic")
    }
    assert len(forms) > 2 * len(letters)
    for face in FACES["arabic"]:
        box = glyph(face, NOT_A_CHARACTER)
        assert [form for form in sorted(forms) if glyph(face, form) == box] == []


def test_shape_joins_arabic_letters_and_runs_right_to_left():
    assert shape("با", "arabic") == "\ufe8e\ufe91"  # final alef to the left of initial beh
    assert shape("abc", "latin") == "abc"


@pytest.mark.parametrize("script", CHARACTERS)
def test_words_use_only_characters_that_fonts_have(script):
    words = Words(np.random.default_rng(0))
    assert set("".join(words.word(script) for _ in range(500))) <= set(CHARACTERS[script])


def test_documents_use_only_characters_that_fonts_have(monkeypatch):
    written = {}
    for method in ("text", "arched"):
        drawn, position = getattr(Sheet, method), {"text": 2, "arched": 3}[method]

        def record(self, *arguments, drawn=drawn, position=position, **options):
            face = arguments[position + 1]
            written.setdefault(face.script, set()).update(arguments[position])
            return drawn(self, *arguments, **options)

        monkeypatch.setattr(Sheet, method, record)
    for label in range(0, 12 * len(LAYOUTS), 2):
        draw_document(0, "train", label, family_size=2, pixels=64)
    assert written.keys() == CHARACTERS.keys()
    for script, characters in written.items():
        assert characters <= {*CHARACTERS[script], " "}


def test_font_is_laid_out_without_raqm():
    assert font(FACES["sans"][0], 20).layout_engine == ImageFont.Layout.BASIC


@pytest.mark.parametrize("face", [face for face in ALL_FACES if face.weight], ids=face_id)
def test_font_takes_the_weight_of_the_face(face):
    heaviest = Face(face.package, face.file, 900, face.script)
    lightest = Face(face.package, face.file, 100, face.script)
    text = CHARACTERS[face.script][:8]
    ink = [sum(bytes(font(f, 48).getmask(text))) for f in (lightest, heaviest)]
    assert ink[0] < ink[1]
    assert ink[0] <= sum(bytes(font(face, 48).getmask(text))) <= ink[1]


def test_font_draws_the_same_pixels_after_other_sizes_and_weights_were_used():
    def pixels():
        image = Image.new("L", (200, 40))
        ImageDraw.Draw(image).text((0, 0), "Reading", 255, font(FACES["bold"][0], 30))
        return image.tobytes()

    before = pixels()
    for face in ALL_FACES:
        font(face, 29)
    font.cache_clear()
    assert pixels() == before


def test_fonts_are_the_declared_dependencies():
    project = tomllib.loads(Path(__file__).parents[3].joinpath("pyproject.toml").read_text(encoding="utf-8"))
    declared = {name for name in project["project"]["dependencies"] if name.startswith("fontpkg-")}
    assert {face.package for face in ALL_FACES} == declared


def test_versions_names_every_package():
    for face in ALL_FACES:
        assert f"{face.package} {metadata.version(face.package)}" in versions()


def test_font_of_a_missing_package_says_what_to_install():
    with pytest.raises(DataError, match="pip install fontpkg-nowhere"):
        font(Face("fontpkg-nowhere", "Nowhere.ttf"), 20)


def test_versions_with_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr(fonts, "FACES", {"sans": (Face("fontpkg-nowhere", "Nowhere.ttf"),)})
    versions.cache_clear()
    with pytest.raises(DataError, match="pip install fontpkg-nowhere"):
        versions()
    versions.cache_clear()
