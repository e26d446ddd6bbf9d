"""Reports of a tuning: tables, sentences and notes, or JSON."""

from __future__ import annotations

import json
import shlex
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mlbench.planning.document import flow_text
from mlbench.records.record import Estimate
from mlbench.records.report import metric_text, protocols_of
from mlbench.table import Table
from mlbench.tuning.outcome import Outcome
from mlbench.tuning.trial import Trial

__all__ = [
    "outcome_json",
    "outcome_markdown",
    "outcome_notes",
    "outcome_sentences",
    "spread_table",
    "trials_table",
]

_DEFAULT = "default"


def trials_table(outcome: Outcome) -> Table:
    """One row per trial, best first, then those without a result, then the case as the suite has it."""
    objective, names = outcome.objective, list(outcome.facts["section"]["space"])
    columns = (f"{objective} calibration", f"{objective} test")
    rest = [trial for trial in outcome.trials if trial.objective is None]
    rows = [
        [f"t{trial.number:03}", _score(trial), _estimate(outcome.test(trial)), *_values(trial, names)]
        for trial in (*outcome.ranked, *sorted(rest, key=lambda trial: trial.state))
    ]
    default = outcome.default
    if default["calibration"]:
        record = outcome.records[outcome.repeats[0]]
        plain = [_text(_setting(record.settings, name)) for name in names]
        rows.append([_DEFAULT, *(_seeds(default[split]) for split in ("calibration", "test")), *plain])
    suite, case = outcome.facts["suite"], outcome.facts["section"]["case"]
    title = f"Tuning of {suite}, case {case}: {objective} of the calibration split decides"
    records = [record for record in outcome.records.values() if record.status == "done"]
    protocol = protocols_of(records)
    title = "\n".join([title, *(protocol if len(protocol) == 1 else ())])
    return Table(["trial", *columns, *names], rows, numbers=columns, title=title, keep=3 + len(names))


def spread_table(outcome: Outcome) -> Table | None:
    """The spread of all trials that are done; None where none is."""
    headings = ["", "least", "lower quartile", "median", "upper quartile", "greatest"]
    rows = [
        [
            f"{outcome.objective} {split}",
            *(metric_text(getattr(each, name)) for name in ("least", "lower", "median", "upper", "greatest")),
        ]
        for split, each in outcome.spreads().items()
    ]
    done = len(outcome.ranked)
    title = f"Spread over {done} {'trial' if done == 1 else 'trials'}"
    return Table(headings, rows, numbers=headings[1:], title=title) if rows else None


def outcome_sentences(outcome: Outcome) -> list[str]:
    """The winner with its settings, and how much of its lead chance explains."""
    winner = outcome.winner
    if winner is None or winner.objective is None:
        return ["no trial is done"]
    return [
        _winner(outcome, winner),
        "its settings, for the suite:",
        *(f"  {key}: {flow_text(value)}" for key, value in outcome.settings(winner).items()),
        f"or: {_command(outcome, winner)}",
        *_comparisons(outcome, winner),
    ]


def outcome_markdown(outcome: Outcome) -> list[str]:
    """The spread of the trials as a table in Markdown, and what became of the winner as a list. A trial must
    be done."""
    winner, spread = outcome.winner, spread_table(outcome)
    assert winner is not None
    assert spread is not None
    rows = [spread.headings, ["---"] * len(spread.headings), *spread.rows]
    settings = ", ".join(f"{key} {_text(value)}" for key, value in winner.values.items())
    found = [
        f"{_winner(outcome, winner)}; {settings}",
        *_comparisons(outcome, winner),
        *outcome_notes(outcome),
    ]
    return [*(f"| {' | '.join(row)} |" for row in rows), "", *(f"- {line}" for line in found)]


def outcome_notes(outcome: Outcome) -> list[str]:
    """How many trials have no result, and the errors of those that failed."""
    notes = []
    states = [trial.state for trial in outcome.trials]
    for state, why in (
        ("pruned", "worse than the median early on"),
        ("running", "in other processes, or interrupted"),
    ):
        if count := states.count(state):
            notes.append(f"{count} of {len(states)} trials {state}: {why}")
    failures: dict[str, list[str]] = {}
    for trial in outcome.trials:
        if trial.state == "failed":
            failures.setdefault(trial.error, []).append(f"t{trial.number:03}")
    return [*notes, *(f"{', '.join(names)} failed: {error}" for error, names in failures.items())]


def outcome_json(outcome: Outcome) -> str:
    """Everything of the report as JSON; trials best first."""
    rest = [trial for trial in outcome.trials if trial.objective is None]
    winner, noise, chance = outcome.winner, outcome.noise, outcome.chance
    data: dict[str, Any] = {
        "suite": outcome.facts["suite"],
        **outcome.facts["section"],
        "higher_is_better": outcome.higher,
        "trials": [_trial(outcome, trial) for trial in (*outcome.ranked, *rest)],
        "spread": {split: asdict(each) for split, each in outcome.spreads().items()},
        "winner": None
        if winner is None
        else {
            **_trial(outcome, winner),
            "settings": outcome.settings(winner),
            "command": _command(outcome, winner),
        },
        "default": outcome.default,
        "noise": noise and {"deviation": noise.deviation, "source": noise.source},
        "chance": chance and {"gain": outcome.gain, **asdict(chance)},
        "optimism": {
            "winner": outcome.optimism([winner] if winner else []),
            "mean": outcome.optimism(outcome.ranked),
        },
    }
    return json.dumps(data, indent=1, ensure_ascii=False)


def _trial(outcome: Outcome, trial: Trial) -> dict[str, Any]:
    test = outcome.test(trial)
    return {
        "name": outcome.name(trial),
        **asdict(trial),
        "test": {"value": test.value, "low": test.low, "high": test.high},
    }


def _winner(outcome: Outcome, winner: Trial) -> str:
    assert winner.objective is not None
    score = f"{outcome.objective} {metric_text(winner.objective)} on calibration"
    return f"winner: {outcome.name(winner)}, {score}, {_estimate(outcome.test(winner))} on test"


def _comparisons(outcome: Outcome, winner: Trial) -> list[str]:
    """The winner beside the default settings, chance, and its own test score."""
    found = []
    if outcome.default["calibration"]:
        calibration, test = (_seeds(outcome.default[split]) for split in ("calibration", "test"))
        found.append(f"default settings: {outcome.objective} {calibration} on calibration, {test} on test")
    return [*found, *_chance(outcome), *_optimism(outcome, winner)]


def _chance(outcome: Outcome) -> list[str]:
    chance, noise = outcome.chance, outcome.noise
    if len(outcome.ranked) < 2:
        return []
    if chance is None or noise is None:
        return ["chance: not known, as there are neither repeats of the default settings nor intervals"]
    verdict = "more than chance explains" if outcome.gain > chance.most else "no more than chance may give"
    return [
        f"chance: the best of {chance.count} equally good trials is {_number(chance.expected)} better than "
        f"their mean on average, and less than {_number(chance.most)} in 95 % of searches; the winner is "
        f"{_number(outcome.gain)} better than the mean of the {len(outcome.ranked)} that are done: {verdict} "
        f"(noise {_number(noise.deviation)}, {noise.source})"
    ]


def _optimism(outcome: Outcome, winner: Trial) -> list[str]:
    one, mean = outcome.optimism([winner]), outcome.optimism(outcome.ranked)
    if one is None or mean is None:
        return []
    return [
        f"optimism: the winner is {_number(one)} better on calibration than on test, the trials "
        f"{_number(mean)} on average"
    ]


def _command(outcome: Outcome, trial: Trial) -> str:
    """The command that runs the case with the settings of a trial."""
    facts = outcome.facts
    command = ["mlbench", "run", facts["file"], "--cases", facts["section"]["case"], *facts["options"]]
    for key, value in outcome.settings(trial).items():
        command += ["--set", f"{key}={flow_text(value)}"]
    return shlex.join(command)


def _values(trial: Trial, names: Sequence[str]) -> list[str]:
    return [_text(trial.values[name]) if name in trial.values else "" for name in names]


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else flow_text(value)


def _setting(settings: Any, key: str) -> Any:
    """A setting of a record by its key in a suite."""
    section, _, option = key.partition(".")
    found = settings.get(section)
    return found.get(option) if option and isinstance(found, dict) else found


def _score(trial: Trial) -> str:
    if trial.objective is not None:
        return metric_text(trial.objective)
    last = f" {metric_text(list(trial.scores.values())[-1])}" if trial.scores else ""
    return f"{trial.state}{last}"


def _estimate(found: Estimate) -> str:
    if found.value is None:
        return "–"
    if found.low is None or found.high is None:
        return metric_text(found.value)
    return f"{metric_text(found.value)} [{_short(found.low)}–{_short(found.high)}]"


def _seeds(values: Sequence[float]) -> str:
    if not values:
        return "–"
    mean = metric_text(statistics.fmean(values))
    return f"{mean} ±{_short(statistics.stdev(values))}" if len(values) > 1 else mean


def _short(value: float) -> str:
    return metric_text(value).removeprefix("0")


def _number(value: float) -> str:
    """A difference of metrics."""
    return metric_text(value, 3)
