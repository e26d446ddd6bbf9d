"""The commands `mlbench export` and `mlbench match`."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlbench.commands.installed import installed_registry
from mlbench.deployment.formats import FORMATS
from mlbench.parameters import FiniteRange, json_option, plan_options, results_option

if TYPE_CHECKING:
    from mlbench.deployment.card import Card
    from mlbench.deployment.match import Match
    from mlbench.deployment.trial import Score
    from mlbench.records.record import Estimate
    from mlbench.table import Table

__all__ = ["export", "match"]


@click.command()
@click.argument("suite")
@click.argument("case")
@click.option("--seed", type=click.IntRange(0), help="Of the case; default that of the median threshold.")
@plan_options
@results_option
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), default=Path("export"), show_default=True,
    help="Folder to write into.",
)  # fmt: skip
@click.option(
    "--format", "formats", type=click.Choice(list(FORMATS)), multiple=True, default=["onnx"],
    show_default=True, help="Of the model file; may be repeated.",
)  # fmt: skip
@click.option("--int8", is_flag=True, help="Write an ONNX file with 8-bit weights, too, and compare it.")
@click.option(
    "--width", type=click.IntRange(1),
    help="Cut the embeddings to one of the case's widths, with its threshold; default the whole.",
)  # fmt: skip
@json_option
def export(
    as_json: bool,
    size: str | None,
    overrides: tuple[str, ...],
    device: str,
    precision: str | None,
    **options: Any,
) -> None:
    """Write the model of a CASE of a SUITE (its name or its file) as a model file, and check it.

    Given the suite's file, the record is that of the current file (with --size, --set, --device
    and --precision as in the run); given its name, the newest. The file takes uint8 images, returns
    embeddings, and contains the fitted threshold. It is compared with PyTorch, on the CPU, on all test
    images. Relative paths of data start at MLBENCH_DATA, else at the suite's folder.

    onnx: for ONNX Runtime, with embed.py beside it, which needs no mlbench. pt2: a program of
    torch.export, for torch alone. safetensors: the weights, for mlbench. README.md is their model card.
    """
    from mlbench.commands.progress import RunProgress
    from mlbench.console import open_console
    from mlbench.deployment.formats import check_formats
    from mlbench.planning.request import PlanRequest
    from mlbench.table import print_table

    check_formats(options["formats"], int8=options["int8"])
    from mlbench.deployment.export import Request
    from mlbench.deployment.export import export as write

    plan = PlanRequest(size=size, overrides=overrides, device=device, precision=precision)
    with RunProgress(open_console(stderr=True), options["case"]) as progress:
        found = write(Request(plan=plan, **options), installed_registry(), progress.stage)
    scores = [found.own, *found.files]
    notes = dict.fromkeys((*(note for each in scores for note in each.notes), *found.notes))
    if as_json:
        click.echo(json.dumps([_plain(each) for each in scores], indent=1))
        return
    print_table(_exported_table(scores))
    for line in _differences(scores):
        click.echo(line)
    if found.beside:
        click.echo(f"beside: {', '.join(map(str, found.beside))}")
    for note in notes:
        click.echo(f"note: {note}", err=True)
    click.echo(f"next: mlbench match a.jpg b.jpg --model {shlex.quote(str(scores[1].file))}", err=True)


@click.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--model", type=click.Path(path_type=Path), default=Path("export"), show_default=True,
    help="File of an exported model, or a folder with one.",
)  # fmt: skip
@click.option(
    "--threshold", "distance", type=FiniteRange(0, 2),
    help="Cosine distance (of a Euclidean distance half of the square); default the model's.",
)  # fmt: skip
@json_option
def match(images: Sequence[Path], model: Path, distance: float | None, as_json: bool) -> None:
    """Compare the first of IMAGES with each of the others: same or different.

    The exit code is 0 for both answers; scripts read --json.
    """
    if len(images) < 2:
        raise click.UsageError("give two images, or one and those to compare it with")
    from mlbench.deployment.formats import open_model
    from mlbench.deployment.match import find_model, notes_on
    from mlbench.deployment.match import match as compare

    session = open_model(find_model(model))
    found = compare(session, images, distance)
    card = session.card
    for note in notes_on(found, distance):
        click.echo(f"note: {note}", err=True)
    most = card.distance if distance is None else distance
    assert most is not None  # compare has checked it
    if as_json:
        click.echo(json.dumps(_matches(images[0], found, most, session.file, card), indent=1))
    elif len(found) == 1:
        click.echo(f"{_answer(found[0])}: {_scores(found[0], most)}")
    else:
        from mlbench.table import Table, print_table

        rows = [
            (str(each.image), _answer(each), f"{each.distance:.4f}", f"{each.similarity:.4f}")
            for each in found
        ]
        headings = ("image", "answer", "distance", "similarity")
        title = f"{images[0]} (same: distance up to {most:.4f})" if most >= 0 else f"{images[0]} ({_NONE})"
        print_table(Table(headings, rows, numbers=headings[2:], title=title))


#: In place of a threshold that no pair reaches.
_NONE = "the model accepts no pair"


def _answer(found: Match) -> str:
    return "same" if found.same else "different"


def _scores(found: Match, most: float) -> str:
    threshold = f"threshold {most:.4f}" if most >= 0 else _NONE
    return f"distance {found.distance:.4f}, {threshold}, similarity {found.similarity:.4f}"


def _matches(
    query: Path, found: Sequence[Match], most: float | None, file: Path, card: Card
) -> dict[str, Any]:
    return {
        "query": str(query),
        "model": str(file),
        "case": card.case,
        "fingerprint": card.fingerprint,
        "threshold": most,
        "matches": [
            {
                "image": str(each.image),
                "same": each.same,
                "distance": each.distance,
                "similarity": each.similarity,
            }
            for each in found
        ],
    }


def _exported_table(found: Sequence[Score]) -> Table:
    from mlbench.table import Table

    shown = {name: each.heading or name for name, each in found[0].metrics.items() if each.headline}
    headings = ["model", "MB", "images/s", *shown.values(), "at distance", "answers differ"]
    rows = []
    for each in found:
        size = f"{each.bytes / 1e6:.2f}" if each.bytes else ""
        speed = f"{each.images_per_second:,.0f}" if each.images_per_second else ""
        label = str(each.file or each.name)
        cells = [*_cells(each.metrics, shown), _distance(found[0]), _share(each.answers_differ)]
        rows.append([label, size, speed, *cells])
        if each.refitted:
            cells = [*_cells(each.refitted, shown), _distance(each), _share(each.refitted_answers_differ)]
            rows.append(["  its own threshold", "", "", *cells])
    used = [at for at in range(len(headings)) if any(row[at] for row in rows)]
    return Table(
        [headings[at] for at in used],
        [[row[at] for at in used] for row in rows],
        numbers=headings[1:],
    )


def _cells(metrics: Mapping[str, Estimate], names: Iterable[str]) -> list[str]:
    from mlbench.records.report import metric_text

    values = [metrics[name].value if name in metrics else None for name in names]
    return ["" if value is None else metric_text(value, 4) for value in values]


def _values(metrics: Mapping[str, Estimate]) -> dict[str, float]:
    return {name: each.value for name, each in metrics.items() if each.value is not None}


def _share(share: float | None) -> str:
    """A share of pairs, small ones in scientific form."""
    return "" if share is None else f"{share:.1e}" if 0 < share < 1e-4 else f"{share:.2%}"


def _distance(each: Score) -> str:
    distance = each.threshold.distance
    if each.threshold.accepts_nothing:
        return "accepts nothing"
    return "" if distance is None else f"{distance:.4f}"


def _differences(found: Sequence[Score]) -> list[str]:
    """One sentence per file on its differences from PyTorch."""
    own, *files = found
    lines = []
    for each in files:
        here, there = _values(each.metrics), _values(own.metrics)
        changes = {name: abs(here[name] - there[name]) for name in sorted(here.keys() & there.keys())}
        line = f"{each.name} against PyTorch: embeddings differ by at most {each.difference:.2g}"
        if each.answers_differ is not None:
            line += f", answers (same or different) on {_share(each.answers_differ)} of the test pairs"
        if name := max(changes, key=lambda name: changes[name], default=""):
            line += f", metrics by at most {changes[name]:.2g} ({name})"
        lines.append(line)
    return lines


def _plain(each: Score) -> dict[str, Any]:
    return {
        "model": each.name,
        "file": str(each.file) if each.file else None,
        "width": each.width,
        "bytes": each.bytes,
        "images_per_second": each.images_per_second,
        "rounds": list(each.rounds),
        "difference": each.difference,
        "answers_differ": each.answers_differ,
        "metrics": _values(each.metrics),
        "threshold": {"distance": each.threshold.distance, "note": each.threshold.note},
        "refitted": _values(each.refitted),
        "refitted_answers_differ": each.refitted_answers_differ,
        "notes": list(each.notes),
    }
