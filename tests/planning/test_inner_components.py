"""Components that have other components as options."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from conftest import TOY_SUITE
from pydantic import Field

from mlbench.commands.listing import component_text
from mlbench.contracts import Component
from mlbench.contracts.options import AugmentationOptions, LossContext, LossOptions, NeckOptions
from mlbench.environment import Device
from mlbench.errors import SuiteError
from mlbench.measurement.subject import stage_key, subjects_of
from mlbench.planning.plan import make_plan
from mlbench.planning.plugin_code import raised_in
from mlbench.planning.suite import load_suite, recorded_suite
from mlbench.plugins import Plugin
from mlbench.registry import Registry


class Scaled(LossOptions):
    """A loss times a factor."""

    inner: LossOptions
    """The loss."""
    factor: float = 2.0
    """The factor."""

    def build(self, context: LossContext) -> Any:
        inner: Any = self.inner.build(context)

        def loss(embeddings: Any, labels: Any) -> Any:
            return self.factor * inner(embeddings, labels)

        return loss


class Chain(AugmentationOptions):
    """Several augmentations."""

    parts: tuple[AugmentationOptions, ...] = ()
    """The augmentations."""
    last: AugmentationOptions | None = None
    """Comes last."""

    def build(self, image_size: int) -> Any:
        return [part.build(image_size) for part in self.parts]


class Around(NeckOptions):
    """A neck with a default."""

    neck: NeckOptions = Field({"name": "gap", "dim": 8})
    """The neck."""

    def build(self, features: Any) -> Any:
        return self.neck.build(features)


@pytest.fixture
def known(registry) -> Registry:
    components = (
        Component("loss", "scaled", f"{__name__}:Scaled", "scaled"),
        Component("augmentation", "several", f"{__name__}:Chain", "several"),
        Component("neck", "around", f"{__name__}:Around", "around"),
    )
    return Registry((*registry.plugins, Plugin("acme", "acme", "acme-parts", "1.2", components)))


@pytest.fixture
def suite(write, known):
    def suite(more: str = "", *overrides: str, whole: str = TOY_SUITE):
        return load_suite(write(more, whole=whole), known, overrides=("sampler=null", *overrides))

    return suite


#: The toy suite without a loss.
BASE = TOY_SUITE.replace("  loss: {name: cosface, scale: 16, margin: 0.1}\n", "")
SCALED = """
cases:
  a:
    loss:
      name: scaled
      inner:
        message: no
        name: crashing
"""


def test_an_inner_component_is_written_out_in_full(suite, known) -> None:
    (spec,) = suite("", "loss={name: scaled, inner: crashing}").specs
    assert spec.plain()["loss"] == {
        "name": "scaled",
        "inner": {"name": "crashing", "message": "boom"},
        "factor": 2.0,
    }
    part = spec.parts["loss"]
    assert type(part.component.inner).__name__ == "CrashingLoss"
    assert part.component.inner.registered_name == "crashing"
    # A record's settings make the same.
    recorded = recorded_suite("toy", suite().path, "a", 0, spec.plain(), "a.json", known)
    assert recorded.specs[0].plain() == spec.plain()


def test_the_fingerprint_depends_on_inner_options_and_the_record_has_the_provenance(suite, known) -> None:
    def case(*overrides: str):
        chosen = suite("", "loss={name: scaled, inner: {name: crashing}}", *overrides)
        return make_plan(chosen, Device("cpu", "test")).cases[0]

    assert case().fingerprint == case("loss.inner=crashing").fingerprint
    assert case().fingerprint != case("loss.inner.message=no").fingerprint
    found = case().spec.provenance()
    assert found["loss"]["package"] == "acme-parts"
    assert found["loss.inner"] == known.get("loss", "crashing").provenance
    assert stage_key(case(), "training") != stage_key(case("loss.inner=pair"), "training")


def test_options_of_an_inner_component_that_change_no_speed_are_left_out(suite) -> None:
    def key(margin: float, factor: float = 2.0) -> str:
        inner = f"{{name: scaled, factor: {factor}, inner: {{name: cosface, margin: {margin}}}}}"
        chosen = suite("", f"loss={{name: scaled, inner: {inner}}}")
        return stage_key(make_plan(chosen, Device("cpu", "test")).cases[0], "training")

    assert key(0.1) == key(0.2)
    assert key(0.1) != key(0.1, factor=3.0)


@pytest.mark.parametrize("differ", ["loss.inner", "loss.inner.name"])
def test_a_claim_may_compare_inner_components(suite, differ: str) -> None:
    claim = f"{{name: better, sentence: so, case: a, than: b, metric: recall_at_1, differ: [{differ}]}}"
    more = f"cases:\n  a: {{loss.inner: crashing}}\n  b: {{loss.inner: pair, OTHER}}\nclaims:\n  c: {claim}\n"
    whole = BASE + "  loss: {name: scaled}\n" + more
    make_plan(suite(whole=whole.replace(", OTHER", "")), Device("cpu", "test"))
    with pytest.raises(SuiteError, match=r"'a' and 'b' differ in loss.factor"):
        make_plan(suite(whole=whole.replace("OTHER", "loss.factor: 3.0")), Device("cpu", "test"))


@pytest.mark.parametrize(
    ("change", "place", "told"),
    [
        ("message: 3", ":18: cases.a.loss.inner.message", "'message' of loss 'crashing' is 3; expected str"),
        ("mesage: a", ":18: cases.a.loss.inner.mesage", "unknown key 'mesage' (did you mean 'message'?)"),
    ],
)
def test_a_wrong_inner_option_is_located(suite, change: str, place: str, told: str) -> None:
    with pytest.raises(SuiteError) as caught:
        suite(SCALED.replace("message: no", change), whole=BASE)
    assert f"toy.yaml{place}: {told}" in str(caught.value)


@pytest.mark.parametrize(
    ("inner", "told"),
    [
        ("crashin", r"^--set loss=.*: unknown loss 'crashin' \(did you mean 'crashing'\?\)$"),
        ("{message: a}", r"which loss\? it has no name; choose from: "),
        (
            "3",
            r"'inner' of loss 'scaled' is 3; expected loss \(its name, or a mapping of name and options\)$",
        ),
        ("gap", r"unknown loss 'gap'"),
    ],
)
def test_a_wrong_inner_component_is_told(suite, inner: str, told: str) -> None:
    with pytest.raises(SuiteError, match=told):
        suite("", f"loss={{name: scaled, inner: {inner}}}")


def test_a_missing_inner_component_is_told(suite) -> None:
    with pytest.raises(
        SuiteError, match=r"missing key 'inner' of loss 'scaled'; expected loss \(its name, or"
    ):
        suite("", "loss={name: scaled}")


def test_inner_options_can_be_set_by_their_path(suite) -> None:
    matrix = (
        "  loss: {name: scaled, inner: {name: crashing, message: a}}\nmatrix:\n  loss.inner.message: [x, y]\n"
    )
    text = TOY_SUITE.replace("  loss: {name: cosface, scale: 16, margin: 0.1}\n", "") + matrix
    found = [spec.plain()["loss"]["inner"]["message"] for spec in suite("", whole=text).specs]
    assert found == ["x", "y"]
    changed = ("loss={name: scaled, inner: {name: scaled, inner: pair}}", "loss.inner.factor=3.0")
    (spec,) = suite("", *changed, "loss.inner.inner=crashing", "loss.inner.inner.message=deep").specs
    assert spec.plain()["loss"]["inner"] == {
        "name": "scaled",
        "factor": 3.0,
        "inner": {"name": "crashing", "message": "deep"},
    }
    assert list(spec.parts["loss"].inner) == ["inner", "inner.inner"]
    with pytest.raises(SuiteError, match=r"^--set loss.inner.factor=x: 'factor' of loss 'scaled' is \"x\""):
        suite("", changed[0], "loss.inner.factor=x")


def test_a_later_inner_component_drops_options_of_the_former(suite) -> None:
    cases = """
cases:
  a: {loss: {name: scaled, inner: crashing}, loss.inner.message: x}
  b: {loss: {name: scaled, inner: {name: crashing}}}
"""
    (first, second) = suite(cases, whole=BASE).specs
    assert first.plain()["loss"]["inner"] == {"name": "crashing", "message": "x"}
    assert second.plain()["loss"]["inner"]["message"] == "boom"
    only_first = cases.partition("  b:")[0]
    (first,) = suite(only_first, "loss.inner=pair", whole=BASE).specs
    assert first.plain()["loss"]["inner"] == {"name": "pair"}


def test_lists_of_components_are_checked_one_by_one(suite) -> None:
    (spec,) = suite("", "augmentation={name: several, parts: [jitter, {name: several, last: jitter}]}").specs
    assert spec.plain()["augmentation"] == {
        "name": "several",
        "parts": [{"name": "jitter"}, {"name": "several", "parts": [], "last": {"name": "jitter"}}],
        "last": None,
    }
    assert list(spec.parts["augmentation"].inner) == ["parts.0", "parts.1", "parts.1.last"]
    text = """
cases:
  a:
    augmentation:
      name: several
      parts:
      - jitter
      - name: jitter
        x: 1
"""
    with pytest.raises(SuiteError, match=r":21: cases\.a\.augmentation\.parts\.1\.x: unknown key 'x'"):
        suite(text)


def test_an_inner_component_may_have_a_default(suite) -> None:
    (spec,) = suite("", "neck=around", "loss=pair").specs
    assert spec.plain()["neck"]["neck"]["dim"] == 8
    assert spec.plain()["neck"]["neck"]["name"] == "gap"
    assert list(spec.parts["neck"].inner) == ["neck"]


def test_a_part_of_a_default_can_be_set_by_its_path(suite) -> None:
    (spec,) = suite("", "neck=around", "neck.neck.dim=16", "loss=pair").specs
    assert spec.plain()["neck"]["neck"]["dim"] == 16
    deeper = ("neck={name: around, neck: {name: around}}", "neck.neck.neck.dim=16", "loss=pair")
    (spec,) = suite("", *deeper).specs
    assert spec.plain()["neck"]["neck"]["neck"]["dim"] == 16
    for wrong, told in (
        ("neck.neck.dim=x", r"^--set neck.neck.dim=x: 'dim' of neck 'gap' is \"x\"; expected int"),
        ("neck.neck.dam=16", r"^--set neck.neck.dam=16: unknown key 'dam' \(did you mean 'dim'\?\)"),
        ("neck.nek.dim=16", r"^--set neck.nek.dim=16: unknown key 'nek.dim' \(choose from: neck\)"),
    ):
        with pytest.raises(SuiteError, match=told):
            suite("", "neck=around", wrong, "loss=pair")
    with pytest.raises(SuiteError, match=r"missing key 'inner' of loss 'scaled'; expected loss"):
        suite("", "loss={name: scaled}", "loss.inner.message=x")


def test_show_says_what_an_inner_component_is(known) -> None:
    def text(kind: str, name: str) -> str:
        return " ".join(component_text(known.get(kind, name)).split())  # lines are wrapped

    assert "inner: loss (its name, or a mapping of name and options), required The loss." in text(
        "loss", "scaled"
    )
    assert "list of augmentation (its name" in text("augmentation", "several")
    assert 'default {"name": "gap", "dim": 8}' in text("neck", "around")


def test_a_case_with_inner_components_can_be_sent_to_the_measuring_process(suite) -> None:
    plan = make_plan(
        suite("", "loss={name: scaled, inner: {name: crashing, message: x}}"), Device("cpu", "test")
    )
    (subject,), _ = subjects_of(plan.cases)
    again = pickle.loads(pickle.dumps(subject)).case.spec.losses["scaled"].part
    assert again.component.inner.message == "x"


def test_an_error_in_an_inner_component_names_it(suite) -> None:
    chosen = suite("", "loss={name: scaled, inner: crashing}").specs[0]
    loss = chosen.parts["loss"].component.build(LossContext(2, 2))
    with pytest.raises(RuntimeError) as caught:
        loss(None, None)
    where = raised_in(caught.value, chosen.every_part())
    assert where.startswith("loss 'crashing' of plugin 'toys' (toys 1.0), CrashingLoss.__call__ at toys.py:")


def test_components_are_made_in_python_too() -> None:
    import toys

    inner = toys.MeanPairLoss()
    assert Scaled(inner=inner).inner is inner
    assert Scaled(inner=inner) != Scaled(inner=toys.CrashingLoss())
