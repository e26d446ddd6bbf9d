"""Evidence: the values of cases in the records of a run, paired by seed."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

from mlbench.claims.effects import effect_of, exact_effect, transformed
from mlbench.contracts.claims import Cases, Effect
from mlbench.errors import ClaimError
from mlbench.planning.case_groups import paired_cases
from mlbench.records.record import MEASURED, Estimate, Record, Timing

__all__ = ["Evidence", "Values"]

_Labels = Mapping[str, str]


@dataclass(frozen=True)
class Values:
    """Values of one quantity in several cases.

    strata: for each stratum, by its label, the samples: a tuple with the value of every case. A sample is a
    seed, a round of the measurement, or the one exact value of a size. kind: which of these. seeds: of the
    samples, in their order; () where they are no seeds. sign: 1 where more is better, -1 where less is.
    """

    quantity: str
    unit: str
    kind: Literal["seeds", "rounds", "exact"]
    strata: Mapping[str, Sequence[tuple[float, ...]]]
    seeds: tuple[int, ...] = ()
    sign: int = 1
    level: float = 0.95

    def matrix(self) -> list[tuple[float, ...]]:
        """For every sample the value of every case, (samples, cases); the means over the strata. The
        logarithms of values that are compared by ratio."""
        return [
            tuple(fmean(map(self._form, each)) for each in zip(*rows, strict=True)) for rows in self._rows()
        ]

    def effect(self, weights: Sequence[float], *, bound: float = 0.0, label: str = "") -> Effect:
        """The weighted sum of the cases' values, positive where it is better, against a bound.

        weights: one for each case; (1, -1) is how much better the first is than the second. Speeds, memory
        and sizes are compared by ratio: their effect and bound are relative differences (0.1 is 10 %).
        """
        return self._effect([self._sum(rows, weights) for rows in self._rows()], bound, label)

    def by_stratum(self, weights: Sequence[float], *, bound: float = 0.0) -> tuple[Effect, ...]:
        """`effect` within each stratum; () where there is one only."""
        if len(self.strata) == 1:
            return ()
        return tuple(
            self._effect([self._sum([row], weights) for row in rows], bound, label)
            for label, rows in self.strata.items()
        )

    def level_of(self, case: int, *, bound: float = 0.0, at_most: bool = False, label: str = "") -> Effect:
        """The mean of one case's values, in the quantity's unit, against a bound."""
        values = [fmean(row[case] for row in rows) for rows in self._rows()]
        given: Any = {"bound": bound, "at_most": at_most, "label": label, "unit": self.unit}
        if self.kind == "exact":
            return exact_effect(values[0], **given)
        return effect_of(values, **given, level=self.level, kind=self.kind)

    def ratio(self, *, bound: float, label: str = "") -> Effect:
        """The first case's value divided by the second's, as a claim that it is at most `bound`. For values
        that are compared by ratio."""
        ratios = [self.sign * self._sum(rows, (1.0, -1.0)) for rows in self._rows()]
        given: Any = {"bound": math.log(bound), "at_most": True, "label": label, "unit": "x"}
        found = (
            exact_effect(ratios[0], **given)
            if self.kind == "exact"
            else effect_of(ratios, **given, level=self.level, kind="rounds")
        )
        return transformed(found, bound, math.exp)

    def _rows(self) -> list[tuple[tuple[float, ...], ...]]:
        """For every sample the values of every stratum, (samples, strata, cases)."""
        return list(zip(*self.strata.values(), strict=True))

    def _form(self, value: float) -> float:
        return value if self.kind == "seeds" else math.log(value)

    def _sum(self, rows: Sequence[Sequence[float]], weights: Sequence[float]) -> float:
        """The weighted sum in one sample, positive where it is better; its mean over strata."""
        each = (
            sum(weight * self._form(value) for weight, value in zip(weights, row, strict=True) if weight)
            for row in rows
        )
        return self.sign * fmean(each)

    def _effect(self, values: Sequence[float], bound: float, label: str) -> Effect:
        if self.kind == "seeds":
            return effect_of(values, bound=bound, label=label, unit=self.unit, level=self.level)
        if bound <= -1:
            raise ClaimError(f"{bound:g} is no share of a {self.quantity}; expected more than -1 (-100 %)")
        given: Any = {"bound": math.log1p(bound), "label": label, "unit": "%"}
        found = (
            exact_effect(values[0], **given)
            if self.kind == "exact"
            else effect_of(values, **given, level=self.level, kind="rounds")
        )
        return transformed(found, bound, math.expm1)


class Evidence:
    """The records of a suite's cases, as a claim sees them.

    axes: labels of every case of the suite on the axes of its matrix, whatever its size. removed: cases that
    the chosen size leaves out. absent: why a case has no records, by its name. seeds: those that count, in
    their order; None for all, ascending. level: of intervals. failed: seeds that were found not to count, as
    a case failed or has no value there. disturbed: cases whose speed was measured while other work slowed the
    machine. notes: what else limits the values that were asked for, one line each, in their order.
    """

    def __init__(
        self,
        records: Sequence[Record],
        axes: Mapping[str, _Labels],
        *,
        removed: Collection[str] = (),
        absent: Mapping[str, str] | None = None,
        seeds: Sequence[int] | None = None,
        level: float = 0.95,
    ) -> None:
        self.level = level
        self._axes = axes
        self._removed = removed
        self._absent = dict(absent or {})
        self._seeds = seeds
        self.failed: set[int] = set()
        self.disturbed: set[str] = set()
        self.notes: dict[str, None] = {}
        self._records: dict[str, dict[int, Record]] = {}
        for record in records:
            self._records.setdefault(record.case, {})[record.seed] = record

    def values(self, cases: Sequence[Cases], quantity: str) -> Values:
        """Values of a metric, speed or size in these cases, paired.

        Raises ClaimError where a case has no value, or the cases have no seed in common.
        """
        strata = paired_cases(cases, self._axes)
        # Another size may have further strata.
        here = {label: names for label, names in strata.items() if not {*names} & {*self._removed}}
        if here and len(here) < len(strata):
            missing = "; ".join(label for label in strata if label not in here)
            self.notes[f"this size of the suite leaves out {missing}"] = None
        strata = here or strata
        if quantity in MEASURED:
            return self._measured(strata, quantity)
        found = {label: [self._by_seed(case, quantity) for case in names] for label, names in strata.items()}
        known = [values for each in found.values() for values in each]
        order = sorted(set().union(*known)) if self._seeds is None else self._seeds
        seeds = tuple(seed for seed in order if all(seed in values for values in known))
        if not seeds:
            names = ", ".join(dict.fromkeys(case for each in strata.values() for case in each))
            raise ClaimError(f"{names} have no seed in common with a value of {quantity}")
        run = [set(self._records[case]) for each in strata.values() for case in each]
        self.failed |= set.intersection(*run).intersection(order).difference(seeds)
        announced = self._announced(quantity)
        if announced.higher_is_better is None:
            raise ClaimError(f"{quantity}: neither direction is better")
        return Values(
            quantity,
            announced.unit,
            "seeds",
            {
                label: [tuple(values[seed] for values in each) for seed in seeds]
                for label, each in found.items()
            },
            seeds,
            1 if announced.higher_is_better else -1,
            self.level,
        )

    def _announced(self, quantity: str) -> Estimate:
        return next(
            estimate
            for each in self._records.values()
            for record in each.values()
            if (estimate := record.estimate(quantity)) is not None
        )

    def _case(self, case: str) -> dict[int, Record]:
        """Finished records of a case by seed. Raises ClaimError where there are none."""
        records = self._records.get(case, {})
        done = {seed: record for seed, record in records.items() if record.status == "done"}
        if not done:
            failed = next((f"{case} failed: {record.error}" for record in records.values()), "")
            if case in self._removed:
                raise ClaimError(f"this size of the suite has no case {case}")
            raise ClaimError(failed or self._absent.get(case, f"there is no record of {case}"))
        return done

    def _by_seed(self, case: str, quantity: str) -> dict[int, float]:
        found, note = {}, ""
        for seed, record in self._case(case).items():
            estimate = record.estimate(quantity)
            if estimate is not None and estimate.value is not None:
                found[seed] = float(estimate.value)
            elif estimate is not None:
                note = estimate.note
        if not found:
            raise ClaimError(f"{case} has no {quantity}{note and f' ({note})'}")
        return found

    def _measured(self, strata: Mapping[str, Sequence[str]], quantity: str) -> Values:
        """Values of a speed, a memory peak or a size."""
        unit, higher = MEASURED[quantity]
        cases = list(dict.fromkeys(case for each in strata.values() for case in each))
        timed = any(quantity in r.speed for each in self._records.values() for r in each.values())
        if timed:
            known = self._rounds(cases, quantity)
        else:
            known = {case: (self._exact(case, quantity),) for case in cases}
        rounds = min(map(len, known.values()))
        return Values(
            quantity,
            unit,
            "rounds" if timed else "exact",
            {
                label: list(zip(*(known[case][:rounds] for case in names), strict=True))
                for label, names in strata.items()
            },
            sign=1 if higher else -1,
            level=self.level,
        )

    def _rounds(self, cases: Sequence[str], quantity: str) -> dict[str, Sequence[float]]:
        """The rounds of a speed of every case, which the cases of one measuring session take in turn."""
        found = {case: self._sessions(case, quantity) for case in cases}
        common = [session for session in found[cases[0]] if all(session in each for each in found.values())]
        names = ", ".join(cases)
        if not common:
            raise ClaimError(f"{names}: {quantity} was measured in separate runs; run with --measure-again")
        session = max(common, key=bool)  # one that is known, where there is one
        chosen = {case: each[session] for case, each in found.items()}
        turns = {record.turn(quantity) for record in chosen.values()}
        if len(turns) > 1:
            self.notes[f"{names}: {quantity} was measured one after the other, not in turn"] = None
        elif "" in turns and len(cases) > 1:
            # Records and evidence files from before turns were stored.
            self.notes[f"{names}: it is not known whether {quantity} was measured in one run"] = None
        for case, record in chosen.items():
            # The note is that of an evidence file.
            if record.is_disturbed(quantity) or record.speed[quantity].note:
                self.disturbed.add(case)
        return {case: record.speed[quantity].rounds for case, record in chosen.items()}

    def _sessions(self, case: str, quantity: str) -> dict[str, Record]:
        """Records of a case with rounds of a speed, the first of each measuring session by its name."""
        found: dict[str, Record] = {}
        note = ""
        for record in self._case(case).values():
            timing: Timing | None = record.speed.get(quantity)
            if timing is not None and timing.rounds:
                found.setdefault(record.session(quantity), record)
            elif timing is not None:
                note = timing.note
        if not found:
            raise ClaimError(f"{case} has no {quantity}{note and f' ({note})'}")
        return found

    def _exact(self, case: str, quantity: str) -> float:
        """A peak of memory or a size, which every seed has."""
        note = ""
        for record in self._case(case).values():
            timing: Timing | None = record.memory.get(quantity)
            value = timing.value if timing is not None else record.size.get(quantity)
            if value is not None and value > 0:
                return float(value)
            note = timing.note if timing is not None else note
        raise ClaimError(f"{case} has no {quantity}{note and f' ({note})'}")
