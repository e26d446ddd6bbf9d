"""The report page in a browser: what a reader does, without a server or a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from browser import Opened
from made_page import Made


@pytest.fixture(scope="module")
def opened(made: Made, browser: Any) -> Opened:
    return Opened(browser, made.page)


def test_nothing_is_asked_for_and_nothing_goes_wrong(opened: Opened) -> None:
    page = opened.page
    assert opened.problems == []
    assert opened.foreign_requests() == []
    assert (
        page.locator("figure[data-chart]:visible svg").count()
        == page.locator("figure[data-chart]:visible").count()
    )
    assert page.title() == "<b>Toys</b>"
    assert page.locator("h1").inner_text() == "<b>Toys</b>"
    assert "</script><script>" in page.locator("#answer p").first.inner_text()
    assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0 && image.alt)")
    assert page.locator("img.thumb").count() > 10


def test_a_click_on_a_heading_sorts(opened: Opened) -> None:
    page = opened.page
    names = '#table-cases tbody tr:not([hidden]) th[scope="row"]'
    head = page.locator("#table-cases thead th", has_text="Recall@1")
    column = head.evaluate("head => head.cellIndex")
    rows = "[...document.querySelectorAll('#table-cases tbody tr')]"
    values = f"{rows}.map(row => Number(row.cells[{column}].dataset.v))"
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    falling = page.evaluate(values)
    assert falling == sorted(falling, reverse=True)
    assert len(set(falling)) > 1
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert page.evaluate(values) == falling[::-1] or page.evaluate(values) == sorted(falling)
    page.locator("#table-cases thead th", has_text="Case").locator("button").click()
    assert [name.split()[0] for name in opened.texts(names)] == ["4", "8", "untrained"]


def test_a_text_filters_and_a_box_shows_a_column(opened: Opened) -> None:
    page = opened.page
    page.locator("[data-filter]").fill("TRAIN")
    assert [name.split()[0] for name in opened.texts('#table-cases tbody th[scope="row"]')] == ["untrained"]
    assert opened.texts("[data-count]") == ["1 of 3 rows"]
    page.locator("[data-filter]").fill("")
    head = page.locator('#table-cases thead th[data-name="map_at_r"]')
    assert not head.is_visible()
    page.locator("details.columns summary").click()
    page.get_by_label("MAP@R", exact=True).check()
    assert head.is_visible()
    page.get_by_label("MAP@R", exact=True).uncheck()
    assert not head.is_visible()
    page.locator("details.columns summary").click()


def test_the_slider_reads_off_the_threshold(opened: Opened) -> None:
    page = opened.page
    place = page.locator("#threshold .of-case:visible")
    shown = {name: place.locator(f'[data-value="{name}"]') for name in ("distance", "precision", "recall")}
    fitted = place.locator("tr.fitted td").first.inner_text()
    assert shown["distance"].inner_text() == fitted
    slider = place.locator('input[type="range"]')
    slider.focus()
    page.keyboard.press("End")
    page.wait_for_function(
        "before => document.querySelector('#threshold .of-case:not([hidden]) [data-value=distance]')"
        ".textContent !== before",
        arg=fitted,
    )
    spec = json.loads(
        page.locator(
            "#chart-" + str(place.locator("[data-chart]").get_attribute("data-chart"))
        ).text_content()
    )
    last = spec["data"]["values"][-1]
    assert shown["distance"].inner_text() == f"{last['distance']:.4f}"
    assert shown["recall"].inner_text() == f"{last['recall']:.4f}"
    assert shown["precision"].inner_text() == f"{last['precision']:.4f}"


def test_another_case_is_shown_in_detail(opened: Opened) -> None:
    page = opened.page
    before = page.locator("#errors .of-case:visible").get_attribute("data-case")
    names = page.locator("#case option").all_inner_texts()
    assert sorted(names) == ["4", "8", "untrained"]
    other = next(name for name in names if name != before)
    page.locator("#case").select_option(other)
    assert page.locator("#errors .of-case:visible").get_attribute("data-case") == other
    page.locator("#map .of-case:visible svg").wait_for()
    page.locator("#case").select_option(before)


def test_a_point_of_the_map_shows_its_image(opened: Opened) -> None:
    page = opened.page
    point = page.locator("#map .of-case:visible .mark-symbol path").first
    point.scroll_into_view_if_needed()
    point.hover(force=True)
    tip = page.locator("#vg-tooltip-element.visible")
    tip.wait_for()
    assert tip.locator("img").evaluate("image => image.src.startsWith('data:image/webp')")
    assert "class" in tip.inner_text()
    page.mouse.move(0, 0)


def test_dark_and_light_colours(opened: Opened, made: Made, browser: Any) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    light = opened.page.evaluate(paper)
    opened.page.locator("#theme").click()
    dark = opened.page.evaluate(paper)
    assert (light, dark) == ("rgb(255, 255, 255)", "rgb(20, 23, 26)")
    opened.page.locator("#theme").click()
    assert opened.page.evaluate(paper) == light
    asked = Opened(browser, made.page, scheme="dark", width=390)
    assert asked.page.evaluate(paper) == dark
    assert asked.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert asked.problems == []


def test_the_keyboard_reaches_the_results(made: Made, browser: Any) -> None:
    page = Opened(browser, made.page).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the results"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#answer"
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('#table-cases th button')"):
            return
    pytest.fail("no heading of the table was reached in 60 steps")


def test_it_prints(made: Made, browser: Any, tmp_path: Path) -> None:
    found = Opened(browser, made.page, scheme="dark").page
    printed = found.pdf()
    assert printed.startswith(b"%PDF")
    assert len(printed) > 20_000
    found.emulate_media(media="print", color_scheme="dark")
    assert found.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not found.locator("header").is_visible()


@pytest.mark.parametrize(
    ("scheme", "options"), [("light", {}), ("dark", {"runOnly": ["color-contrast"]})], ids=["light", "dark"]
)
def test_accessibility_has_no_serious_finding(
    made: Made, browser: Any, scheme: str, options: dict[str, Any]
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(Opened(browser, made.page, scheme=scheme).page, options=options)
    assert len(found.response["passes"]) >= (20 if scheme == "light" else 1)
    serious = [
        (each["id"], [node["html"][:150] for node in each["nodes"]][:3])
        for each in found.response["violations"]
        if each["impact"] in ("serious", "critical")
    ]
    assert serious == []


def test_without_images_no_pixel_is_in_the_file(made: Made, browser: Any) -> None:
    path = made.folder / "plain.html"
    assert made.invoke("report", made.suite.name, "--device", "cpu", "--no-images", "-o", path).exit_code == 0
    assert "data:image" not in path.read_text()
    found = Opened(browser, path)
    assert found.page.locator("img").count() == 0
    assert found.page.locator(".thumb.empty").count() > 10
    assert found.problems == []
