"""Tuning files: what the report of a tuning rests on, small enough to commit.

One JSON file for a suite at one size: the trials with their values, and of each record the score on the
calibration split and the estimate on test, with the machine and the versions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlbench.atomic_write import write_atomically
from mlbench.claims.evidence_files import machine_facts
from mlbench.errors import StoreError
from mlbench.planning.document import load_document
from mlbench.planning.sizes import choose_size
from mlbench.planning.suite import Suite, recorded_suite
from mlbench.planning.suite_plugins import suite_registry
from mlbench.records.record import Record, parse_json
from mlbench.records.store import results_settings
from mlbench.registry import Registry
from mlbench.tuning.outcome import Outcome
from mlbench.tuning.report import outcome_markdown
from mlbench.tuning.trial import Trial
from mlbench.tuning.tuning import STORE_SUFFIX, read_section

__all__ = ["SCHEMA", "TuningFile", "check_current", "read_tuning_file", "save_tuning", "tuning_path"]

#: Version of the file format.
SCHEMA = 1

#: What a report needs to know of a tuning.
_FACTS = ("suite", "file", "section", "higher", "options")


@dataclass(frozen=True)
class TuningFile:
    """What a tuning file holds. settings: of the case as the suite had it; None where it was not run so.
    machine: facts of the environment, the libraries' versions and when the last record was finished."""

    outcome: Outcome
    settings: Mapping[str, Any] | None
    machine: Mapping[str, Any]


def tuning_path(folder: Path, suite: str) -> Path:
    """The tuning file of a suite, by its name with the size, in a folder."""
    return folder / f"{suite}{STORE_SUFFIX}.json"


def save_tuning(outcome: Outcome, folder: Path) -> Path:
    """Write the tuning file of an outcome into a folder. Raises StoreError, also where no trial is done."""
    if outcome.winner is None:
        raise StoreError("no trial is done; there is nothing to save")
    path = tuning_path(folder, outcome.facts["suite"])
    write_atomically(path, _text(outcome).encode())
    return path


def read_tuning_file(path: Path) -> TuningFile:
    """Read a tuning file. Raises StoreError."""
    try:
        data = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: cannot be read ({error})") from None
    if not isinstance(data, dict) or data.get("tuning") != SCHEMA:
        raise StoreError(
            f"{path}: no tuning file of schema {SCHEMA}; make one with: mlbench tune show SUITE --save FOLDER"
        )
    try:
        records = {key: Record.from_plain(each, f"{path}: {key}") for key, each in data["records"].items()}
        outcome = Outcome(
            {name: data["facts"][name] for name in _FACTS},
            [_trial(each) for each in data["trials"]],
            records,
            [str(key) for key in data["repeats"]],
        )
        if outcome.winner is None:
            raise ValueError("no trial is done")
        outcome_markdown(outcome)  # so that a mistake in the file shows here
        return TuningFile(outcome, data["settings"], dict(data["machine"]))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise StoreError(f"{path}: not a tuning file ({error!r})") from None


def check_current(found: TuningFile, suite: Suite, where: str, registry: Registry) -> None:
    """Raise StoreError where the suite, at its size, has another section `tune` now, or other settings of the
    case."""
    old, document = found.outcome.facts["section"], load_document(suite.path)
    section = read_section(choose_size(document, suite.size or None).document, suite)
    # How many trials there are in all does not change one of them.
    if {**section.plain(), "trials": None} != {**old, "trials": None}:
        raise StoreError(f"{where}: the section tune of {suite.path} was another one; tune again")
    if found.settings is None:
        return
    (spec,) = (spec for spec in suite.specs if spec.name == section.case)
    # Read as a suite, so that an option that came later has its default.
    own = suite_registry(document, registry)
    then = recorded_suite(suite.name, suite.path, section.case, 0, found.settings, where, own)
    if _plain_settings(then.specs[0].plain()) != _plain_settings(spec.plain()):
        raise StoreError(f"{where}: {section.case!r} had other settings; tune again")


def _plain_settings(settings: Mapping[str, Any]) -> Any:
    """Settings that can change a metric and that no trial changes, as read back from JSON."""
    plain = json.loads(json.dumps(results_settings(settings)))
    plain["recipe"].pop("select_by", None)
    return plain


def _text(outcome: Outcome) -> str:
    """The content of a tuning file, with one line for each trial and record."""
    known = [record for record in outcome.records.values() if record.status == "done"]
    newest = max(known, key=lambda record: record.finished)
    repeats = [outcome.records[key] for key in outcome.repeats if key in outcome.records]
    head = {
        "tuning": SCHEMA,
        "machine": machine_facts(newest),
        "facts": {name: outcome.facts[name] for name in _FACTS},
        "settings": results_settings(repeats[0].settings) if repeats else None,
        "repeats": list(outcome.repeats),
    }
    lines = [f" {_dump(key)}: {_dump(value)}," for key, value in head.items()]
    trials = ",\n".join(f"  {_dump(asdict(trial))}" for trial in outcome.trials)
    records = ",\n".join(
        f"  {_dump(key)}: {_dump(_reduced(record, outcome.objective))}"
        for key, record in sorted(outcome.records.items())
    )
    return (
        "\n".join(["{", *lines, ' "trials": [', f"{trials}", " ],", ' "records": {', records, " }", "}"])
        + "\n"
    )


def _reduced(record: Record, objective: str) -> dict[str, Any]:
    """What a report needs of a record, as plain data."""
    plain = record.plain()
    curve = f"calibration_{objective}"
    recipe = ("select_by", "evaluate_every", "epochs")
    training = plain["training"]
    return {
        **{
            name: plain[name]
            for name in ("schema", "suite", "case", "seed", "fingerprint", "status", "error")
        },
        "settings": {"recipe": {name: plain["settings"]["recipe"][name] for name in recipe}},
        "metrics": {name: each for name, each in plain["metrics"].items() if name == objective},
        "training": {
            "best_epoch": training.get("best_epoch"),
            "curves": {curve: training.get("curves", {}).get(curve, [])},
        },
        "data": {
            "splits": {
                name: {"classes": split["classes"]} for name, split in plain["data"].get("splits", {}).items()
            }
        },
        "evaluation": {"intervals": {"level": plain["evaluation"].get("intervals", {}).get("level")}},
    }


def _trial(plain: Mapping[str, Any]) -> Trial:
    """Raises TypeError for an objective that is no number."""
    objective = plain["objective"]
    if objective is not None and (isinstance(objective, bool) or not isinstance(objective, int | float)):
        raise TypeError(f"{objective!r} is not a number")
    scores = {int(step): float(score) for step, score in plain["scores"].items()}
    return Trial(**{**plain, "scores": scores, "records": tuple(plain["records"])})


def _dump(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, allow_nan=False)
