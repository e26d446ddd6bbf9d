"""Groups of cases: cases chosen by name or by their labels on axes, and paired over the other axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlbench.contracts.claims import Cases
from mlbench.errors import ClaimError, SuiteError, hint
from mlbench.planning.variants import label_text

__all__ = ["named_axes", "paired_cases"]

#: Labels of a case by axis.
_Labels = Mapping[str, str]


def named_axes(groups: Sequence[Cases]) -> list[str]:
    """The axes by which cases are chosen, in the order of their first use."""
    return list(dict.fromkeys(axis for group in groups if not isinstance(group, str) for axis in group))


def paired_cases(groups: Sequence[Cases], axes: Mapping[str, _Labels]) -> dict[str, tuple[str, ...]]:
    """For each stratum, by its label, one case of every group.

    A group is a case by its name, or all cases with some labels on axes. The cases of several groups belong
    together where they have the same labels on all axes that no group names; these labels are the stratum. A
    case chosen by name belongs to every stratum. axes: labels of every case by axis.
    Raises ClaimError for an unknown case, axis or label, and where two cases of a group fit one
    stratum or none fits all groups.
    """
    named = named_axes(groups)
    chosen = [_members(group, named, axes) for group in groups]
    free = [members for group, members in zip(groups, chosen, strict=True) if not isinstance(group, str)]
    if not free:
        return {"": tuple(members[()] for members in chosen)}
    strata = [key for key in free[0] if all(key in members for members in free)]
    if not strata:
        raise ClaimError(f"{_text(groups)}: no two of these cases have the same labels on the other axes")
    return {
        ", ".join(label for _, label in key): tuple(
            members[() if isinstance(group, str) else key]
            for group, members in zip(groups, chosen, strict=True)
        )
        for key in strata
    }


def _members(
    group: Cases, named: Sequence[str], axes: Mapping[str, _Labels]
) -> dict[tuple[tuple[str, str], ...], str]:
    """Cases of a group by their labels on the axes that no group names; a case by its name under ()."""
    if isinstance(group, str):
        if group not in axes:
            raise ClaimError(f"there is no case {group!r} ({hint(group, axes)})")
        return {(): group}
    if not group:
        raise ClaimError("a group of cases is empty; give labels on axes, such as {neck.norm: ln}")
    try:
        labels = {axis: label_text(label) for axis, label in group.items()}
    except SuiteError:
        raise ClaimError(f"{_text([group])}: expected a label on every axis") from None
    for axis, label in labels.items():
        known = {each[axis] for each in axes.values() if axis in each}
        if not known:
            every = {name for each in axes.values() for name in each}
            raise ClaimError(f"no axis {axis!r} in the matrix ({hint(axis, every)})")
        if label not in known:
            raise ClaimError(f"the axis {axis!r} has no value {label!r} ({hint(label, known)})")
    found: dict[tuple[tuple[str, str], ...], str] = {}
    for case, each in axes.items():
        if labels.items() <= each.items():
            key = tuple((axis, label) for axis, label in each.items() if axis not in named)
            if key in found:
                raise ClaimError(
                    f"{_text([group])} chooses both {found[key]!r} and {case!r}; name one more axis"
                )
            found[key] = case
    if not found:
        raise ClaimError(f"no case has {_text([group])}")
    return found


def _text(groups: Sequence[Cases]) -> str:
    return ", ".join(
        group if isinstance(group, str) else "{" + ", ".join(f"{k}: {v}" for k, v in group.items()) + "}"
        for group in groups
    )
