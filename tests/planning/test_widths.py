from __future__ import annotations

import pytest
import toys

from mlbench.errors import SuiteError
from mlbench.measurement.subject import stage_key
from mlbench.planning.suite import load_suite, recorded_suite
from mlbench.plugin import Component, MetricOptions, Quantity
from mlbench.plugins import Plugin, load_plugins
from mlbench.registry import Registry

NESTED = "widths=[2, 4, 8]"

#: A backbone whose shape is known before it is built.
LCNET = ("backbone={name: timm, model: lcnet_050, weights: none}", "image.size=32")


@pytest.mark.parametrize(
    ("widths", "told"),
    [
        ("[8, 4]", r"widths is \[8, 4\]; expected at least two rising whole numbers from 2 on"),
        ("[4, 4, 8]", "expected at least two rising whole numbers"),
        ("[1, 8]", "from 2 on"),
        ("[8]", "at least two rising whole numbers .*; null or no widths for the whole alone"),
        ("[]", "at least two"),
        ("[4.0, 8]", "whole numbers"),
        ("[true, 8]", "whole numbers"),
        ('["4", 8]', "whole numbers"),
        ("{a: 4}", r"expected a list of widths that ends with the neck's dim, such as \[32, 64, 256\], not"),
        ("8", "expected a list of widths"),
        ("[4, 16]", "the last width is 16, but the neck's dim is 8; end widths with the neck's dim, or"),
    ],
)
def test_what_cannot_be_widths_is_refused_with_its_place(planned, widths: str, told: str) -> None:
    with pytest.raises(SuiteError, match=rf"toy\.yaml:14: cases\.nested\.widths: .*{told}"):
        planned(f"cases:\n  nested: {{widths: {widths}}}\n", overrides=LCNET)


def test_widths_have_no_options(planned) -> None:
    with pytest.raises(SuiteError, match=r"unknown key 'widths\.a'; expected a list of widths"):
        planned(overrides=("widths.a=4",))


def test_widths_change_the_fingerprint_and_their_absence_nothing(planned) -> None:
    cases = [planned(overrides=each).cases[0] for each in ((), ("widths=null",), (NESTED,))]
    first, null, nested = (case.fingerprint for case in cases)
    assert first == null != nested
    assert "widths" not in cases[0].spec.plain()
    assert cases[2].spec.plain()["widths"] == [2, 4, 8]


def test_widths_may_vary_in_the_matrix(planned) -> None:
    plan = planned("matrix:\n  widths: {whole: null, nested: [4, 8]}\n")
    assert [(case.name, case.spec.widths.values) for case in plan.cases] == [
        ("whole", ()),
        ("nested", (4, 8)),
    ]


@pytest.mark.parametrize("sampler", ["all", "{name: partial_fc, rate: 1}"])
def test_every_width_has_class_centres_in_the_forecast(planned, sampler: str) -> None:
    (case,) = planned(overrides=(NESTED, f"sampler={sampler}", *LCNET)).cases
    assert case.forecast.centres == 6 * (2 + 4 + 8)
    assert case.forecast.dim == 8


def test_widths_change_the_speed_of_training_alone(planned) -> None:
    plain, nested = (planned(overrides=each).cases[0] for each in ((), (NESTED,)))
    assert stage_key(plain, "inference") == stage_key(nested, "inference")
    assert stage_key(plain, "training") != stage_key(nested, "training")


def test_claims_tolerances_and_recipes_may_name_the_metrics_of_a_width(planned) -> None:
    more = """\
cases: {nested: {widths: [4, 8]}, other: {widths: [4, 8], loss.margin: 0.2}}
tolerances: {recall_at_1@4: 0.1, threshold@4: 0.1}
claims:
  margin:
    {name: better, sentence: "More.", case: other, than: nested, metric: f1@4, by: 0.1, differ: [loss.margin]}
"""
    plan = planned(more, overrides=("recipe.select_by=map_at_r@4",))
    assert plan.suite.tolerances["recall_at_1@4"] == 0.1
    with pytest.raises(SuiteError, match="no case measures 'recall_at_1@5'"):
        planned(more.replace("recall_at_1@4", "recall_at_1@5"))
    with pytest.raises(
        SuiteError, match=r"recipe\.select_by is 'f1@5', but no metric of the case measures it"
    ):
        planned(more, overrides=("recipe.select_by=f1@5",))


def test_cases_that_differ_in_widths_are_compared_where_the_claim_names_them(planned) -> None:
    more = """\
cases: {{whole: {{}}, nested: {{widths: [4, 8]}}}}
claims: {{cost: {{name: better, sentence: "None.", case: nested, than: whole, metric: f1, by: 0.1{}}}}}
"""
    assert planned(more.format(", differ: [widths]")).suite.claims
    with pytest.raises(SuiteError, match=r"'nested' and 'whole' differ in widths \(\[4, 8\] and absent\)"):
        planned(more.format(""))


def test_quantities_of_a_width_have_no_columns_and_no_default_tolerance(planned) -> None:
    spec = planned(overrides=(NESTED,)).cases[0].spec
    found = spec.quantities()
    assert (found["f1@2"].heading, found["f1@2"].headline, found["f1@2"].tolerance) == ("", False, None)
    assert found["f1@2"].higher_is_better is True
    assert "f1@8" not in found
    assert spec.width_of("f1@2") == ("f1", 2)
    assert spec.width_of("f1") == ("f1", None)


class Taking(MetricOptions):
    """A metric that is called as F1 at width 4 is."""

    def build(self) -> Taking:
        return self

    def quantities(self) -> dict[str, Quantity]:
        return {"f1@4": Quantity("something else")}

    def of_embeddings(self, embeddings: object) -> dict[str, float]:
        return {"f1@4": 0.5}


def test_a_metric_that_is_called_as_one_of_a_width_is_refused(write) -> None:
    taking = Component("metric", "taking", f"{__name__}:Taking", "a name with @")
    plugins = [Plugin(*("toys",) * 3, "1.0", (*toys.mlbench_components(), taking))]
    registry = Registry((*load_plugins(), *plugins))
    metrics = ("metrics=[verification, taking]",)
    load_suite(write(), registry, overrides=metrics)
    with pytest.raises(
        SuiteError, match=r"cases\.nested\.widths: a metric is called 'f1@4', as is that of a"
    ):
        load_suite(write("cases:\n  nested: {widths: [4, 8]}\n"), registry, overrides=metrics)


def test_a_loss_may_not_be_called_as_one_of_a_width(planned) -> None:
    overrides = ("loss=null", "losses={near@4: {name: cosface}}")
    planned(overrides=overrides)
    with pytest.raises(SuiteError, match="with widths, no loss may have @ in its name"):
        planned(overrides=(*overrides, NESTED))


@pytest.mark.parametrize("widths", [(), (2, 4, 8)])
def test_a_record_has_the_widths_of_its_case(planned, registry, tmp_path, widths) -> None:
    (case,) = planned(overrides=(NESTED,) if widths else ()).cases
    settings = case.spec.plain()
    suite = recorded_suite("toy", tmp_path / "toy.yaml", "base", 0, settings, "record", registry)
    assert suite.specs[0].widths.values == widths
