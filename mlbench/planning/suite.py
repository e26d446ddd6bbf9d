"""A suite: the YAML file that describes the cases, read and checked."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mlbench.contracts import Quantity
from mlbench.errors import ComponentError, OptionError, SuiteError, hint
from mlbench.options import first_problem
from mlbench.planning.claims import Claim, check_claim, read_claim
from mlbench.planning.document import Document, KeyPath, flow_text, load_document, parse_value
from mlbench.planning.settings import COLLECTIONS, COMPONENTS, SECTIONS, Changes, Leaf, Settings
from mlbench.planning.sizes import Sized, choose_size, sized_title
from mlbench.planning.spec import (
    PRECISIONS,
    ComputeSettings,
    EvaluationSettings,
    ImageSettings,
    MeasureSettings,
    Part,
    Spec,
    WeightedLoss,
    located,
)
from mlbench.planning.variants import MAX_SUITE_NAME, Variant, expand
from mlbench.records.record import MEASURED, PAIR_LIST, TRAINED
from mlbench.registry import Registry
from mlbench.seeding import MAX_SEED

__all__ = ["Suite", "changed_specs", "evaluation_parts", "load_suite", "read_suite", "recorded_suite"]

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

#: Sections that every case needs; the others may be absent or null.
REQUIRED = ("dataset", "backbone", "neck", "batch_sampler", "recipe", "threshold")


class _File(BaseModel):
    """The keys of a suite file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    suite: Annotated[str, Field(pattern=rf"^[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_SUITE_NAME - 1}}}$")]
    title: str = ""
    question: str = ""
    source: str = ""
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


@dataclass(frozen=True)
class Suite:
    """A suite file that can be run, at one of its sizes.

    name: with the size, as in "study-cpu". size, about: of the chosen size, "" where the suite has none.
    optional: names of cases that may fail, such as those that need weights from a hub, without failing a run.
    sizes: names of all sizes, the default first. removed: the cases of other sizes that this one lacks, with
    their labels on the axes of the matrix.
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

    @property
    def heading(self) -> str:
        """The title over its results."""
        return sized_title(self.title, self.name, self.size)

    @property
    def axes(self) -> dict[str, Mapping[str, str]]:
        """Labels of every case on the axes of the matrix, also of cases that this size leaves out."""
        return {**self.removed, **{spec.name: spec.axes for spec in self.specs}}


def load_suite(
    path: Path, registry: Registry, *, overrides: Sequence[str] = (), size: str | None = None
) -> Suite:
    """Read and check a suite file at one size (None: its first); `overrides` are "key=value" texts that take
    precedence over the file.

    Raises SuiteError for the first mistake, with file, line and key.
    """
    return read_suite(load_document(path), registry, overrides=overrides, size=size)


def read_suite(
    whole: Document, registry: Registry, *, overrides: Sequence[str] = (), size: str | None = None
) -> Suite:
    """Check a suite from its document. Raises SuiteError as `load_suite` does."""
    sized = choose_size(whole, size)
    document = sized.document
    file, variants = _read(sized)
    removed = _removed(whole, sized, file, variants)
    variants = _overridden(variants, overrides)
    shared = _Shared(variants)
    specs = tuple(_spec(variant, registry, shared) for variant in variants)
    _check_teachers(variants, specs)
    _check_distinct(variants, specs, overrides)
    distinct = {id(spec.metrics): spec for spec in specs}.values()  # most cases share theirs
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
    shared = _Shared(changed)
    return tuple(_spec(each, registry, shared) for each in changed)


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
        raise SuiteError(f"{where}: {first_problem(error, data, _types(_File))[1]}") from None


def _types(model: type[BaseModel]) -> dict[str, Any]:
    return get_type_hints(model, include_extras=True)


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
    return Changes.read({key.removeprefix("base."): parse_value(value, origin)}, _always(origin))


class _Shared:
    """Parts that cases of a suite share, made once: thousands of cases may differ in one option.

    Cases share a part where it is made from the same `Leaf` objects, which include the place in the file.
    """

    def __init__(self, variants: Sequence[Variant]) -> None:
        self._variants = variants
        self._known: dict[Any, tuple[Any, tuple[Leaf, ...]]] = {}

    def get(self, what: Hashable, leaves: tuple[Leaf, ...], make: Callable[[], T]) -> T:
        key = (what, *map(id, leaves))
        if key not in self._known:
            self._known[key] = make(), leaves  # kept alive, so that no other object gets the same id
        found: T = self._known[key][0]
        return found

    def names(self, section: str) -> list[str]:
        """Names of the components in this section of all cases."""
        leaves = (leaf for variant in self._variants for leaf in variant.settings.leaves(section, "name"))
        return list(dict.fromkeys(str(leaf.value) for leaf in leaves))


def _spec(variant: Variant, registry: Registry, shared: _Shared) -> Spec:
    names = tuple(leaf for section in COMPONENTS for leaf in variant.settings.leaves(section, "name"))
    presets = shared.get("presets", names, lambda: _presets(variant.settings, registry))
    settings = variant.settings.over(presets)

    def part(section: str, given: dict[str, Any]) -> Part:
        brought = frozenset(presets.section(section) or ())
        advise = partial(_own_options, section, variant, settings, shared, registry)
        make = partial(_part, section, given, settings, registry, brought, advise)
        return shared.get((section, brought), settings.leaves(section), make)

    def plain(model: type[M], section: str) -> M:
        return shared.get(section, settings.leaves(section), lambda: _plain(model, section, settings))

    parts = {}
    for section in COMPONENTS:
        given = settings.section(section)
        if given is not None:
            parts[section] = part(section, given)
        elif section in REQUIRED:
            known = hint("", registry.names(section))
            raise SuiteError(f"{variant.where}: case {variant.name!r} has no {section}; {known}")
    if "distiller" in parts and "teacher" not in parts:
        where = parts["distiller"].where()
        raise SuiteError(f"{where}: a distiller needs a teacher, which is any backbone; set teacher")
    if "distiller" not in parts:
        parts.pop("teacher", None)  # it belongs to the cases with a distiller
    precision = settings.value("precision") or "fp32"
    if precision not in PRECISIONS:
        known = hint(precision, PRECISIONS)
        raise SuiteError(f"{settings.where('precision')}: unknown precision {precision!r} ({known})")
    return Spec(
        name=variant.name,
        axes=variant.axes,
        parts=parts,
        losses=_losses(variant, parts, settings, registry),
        metrics=shared.get(
            "metrics", settings.leaves("metrics"), lambda: _metrics(variant, settings, registry)
        ),
        image=plain(ImageSettings, "image"),
        compute=plain(ComputeSettings, "compute"),
        evaluation=plain(EvaluationSettings, "evaluation"),
        measure=plain(MeasureSettings, "measure"),
        precision=precision,
    )


def _presets(settings: Settings, registry: Registry) -> Settings:
    """Settings of other sections by the components of a case (see `Options.settings`)."""
    presets = Settings()
    for section, kind in COMPONENTS.items():
        name = (settings.section(section) or {}).get("name")
        if name in registry.names(kind):
            with located(_always(settings.where(section))):
                brought = registry.get(kind, name).options_class.settings()
            where = f"{settings.where(section)}: settings of {kind} {name}"
            presets = presets.updated(Changes.read(brought, _always(where)))
    return presets


def _losses(
    variant: Variant, parts: Mapping[str, Part], settings: Settings, registry: Registry
) -> dict[str, WeightedLoss]:
    given = _collection("losses", settings)
    if "loss" in parts:
        if given:
            raise SuiteError(f"{settings.where('losses')}: give loss or losses, not both (loss: null)")
        return {parts["loss"].entry.component.name: WeightedLoss(parts["loss"])}
    if not given:
        known = hint("", registry.names("loss"))
        raise SuiteError(f"{variant.where}: case {variant.name!r} has no loss; {known}")
    losses = {}
    for name, options in given.items():
        where = settings.where("losses", name)
        rest = {"name": name, **options}
        weight = rest.pop("weight", 1.0)
        if isinstance(weight, bool) or not isinstance(weight, int | float) or weight < 0:
            raise SuiteError(f"{where}: the weight of loss {name!r} is {weight!r}; expected a number >= 0")
        losses[name] = WeightedLoss(_member("loss", rest, where, registry), float(weight))
    return losses


def _plain(model: type[M], section: str, settings: Settings) -> M:
    """A section without a component."""
    given = settings.section(section) or {}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        option, message = first_problem(error, given, _types(model), of=f" of {section}")
        raise SuiteError(f"{settings.where(section, option)}: {message}") from None


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
        _part("threshold", section, variant.settings, registry, frozenset()),
        _metrics(variant, variant.settings, registry),
        _plain(EvaluationSettings, "evaluation", variant.settings),
    )


def recorded_suite(
    name: str, path: Path, case: str, seed: int, settings: Mapping[str, Any], where: str, registry: Registry
) -> Suite:
    """A suite of one case and one seed, from the settings in a record (see `Spec.plain`). path: of its suite
    file, which need not exist. where: of the record, for messages. Raises SuiteError."""
    # A section that the record does not have is absent: settings of a component must not add it.
    absent = dict.fromkeys((*COMPONENTS, *COLLECTIONS))
    written = Settings().updated(Changes.read({**absent, **settings}, _always(where)))
    spec = _spec(Variant(case, {}, written, where), registry, _Shared(()))
    return Suite(name, "", "", "", path, (spec,), (seed,), {})


def _always(where: str) -> Callable[[Any], str]:
    return lambda _: where


def _collection(section: str, settings: Settings) -> dict[str, dict[str, Any]]:
    """Options of each member of a section with several components, without those set to null."""
    given = settings.section(section) or {}
    for name, options in given.items():
        if options is not None and not isinstance(options, dict):
            kind, where = COLLECTIONS[section], settings.where(section, name)
            component, dot, option = name.partition(".")
            advice = f"; write {section}.{component}={{{option}: {flow_text(options)}}}" if dot else ""
            raise SuiteError(
                f"{where}: expected a mapping of options of {kind} {name!r}, not {options!r}{advice}"
            )
    return {name: options for name, options in given.items() if options is not None}


def _metrics(variant: Variant, settings: Settings, registry: Registry) -> dict[str, Part]:
    chosen = _collection("metrics", settings)
    if not chosen:
        known = hint("", registry.names("metric"))
        raise SuiteError(f"{variant.where}: case {variant.name!r} has no metrics; {known}")
    parts = {}
    for name, options in chosen.items():
        where = settings.where("metrics", name)
        parts[name] = _member("metric", {**options, "name": name}, where, registry)
    return parts


def _member(kind: str, section: dict[str, Any], where: str, registry: Registry) -> Part:
    """One of several components of a section; its options share one place in the file."""
    options = dict(section)
    with located(_always(where)):
        entry = registry.get(kind, str(options.pop("name")))
        return Part(entry, entry.check(options), _always(where))


def _part(
    section: str,
    given: dict[str, Any],
    settings: Settings,
    registry: Registry,
    brought: frozenset[str],
    advise: Callable[[str], str] = lambda option: "",
) -> Part:
    """The component of a section. brought: options for it from another component's settings; where this
    component has no such option, null in the suite leaves it out. advise: advice on a wrong option, or ""."""
    kind = COMPONENTS[section]
    options = dict(given)
    name = options.pop("name", None)
    if not isinstance(name, str):
        state = "it has options but no name" if name is None else f"its name is {name!r}"
        known = hint("", registry.names(kind))
        raise SuiteError(f"{settings.where(section)}: which {section}? {state}; {known}")
    try:
        entry = registry.get(kind, name)
        foreign = brought - entry.options_class.model_fields.keys()
        unused = [key for key in foreign if options.get(key, name) is None]
        options = {key: value for key, value in options.items() if key not in unused}
        return Part(entry, entry.check(options), lambda option: settings.where(section, option))
    except OptionError as error:
        advice = advise(error.option)
        if error.option in foreign:
            advice = f"; {section}.{error.option}: null leaves it out"
        raise SuiteError(f"{settings.where(section, error.option)}: {error}{advice}") from None
    except ComponentError as error:
        raise SuiteError(f"{settings.where(section)}: {error}") from None


def _own_options(
    section: str, variant: Variant, settings: Settings, shared: _Shared, registry: Registry, option: str
) -> str:
    """Advice where base has an option that the components of other cases have and this case's component
    lacks."""
    kind = COMPONENTS[section]
    given = settings.section(section) or {}
    name = given.pop("name")
    names = [each for each in shared.names(section) if each in registry.names(kind)]
    options = {each: registry.get(kind, each).options_class.model_fields.keys() for each in names}
    others = [each for each in names if option in options[each]]
    if not others or option in options.get(name, ()):
        return ""

    def whole(name: str) -> dict[str, Any]:
        return {"name": name, **{key: value for key, value in given.items() if key in options[name]}}

    if f"{section}.name" in variant.axes:
        what = f"give each its own options in the matrix, in place of {section}.name and of base.{section}"
        text = flow_text({each: whole(each) for each in names})
    else:
        what = f"write all of its {section} in place of {section}.name"
        text = flow_text(whole(name))
    return f"; {others[0]} has it: {what}: {section}: {text}"


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
