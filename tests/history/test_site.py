from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from browser import Opened
from click.testing import CliRunner, Result
from conftest import full_disk
from made_runs import commit, made, scores, speeds

from mlbench.cli import main
from mlbench.errors import StoreError
from mlbench.history.pages import page_names
from mlbench.history.site import write_site
from mlbench.records.record import Record
from mlbench.records.store import Store

MARKUP = "</script><b>&\u202e"


def store(folder: Path, records: Sequence[Record]) -> Path:
    """One folder for each run, as artefacts lie."""
    for number, each in enumerate(records):
        Store(folder / f"{number:03}", each.suite).put(each)
    return folder


def publish(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["publish", *map(str, arguments)])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of two suites: one got worse, better and fails now, the other is too short."""
    folder = tmp_path_factory.mktemp("published")
    records = [
        *scores([0.9, 0.9, 0.91, 0.9, 0.8, 0.8, 0.81, 0.8, 0.81], case=MARKUP),
        *speeds([100, 101, 99, 100, 100, 120, 121, 119, 120], environment={"cpu": "fast"}),
        *speeds([50, 51, 50, 49, 50, 51, 50, 50, 50], environment={"cpu": "slow"}, case="other"),
        made(9, status="failed", error="no memory", case="other"),
        *scores([0.5, 0.6], suite="Short suite"),
    ]
    store(folder / "artefacts", records)
    (folder / "artefacts" / "broken.json").write_text("{")
    result = publish(folder / "artefacts", "-o", folder / "site", "--title", "Mine")
    assert result.exit_code == 0, result.output
    assert (
        "s: 3 cases, 10 runs, 1 step to the worse, 1 step to the better; failing now: other" in result.output
    )
    assert "broken.json: cannot be read" in result.stderr
    return folder / "site"


class Links(HTMLParser):
    """Addresses that a page leads to, and names of places in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.places.add(given.get("id") or "")
        if address := given.get("href") or (given.get("src") if tag == "script" else None):
            self.addresses.append(address)


def test_every_link_leads_somewhere_in_the_site(site: Path) -> None:
    pages = {path.name: Links(path.read_text(encoding="utf-8")) for path in site.glob("*.html")}
    assert set(pages) == {"index.html", "s.html", "Short-suite.html"}
    for name, page in pages.items():
        assert page.addresses
        for address in page.addresses:
            file, _, place = address.partition("#")
            assert (site / (file or name)).is_file(), address
            assert not place or place in pages[file or name].places, address


def test_the_numbers_of_the_charts_are_those_of_the_records(site: Path) -> None:
    text = (site / "s.html").read_text(encoding="utf-8")
    found: list[dict[str, Any]] = [
        json.loads(each) for each in re.findall(r'id="chart-\d+">(.*?)</script>', text, re.DOTALL)
    ]
    of = {
        chart["description"].partition(" over ")[0]: [row["v"] for row in chart["data"]["values"]]
        for chart in found
    }
    assert of[f"recall at 1 of {MARKUP}"] == [0.9, 0.9, 0.91, 0.9, 0.8, 0.8, 0.81, 0.8, 0.81]
    assert of["images per second of gap"] == pytest.approx([100, 101, 99, 100, 100, 120, 121, 119, 120])


def test_the_front_page_answers_what_got_worse(site: Path, browser: Any) -> None:
    opened = Opened(browser, site / "index.html")
    page = opened.page
    answer = page.locator(".take").inner_text()
    assert MARKUP.replace("\u202e", "") in answer.replace("\u202e", "")
    # Means by hand: (.9 + .9 + .91 + .9) / 4 and (.8 + .8 + .81 + .8 + .81) / 5.
    assert f"-0.0985 at {commit(4)[:10]}" in answer
    assert "no memory" in page.locator("#worse .fault").inner_text()
    assert f"{commit(3)[:10]} Change 3 → {commit(4)[:10]} Change 4" in page.locator("#worse").inner_text()
    suites = page.locator("#suites").inner_text()
    assert "no series of metrics and speeds; 1 too short (2 runs, of 6 that a step needs)" in suites
    assert "broken.json" in suites
    page.locator("#suites").get_by_role("link", name="s", exact=True).click()
    page.wait_for_url("**/s.html")
    page.wait_for_function("() => window.pageDrawn")
    page.evaluate("window.pageDrawn")
    assert page.locator("h1").inner_text() == "s"
    assert page.get_by_role("link", name="Mine").get_attribute("href") == "index.html"
    shown = page.locator("figure[data-chart]:visible")
    before = shown.count()
    assert before == page.locator("figure[data-chart]:visible svg").count() > 0
    page.locator("figure[data-chart] svg path[aria-roledescription='point']").first.hover()
    told = page.locator("#vg-tooltip-element").inner_text()
    assert "0.9000" in told
    assert "2026-01-01 00:00" in told
    page.locator("details.quantity:not([open]) > summary").first.click()
    page.wait_for_function(
        "before => document.querySelectorAll('figure[data-chart] svg').length > before", arg=before
    )
    assert opened.problems == []
    assert opened.foreign_requests() == []


@pytest.mark.parametrize("name", ["index.html", "s.html"])
def test_the_pages_have_no_serious_finding_of_accessibility(site: Path, browser: Any, name: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(Opened(browser, site / name).page)
    assert [
        each["id"] for each in found.response["violations"] if each["impact"] in ("serious", "critical")
    ] == []


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    places = store(tmp_path / "a", scores([0.9] * 4 + [0.8] * 4))
    content = []
    for name in ("one", "two"):
        assert publish(places, "-o", tmp_path / name).exit_code == 0
        content.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert content[0] == content[1]
    assert content[0].keys() == {"index.html", "s.html", "charts.js", "mlbench-site.json"}


def test_a_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    places = store(tmp_path / "a", scores([0.9]))
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "mine.txt").write_text("mine")
    result = publish(places, "-o", tmp_path / "site")
    assert (result.exit_code, result.output.count("\n")) == (1, 1)
    assert "holds other files and no site" in result.output
    assert os.listdir(tmp_path / "site") == ["mine.txt"]
    assert publish(tmp_path / "nowhere", "-o", tmp_path / "new").exit_code == 1
    assert not (tmp_path / "new").exists()


def test_a_site_is_written_again_and_other_files_in_it_stay(tmp_path: Path) -> None:
    write_site(tmp_path, {"old.html": b"1", "index.html": b"1"})
    (tmp_path / "mine.txt").write_text("mine")
    write_site(tmp_path, {"new.html": b"2", "index.html": b"2"})
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"new.html", "index.html", "mine.txt", "mlbench-site.json"}
    assert json.loads((tmp_path / "mlbench-site.json").read_text()) == ["index.html", "new.html"]


def test_a_full_disk_leaves_the_old_site(tmp_path: Path) -> None:
    write_site(tmp_path, {"index.html": b"old", "a.html": b"old"})
    with full_disk(1000), pytest.raises(StoreError, match="cannot be written"):
        write_site(tmp_path, {"a.html": b"new", "index.html": b"x" * 2000})
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.html")} == {
        "index.html": b"old",
        "a.html": b"old",
    }
    assert {path.name for path in tmp_path.iterdir()} == {"index.html", "a.html", "mlbench-site.json"}


def test_names_in_the_list_that_lead_elsewhere_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    site = tmp_path / "site"
    write_site(site, {"index.html": b"1"})
    for text in ('["../mine.txt", "index.html", 3]', "{", '"index.html"'):
        (site / "mlbench-site.json").write_text(text)
        write_site(site, {"index.html": b"2"})
    assert (tmp_path / "mine.txt").is_file()


def test_pages_have_different_names_on_any_file_system() -> None:
    names = page_names(["a b", "a-b", "A-B", "index", "../up", "\u05d0"])
    assert len({each.lower() for each in names.values()}) == 6
    assert all(re.fullmatch(r"[\w-]+\.html", each, re.ASCII) for each in names.values())
    assert "index.html" not in names.values()


def test_runs_are_in_the_order_of_commits_when_asked(tmp_path: Path) -> None:
    def at(number: int, day: int) -> Record:
        revision = {"commit": commit(day), "time": f"2026-01-{day:02}T00:00:00Z"}
        return made(number, environment={"revision": revision}, size={"parameters": day})

    places = store(tmp_path / "a", [at(0, 3), at(1, 1), at(2, 2)])
    results = [publish(places, "-o", tmp_path / "site", *more) for more in ([], ["--by-commit"])]
    assert "1 step to the worse, 1 step to the better" in results[0].output
    assert "2 steps to the worse, 0 steps to the better" in results[1].output


def test_help_says_what_results_are(run: Callable[..., Result]) -> None:
    result = run("publish", "--help")
    assert "RESULTS..." in result.stdout
    assert "artefacts" in result.stdout
