"""A suite: the YAML file that describes the cases, read and checked."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mlbench.contracts import Quantity
from mlbench.errors import SuiteError, hint
from mlbench.options import first_problem
from mlbench.planning.claims import Claim, check_claim, read_claim
from mlbench.planning.document import Document, KeyPath, load_document, parse_value
from mlbench.planning.parts import (
    SharedParts,
    always,
    component_part,
    metric_parts,
    spell_out,
    types_of,
    validated,
)
from mlbench.planning.settings import COLLECTIONS, COMPONENTS, SECTIONS, Changes, Settings
from mlbench.planning.sizes import Sized, choose_size, sized_title
from mlbench.planning.spec import (
    EvaluationSettings,
    Part,
    Spec,
)
from mlbench.planning.suite_plugins import suite_registry
from mlbench.planning.trackers import TRACK_EXAMPLE, chosen_trackers
from mlbench.planning.variants import MAX_SUITE_NAME, Variant, expand
from mlbench.records.record import MEASURED, PAIR_LIST, TRAINED
from mlbench.registry import Registry
from mlbench.seeding import MAX_SEED

__all__ = ["Suite", "changed_specs", "evaluation_parts", "load_suite", "read_suite", "recorded_suite"]


class _File(BaseModel):
    """The keys of a suite file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    suite: Annotated[str, Field(pattern=rf"^[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_SUITE_NAME - 1}}}$")]
    title: str = ""
    question: str = ""
    source: str = ""
    plugins: list[str] = []  # see `suite_registry`
    base: dict[str, Any]
    matrix: dict[str, Any] = {}
    include: list[dict[str, Any]] = []
    exclude: list[dict[str, Any]] = []
    cases: dict[str, dict[str, Any]] = {}
    seeds: Annotated[list[Annotated[int, Field(ge=0, le=MAX_SEED)]], Field(min_length=1)] = [0]
    tolerances: dict[str, Annotated[float, Field(ge=0)]] = {}
    optional: list[str] = []
    claims: dict[str, dict[str, Any]] = {}
    sizes: dict[str, Any] = {}  # chosen from before the rest is checked
    tune: dict[str, Any] = {}  # checked by mlbench.tuning
    track: Any = None  # see `chosen_trackers`


@dataclass(frozen=True)
class Suite:
    """A suite file that can be run, at one of its sizes.

    name: with the size, as in "study-cpu". size, about: of the chosen size, "" where the suite has none.
    optional: names of cases that may fail, such as those that need weights from a hub, without failing a run.
    sizes: names of all sizes, the default first. removed: the cases of other sizes that this one lacks, with
    their labels on the axes of the matrix. trackers: that receive the events of a run; they change no result.
    """

    name: str
    title: str
    question: str
    source: str
    path: Path
    specs: tuple[Spec, ...]
    seeds: tuple[int, ...]
    tolerances: Mapping[str, float]
    optional: frozenset[str] = frozenset()
    claims: tuple[Claim, ...] = ()
    size: str = ""
    about: str = ""
    sizes: tuple[str, ...] = ()
    removed: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    trackers: tuple[Part, ...] = ()

    @property
    def heading(self) -> str:
        """The title over its results."""
        return sized_title(self.title, self.name, self.size)

    @property
    def axes(self) -> dict[str, Mapping[str, str]]:
        """Labels of every case on the axes of the matrix, also of cases that this size leaves out."""
        return {**self.removed, **{spec.name: spec.axes for spec in self.specs}}


def load_suite(
    path: Path,
    registry: Registry,
    *,
    overrides: Sequence[str] = (),
    size: str | None = None,
    track: Sequence[str] = (),
) -> Suite:
    """Read and check a suite file at one size (None: its first); `overrides` are "key=value" texts that take
    precedence over the file. track: trackers besides the suite's (see `chosen_trackers`).

    Raises SuiteError for the first mistake, with file, line and key.
    """
    return read_suite(load_document(path), registry, overrides=overrides, size=size, track=track)


def read_suite(
    whole: Document,
    registry: Registry,
    *,
    overrides: Sequence[str] = (),
    size: str | None = None,
    track: Sequence[str] = (),
) -> Suite:
    """Check a suite from its document. Raises SuiteError as `load_suite` does."""
    registry = suite_registry(whole, registry)
    sized = choose_size(whole, size)
    document = sized.document
    file, variants = _read(sized)
    removed = _removed(whole, sized, file, variants)
    variants = _overridden(variants, overrides)
    shared = SharedParts(variants)
    specs = tuple(spell_out(variant, registry, shared) for variant in variants)
    _check_teachers(variants, specs)
    _check_distinct(variants, specs, overrides)
    # Most cases share theirs.
    distinct = {(id(spec.metrics), spec.widths.values): spec for spec in specs}.values()
    evaluated = {name: each for spec in distinct for name, each in spec.quantities().items()}
    measured = evaluated.keys() | MEASURED.keys()
    for name in file.tolerances:
        if name not in measured and name.removeprefix(PAIR_LIST) not in evaluated:
            where = document.where(("tolerances", name))
            raise SuiteError(f"{where}: no case measures {name!r} ({hint(name, measured)})")
    if len(set(file.seeds)) != len(file.seeds):
        raise SuiteError(f"{document.where(('seeds',))}: a seed occurs twice")
    return Suite(
        name=file.suite,
        title=file.title,
        question=file.question,
        source=file.source,
        path=Path(document.path),
        specs=specs,
        seeds=tuple(file.seeds),
        tolerances=file.tolerances,
        optional=_optional(file, document, [spec.name for spec in specs], removed),
        claims=_claims(
            file,
            document,
            {**removed, **{spec.name: spec.axes for spec in specs}},
            {**evaluated, **TRAINED},
            registry,
        ),
        size=sized.size.name,
        about=sized.size.about,
        sizes=sized.names,
        removed=removed,
        trackers=chosen_trackers(document, track, registry),
    )


def changed_specs(
    sized: Sized,
    registry: Registry,
    case: str,
    changes: Mapping[str, Changes],
    *,
    overrides: Sequence[str] = (),
) -> tuple[Spec, ...]:
    """The case called `case` of a suite at one size, once with each of `changes`, under their name.

    Raises SuiteError for settings that do not fit, with the place of the change.
    """
    variants = _overridden(_read(sized)[1], overrides)
    variant = next(each for each in variants if each.name == case)
    changed = [
        replace(variant, name=name, settings=variant.settings.updated(each)) for name, each in changes.items()
    ]
    shared = SharedParts(changed)
    return tuple(spell_out(each, registry, shared) for each in changed)


def _optional(
    file: _File, document: Document, names: Sequence[str], removed: Collection[str]
) -> frozenset[str]:
    """The cases that may fail. Raises SuiteError for a pattern that no case of any size matches."""
    found: set[str] = set()
    for index, pattern in enumerate(file.optional):
        if not fnmatch.filter((*names, *removed), pattern):
            where = document.where(("optional", index))
            raise SuiteError(f"{where}: no case matches {pattern!r} ({hint(pattern, names)})")
        found.update(fnmatch.filter(names, pattern))
    return frozenset(found)


def _claims(
    file: _File,
    document: Document,
    axes: Mapping[str, Mapping[str, str]],
    evaluated: Mapping[str, Quantity],
    registry: Registry,
) -> tuple[Claim, ...]:
    quantities = {name: each.higher_is_better for name, each in evaluated.items()}
    quantities |= {name: higher for name, (_, higher) in MEASURED.items()}
    claims = []
    for name, given in file.claims.items():
        claim = read_claim(name, given, partial(_place, document, ("claims", name)), registry)
        check_claim(claim, axes, quantities)
        claims.append(claim)
    return tuple(claims)


def _place(document: Document, key: KeyPath, option: str) -> str:
    """Place of an option of what stands at `key`, or of the whole for ""."""
    return document.where((*key, option) if option else key)


def _read(sized: Sized) -> tuple[_File, list[Variant]]:
    document = sized.document
    file = _check_file(document)
    return file, expand(
        file.base, file.matrix, file.include, file.exclude, file.cases, document.where, sized.size
    )


def _removed(
    whole: Document, sized: Sized, file: _File, variants: Sequence[Variant]
) -> dict[str, Mapping[str, str]]:
    """`Suite.removed`. Raises SuiteError for a mistake in another size."""
    others = [choose_size(whole, name) for name in sized.names if name != sized.size.name]
    found: dict[str, Mapping[str, str]] = {name: {} for name in file.cases}
    found |= {variant.name: variant.axes for other in others for variant in _read(other)[1]}
    here = {variant.name for variant in variants}
    return {name: axes for name, axes in found.items() if name not in here}


def _check_file(document: Document) -> _File:
    data = document.data
    if not isinstance(data, dict):
        state = "the file is empty" if data is None else "not a suite"
        keys = ", ".join(_File.model_fields)
        raise SuiteError(f"{document.where(())}: {state}; expected a mapping with the keys {keys}")
    for key in data:
        if key in SECTIONS:
            raise SuiteError(f"{document.where((key,))}: {key!r} belongs under 'base'")
    try:
        return _File.model_validate(data)
    except ValidationError as error:
        where = document.where(error.errors(include_url=False)[0]["loc"])
        raise SuiteError(f"{where}: {first_problem(error, data, types_of(_File))[1]}") from None


def _overridden(variants: Sequence[Variant], overrides: Sequence[str]) -> list[Variant]:
    changes = [_override(text) for text in overrides]
    changed = []
    for variant in variants:
        settings = variant.settings
        for each in changes:
            settings = settings.updated(each)
        changed.append(replace(variant, settings=settings))
    return changed


def _override(text: str) -> Changes:
    """What one "key=value" changes."""
    key, equals, value = text.partition("=")
    origin = f"--set {text}"
    if not equals or not key:
        raise SuiteError(f"{origin}: expected key=value, such as recipe.epochs=2")
    if key.partition(".")[0] in ("track", "tracker"):
        raise SuiteError(f"{origin}: trackers are no part of a case; choose them with {TRACK_EXAMPLE}")
    return Changes.read({key.removeprefix("base."): parse_value(value, origin)}, always(origin))


def evaluation_parts(
    base: Mapping[str, Any], overrides: Sequence[str], registry: Registry
) -> tuple[Part, dict[str, Part], EvaluationSettings]:
    """Threshold policy, metrics and settings of an evaluation without a suite file; `overrides` as in
    `load_suite`. Raises SuiteError."""
    settings = Settings().updated(Changes.read(base, lambda key: ".".join(map(str, key))))
    variant = Variant("evaluation", {}, settings, "evaluation")
    (variant,) = _overridden([variant], overrides)
    for (given, *_), leaf in variant.settings:
        if given not in (*base, "evaluation"):
            raise SuiteError(f"{leaf.where}: {given!r} is not used by an evaluation of embeddings")
    section = variant.settings.section("threshold")
    if section is None:
        raise SuiteError(f"--set threshold: name a policy; {hint('', registry.names('threshold'))}")
    return (
        component_part("threshold", section, variant.settings, registry, frozenset()),
        metric_parts(variant, variant.settings, registry),
        validated(EvaluationSettings, "evaluation", variant.settings),
    )


def recorded_suite(
    name: str, path: Path, case: str, seed: int, settings: Mapping[str, Any], where: str, registry: Registry
) -> Suite:
    """A suite of one case and one seed, from the settings in a record (see `Spec.plain`). path: of its suite
    file, which need not exist. where: of the record, for messages. Raises SuiteError."""
    # A section that the record does not have is absent: settings of a component must not add it.
    absent = dict.fromkeys((*COMPONENTS, *COLLECTIONS, "widths"))
    written = Settings().updated(Changes.read({**absent, **settings}, always(where)))
    spec = spell_out(Variant(case, {}, written, where), registry, SharedParts(()))
    return Suite(name, "", "", "", path, (spec,), (seed,), {})


def _check_teachers(variants: Sequence[Variant], specs: Sequence[Spec]) -> None:
    if any("distiller" in spec.parts for spec in specs):
        return
    for variant in variants:
        if variant.settings.section("teacher"):
            where = variant.settings.where("teacher")
            raise SuiteError(f"{where}: no case has a distiller, so this teacher is not used; set distiller")


def _check_distinct(variants: Sequence[Variant], specs: Sequence[Spec], overrides: Sequence[str]) -> None:
    known: dict[str, str] = {}
    for variant, spec in zip(variants, specs, strict=True):
        other = known.setdefault(json.dumps(spec.plain(), sort_keys=True), spec.name)
        if other != spec.name:
            after = f" after --set {' --set '.join(overrides)}" if overrides else ""
            both = f"the cases {other!r} and {spec.name!r}"
            raise SuiteError(f"{variant.where}: {both} are the same experiment{after}; drop one")
