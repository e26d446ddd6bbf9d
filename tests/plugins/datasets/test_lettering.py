import itertools

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mlbench_datasets.documents.lettering import height, line, width
from mlbench_datasets.documents.sheet import Sheet
from mlbench_datasets.fonts import FACES, font, shape

LATIN = FACES["sans"][0]
FOREIGN = [("arabic", "باران"), ("devanagari", "काकी"), ("thai", "ปลา")]


def shown(words, face, size, margin=40):
    """The line on a canvas, with its baseline starting at (margin, 2 * margin)."""
    canvas = Image.new("L", (600, 4 * margin))
    drawn = line(words, face, size)
    canvas.paste(drawn.mask, (round(margin + drawn.left), round(2 * margin + drawn.top)))
    return np.asarray(canvas, dtype=float)


def by_pillow(words, face, size, margin=40):
    canvas = Image.new("L", (600, 4 * margin))
    ImageDraw.Draw(canvas).text((margin, 2 * margin), words, 255, font(face, size), "ls")
    return np.asarray(canvas, dtype=float)


@pytest.mark.parametrize("size", [12, 16, 40, 64, 90])
@pytest.mark.parametrize("role", ["sans", "serif", "hand", "mono"])
def test_line_looks_like_text_drawn_by_pillow(role, size):
    ours, theirs = (draw("Vosta 68-42", FACES[role][0], size) for draw in (shown, by_pillow))
    assert ours.sum() == pytest.approx(theirs.sum(), rel=0.12)
    for axis, tolerance in ((0, 0.03 * size + 4), (1, 2)):
        for edge in (np.min, np.max):
            here, there = (edge(np.flatnonzero(each.max(axis=axis) > 64)) for each in (ours, theirs))
            assert abs(here - there) <= tolerance


@pytest.mark.parametrize(("script", "words"), FOREIGN)
def test_line_draws_every_script(script, words):
    face = FACES[script][0]
    letters = shape(words, script)
    assert shown(letters, face, 40).sum() == pytest.approx(by_pillow(letters, face, 40).sum(), rel=0.12)


def test_line_is_as_wide_as_its_letters():
    assert width("", LATIN) == 0
    assert width("ab c", LATIN) == pytest.approx(sum(width(letter, LATIN) for letter in "ab c"))
    assert width("Vosta", LATIN) == pytest.approx(font(LATIN, 200).getlength("Vosta") / 200, rel=0.03)


def test_line_scales_with_its_size():
    sizes = [line("Vosta", LATIN, size).mask.size for size in (20.0, 40.0, 80.0)]
    for one, two in itertools.pairwise(sizes):
        assert np.allclose(2 * np.array(one), two, atol=3)


@pytest.mark.parametrize("words", ["", "   "])
def test_line_of_nothing_is_none(words):
    assert line(words, LATIN, 20.0) is None
    Sheet(50, 20, 2, (255, 255, 255)).text(1, 1, words, LATIN, 8, (0, 0, 0))


def test_line_does_not_depend_on_the_lines_before():
    line.cache_clear()
    first = line("Vosta", LATIN, 30.0).mask.tobytes()
    for words in ("atsoV", "Vo", "sta"):
        line(words, LATIN, 30.0)
    line.cache_clear()
    assert line("Vosta", LATIN, 30.0).mask.tobytes() == first


def test_height_holds_a_capital_above_the_baseline():
    ascent, descent = height(LATIN)
    assert 0.7 < ascent < 1.2
    assert 0 < descent < 0.5


@pytest.mark.parametrize(("anchor", "share"), [("l", 0.0), ("m", 0.5), ("r", 1.0)])
def test_text_stands_at_its_anchor_within_its_width(anchor, share):
    sheet = Sheet(200, 40, 4, (255, 255, 255))
    wide = sheet.text(100, 20, "HHHH", LATIN, 10, (0, 0, 0), anchor + "m", fit=18)
    assert wide == pytest.approx(18)
    rows, columns = np.nonzero(np.asarray(sheet.image.convert("L")) < 128)
    assert columns.min() / 4 == pytest.approx(100 - share * 18, abs=1)
    assert columns.max() / 4 == pytest.approx(100 + (1 - share) * 18, abs=1)
    assert rows.mean() / 4 == pytest.approx(20, abs=1)
