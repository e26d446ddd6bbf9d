"""Claims and their verdicts as a table, as text, as Markdown and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from mlbench.claims.judgement import Judgement
from mlbench.contracts.claims import Effect
from mlbench.records.report import metric_text
from mlbench.table import Table

__all__ = [
    "claim_facts",
    "claims_json",
    "claims_markdown",
    "claims_notes",
    "claims_table",
    "claims_text",
    "effect_text",
    "samples_text",
]

#: Bytes and images are written without decimals.
_WHOLE = ("bytes", "images/s")


def claims_table(judgements: Sequence[Judgement], title: str = "") -> Table:
    """One row for each claim: verdict, effect with its interval, the bound, seeds and corrected p-value."""
    headings = ("claim", "verdict", "effect", "claimed", "samples", "p")
    rows = [_cells(each) for each in judgements]
    return Table(headings, rows, numbers=("p",), title=title, keep=3)


def claim_facts(judgement: Judgement) -> dict[str, Any]:
    """A claim and its verdict as text: id, sentence, verdict, effect, claimed, samples, p, and `details`, a
    list of lines."""
    names = ("id", "verdict", "effect", "claimed", "samples", "p")
    facts: dict[str, Any] = dict(zip(names, _cells(judgement), strict=True))
    return {**facts, "sentence": judgement.claim.options.sentence, "details": list(_details(judgement))}


def _cells(judgement: Judgement) -> tuple[str, str, str, str, str, str]:
    head = (judgement.claim.id, judgement.verdict.value)
    if judgement.finding is None:
        return (*head, "", "", "", "")
    effect = judgement.finding.effect
    return (*head, _value_text(effect), _bound_text(effect), samples_text(effect), _p_text(judgement))


def claims_notes(judgements: Sequence[Judgement]) -> list[str]:
    """Why claims have no verdict, which seeds do not count, and which speeds are doubtful, one line each."""
    found = [(each, each.reason and f"{each.verdict.value}: {each.reason}") for each in judgements]
    found += [(each, text) for each in judgements for text in _limits(each)]
    return [f"{each.claim.id}: {text}" for each, text in found if text]


def claims_text(judgements: Sequence[Judgement]) -> Iterator[str]:
    """Every claim in full: its sentence, verdict, effects and caveats."""
    for each in judgements:
        yield f"{each.claim.id}: {each.verdict.value}"
        yield f"  {each.claim.options.sentence}"
        for line in _details(each):
            yield f"  {line}"


def _details(judgement: Judgement) -> Iterator[str]:
    options, finding = judgement.claim.options, judgement.finding
    if options.source:
        yield f"source: {options.source}"
    if finding is not None:
        names = judgement.claim.part.ask("quantities")
        of = f"{names[0]}: " if len(names) == 1 and finding.effect.label != names[0] else ""
        yield f"{of}{effect_text(finding.effect)}; {_test_text(judgement)}"
        for part in finding.parts:
            if part != finding.effect:
                is_claimed = part.bound != 0 or part.at_most
                yield f"- {effect_text(part) if is_claimed else f'{part.label}: {_value_text(part)}'}"
        if finding.note and finding.note != judgement.reason:
            yield f"note: {finding.note}"
    for text in _limits(judgement):
        yield f"note: {text}"
    if judgement.reason:
        yield f"open: {judgement.reason}"
    if options.caveat:
        yield f"caveat: {options.caveat}"


def claims_markdown(judgements: Sequence[Judgement], title: str, intro: Sequence[str] = ()) -> str:
    """Markdown: a table of the verdicts, then every claim in full. intro: paragraphs above the table."""
    table = claims_table(judgements)
    lines = [
        f"## {title}",
        "",
        *(line for text in intro for line in (text, "")),
        _row(table.headings),
        _row(["---"] * len(table.headings)),
    ]
    lines += [_row(row) for row in table.rows]
    for each in judgements:
        lines += ["", f"### {each.claim.id}: {each.verdict.value}", ""]
        lines += [each.claim.options.sentence, ""]
        lines += [line if line.startswith("- ") else f"- {line}" for line in _details(each)]
    return "\n".join(lines) + "\n"


def claims_json(judgements: Sequence[Judgement]) -> str:
    """JSON: a list of claims with their verdicts and all numbers."""
    return json.dumps([_plain(each) for each in judgements], indent=1, ensure_ascii=False)


def _plain(judgement: Judgement) -> dict[str, Any]:
    options = judgement.claim.options
    return {
        "id": judgement.claim.id,
        "kind": judgement.claim.part.entry.component.name,
        "sentence": options.sentence,
        "source": options.source,
        "caveat": options.caveat,
        "verdict": judgement.verdict.value,
        "p": judgement.p if judgement.finding else None,
        "reason": judgement.reason,
        "failed": list(judgement.failed),
        "disturbed": list(judgement.disturbed),
        "notes": list(judgement.notes),
        "finding": asdict(judgement.finding) if judgement.finding else None,
        "looks": asdict(judgement.looks) if judgement.looks else None,
    }


def effect_text(effect: Effect) -> str:
    """An effect in one line: "gap against flatten: -0.123 [-0.150, -0.096], claimed > 0"."""
    return f"{effect.label}: {_value_text(effect)}, claimed {_bound_text(effect)}"


def samples_text(effect: Effect) -> str:
    """The number of samples: "3 seeds"; "exact" for a quantity without noise."""
    if effect.kind == "exact":
        return effect.kind
    return f"{effect.samples} {effect.kind if effect.samples > 1 else effect.kind.removesuffix('s')}"


def _test_text(judgement: Judgement) -> str:
    assert judgement.finding is not None
    effect = judgement.finding.effect
    if effect.kind == "exact":
        return effect.kind
    p = _p_text(judgement)
    text = f"{samples_text(effect)}, p {p if p[0] == '<' else f'= {p}'} corrected for all claims"
    if judgement.looks is not None:
        counts = ", ".join(map(str, judgement.looks.counts))
        text += f"; tested at {counts} of at most {judgement.looks.most} seeds"
    return text


def _limits(judgement: Judgement) -> list[str]:
    """What limits the values that a claim rests on, one line each."""
    return [*filter(None, (_failed_text(judgement), _disturbed_text(judgement))), *judgement.notes]


def _failed_text(judgement: Judgement) -> str:
    seeds = ", ".join(map(str, judgement.failed))
    word = "seeds do" if len(judgement.failed) > 1 else "seed does"
    return seeds and f"{word} not count, as a case failed or has no value: {seeds}"


def _disturbed_text(judgement: Judgement) -> str:
    cases = ", ".join(judgement.disturbed)
    return cases and f"other work slowed the machine while these cases were measured: {cases}"


def _p_text(judgement: Judgement) -> str:
    return "<.001" if judgement.p < 0.001 else f"{judgement.p:.3f}".removeprefix("0")


def _value_text(effect: Effect) -> str:
    text = _number(effect.value, effect)
    if effect.low is not None and effect.high is not None and effect.low != effect.high:
        text += f" [{_number(effect.low, effect)}, {_number(effect.high, effect)}]"
    return text


def _bound_text(effect: Effect) -> str:
    sign = "≤" if effect.at_most else ">"
    bound = "0" if effect.bound == 0 else _number(effect.bound, effect, signed=False)
    return f"{sign} {bound}"


def _number(value: float, effect: Effect, *, signed: bool = True) -> str:
    if effect.unit == "%":
        digits = 0 if abs(value) >= 0.1 else 1
        value = round(value, 2 + digits) + 0.0  # no "-0.0"
        text = f"{100 * value:+,.{digits}f}" if signed else f"{100 * value:,.{digits}f}".removesuffix(".0")
        return f"{text} %"
    if effect.unit == "x":
        return f"{value:.2f} x"
    if effect.unit in _WHOLE or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{metric_text(value)}{effect.unit and f' {effect.unit}'}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
