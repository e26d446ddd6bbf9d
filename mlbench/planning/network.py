"""The network of a case from its settings alone, without data and recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlbench.errors import SuiteError
from mlbench.planning.parts import always, component_part, validated
from mlbench.planning.settings import Changes, Settings
from mlbench.planning.spec import (
    ComputeSettings,
    EvaluationSettings,
    ImageSettings,
    MeasureSettings,
    Spec,
)
from mlbench.planning.widths import Widths
from mlbench.registry import Registry

__all__ = ["NETWORK", "network_spec"]

#: Sections of a case that describe its network and the images that it takes.
NETWORK = ("backbone", "neck", "image", "compute")


def network_spec(
    name: str, settings: Mapping[str, Any], where: str, registry: Registry, changes: Mapping[str, Any]
) -> Spec:
    """A spec with nothing but a network, from the sections `NETWORK` of `Spec.plain`.

    where: of the settings, for messages. changes: settings by name that take precedence, such as
    {"backbone.weights": "none"}. Raises SuiteError.
    """
    found = Settings().updated(Changes.read({each: settings.get(each) for each in NETWORK}, always(where)))
    found = found.updated(Changes.read(changes, always("changes")))
    parts = {}
    for section in ("backbone", "neck"):
        given = found.section(section)
        if given is None:
            raise SuiteError(f"{where}: its settings have no {section}")
        parts[section] = component_part(section, given, found, registry, frozenset())
    return Spec(
        name=name,
        axes={},
        parts=parts,
        losses={},
        metrics={},
        image=validated(ImageSettings, "image", found),
        compute=validated(ComputeSettings, "compute", found),
        evaluation=EvaluationSettings(),
        measure=MeasureSettings(),
        precision="fp32",
        widths=Widths(),
    )
