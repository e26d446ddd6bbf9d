"""The command `mlbench search`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlbench.commands.models import case_model, exported_model, made_model
from mlbench.parameters import FiniteRange, json_option, plugin_option, results_option

if TYPE_CHECKING:
    from mlbench.deployment.embedding import ImageModel
    from mlbench.deployment.nearest import Nearest
    from mlbench.deployment.search import Found, Gallery, Neighbour, Query

__all__ = ["search"]

#: Files that hold embeddings; other places hold images.
_EMBEDDED = (".parquet", ".npz", ".npy")


@click.command()
@click.argument("queries", metavar="QUERY...", nargs=-1, required=True)
@click.option(
    "--in", "place", type=click.Path(path_type=Path), required=True, metavar="FILE|FOLDER",
    help="Embeddings (.parquet, .npz), or a folder of images, which are embedded first.",
)  # fmt: skip
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="Images for each query.")
@click.option(
    "--model", type=click.Path(path_type=Path),
    help="File of an exported model, or a folder with one; default the case that made FILE.",
)  # fmt: skip
@click.option("--case", nargs=2, metavar="SUITE CASE", help="Or the model of a case.")
@click.option("--seed", type=click.IntRange(0), help="Of --case; default that of the median threshold.")
@click.option(
    "--threshold", "distance", type=FiniteRange(0, 2),
    help="Largest cosine distance of a match; default the model's.",
)  # fmt: skip
@click.option("--any-model", is_flag=True, help="Allow another model than the one that made FILE.")
@click.option(
    "--index", type=click.Choice(["usearch", "faiss"]),
    help="Search approximately by a graph, and report its recall.",
)  # fmt: skip
@click.option("--device", default="auto", metavar="NAME", help="Of --case: auto, cpu, cuda, cuda:1 or mps.")
@results_option
@plugin_option
@json_option
def search(
    queries: Sequence[str],
    place: Path,
    top: int,
    distance: float | None,
    any_model: bool,
    index: Any,
    as_json: bool,
    **options: Any,
) -> None:
    """Show the images in a file of embeddings, or in a folder, that are nearest to each QUERY.

    QUERY is an image, or names an image of FILE; an image is never found by itself. The answer is that of
    mlbench match: same up to the fitted threshold. The search is exact, unless --index is given.
    """
    from mlbench.commands.progress import RunProgress
    from mlbench.console import open_console
    from mlbench.deployment.approximate import check_library
    from mlbench.deployment.match import euclidean_note
    from mlbench.deployment.search import search as find

    if index is not None:
        check_library(index)
    notes: list[str] = []
    with RunProgress(open_console(stderr=True), place.name) as progress:
        gallery, asked = _read(queries, place, notes, progress.stage, any_model=any_model, **options)
        card = gallery.card
        least = (None if card is None else card.similarity) if distance is None else 1 - distance
        chosen = {} if index is None else {"find": _graph(index, gallery, top, notes, progress.stage)}
        found = list(find(gallery, asked, top, least, **chosen))
    if distance is not None and (note := euclidean_note(distance)):
        notes.append(note)
    if least is None:
        notes.append("no threshold is known, so no image is called the same; give --threshold DISTANCE")
    if as_json:
        plain = {
            "gallery": str(place),
            "root": str(gallery.root),
            "images": len(gallery.images),
            "threshold": None if least is None else 1 - least,
            "queries": [_plain(each) for each in found],
            "notes": notes,
        }
        click.echo(json.dumps(plain, indent=1))
        return
    for each in found:
        _print(each, least)
    for note in notes:
        click.echo(f"note: {note}", err=True)


def _read(
    queries: Sequence[str],
    place: Path,
    notes: list[str],
    progress: Callable[[str, int, int], None],
    *,
    any_model: bool,
    model: Path | None,
    case: tuple[str, str] | None,
    **options: Any,
) -> tuple[Gallery, list[Query]]:
    """The gallery and the queries, embedded where they are images. Notes are added to `notes`."""
    from mlbench.deployment.embedding import embed_images
    from mlbench.deployment.search import Gallery, check_model
    from mlbench.images.image_list import list_images

    if model is not None and case is not None:
        raise click.UsageError("--model and --case both choose a model; give one of them")
    if options["seed"] is not None and case is None:
        raise click.UsageError("--seed is of --case; name the case, or leave it out")
    network: ImageModel | None = None
    if place.suffix in _EMBEDDED and not place.is_dir():
        gallery = Gallery.read(place)
    else:
        listed = list_images([place])
        network = _chosen(model, case, None, place, notes, **options)
        embedded = embed_images(network, listed, progress)
        notes += [*listed.notes, *embedded.notes()]
        gallery = Gallery.of(place, embedded)
    rows = [gallery.row(query) for query in queries]
    chosen = model is not None or case is not None
    if network is None and (chosen or any(row is None for row in rows)):
        network = _chosen(model, case, gallery, place, notes, **options)
        check_model(gallery, network.card, any_model=any_model)
        if any_model and gallery.card is not None and gallery.card.similarity is not None:
            notes.append(f"the threshold is that of the model that made {place}")
    return gallery, list(_asked(queries, rows, gallery, network, again=any_model))


def _asked(
    queries: Sequence[str],
    rows: Sequence[int | None],
    gallery: Gallery,
    network: ImageModel | None,
    *,
    again: bool,
) -> Sequence[Query]:
    """The queries, embedded where they are no rows of the gallery, and where another model may have made it:
    `again`. Raises DataError for an image that cannot be read."""
    from mlbench.deployment.match import load_image
    from mlbench.deployment.search import Query

    asked = []
    for query, row in zip(queries, rows, strict=True):
        if row is not None and (network is None or not again):
            asked.append(Query(query, gallery.vectors[row], row))
        else:
            assert network is not None
            vector = network.embed(load_image(Path(query), network.card)[None])[0]
            asked.append(Query(query, vector, -1 if row is None else row))
    return asked


def _chosen(
    model: Path | None,
    case: tuple[str, str] | None,
    gallery: Gallery | None,
    place: Path,
    notes: list[str],
    *,
    seed: int | None,
    device: str,
    results: Path,
) -> ImageModel:
    """The model that was chosen, else the one that made the gallery, from its record."""
    from mlbench.errors import MlbenchError, StoreError

    if model is not None:
        return exported_model(model)
    if case is not None:
        found = case_model(*case, notes, seed=seed, device=device, results=results)
        width = None if gallery is None else gallery.vectors.shape[1]
        if width in found.card.widths:
            found = case_model(*case, [], seed=seed, device=device, results=results, width=width)
        return found
    advice = "name the model: --model FILE, or --case SUITE CASE"
    if gallery is None:
        raise click.UsageError(f"{place} is no file of embeddings (.parquet, .npz); {advice}")
    if gallery.card is None:
        raise StoreError(f"{place}: does not say which model made it; {advice}")
    try:
        return made_model(gallery.card, device, results)
    except MlbenchError as error:
        raise StoreError(f"{place}: the model that made it is not at hand ({error}); {advice}") from None


def _graph(
    library: Any, gallery: Gallery, top: int, notes: list[str], progress: Callable[[str, int, int], None]
) -> Callable[..., Nearest]:
    """Approximate search. A note on its recall is added to `notes`."""
    from mlbench.deployment.approximate import ApproximateSearch

    progress(f"building the index of {library}", 0, 1)
    found = ApproximateSearch(library, gallery.vectors)
    progress("measuring recall", 0, 1)
    recall, queries = found.recall(top)
    made = "from the cache" if found.built is None else f"built in {found.built:.1f} s"
    notes.append(
        f"{library} finds {recall:.2%} of what exact search finds (recall@{top}, measured with {queries:,} "
        f"images of the gallery as queries); {made}"
    )
    return found


def _print(found: Found, least: float | None) -> None:
    from mlbench.table import Table, print_table

    title = found.query
    if least is not None:
        title += f" (same: distance up to {1 - least:.4f})" if least <= 1 else " (the model accepts no pair)"
    columns = {
        "image": [each.image for each in found.neighbours],
        "label": [each.label for each in found.neighbours],
        "answer": [_answer(each) for each in found.neighbours],
        "distance": [f"{each.distance:.4f}" for each in found.neighbours],
    }
    if not found.neighbours:
        click.echo(f"{title}: there is no other image")
        return
    columns = {name: cells for name, cells in columns.items() if any(cells)}
    rows = list(zip(*columns.values(), strict=True))
    print_table(Table(list(columns), rows, numbers=("distance",), title=title))


def _answer(found: Neighbour) -> str:
    return "" if found.same is None else "same" if found.same else "different"


def _plain(found: Found) -> dict[str, Any]:
    return {
        "query": found.query,
        "found": [
            {
                "image": each.image,
                "label": each.label or None,
                "same": each.same,
                "distance": each.distance,
                "similarity": each.similarity,
            }
            for each in found.neighbours
        ],
    }
