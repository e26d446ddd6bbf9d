"""The tuning that a suite file describes: its section `tune`, checked, and the plans of its trials."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mlbench.contracts import Dataset
from mlbench.environment import Device, find_device
from mlbench.errors import SuiteError, hint
from mlbench.options import first_problem
from mlbench.planning.document import Document, KeyPath, load_document
from mlbench.planning.plan import Plan, make_plan
from mlbench.planning.request import PlanRequest
from mlbench.planning.settings import Changes
from mlbench.planning.sizes import Sized, choose_size
from mlbench.planning.suite import Suite, changed_specs, read_suite
from mlbench.planning.suite_plugins import suite_registry
from mlbench.records.store import results_settings
from mlbench.registry import Registry
from mlbench.seeding import MAX_SEED
from mlbench.tuning.space import Dimension, read_space

__all__ = ["STORE_SUFFIX", "Section", "Tuning", "has_tuning", "read_section", "read_tuning", "tuning_source"]

#: End of the name of the store with the trials of a suite. No suite can have it, as a name has no "+".
STORE_SUFFIX = "+tune"

#: Keys of a section `tune`, for a file without one.
_EXAMPLE = "tune: {case: NAME, objective: f1, trials: 31, space: {loss.margin: {low: 0.1, high: 0.6}}}"


class _Keys(BaseModel):
    """The keys of the section."""

    model_config = ConfigDict(extra="forbid", strict=True)

    case: str = ""
    objective: str
    trials: Annotated[int, Field(ge=1, le=100_000)] = 31
    seeds: list[Annotated[int, Field(ge=0, le=MAX_SEED)]] = []
    repeats: Annotated[int, Field(ge=0, le=100)] = 5
    pruning: bool = True
    source: str = ""
    space: dict[str, Any]


@dataclass(frozen=True)
class Section:
    """The section `tune`. case: whose settings are varied. objective: the quantity of the calibration split
    by which the winner is chosen. seeds: of every trial, whose objective is the mean over them. repeats:
    number of seeds with which the case is run as it is. pruning: whether bad trials are stopped early."""

    case: str
    objective: str
    trials: int
    seeds: tuple[int, ...]
    repeats: int
    pruning: bool
    space: Mapping[str, Dimension]

    def plain(self) -> dict[str, Any]:
        """As plain data."""
        space = {name: dimension.plain() for name, dimension in self.space.items()}
        return {**self.__dict__, "seeds": list(self.seeds), "space": space}


@dataclass(frozen=True)
class Tuning:
    """A tuning on one device. suite: with the whole file's cases, under the name of the store of the trials.
    higher: whether a higher objective is better. name: of the tuning; another one where the case, the search
    space, the code, the data or the device differ, as trials cannot be compared then."""

    section: Section
    suite: Suite
    higher: bool
    name: str
    plans: _Plans

    @property
    def facts(self) -> dict[str, Any]:
        """What a report needs to know, as plain data. options: words of the command line that a run of a
        trial's settings needs."""
        limit = self.plans.limit
        sets = [word for text in self.plans.overrides for word in ("--set", text)]
        return {
            "suite": self.suite.name.removesuffix(STORE_SUFFIX),
            "file": str(self.suite.path),
            "section": self.section.plain(),
            "higher": self.higher,
            "options": [
                *(("--size", self.suite.size) if self.suite.size else ()),
                *sets,
                *(() if limit is None else ("--limit", str(limit))),
            ],
        }

    def trial(self, number: int, values: Mapping[str, Any]) -> Plan:
        """The runs of a trial, one for each seed. values: by setting. Raises SuiteError where they do not fit
        together."""
        changes = {f"{self.section.case}+t{number:03}": self.plans.changes(values)}
        return self.plans.make(changes, self.section.seeds)

    def repeats(self) -> Plan | None:
        """The runs of the case as the file has it, one for each seed from the first on; None for no runs."""
        first = self.section.seeds[0]
        seeds = [(first + number) % (MAX_SEED + 1) for number in range(self.section.repeats)]
        changes = {f"{self.section.case}+default": self.plans.changes({})}
        return self.plans.make(changes, seeds) if seeds else None

    def outermost(self) -> Plan:
        """Runs with the lowest and highest values and all choices of the search space."""
        return self.plans.make(self.plans.outermost(self.section.space), self.section.seeds[:1])


def has_tuning(path: Path, size: str | None) -> bool:
    """Whether a suite file has a section `tune` at a size. Raises SuiteError where it cannot be read."""
    data = choose_size(load_document(path), size).document.data
    return isinstance(data, dict) and "tune" in data


def read_tuning(path: Path, registry: Registry, request: PlanRequest) -> Tuning:
    """Read and check the tuning of a suite file, and plan its outermost trials. Of `request` the size,
    overrides, device, precision and limit count.

    Raises SuiteError for the first mistake, with file, line and key, and what `PlanRequest.plan` raises.
    """
    whole = load_document(path)
    registry = suite_registry(whole, registry)
    sized = choose_size(whole, request.size)
    document = sized.document
    precision = (f"precision={request.precision}",) if request.precision else ()
    overrides = (*request.overrides, *precision)
    suite = read_suite(whole, registry, overrides=overrides, size=request.size)
    section = read_section(document, suite)
    _check_overrides(overrides, section, document)
    higher = _direction(document, suite, section)
    suite = replace(suite, name=f"{suite.name}{STORE_SUFFIX}")
    device = find_device(request.device)
    plans = _Plans(sized, registry, suite, section, device, overrides, request.limit)
    outermost = plans.make(plans.outermost(section.space), section.seeds[:1])
    for case in outermost.cases:
        if not case.recipe.epochs:
            where = case.spec.parts["recipe"].where("epochs")
            raise SuiteError(f"{where}: a trial of tune is trained; expected recipe.epochs above 0")
    (case,) = plans.make({section.case: plans.changes({})}, section.seeds[:1]).cases
    facts = {
        "section": {name: value for name, value in section.plain().items() if name != "trials"},
        "settings": results_settings(case.spec.plain()),
        # Not the version of the weights: it may become known only when they are downloaded.
        "conditions": {name: value for name, value in case.conditions.items() if name != "weights"},
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return Tuning(section, suite, higher, f"{section.case}-{digest[:8]}", plans)


@dataclass(frozen=True)
class _Plans:
    """Makes plans of the tuned case with changed settings."""

    sized: Sized
    registry: Registry
    suite: Suite
    section: Section
    device: Device
    overrides: tuple[str, ...]
    limit: int | None
    known: dict[str, tuple[Dataset, array[int]]] = field(default_factory=dict)

    def changes(self, values: Mapping[str, Any], places: Mapping[str, KeyPath] | None = None) -> Changes:
        """The changes by values of the search space. places: of each value below its setting."""
        of_value = places or {}

        def where(key: KeyPath) -> str:
            name = str(key[0])
            if name not in values:
                return self.sized.document.where(("tune", "objective"))
            return self.sized.document.where(("tune", "space", name, *of_value.get(name, ())))

        return Changes.read({"recipe.select_by": self.section.objective, **values}, where)

    def outermost(self, space: Mapping[str, Dimension]) -> dict[str, Changes]:
        """Changes to the lowest values, to the highest ones, and to each choice at least once."""
        ends = {name: dimension.ends() for name, dimension in space.items()}
        found = {}
        for number in range(max(map(len, ends.values()))):
            chosen = {name: each[number % len(each)] for name, each in ends.items()}
            values = {name: value for name, (_, value) in chosen.items()}
            places = {name: place for name, (place, _) in chosen.items()}
            found[f"{self.section.case}+{number}"] = self.changes(values, places)
        return found

    def make(self, changes: Mapping[str, Changes], seeds: Sequence[int]) -> Plan:
        """A plan of the case with each of the changes and seeds."""
        specs = changed_specs(self.sized, self.registry, self.section.case, changes, overrides=self.overrides)
        suite = replace(self.suite, specs=specs)
        return make_plan(suite, self.device, seeds=tuple(seeds), limit=self.limit, known=self.known)


def tuning_source(path: Path, size: str | None) -> str:
    """What the section `tune` of a suite file says of a published tuning, "" where it says nothing."""
    return str(choose_size(load_document(path), size).document.data["tune"].get("source", ""))


def read_section(document: Document, suite: Suite) -> Section:
    """The section `tune` of a suite at one size. Raises SuiteError for a mistake in it."""
    given = document.data.get("tune")
    if not given:
        raise SuiteError(f"{document.where(('tune',))}: the suite has no section tune, such as {_EXAMPLE}")
    try:
        keys = _Keys.model_validate(given)
    except ValidationError as error:
        where = document.where(("tune", *error.errors(include_url=False)[0]["loc"]))
        problem = first_problem(error, given, get_type_hints(_Keys, include_extras=True), of=" of tune")[1]
        raise SuiteError(f"{where}: {problem}") from None
    names = [spec.name for spec in suite.specs]
    case = keys.case or (names[0] if len(names) == 1 else "")
    if case not in names:
        problem = f"no case {case!r}" if case else "which case?"
        raise SuiteError(f"{document.where(('tune', 'case'))}: {problem} ({hint(case, names)})")
    if len(set(keys.seeds)) != len(keys.seeds):
        raise SuiteError(f"{document.where(('tune', 'seeds'))}: a seed occurs twice")
    if keys.repeats == 1:
        where = document.where(("tune", "repeats"))
        raise SuiteError(f"{where}: 1 repeat shows no noise; expected at least 2, or 0 for none")
    return Section(
        case=case,
        objective=keys.objective,
        trials=keys.trials,
        seeds=tuple(keys.seeds) or suite.seeds[:1],
        repeats=keys.repeats,
        pruning=keys.pruning,
        space=read_space(keys.space, document.where, ("tune", "space")),
    )


def _check_overrides(overrides: Sequence[str], section: Section, document: Document) -> None:
    """Raise SuiteError for a setting that the trials have from elsewhere."""
    for text in overrides:
        key = text.partition("=")[0].removeprefix("base.")
        place: KeyPath = ("objective",) if key == "recipe.select_by" else ("space", key)
        if key in section.space or place == ("objective",):
            raise SuiteError(
                f"--set {text}: trials have {key} from {document.where(('tune', *place))}; drop one"
            )


def _direction(document: Document, suite: Suite, section: Section) -> bool:
    """Whether a higher objective is better. Raises SuiteError where the case has no such quantity."""
    (spec,) = (spec for spec in suite.specs if spec.name == section.case)
    directed = {name: each.higher_is_better for name, each in spec.quantities().items()}
    directed = {name: higher for name, higher in directed.items() if higher is not None}
    higher = directed.get(section.objective)
    if higher is None:
        known = hint(section.objective, directed)
        raise SuiteError(
            f"{document.where(('tune', 'objective'))}: no metric of case {section.case!r} measures "
            f"{section.objective!r} and says whether more of it is better ({known})"
        )
    return higher
