"""The command `mlbench embed`."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlbench.commands.models import case_model, exported_model
from mlbench.parameters import json_option, plan_options, results_option

if TYPE_CHECKING:
    from mlbench.deployment.embedding import EmbeddedImages

__all__ = ["embed"]


@click.command()
@click.argument("names", metavar="[SUITE CASE] IMAGES...", nargs=-1, required=True)
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), required=True,
    help="File to write: .parquet or .npz.",
)  # fmt: skip
@click.option(
    "--model", type=click.Path(path_type=Path),
    help="File of an exported model, or a folder with one, in place of SUITE CASE.",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(0), help="Of the case; default that of the median threshold.")
@click.option("--width", type=click.IntRange(1), help="One of the case's nested widths; default the whole.")
@click.option(
    "--level", type=click.IntRange(1), default=1, show_default=True, help="Depth of the class folders."
)
@click.option(
    "--batch-size", type=click.IntRange(1, 65536), help="Images that the model embeds at a time; default 64."
)
@plan_options
@results_option
@json_option
def embed(
    names: Sequence[str],
    output: Path,
    model: Path | None,
    level: int,
    batch_size: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Embed images with the model of a CASE of a SUITE (its name or its file), or with an exported one.

    IMAGES are folders, manifests (.csv, .parquet) or image files. Sub-folders, or a manifest's column label,
    are the classes. Images are prepared as in training; those that cannot be read are named and left out.
    mlbench evaluate and mlbench search read the file.
    """
    from mlbench.commands.progress import RunProgress
    from mlbench.console import open_console
    from mlbench.deployment.embed_files import check_output, write_embeddings
    from mlbench.deployment.embedding import BATCH, embed_images
    from mlbench.images.image_list import list_images

    check_output(output)
    notes: list[str] = []
    if model is None:
        if len(names) < 3:
            raise click.UsageError("give SUITE, CASE and the images to embed; or --model FILE and the images")
        suite, case, *places = names
        listed = list_images([Path(each) for each in places], level)
        network = case_model(suite, case, notes, **options)
    else:
        _check_unused(options)
        listed = list_images([Path(each) for each in names], level)
        network = exported_model(model)
    with RunProgress(open_console(stderr=True), output.name) as progress:
        started = time.perf_counter()
        found = embed_images(network, listed, progress.stage, batch_size or BATCH)
        seconds = time.perf_counter() - started
    write_embeddings(output, found)
    notes += [*listed.notes, *found.notes()]
    if not listed.labelled:
        notes.append("the images have no labels, which mlbench evaluate needs: put each class into a folder")
    if as_json:
        click.echo(json.dumps(_plain(output, found, seconds, notes), indent=1))
        return
    click.echo(f"{output}: {_summary(found)} ({seconds:.1f} s, {len(found.images) / seconds:,.0f} images/s)")
    for note in notes:
        click.echo(f"note: {note}", err=True)
    click.echo(f"next: mlbench search IMAGE --in {shlex.quote(str(output))}", err=True)


def _check_unused(options: dict[str, Any]) -> None:
    """Raise a usage error for an option of SUITE CASE beside --model."""
    for name in ("seed", "width", "size", "precision"):
        if options[name] is not None:
            raise click.UsageError(f"--{name} chooses a model of SUITE CASE; leave it out with --model")
    if options["overrides"]:
        raise click.UsageError("--set changes the cases of SUITE; leave it out with --model")
    if options["device"] not in ("auto", "cpu"):
        raise click.UsageError(f"an exported model runs on the CPU; leave --device {options['device']} out")


def _summary(found: EmbeddedImages) -> str:
    classes = len({image.label for image in found.images if image.label})
    of = f" of {classes:,} class{'es' * (classes != 1)}" if classes else ""
    images = len(found.images)
    return f"embeddings of {images:,} image{'s' * (images != 1)}{of}, {found.vectors.shape[1]:,} numbers each"


def _plain(output: Path, found: EmbeddedImages, seconds: float, notes: Sequence[str]) -> dict[str, Any]:
    card = found.card
    return {
        "file": str(output),
        "images": len(found.images),
        "classes": len({image.label for image in found.images if image.label}),
        "width": found.vectors.shape[1],
        "unreadable": [{"image": name, "reason": reason} for name, reason in found.unreadable.items()],
        "suite": card.suite,
        "case": card.case,
        "seed": card.seed,
        "fingerprint": card.fingerprint,
        "precision": card.precision,
        "threshold": card.distance,
        "seconds": seconds,
        "notes": list(notes),
    }
