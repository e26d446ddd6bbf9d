"""`mlbench claims`, and the claims of `mlbench run`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from conftest import TOY_SUITE
from made_records import planned_record

from mlbench.claims.looks import read_looks
from mlbench.environment import find_device
from mlbench.planning.plan import make_plan
from mlbench.planning.suite import load_suite
from mlbench.plugins import load_plugins
from mlbench.records.record import Estimate
from mlbench.records.store import Store
from mlbench.registry import Registry

SUITE = (
    TOY_SUITE
    + """\
title: Which neck?
seeds: [0, 1, 2]
matrix:
  neck.name: [gap, flatten]
claims:
  better:
    name: better
    sentence: Flatten is better than gap.
    source: A page.
    caveat: Made up.
    case: flatten
    than: gap
    metric: recall_at_1
    differ: [neck]
  worse:
    name: better
    sentence: Gap is better than flatten.
    case: {neck.name: gap}
    than: {neck.name: flatten}
    metric: recall_at_1
  cuda:
    name: better
    sentence: It is faster.
    case: {neck.name: gap}
    than: {neck.name: flatten}
    metric: images_per_second
    needs: cuda
"""
)
QUICK = ("--device", "cpu")


@pytest.fixture
def run(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command line on the CPU, beside a suite toy.yaml."""
    monkeypatch.setenv("COLUMNS", "100")
    Path("toy.yaml").write_text(SUITE)
    return lambda *arguments, code=0: run(*arguments, *QUICK, code=code)


@pytest.fixture
def records(run: Callable[..., Result]) -> Store:
    """A store in which flatten is clearly better."""
    store = Store(Path("results"), "toy")
    suite = load_suite(Path("toy.yaml"), Registry(load_plugins()))
    for case in make_plan(suite, find_device("cpu")).cases:
        value = 0.5 + 0.2 * (case.name == "flatten") * (1 + case.seed / 100)
        metrics = {"recall_at_1": Estimate(value)}
        store.put(planned_record(case, metrics=metrics, environment={"device": "cpu"}))
    return store


@pytest.mark.usefixtures("records")
def test_claims_are_shown_in_full(run: Callable[..., Result]) -> None:
    lines = run("claims", "toy.yaml").stdout.splitlines()
    assert lines[0] == "Which neck?"
    assert lines[1].split() == ["claim", "verdict", "effect", "claimed", "samples", "p"]
    assert lines[3].split()[:2] == ["better", "supported"]
    assert lines[4].split()[:2] == ["worse", "refuted"]
    assert lines[5].split()[:4] == ["cuda", "not", "measurable", "here"]
    start = lines.index("better: supported")
    assert lines[start + 1 : start + 5] == [
        "  Flatten is better than gap.",
        "  source: A page.",
        "  recall_at_1: flatten against gap: 0.202 [0.197, 0.207], claimed > 0; 3 seeds, "
        "p <.001 corrected for all claims",
        "  caveat: Made up.",
    ]
    assert "  open: it needs a cuda device, and the records are from cpu" in lines


@pytest.mark.usefixtures("records")
def test_claims_as_markdown_and_json(run: Callable[..., Result]) -> None:
    markdown = run("claims", "toy.yaml", "--markdown").stdout
    assert markdown.startswith("## Which neck?\n\n| claim | verdict |")
    assert "\n### better: supported\n\nFlatten is better than gap.\n\n- source: A page.\n" in markdown
    found = json.loads(run("claims", "toy.yaml", "--json").stdout)
    assert [each["id"] for each in found] == ["better", "worse", "cuda"]
    assert found[0]["finding"]["effect"]["samples"] == 3
    assert found[2]["finding"] is None


@pytest.mark.usefixtures("records")
def test_a_required_claim_decides_the_exit_code(run: Callable[..., Result]) -> None:
    run("claims", "toy.yaml", "--require", "better")
    failed = run(
        "claims", "toy.yaml", "--require", "better", "--require", "worse", "--require", "cuda", code=3
    )
    assert failed.stderr.splitlines() == [
        "required claim worse: refuted",
        "required claim cuda: not measurable here",
    ]


@pytest.mark.usefixtures("records")
def test_an_unknown_required_claim_is_refused(run: Callable[..., Result]) -> None:
    for command in ("claims", "run"):
        refused = run(command, "toy.yaml", "--require", "beter", code=2)
        assert "--require beter: toy.yaml states no such claim (did you mean 'better'?)" in refused.stderr


@pytest.mark.usefixtures("records")
def test_what_the_verdicts_rest_on_is_saved(run: Callable[..., Result]) -> None:
    done = run("claims", "toy.yaml", "--save", "evidence")
    assert "evidence/toy.json written" in done.stderr
    assert json.loads(Path("evidence/toy.json").read_text())["cases"].keys() == {"flatten", "gap"}


def test_without_records_it_says_what_to_do(run: Callable[..., Result]) -> None:
    refused = run("claims", "toy.yaml", code=1)
    assert "no records of the suite 'toy'" in refused.stderr
    assert refused.stderr.rstrip().endswith("run it first")


@pytest.mark.usefixtures("records")
def test_a_suite_without_claims_says_so(run: Callable[..., Result]) -> None:
    Path("toy.yaml").write_text(SUITE.partition("claims:")[0])
    assert "note: toy.yaml states no claims" in run("claims", "toy.yaml").stderr


@pytest.mark.usefixtures("records")
def test_run_shows_the_claims_below_its_results(run: Callable[..., Result]) -> None:
    ran = run("run", "toy.yaml", "--no-measure")
    assert "Claims\n" in ran.stdout
    assert "note: cuda: not measurable here: it needs a cuda device" in ran.stderr
    run("run", "toy.yaml", "--no-measure", "--require", "worse", code=3)


def test_run_until_decided_adds_seeds_and_keeps_its_looks(run: Callable[..., Result]) -> None:
    text = SUITE.replace("seeds: [0, 1, 2]", "seeds: [0, 1]")
    Path("toy.yaml").write_text(text)
    ran = run("run", "toy.yaml", "--no-measure", "--until-decided", "--max-seeds", "3",
              "--set", "recipe.epochs=1")  # fmt: skip
    looks = read_looks(Path("results/toy"))
    assert looks.keys() == {"better", "worse"}
    counts = {each.counts for (each,) in looks.values()}
    assert counts <= {(2,), (2, 3)}
    if (2, 3) in counts:
        assert "adding seed 2" in ran.stderr


@pytest.mark.parametrize("options", [("--seeds", "1"), ("--force",)])
def test_until_decided_chooses_the_seeds_itself(run: Callable[..., Result], options: tuple[str, ...]) -> None:
    refused = run("run", "toy.yaml", "--until-decided", *options, code=2)
    assert "--until-decided starts with the suite's seeds; leave --seeds and --force out" in refused.stderr


def test_options_of_deciding_are_refused_where_nothing_is_decided(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    alone = run("run", "toy.yaml", "--max-seeds", "5", *QUICK, code=2)
    assert "--max-seeds belongs to --until-decided; give both" in alone.stderr
    (tmp_path / "plain.yaml").write_text(TOY_SUITE)
    plain = run("run", str(tmp_path / "plain.yaml"), "--until-decided", *QUICK, code=2)
    assert f"--until-decided: {tmp_path / 'plain.yaml'} states no claims" in plain.stderr
