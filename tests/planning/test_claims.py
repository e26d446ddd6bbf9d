"""Claims of a suite: read with their places, and held to fair comparisons."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mlbench.errors import SuiteError
from mlbench.planning.plan import Plan
from mlbench.planning.suite import load_suite
from mlbench.registry import Registry

SUITE = """\
matrix:
  neck.name: [gap, flatten]
  loss.margin: [0.2, 0.3]
cases:
  tuned: {}
  other: OTHER
claims:
  it:
    name: better
    sentence: It is so.
    CLAIM
"""

Planned = Callable[..., Plan]


def suite(other: str = "{recipe.lr: 0.5}", **options: str) -> str:
    """The suite with a claim that the case `tuned` is better than `other`."""
    given = {"case": "tuned", "than": "other", "metric": "recall_at_1", **options}
    lines = "\n    ".join(f"{key}: {value}" for key, value in given.items())
    return SUITE.replace("OTHER", other).replace("CLAIM", lines)


#: The line of the claim in the file, after the toy suite of twelve lines.
LINE = 20


def mistake(planned: Planned, text: str) -> str:
    with pytest.raises(SuiteError) as caught:
        planned(text)
    return str(caught.value).rpartition("toy.yaml:")[2]


def test_a_claim_is_read_with_its_options_and_places(planned: Planned) -> None:
    plan = planned(suite(differ="[recipe.lr]", source="a page", by="0.02"))
    (claim,) = plan.suite.claims
    assert (claim.id, claim.options.source, claim.options.by) == ("it", "a page", 0.02)
    assert claim.part.where("").endswith(f"toy.yaml:{LINE}: claims.it")
    assert claim.differ == ("recipe.lr",)


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        (suite(case="tunde"), "claims.it", "there is no case 'tunde' (did you mean 'tuned'?)"),
        (suite(case="{neck.nam: gap}"), "claims.it", "no axis 'neck.nam' in the matrix (did you mean"),
        (suite(case="{neck.name: gip}"), "claims.it", "the axis 'neck.name' has no value 'gip'"),
        (suite(case="other"), "claims.it", "compares 'other' with itself"),
        (suite(metric="recall_at_3"), "claims.it", "no case measures 'recall_at_3' (did you mean 'recall_"),
        (suite(metric="threshold"), "claims.it", "neither direction of 'threshold' is better"),
        (suite(differ="[necks]"), "claims.it.differ", "unknown setting 'necks' (did you mean 'neck'?)"),
        (suite(bye="1"), "claims.it.bye", "unknown key 'bye' (did you mean 'by'?) of claim 'better'"),
        (suite(by="much"), "claims.it.by", "'by' of claim 'better' is \"much\"; expected float"),
        (
            suite(needs="tpu"),
            "claims.it.needs",
            "'needs' of claim 'better' is \"tpu\"; expected 'cuda' | null",
        ),
        (
            suite(metric='""', at_most="{bytes: 9, f1: 0.5}").replace("name: better", "name: trade"),
            "claims.it.at_most",
            "trade: 'f1' is no cost; expected speeds, memory and sizes",
        ),
        (suite().replace("name: better", "name: beter"), "claims.it", "(did you mean 'better'?)"),
        (suite().replace("name: better", "source: x"), "claims.it", "which kind of claim? it has no name;"),
        (suite().replace("  it:", "  a b:"), "claims.a b", "'a b' cannot be the id of a claim"),
    ],
)
def test_mistakes_name_their_place(planned: Planned, text: str, place: str, message: str) -> None:
    found = mistake(planned, text)
    line, _, rest = found.partition(": ")
    assert LINE <= int(line) <= LINE + 6
    assert rest.startswith(f"{place}: ")
    assert message in rest


@pytest.mark.parametrize(
    ("other", "key", "values"),
    [
        ("{recipe.epochs: 3}", "recipe.epochs", "2 and 3"),
        ("{recipe.batch_size: 4}", "recipe.batch_size", "8 and 4"),
        ("{image.size: 32}", "image.size", "16 and 32"),
        ("{augmentation: jitter}", "augmentation.name", "absent and jitter"),
        ("{precision: bf16}", "precision", "fp32 and bf16"),
        ("{evaluation.gallery: train, dataset.closed: true}", "dataset.closed", "False and True"),
    ],
)
def test_what_differs_and_is_not_named_is_an_error(
    planned: Planned, other: str, key: str, values: str
) -> None:
    found = mistake(planned, suite(other))
    assert found == (
        f"{LINE}: claims.it: not a fair comparison: 'tuned' and 'other' differ in {key} ({values}), "
        "which the claim does not name; make it equal, or add it to differ"
    )


@pytest.mark.parametrize(
    ("other", "differ", "key", "values"),
    [
        ("{dataset.classes: 12}", "dataset", "steps", "6 and 12"),
        ("{dataset: {classes: 12, views: 2}}", "dataset", "num_classes", "6 and 12"),
        ("{recipe.epochs: 3}", "recipe.epochs", "steps", "6 and 9"),
    ],
)
def test_what_follows_from_the_settings_must_be_equal_too(
    planned: Planned, other: str, differ: str, key: str, values: str
) -> None:
    found = mistake(planned, suite(other, differ=f"[{differ}]"))
    assert f"'tuned' and 'other' differ in {key} ({values})" in found


def test_the_width_of_embeddings_must_be_equal_too(
    planned: Planned, write: Callable[..., Path], registry: Registry
) -> None:
    """The toy backbone predicts no width; a backbone of timm does."""
    timm = {"overrides": ("backbone={name: timm, model: test_resnet, weights: none}",)}
    text = suite("{neck.dim: 4}", differ="[neck]")
    planned(text)  # not known
    with pytest.raises(SuiteError, match=r"differ in dim \(8 and 4\)"):
        planned(text, **timm)
    planned(suite("{neck.dim: 4}", differ="[neck, dim]"), **timm)


@pytest.mark.parametrize("differ", ["[recipe]", "[recipe.lr]", "[recipe.lr, steps]"])
def test_naming_a_section_or_a_setting_allows_it(planned: Planned, differ: str) -> None:
    text = suite("{recipe.lr: 0.5}", differ=differ)
    if "steps" not in differ:
        planned(text)
        return
    assert mistake(planned, text) == (
        f"{LINE + 6}: claims.it.differ: compared cases do not differ in steps; leave it out"
    )


def test_naming_a_component_allows_options_that_only_one_has(planned: Planned) -> None:
    other = "{neck: {name: flatten, dim: 8}}"
    planned(suite(other, differ="[neck.name]"))
    both = suite("{neck: {name: flatten, dim: 4}}", differ="[neck.name]")
    assert "differ in neck.dim (8 and 4)" in mistake(planned, both)


@pytest.mark.parametrize("option", ["loss", "loss.margin"])
def test_labels_allow_their_axes_and_no_others(planned: Planned, option: str) -> None:
    labels = {"case": "{neck.name: flatten}", "than": "{neck.name: gap}"}
    plan = planned(suite(**labels))
    assert plan.suite.claims[0].differ == ("neck.name",)
    crossed = {"case": "{neck.name: flatten, loss.margin: 0.2}", "than": "{neck.name: gap, loss.margin: 0.3}"}
    planned(suite(**crossed))
    found = mistake(planned, suite(**crossed, differ="[neck]"))
    assert "differ in loss.margin (0.2 and 0.3)" in found
    planned(suite(**crossed, differ=f"[neck, {option}]"))


def test_every_stratum_is_checked(planned: Planned) -> None:
    """One of the two pairs trains for longer."""
    labels = {"case": "{neck.name: flatten}", "than": "{neck.name: gap}"}
    changed = suite(**labels).replace(
        "cases:\n", "sizes: {one: {cases: {flatten-0.3: {recipe.epochs: 3}}}}\ncases:\n"
    )
    assert "'flatten-0.3' and 'gap-0.3' differ in recipe.epochs (3 and 2)" in mistake(planned, changed)


def test_settings_of_the_measurement_count_for_speeds_alone(planned: Planned) -> None:
    planned(suite("{measure.rounds: 3, recipe.lr: 0.5}", differ="[recipe.lr]"))
    timed = suite("{measure.rounds: 3, recipe.lr: 0.5}", differ="[recipe.lr]", metric="images_per_second")
    assert "differ in measure.rounds (10 and 3)" in mistake(planned, timed)


def test_what_is_not_at_hand_is_not_checked(planned: Planned) -> None:
    unfair = suite("{recipe.epochs: 3}")
    planned(unfair, cases="tuned")
    removed = unfair + "sizes: {cpu: {cases: {other: null}}}\n"
    plan = planned(removed)
    assert set(plan.suite.removed) == {"other"}
    unused = suite("{recipe.lr: 0.5}", differ="[recipe.epochs]") + "sizes: {cpu: {cases: {other: null}}}\n"
    planned(unused)


def test_a_size_changes_single_options_of_a_claim_or_removes_it(
    write: Callable[..., Path], registry: Registry
) -> None:
    changes = {"a": "{it: {by: 0.1}}", "b": "{it: null}", "c": "{it: {bye: 1}}"}
    sizes = "sizes:\n" + "".join(f"  {name}: {{claims: {each}}}\n" for name, each in changes.items())
    path = write(suite(differ="[recipe.lr]") + sizes)
    (claim,) = load_suite(path, registry, size="a").claims
    assert (claim.options.by, claim.options.metric) == (0.1, "recall_at_1")
    assert load_suite(path, registry, size="b").claims == ()
    with pytest.raises(SuiteError, match=r"toy.yaml:\d+: .*unknown key 'bye'"):
        load_suite(path, registry, size="c")
