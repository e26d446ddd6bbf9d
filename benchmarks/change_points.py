"""How often does the search for steps see one that is not there, and how often does it find one that is?

Series of noise alone, then of noise with one step at a random place (at least 2 values from either end), are
searched as `mlbench publish` does. A row per length: the share of noise series with a step; for each size of
step the share found within one run of its place; and the share of these series with a step anywhere else.
Kinds of noise: "white" (normal, 3 % of the value: about the run-to-run noise of speeds in CI), "drifting"
(the same with a correlation of 0.3 from run to run), "spiked" (white, and one run in twenty a quarter off).

    python benchmarks/change_points.py --series 1000
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from mlbench.history.steps import FEWEST, find_steps

NOISE = 0.03
STEPS = (0.05, 0.1, 0.2)
LENGTHS = (8, 12, 20, 50, 100)
CORRELATION = 0.3


def noise(kind: str, length: int, generator: np.random.Generator) -> np.ndarray:
    """Noise relative to the value, (length,) float64."""
    white = generator.normal(size=length)
    if kind == "drifting":
        for place in range(1, length):
            white[place] = CORRELATION * white[place - 1] + np.sqrt(1 - CORRELATION**2) * white[place]
    spikes = -0.25 * (generator.random(length) < 0.05) if kind == "spiked" else 0.0
    return NOISE * white + spikes


def row(kind: str, length: int, series: int, seed: int) -> Sequence[float]:
    """Share of false steps in noise; shares of steps found, by size; share of false steps beside them."""
    generator = np.random.default_rng([seed, length])
    false = sum(bool(find_steps([*(1 + noise(kind, length, generator))])) for _ in range(series))
    found, beside = [], 0
    for size in STEPS:
        hits = 0
        for _ in range(series):
            at = int(generator.integers(FEWEST, length - FEWEST + 1))
            values = 1 + noise(kind, length, generator)
            values[at:] *= 1 - size
            places = [step.at for step in find_steps([*values])]
            hits += any(abs(place - at) <= 1 for place in places)
            beside += any(abs(place - at) > 1 for place in places)
        found.append(hits / series)
    return [false / series, *found, beside / series / len(STEPS)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--series", type=int, default=1000, help="series of each kind")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(
        "noise     runs  false  " + "".join(f"{f'{size:.0%} found':>11}" for size in STEPS) + "  false beside"
    )
    for kind in ("white", "drifting", "spiked"):
        for length in LENGTHS:
            false, *found, beside = row(kind, length, options.series, options.seed)
            shares = "".join(f"{share:>11.1%}" for share in found)
            print(f"{kind:9} {length:4}  {false:5.1%}  {shares}  {beside:12.1%}", flush=True)


if __name__ == "__main__":
    main()
