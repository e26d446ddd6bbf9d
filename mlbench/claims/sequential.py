"""Sequential tests: looks at growing numbers of seeds whose joint error rate stays at its level.

A test that is repeated after every few seeds rejects too often. Alpha spending (Lan and DeMets, Biometrika
1983) limits what each look may spend of the error rate; here it is spent in proportion to the seeds used. The
boundaries are those of a normal process with independent increments, applied to the p-values of t tests
(Jennison and Turnbull, "Group Sequential Methods", section 11.4). The t statistics of few seeds at two looks
are less correlated than such a process, which makes rejections at later looks more frequent by up to a
quarter (benchmarks/claims.py). Therefore looks after the first spend three quarters of their share.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["boundaries", "sequential_p"]

#: Points of the grid on which the distribution of the process is followed, and its half width in standard
#: deviations at the last look.
_POINTS, _WIDTH = 401, 7.0

#: Part of their share of alpha that looks after the first spend.
_LATER = 0.75

#: Precision of a boundary in standard deviations.
_EXACT = 1e-7

#: The least p-value, and the number of alphas for which the boundaries are computed to find one.
_LEAST, _ALPHAS = 1e-9, 46


def boundaries(looks: Sequence[int], most: int, alpha: float) -> tuple[float, ...]:
    """The two-sided p-value at or below which the test rejects at each look.

    looks: numbers of samples, rising, at most `most`, with which no more of alpha is spent. With a single
    look at `most` it is alpha.
    """
    return _boundaries(tuple(looks), most, alpha)


@cache
def _boundaries(looks: tuple[int, ...], most: int, alpha: float) -> tuple[float, ...]:
    import numpy as np
    from scipy.special import ndtr

    times = [count / most for count in looks]
    grid = np.linspace(-_WIDTH, _WIDTH, _POINTS) * math.sqrt(times[-1])
    step = grid[1] - grid[0]
    density = np.zeros(_POINTS)
    density[_POINTS // 2] = 1 / step  # the process starts at 0
    found: list[float] = []
    before = 0.0
    for time in times:
        spread = math.sqrt(time - before)
        share = alpha * (time - before) * (_LATER if found else 1.0)
        low, high = 0.0, _WIDTH * math.sqrt(time)
        while high - low > _EXACT * math.sqrt(time):  # the bound beyond which the share of this look lies
            middle = (low + high) / 2
            tails = ndtr((grid - middle) / spread) + ndtr((-middle - grid) / spread)
            beyond = float(density @ tails) * step
            low, high = (middle, high) if beyond > share else (low, middle)
        found.append(min(1.0, 2 * float(ndtr(-high / math.sqrt(time)))))
        # The density of the move from one point to another depends on their distance alone.
        moves = np.exp(-((np.arange(1 - _POINTS, _POINTS) * step / spread) ** 2) / 2)
        density = np.convolve(moves, density, mode="valid") * step / (spread * math.sqrt(2 * math.pi))
        density *= np.clip((high - np.abs(grid)) / step + 0.5, 0.0, 1.0)  # the part of each cell inside
        before = time
    return tuple(found)


def sequential_p(p_values: Sequence[float], looks: Sequence[int], most: int) -> float:
    """The p-value of the whole sequence: the smallest alpha at which it would have been rejected by now.

    p_values: two-sided, one for each look. No less than 1e-9.
    """
    import numpy as np

    alphas, bounds = _table(tuple(looks), most)
    logs = np.log(np.maximum(p_values, np.exp(bounds[0])))
    found = [np.interp(p, column, alphas) for p, column in zip(logs, bounds.T, strict=True)]
    return float(np.exp(min(found)))


@cache
def _table(looks: tuple[int, ...], most: int) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of alphas, rising, (A,), and of the boundaries of each, (A, looks). Between them the
    boundaries are nearly powers of alpha."""
    import numpy as np

    alphas = np.logspace(math.log10(_LEAST), 0, _ALPHAS)
    bounds = [boundaries(looks, most, float(alpha)) for alpha in alphas]
    return np.log(alphas), np.maximum.accumulate(np.log(bounds))
