"""A small suite with a case for every installed component, to check that all of them run on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import shorten
from types import MappingProxyType
from typing import Any

import yaml

from mlbench.contracts import Component
from mlbench.contracts.options import DatasetContext
from mlbench.errors import DataError, MlbenchError, first_line
from mlbench.planning.settings import COMPONENTS
from mlbench.registry import Entry, Registry

__all__ = ["EXAMPLES", "catalogue_suite", "example_options"]

_Sections = Mapping[str, Any]

#: Base of every case.
_BASE: _Sections = {
    "image": {"size": 32, "train_size": 32},
    "dataset": {
        "name": "textimage",
        "classes": 8,
        "calibration_classes": 4,
        "test_classes": 4,
        "views": 4,
        "eval_views": 3,
    },
    "backbone": {"name": "timm", "model": "test_resnet", "weights": "none"},
    "neck": {"name": "gap", "dim": 16},
    "sampler": {"name": "all"},
    "metrics": ["retrieval", "verification"],
    "threshold": {"name": "best_f1"},
    "evaluation": {"resamples": 50},
}

#: Sections of every case whose preset does not set them.
_DEFAULTS: _Sections = {
    "loss": {"name": "cosface", "scale": 16, "margin": 0.1},
    "batch_sampler": {"name": "m_per_class"},
    "recipe": {"name": "standard"},
}

#: Options of every recipe that has them: a short training without loader processes.
_SHORT = {"epochs": 1, "batch_size": 12, "workers": 0}

#: Sections that the cases of a kind have besides the component.
_BESIDES: Mapping[str, _Sections] = {
    "mixing": {"loss": {"name": "bce"}},
    "distiller": {"teacher": _BASE["backbone"]},
}

#: Options of claims about the cases of the necks.
_CLAIM: _Sections = {"sentence": "It is so.", "metric": "recall_at_1", "differ": ["neck"]}
_TRANSFER: _Sections = {
    "small": ["neck-gap", "neck-gem", "neck-flatten"],
    "large": ["neck-gem", "neck-flatten", "neck-squeeze"],
}

#: Cases for components with other options than the defaults: by kind and name, then by label, the case's
#: sections.
EXAMPLES: Mapping[tuple[str, str], Mapping[str, _Sections]] = MappingProxyType(
    {
        ("backbone", "timm"): {
            "frozen": {
                "backbone": {"model": "test_resnet", "weights": "none", "trainable_from": "none"},
            },
            "tokens": {
                "backbone": {"model": "test_vit", "weights": "none", "output": "tokens"},
                "neck": {"name": "token"},
            },
            "map": {"backbone": {"model": "test_vit", "weights": "none", "output": "map"}},
            "pooled": {"backbone": {"model": "test_resnet", "weights": "none", "output": "pooled"}},
        },
        ("claim", "better"): {
            "": {"claim": {**_CLAIM, "case": "neck-flatten", "than": "neck-gap"}},
        },
        ("claim", "interaction"): {
            "": {
                "claim": {
                    **_CLAIM,
                    "here": ["neck-flatten", "neck-gap"],
                    "there": ["neck-squeeze", "neck-gem"],
                }
            },
        },
        ("claim", "table"): {
            "": {
                "claim": {
                    "sentence": "It is so.",
                    "rows": {"neck-gap": {"recall_at_1": 0.9}},
                    "within": {"recall_at_1": 0.1},
                }
            },
        },
        ("claim", "trade"): {
            "": {
                "claim": {
                    **_CLAIM,
                    "case": "neck-gap",
                    "than": "neck-flatten",
                    "at_least": -0.1,
                    "at_most": {"bytes": 0.5},
                }
            },
            "alone": {
                "claim": {
                    "sentence": "It is so.",
                    "case": "neck-gap",
                    "metric": "recall_at_1",
                    "at_least": 0.5,
                    "at_most": {"bytes": 5e6},
                }
            },
        },
        ("claim", "transfer"): {
            "": {"claim": {**_CLAIM, **_TRANSFER}},
            "gains": {"claim": {**_CLAIM, **_TRANSFER, "of": "gains"}},
        },
        ("claim", "trend"): {
            "": {"claim": {**_CLAIM, "cases": ["neck-gap", "neck-gem", "neck-flatten"]}},
        },
        ("augmentation", "chain"): {
            "": {"augmentation": {"parts": ["flip_crop", {"name": "randaugment", "layers": 1}]}},
        },
        ("backbone", "open_clip"): {"": {"backbone": {"model": "ViT-S-32-alt", "weights": "none"}}},
        ("backbone", "preact_resnet"): {"": {"backbone": {"depth": 11}}},
        ("batch_sampler", "hard_triplets"): {
            "": {"batch_sampler": {}},
            "random": {"batch_sampler": {"mining": "random", "triplets": 8}},
        },
        ("dataset", "textimage"): {"": {"dataset": _BASE["dataset"]}},
        ("distiller", "cosine"): {
            "": {"distiller": {}},
            "augmented": {"distiller": {"images": "augmented"}},
        },
        # The embeddings of small models are shorter than the published ones.
        ("loss", "magface"): {
            "": {"loss": {"l_a": 0.5, "u_a": 10.0}},
            "easy": {"loss": {"l_a": 0.5, "u_a": 10.0, "easy_margin": True}},
        },
        ("neck", "token"): {
            "": {
                "backbone": {"name": "timm", "model": "test_vit", "weights": "none", "output": "tokens"},
                "neck": {},
            }
        },
        ("recipe", "docclassifier"): {"": {"batch_sampler": {"steps": 2}}},
        ("recipe", "triplet"): {"": {"batch_sampler": {"triplets": 8}}},
        ("sampler", "partial_fc"): {
            "rate": {"sampler": {"rate": 0.5}},
            "bfloat16": {"sampler": {"centres": 4, "optimizer": "sgd", "dtype": "bfloat16"}},
        },
        ("threshold", "fixed"): {"": {"threshold": {"distance": 0.5}}},
        ("threshold", "fpr_at_most"): {"": {"threshold": {"fpr": 0.1}}},
        ("threshold", "precision_at_least"): {"": {"threshold": {"precision": 0.5}}},
        ("tracker", "wandb"): {"": {"tracker": {"mode": "offline"}}},
    }
)


def catalogue_suite(registry: Registry, base: _Sections | None = None) -> str:
    """A suite in YAML with a case for every component that needs no files of the user: one epoch over a few
    small images each; for a claim, a claim about other cases; without trackers. Comments list the components
    left out, with the reason.

    base: sections that replace those of the suite, such as {"dataset": {"name": "mine"}}.
    """
    common = {**_BASE, **_DEFAULTS, **(base or {})}
    cases: dict[str, dict[str, Any]] = {}
    claims: dict[str, dict[str, Any]] = {}
    left_out = [f"plugin {plugin.name}: {plugin.error}" for plugin in registry.broken]
    seen = set()
    for entry in registry:
        if entry.component.kind == "section":  # no part of a suite: all are on every report page
            continue
        for name, sections in _examples(entry.component):
            if entry.component.kind == "tracker":
                left_out.append(
                    f"{name}: it is no part of a case; mlbench run --track {entry.component.name}"
                )
                continue
            try:
                _check(entry, sections)
                if entry.component.kind == "claim":
                    claims[name] = sections["claim"]
                    continue
                case = _case(entry, sections, common, registry)
            except MlbenchError as error:
                left_out.append(f"{name}: {error}")
                continue
            text = json.dumps({**common, **case}, sort_keys=True)
            if text not in seen:
                seen.add(text)
                cases[name] = case
    lines = [f"# Left out: {shorten(line, 150)}" for line in left_out]
    lines += ["suite: catalogue", "title: Does every component run?", "base:"]
    lines += _lines({key: value for key, value in common.items() if key not in _DEFAULTS}, "  ")
    lines.append("cases:")
    for name, case in cases.items():
        lines += [f"  {name}:", *_lines(case, "    ")]
    if claims:
        lines += ["claims:", *_lines(claims, "  ")]
    return "\n".join(lines) + "\n"


def _lines(sections: _Sections, indent: str) -> list[str]:
    """Sections in YAML, one line each."""
    texts = {
        name: yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000)
        for name, value in sections.items()
    }
    return [f"{indent}{name}: {text.rstrip()}" for name, text in texts.items()]


def example_options(component: Component) -> list[dict[str, Any]]:
    """Options of each case of a component: those of its examples, else its defaults."""
    return [_options(component.kind, sections) for _, sections in _examples(component)]


def _examples(component: Component) -> Iterator[tuple[str, _Sections]]:
    """Name and sections of each case; the component's section includes its name."""
    kind = component.kind
    if kind == "metric":
        yield f"metric-{component.name}", {"metrics": [component.name]}
        return
    plain: Mapping[str, _Sections] = {"": {}}
    for label, sections in EXAMPLES.get((kind, component.name), plain).items():
        own = {"name": component.name, **sections.get(kind, {})}
        name = "-".join(filter(None, (kind, component.name, label)))
        yield name, {**_BESIDES.get(kind, {}), **sections, kind: own}


def _options(kind: str, sections: _Sections) -> dict[str, Any]:
    return {key: value for key, value in sections.get(kind, {}).items() if key != "name"}


def _check(entry: Entry, sections: _Sections) -> None:
    """Raise MlbenchError if these options are invalid or the component needs files."""
    kind = entry.component.kind
    options = _options(kind, sections)
    entry.check(options)
    if kind != "dataset":
        return
    try:
        # A folder that does not exist, because a real data set would be too large.
        entry.make(options).build(DatasetContext(Path("no files"), _BASE["image"]["size"]))
    # A plugin may raise anything; the other components are still listed.
    except Exception as error:
        reason = "it needs files" if isinstance(error, DataError) else first_line(error)
        raise DataError(reason) from None


def _case(entry: Entry, sections: _Sections, common: _Sections, registry: Registry) -> dict[str, Any]:
    """The case with sections of `common` that neither its own sections nor its preset set."""
    preset = entry.options_class.settings()
    case: dict[str, Any] = {**{key: common[key] for key in _DEFAULTS if key not in preset}, **sections}
    recipe = case["recipe"]
    known = registry.get("recipe", recipe["name"]).options_class.model_fields
    case["recipe"] = {**recipe, **{key: value for key, value in _SHORT.items() if key in known}}
    for section, brought in preset.items():
        # Remove options that a preset sets for any component and this component does not have.
        if section in COMPONENTS and "name" not in brought and section in common:
            other = registry.get(COMPONENTS[section], common[section]["name"])
            lacking = brought.keys() - other.options_class.model_fields.keys()
            if lacking:
                case[section] = {**case.get(section, {}), **dict.fromkeys(sorted(lacking))}
    return case
