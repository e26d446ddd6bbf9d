"""How often are verdicts on claims wrong, how often are true claims found, and do the intervals cover?

Simulates studies with a known truth: values of cases with normal noise, of which some is shared by all cases
of a seed. Prints a row for each claim: the shares of studies in which it was supported and refuted, the share
in which the shown 95 % interval covers the truth, and the mean number of seeds. Claims marked "bound" are at
the edge of being true, so both verdicts should occur in at most 2.5 %.

    python benchmarks/claims.py --studies 10000
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlbench.claims.judgement import Answer, Judgement
from mlbench.plugins import load_plugins
from mlbench.registry import Registry
from mlbench.regression.statistics import samples_needed, t_power

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from claim_studies import METRIC, claim, covers, decided, draws, finding, judged, repeated

_Study = Callable[[np.random.Generator], Judgement]

SMALL, LARGE = list("abcde"), list("fghij")
PAIR = {"case": "a", "than": "b"}
FLIP = {"here": ["a", "b"], "there": ["c", "d"]}
ROWS = {"small": SMALL, "large": LARGE}


def fixed(stated: Any, means: dict[str, float], seeds: int, noise: float = 1.0, axes: Any = None) -> _Study:
    """A study with a fixed number of seeds."""
    return lambda generator: judged([stated], draws(generator, means, seeds, noise=noise), axes)[0]


def adding(stated: Any, means: dict[str, float], start: int, most: int) -> _Study:
    """A study to which seeds are added until it is decided."""
    return lambda generator: decided([stated], draws(generator, means, most), start=start, most=most)[0]


def show(name: str, count: int, study: _Study, truth: float | None = None) -> None:
    """Print one row. truth: of the effect, for the coverage of its interval."""
    found = repeated(count, 1, study)
    supported, refuted = (
        np.mean([each.verdict is verdict for each in found]) for verdict in (Answer.SUPPORTED, Answer.REFUTED)
    )
    covered = ""
    if truth is not None:
        covered = f"{np.mean([covers(finding(each).effect, truth) for each in found]):.3f}"
    seeds = np.mean([finding(each).effect.samples for each in found])
    print(f"{name:46} {count:>7,} {supported:>9.4f} {refuted:>8.4f} {covered:>8} {seeds:>5.1f}", flush=True)


def show_family(name: str, count: int, study: Callable[[np.random.Generator], Sequence[Judgement]]) -> None:
    """Print the share of studies with any verdict on a claim whose truth is its bound."""
    found = repeated(count, 1, study)
    wrong = np.mean([any(each.p <= 0.05 for each in judgements) for judgements in found])
    print(f"{name:46} {count:>7,} any verdict {wrong:.4f}", flush=True)


def error_rates(registry: Registry, count: int) -> None:
    better = claim(registry, "better", **PAIR)
    for seeds in (3, 5, 10):
        show(f"better, bound, {seeds} seeds", count, fixed(better, {"a": 0, "b": 0}, seeds), 0)
    by = claim(registry, "better", **PAIR, by=0.5)
    show("better by .5, bound, 5 seeds", count, fixed(by, {"a": 0.5, "b": 0}, 5), 0.5)
    flip = claim(registry, "interaction", **FLIP)
    show("flip, bound: one side alone", count, fixed(flip, {"a": 0, "b": 0, "c": 0, "d": 9}, 5))
    show("flip, bound: no effect", count, fixed(flip, dict.fromkeys("abcd", 0), 5))
    plain = claim(registry, "interaction", **FLIP, flip=False, by=1.0)
    show("interaction, bound", count, fixed(plain, {"a": 3, "b": 1, "c": 1, "d": 0}, 5), 1)
    trend = claim(registry, "trend", cases=SMALL)
    show("trend, bound", count, fixed(trend, dict.fromkeys(SMALL, 0), 5), 0)
    gains = claim(registry, "transfer", **ROWS, of="gains")
    one = dict(zip(SMALL + LARGE, [0, 1, 1, 1, 1, 0, 1, 9, 9, 9], strict=True))
    show("gains, bound: one of four", count, fixed(gains, one, 5))
    every = dict(zip(SMALL + LARGE, [0, 1, 1, 1, 1, 0, 1, 1, 1, 1], strict=True))
    show("gains, bound: all four", count, fixed(gains, every, 5))
    table = claim(registry, "table", rows={"a": {METRIC: 0}, "b": {METRIC: 0}}, within={METRIC: 5})
    show("table, bound: one of two", count, fixed(table, {"a": 5, "b": 0}, 5))
    show("table, bound: both", count, fixed(table, {"a": 5, "b": -5}, 5))
    ranking = claim(registry, "transfer", **ROWS)

    def unrelated(generator: np.random.Generator) -> Judgement:
        means = dict(zip(SMALL + LARGE, generator.standard_normal(10), strict=True))
        return judged([ranking], draws(generator, means, 4, noise=0.2))[0]

    show("ranking of 5, no relation", count // 5, unrelated)
    ten = [claim(registry, "better", f"c{each}", case=each, than="z") for each in "abcdefghij"]
    null = dict.fromkeys("abcdefghijz", 0.0)
    show_family("ten claims, bound, 5 seeds", count, lambda g: judged(ten, draws(g, null, 5)))
    show_family(
        "ten claims, bound, 3 to 12 seeds",
        count // 10,
        lambda g: decided(ten, draws(g, null, 12), start=3, most=12),
    )


def intervals(registry: Registry, count: int) -> None:
    axes = {
        case: {"neck": neck, "data": data}
        for case, neck, data in (("a", "x", "1"), ("b", "y", "1"), ("c", "x", "2"), ("d", "y", "2"))
    }
    strata = claim(registry, "better", case={"neck": "x"}, than={"neck": "y"})
    show("better over two strata", count, fixed(strata, {"a": 3, "b": 1, "c": 1, "d": 0}, 5, axes=axes), 1.5)
    trend = claim(registry, "trend", cases=list("abc"))
    show("trend", count, fixed(trend, {"a": 0, "b": 1, "c": 5}, 5), 2.5)


def power(registry: Registry, count: int) -> None:
    better = claim(registry, "better", **PAIR)
    for effect, noise in ((2.0, 0.5), (1.0, 0.5), (0.6, 0.6), (0.4, 0.6)):
        spread = noise * 2**0.5
        needed = samples_needed(spread, effect)
        assert needed is not None
        planned = t_power(needed, effect / spread, 0.95)
        name = f"better, effect {effect / spread:.2f} sd, planned {planned:.3f}"
        show(name, count, fixed(better, {"a": effect, "b": 0}, needed, noise), effect)


def until_decided(registry: Registry, count: int) -> None:
    better = claim(registry, "better", **PAIR)
    for start, most in ((2, 10), (3, 10), (3, 20), (5, 20), (3, 40)):
        show(
            f"better, bound, {start} to {most} seeds", count, adding(better, {"a": 0, "b": 0}, start, most), 0
        )
    for effect in (0.7, 1.4, 2.8):
        name = f"better, effect {effect / 2**0.5:.2f} sd, 3 to 20 seeds"
        show(name, count, adding(better, {"a": effect, "b": 0}, 3, 20), effect)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=10_000)
    count = parser.parse_args().studies
    registry = Registry(load_plugins())
    print(f"{'claim':46} {'studies':>7} {'supported':>9} {'refuted':>8} {'coverage':>8} {'seeds':>5}")
    error_rates(registry, count)
    intervals(registry, count)
    power(registry, count)
    until_decided(registry, count // 5)


if __name__ == "__main__":
    main()
