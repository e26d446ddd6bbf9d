"""Studies of claims whose truth is known: made-up values of cases, and the judgements on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mlbench.claims.judgement import Judgement, judge
from mlbench.claims.looks import Looks
from mlbench.contracts.claims import Effect, Finding
from mlbench.deciding import next_step
from mlbench.planning.claims import Claim
from mlbench.planning.spec import Part
from mlbench.records.record import Estimate, Record
from mlbench.registry import Registry

METRIC = "recall_at_1"
HERE = {"device": "cpu"}

#: Values of cases by name: one for each seed.
Values = Mapping[str, Sequence[float]]


def claim(registry: Registry, kind: str, name: str = "c", **options: Any) -> Claim:
    """A claim about METRIC, where its kind takes one metric and no other is given."""
    entry = registry.get("claim", kind)
    if "metric" in entry.options_class.model_fields:
        options = {"metric": METRIC, **options}
    return Claim(
        name, Part(entry, entry.check({"sentence": "It is so.", **options}), lambda option: "s.yaml:1")
    )


def records(values: Values, *, higher: bool | None = True, metric: str = METRIC) -> list[Record]:
    """Finished records of the values, with seeds from 0."""
    return [
        Record(
            suite="s",
            case=case,
            seed=seed,
            fingerprint=f"{case}{seed}",
            status="done",
            metrics={metric: Estimate(float(value), higher_is_better=higher)},
            environment=HERE,
        )
        for case, row in values.items()
        for seed, value in enumerate(row)
    ]


def judged(
    claims: Sequence[Claim], values: Values, axes: Mapping[str, Mapping[str, str]] | None = None
) -> list[Judgement]:
    """Judgements after one test of all values."""
    return judge(claims, records(values), axes or {case: {} for case in values})


def decided(claims: Sequence[Claim], values: Values, *, start: int, most: int) -> list[Judgement]:
    """Judgements where seeds were added from `start` on until every claim was decided, as by
    `mlbench run --until-decided`. values: of `most` seeds."""
    known, axes, seeds = records(values), {case: {} for case in values}, range(start)
    looks = {each.id: Looks((start,), most) for each in claims}
    while True:
        found = judge(claims, known, axes, seeds=seeds, looks=looks)
        step = next_step(found, seeds)
        if step is None:
            return found
        looks |= step.looks


def draws(
    generator: np.random.Generator,
    means: Mapping[str, float],
    seeds: int,
    *,
    noise: float = 1.0,
    shared: float = 1.0,
) -> dict[str, np.ndarray]:
    """Values of cases with these true means: normal noise of each, and of each seed, which
    all cases share."""
    common = shared * generator.standard_normal(seeds)
    return {case: mean + common + noise * generator.standard_normal(seeds) for case, mean in means.items()}


def repeated(count: int, seed: int, study: Callable[[np.random.Generator], Any]) -> list[Any]:
    """The results of `count` independent studies."""
    return [study(generator) for generator in np.random.default_rng(seed).spawn(count)]


def share(found: Sequence[bool]) -> float:
    return sum(map(bool, found)) / len(found)


def covers(effect: Effect, truth: float) -> bool:
    """Whether the interval of an effect has the true value."""
    assert effect.low is not None
    assert effect.high is not None
    return effect.low <= truth <= effect.high


def finding(judgement: Judgement) -> Finding:
    assert judgement.finding is not None
    return judgement.finding
