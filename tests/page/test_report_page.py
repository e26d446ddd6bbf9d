"""The report page: its numbers are those of the records, it is always the same, and it says what it lacks."""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from conftest import TESTS, install_plugin
from made_page import Made

from mlbench.contracts import Component
from mlbench.evaluation.details import DETAILS, read_details
from mlbench.inspection.findings import DataFindings, Finding, write_findings
from mlbench.records.record import MEASURED, Record
from mlbench.records.store import Store
from mlbench.testing import checks


@pytest.fixture(scope="module")
def records(made: Made) -> list[Record]:
    return Store(made.folder / "results", "toy").read()[0]


class Table(HTMLParser):
    """The rows of one table: the texts of its cells, and the numbers that they carry."""

    def __init__(self, text: str, name: str) -> None:
        super().__init__()
        self.name = name
        self.inside = False
        self.heads: list[str] = []
        self.rows: list[list[dict[str, Any]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if tag == "table":
            self.inside = given.get("id") == self.name
        if not self.inside:
            return
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append({"text": "", "value": given.get("data-v"), "name": given.get("data-name")})

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag != "table"

    def handle_data(self, data: str) -> None:
        if self.inside and self.rows and self.rows[-1]:
            self.rows[-1][-1]["text"] += data


def charts(text: str) -> list[dict[str, Any]]:
    found = re.findall(r'<script type="application/json" id="chart-\d+">(.*?)</script>', text, re.DOTALL)
    return [json.loads(each) for each in found]


def test_the_run_says_where_its_page_is(made: Made) -> None:
    assert made.ran.stdout.splitlines()[-1] == "report: results/toy/report.html"
    assert made.page.is_file()


def test_the_table_has_the_numbers_of_the_records(made: Made, records: list[Record]) -> None:
    head, *rows = Table(made.page.read_text(), "table-cases").rows
    assert sorted(row[0]["text"] for row in rows) == ["4", "8", "untrained"]
    compared = 0
    for row in rows:
        own = [record for record in records if record.case == row[0]["text"]]
        for column, cell in zip(head[2:], row[2:], strict=True):
            name = column["name"]
            values = [
                record.size.get(name) if name in MEASURED else record.metrics[name].value for record in own
            ]
            known = [value for value in values if value is not None]
            assert (cell["value"] == "") == (not known)
            if known:
                assert float(cell["value"]) == pytest.approx(fmean(known), rel=1e-15)
                compared += 1
    names = {column["name"] for column in head[2:]}
    assert {
        name for record in records for name, each in record.metrics.items() if each.value is not None
    } <= names
    assert compared > 60


def test_the_charts_have_the_numbers_of_the_details(made: Made, records: list[Record]) -> None:
    text = made.page.read_text()
    sweeps = [each for each in charts(text) if any("F1" in row for row in each["data"]["values"][:1])]
    assert len(sweeps) == 3
    known = {record.key: read_details(made.page.parent / record.key / DETAILS) for record in records}
    for spec in sweeps:
        shown = spec["data"]["values"]
        fitted = next(each for each in spec["layer"] if each["mark"].get("strokeDash") == [2, 3])
        point = fitted["data"]["values"][0]
        matching = [
            (record, known[record.key])
            for record in records
            if record.metrics["threshold"].value == point["distance"]
            and record.metrics["f1"].value == pytest.approx(point["F1"], rel=1e-12)
        ]
        assert matching
        record, details = matching[0]
        assert details is not None
        assert record.metrics["precision"].value == pytest.approx(point["precision"], rel=1e-12)
        assert record.metrics["recall"].value == pytest.approx(point["recall"], rel=1e-12)
        for name in ("distance", "recall", "accepted"):
            whole = getattr(details.sweep, name)[: len(shown)]
            assert [row[name] for row in shown] == [round(float(value), 6) for value in whole]
    trade_off = next(each for each in charts(text) if "front" in each["data"]["values"][0])
    for row in trade_off["data"]["values"]:
        own = [record for record in records if record.case == row["case"]]
        assert row["x"] * 1e6 == pytest.approx(fmean(record.size["bytes"] or 0 for record in own))
        assert row["y"] == pytest.approx(fmean(record.metrics["recall_at_1"].value or 0 for record in own))


def test_wrong_queries_are_counted_as_the_record_counts_them(made: Made, records: list[Record]) -> None:
    found = re.findall(r"<p>(\d+) of (\d+) queries of case (\S+) \(seed (\d)\)", made.page.read_text())
    assert len(found) == 3
    for wrong, counted, case, seed in found:
        (record,) = [each for each in records if (each.case, each.seed) == (case, int(seed))]
        assert 1 - int(wrong) / int(counted) == pytest.approx(record.metrics["recall_at_1"].value)


def test_the_page_of_the_same_records_is_the_same_bytes(made: Made) -> None:
    before = made.page.read_bytes()
    done = made.invoke("report", made.suite.name, "--device", "cpu")
    assert (done.exit_code, done.output) == (0, "results/toy/report.html written\n")
    assert made.page.read_bytes() == before


def test_by_its_name_alone_the_newest_records_and_their_images(made: Made) -> None:
    output = made.folder / "by-name.html"
    assert made.invoke("report", "toy", "-o", output).exit_code == 0
    text = output.read_text()
    assert "data:image/webp" in text
    assert "the newest records with the same conditions" in text


def test_names_are_escaped(made: Made) -> None:
    text = made.page.read_text()
    body = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert "<b>Toys" not in text
    assert "<i>narrow" not in text
    assert "document.title" not in re.sub(r"&lt;.*?&gt;document.title", "", body)
    assert "\u05e9\u05dc\u05d5\u05dd" in body
    assert "http://" not in body
    assert "https://" not in body


def test_one_case_in_detail(made: Made) -> None:
    output = made.folder / "one.html"
    assert (
        made.invoke("report", made.suite.name, "--device", "cpu", "--case", "unt*", "-o", output).exit_code
        == 0
    )
    assert set(re.findall(r'data-case="(\S+)"', output.read_text())) == {"untrained"}
    done = made.invoke("report", made.suite.name, "--device", "cpu", "--case", "none", "-o", output)
    assert done.exit_code == 1
    assert (
        done.stderr == "mlbench: --case none: no case with results matches (choose from: 4, 8, untrained)\n"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("map.points", "expected NAME.OPTION=VALUE, such as map.method=umap"),
        ("mapp.points=20", "no section 'mapp' (did you mean 'map'?)"),
        ("map.pionts=20", "unknown key 'pionts' (did you mean 'points'?) of section 'map'"),
        ("map.points=2", "'points' of section 'map' is 2"),
    ],
)
def test_a_wrong_option_of_a_section_is_refused(made: Made, text: str, message: str) -> None:
    output = made.folder / "refused.html"
    done = made.invoke("report", made.suite.name, "--device", "cpu", "--section", text, "-o", output)
    assert done.exit_code == 2
    assert f"mlbench: --section {text}: {message}" in done.stderr
    assert not output.exists()


def test_an_option_of_a_section_is_used(made: Made) -> None:
    output = made.folder / "two.html"
    done = made.invoke(
        "report", made.suite.name, "--device", "cpu", "--section", "errors.rows=2", "-o", output
    )
    assert done.exit_code == 0
    assert output.read_text().count('aria-label="Query ') <= 6


def test_without_records_one_line(made: Made) -> None:
    done = made.invoke("report", "toyy")
    assert done.exit_code == 1
    advice = "(did you mean 'toy'?); make some with: mlbench run SUITE.yaml"
    assert done.stderr == f"mlbench: no records of the suite 'toyy' in results {advice}\n"


FAULTY = """
from mlbench.plugin import Component, Section, SectionOptions, hookimpl

class Raises(SectionOptions):
    "Raises."
    def build(self, context):
        raise ValueError("no\\nsecond line")

class Wrong(SectionOptions):
    "No section."
    def build(self, context):
        return "<p>"

class Unrendered(SectionOptions):
    "A template that names what is not there."
    def build(self, context):
        return Section.of("Unrendered", "<p>half</p>{{ nothing }}")

class Fine(SectionOptions):
    "A section that counts records."
    place = 150
    def build(self, context):
        count = len(context.records)
        return Section.of("Counted", "<p>{{ count }} records, {{ name }}</p>", count=count, name="<u>")

@hookimpl
def mlbench_components():
    for each in (Raises, Wrong, Unrendered, Fine):
        name = each.__name__
        yield Component("section", name.lower(), f"faulty_sections:{name}", "a section for tests")
"""


def test_a_faulty_section_is_left_out_and_named(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    site = made.folder / "other"
    install_plugin(site, "faulty_sections", version="2.5")
    (site / "faulty_sections.py").write_text(FAULTY)
    monkeypatch.syspath_prepend(site)
    output = made.folder / "faulty.html"
    done = made.invoke("report", made.suite.name, "--device", "cpu", "-o", output)
    assert done.exit_code == 0
    lines = [
        "section 'raises' of faulty_sections 2.5 is left out: ValueError: no",
        "section 'wrong' of faulty_sections 2.5 is left out: TypeError: build returns str; expected a "
        "Section or None",
        "section 'unrendered' of faulty_sections 2.5 is left out: UndefinedError: 'nothing' is undefined",
    ]
    assert sorted(done.stderr.splitlines()) == sorted(f"note: {line}" for line in lines)
    text = output.read_text()
    for line in lines:
        assert line.replace("'", "&#39;") in text
    assert "half" not in re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert "<p>6 records, &lt;u&gt;</p>" in text
    assert text.index('id="answer"') < text.index('id="fine"') < text.index('id="cases"')


def test_the_section_of_the_documentation_works(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (TESTS.parent / "docs/report.md").read_text(), re.DOTALL)
    site = made.folder / "documented"
    install_plugin(site, "documented_section")
    (site / "documented_section.py").write_text(code)
    monkeypatch.syspath_prepend(site)
    output = made.folder / "documented.html"
    options = ("--section", "seeds.wanted=5", "-o", output)
    done = made.invoke("report", made.suite.name, "--device", "cpu", *options)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "<li>untrained: 2 of 5 seeds</li>" in output.read_text()
    component = Component("section", "seeds", "documented_section:Seeds", "the number of seeds of each case")
    for check in checks(component):
        check()


def test_a_page_that_cannot_be_written_costs_the_run_a_note(made: Made) -> None:
    (made.folder / "blocked").mkdir(exist_ok=True)
    page = made.page
    kept = page.read_bytes()
    page.unlink()
    page.mkdir()
    try:
        done = made.invoke("run", made.suite.name, "--no-measure", "--device", "cpu")
    finally:
        page.rmdir()
        page.write_bytes(kept)
    assert done.exit_code == 0
    assert (
        "note: the report page could not be written: results/toy/report.html: is no regular file"
        in done.stderr
    )


def test_json_alone_is_on_stdout(made: Made) -> None:
    done = made.invoke("run", made.suite.name, "--no-measure", "--device", "cpu", "--json")
    assert len(json.loads(done.stdout)) == 6
    assert done.stderr.splitlines()[-1] == "report: results/toy/report.html"


def test_images_of_other_data_are_not_shown(made: Made) -> None:
    """Records say which version of the data they are of."""
    path = next(made.page.parent.glob("untrained-s0-*.json"))
    text = path.read_text()
    output = made.folder / "changed.html"
    try:
        path.write_text(text.replace('"version": "', '"version": "older ', 1))
        done = made.invoke("report", made.suite.name, "--device", "cpu", "--case", "untrained", "-o", output)
    finally:
        path.write_text(text)
    assert done.exit_code == 0
    found = output.read_text()
    shown = "images are not shown: the data set is not the one that case" in found
    assert shown or "seed 1" in found  # the other seed may be the median


def test_umap_needs_its_package(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    output = made.folder / "no-umap.html"
    options = ("--section", "map.method=umap", "-o", output)
    done = made.invoke("report", made.suite.name, "--device", "cpu", *options)
    assert done.exit_code == 0
    advice = "umap needs mlbench[umap]: pip install 'mlbench[umap]'"
    assert re.fullmatch(
        rf"note: section 'map' of mlbench \S+ is left out: {re.escape(advice)}\n", done.stderr
    )


@pytest.mark.slow
def test_umap_draws_the_map(made: Made) -> None:
    output = made.folder / "umap.html"
    options = ("--section", "map.method=umap", "--case", "8", "-o", output)
    done = made.invoke("report", made.suite.name, "--device", "cpu", *options)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "UMAP, in which distances between groups mean little" in output.read_text()


def test_records_without_details_have_a_page(made: Made, tmp_path: Path) -> None:
    place = tmp_path / "toy"
    place.mkdir()
    for path in made.page.parent.glob("*.json"):
        shutil.copy(path, place)
    done = made.invoke("report", made.suite.name, "--device", "cpu", "--results", tmp_path)
    assert (done.exit_code, done.stderr) == (0, "")
    text = (place / "report.html").read_text()
    assert "no record has details of its evaluation; run the cases again" in text
    assert 'id="errors"' not in text


def test_leaks_that_the_data_check_found_are_said(made: Made, records: list[Record], tmp_path: Path) -> None:
    shutil.copytree(made.page.parent, tmp_path / "toy")
    versions = {"other": "of other data", str(records[0].data["version"]): "3 test images are in train too"}
    found = [
        DataFindings(
            "toy", version, {}, None, False, (), (Finding("copies_across_splits", "error", text, 3),), None
        )
        for version, text in versions.items()
    ]
    write_findings(tmp_path / "toy", found)
    done = made.invoke("report", made.suite.name, "--device", "cpu", "--results", tmp_path)
    assert (done.exit_code, done.stderr) == (0, "")
    text = (tmp_path / "toy/report.html").read_text()
    assert '<li class="doubt">But: 3 test images are in train too.</li>' in text
    assert '<p class="note fault">error: 3 test images are in train too</p>' in text
    assert "of other data" not in text
    (tmp_path / "toy/data/check.json").write_text("{")
    done = made.invoke("report", made.suite.name, "--device", "cpu", "--results", tmp_path)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "check.json: cannot be read" in (tmp_path / "toy/report.html").read_text()


@pytest.mark.parametrize(("low", "said"), [(0.0, True), (1.0, False)])
def test_a_threshold_that_is_worth_nothing_is_said(
    made: Made, tmp_path: Path, low: float, said: bool
) -> None:
    shutil.copytree(made.page.parent, tmp_path / "toy")
    store = Store(tmp_path, "toy")
    for record in store.read()[0]:
        f1 = replace(record.metrics["f1"], low=low)
        store.put(replace(record, metrics={**record.metrics, "f1": f1}))
    done = made.invoke("report", made.suite.name, "--device", "cpu", "--results", tmp_path)
    assert (done.exit_code, done.stderr) == (0, "")
    text = (tmp_path / "toy/report.html").read_text()
    assert ("But: Its threshold may be worth nothing" in text) == said


def test_no_number_of_the_page_is_infinite(made: Made) -> None:
    for spec in charts(made.page.read_text()):
        values = [
            value for row in spec["data"]["values"] for value in row.values() if isinstance(value, float)
        ]
        assert np.isfinite(values).all()
