"""A map of the embeddings."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from mlbench.plugin import CaseFindings, Chart, MlbenchError, PageContext, Section, SectionOptions
from mlbench_sections.detail import Made, by_case, share

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Map"]

#: Points, and images of points, of all cases together.
_POINTS, _IMAGES = 5000, 300

#: Classes up to which each has a colour of its own.
_COLOURED = 8


class Map(SectionOptions):
    """Test images in two dimensions, by their embeddings: principal components (pca), which keep distances as
    far as a plane can, or UMAP (arXiv:1802.03426), which keeps neighbours. A query whose nearest image is of
    another class is a cross."""

    place: ClassVar[int] = 520

    method: Literal["pca", "umap"] = "pca"
    """How the plane is found; umap needs mlbench[umap]."""
    points: Annotated[int, Field(ge=10, le=2000)] = 2000
    """Images of a case at most; fewer where there are many cases."""

    def build(self, context: PageContext) -> Section | None:
        points, images = share(context, self.points, _POINTS, 200), share(context, 200, _IMAGES, 10)

        def part(case: str, found: CaseFindings) -> Made:
            details = found.details
            if len(details.map) < 3:
                return None
            x, y = (details.map.x, details.map.y) if self.method == "pca" else _umap(details.map.vectors)
            rank = dict(zip(details.queries.tolist(), details.rank.tolist(), strict=True))
            step = max(1, -(-len(details.map) // points))
            chosen = list(range(0, len(details.map), step))
            pictured = set(_first_wrong(chosen, details.map.index, rank)[:images])
            rows: list[dict[str, Any]] = []
            for at in chosen:
                index = int(details.map.index[at])
                row: dict[str, Any] = {
                    "x": round(float(x[at]), 4),
                    "y": round(float(y[at]), 4),
                    "class": details.classes.names[int(details.map.label[at])],
                    "name": found.name_of(index),
                    "wrong": rank.get(index, 1) > 1,
                }
                number = context.image(case, index) if at in pictured else None
                rows.append(row if number is None else {**row, "image": number})
            values = {
                "method": self.method,
                "shown": len(rows),
                "images": details.images,
                "explained": [float(each) for each in details.map.explained],
            }
            return values, {"map": _chart(rows, self.method)}

        return by_case(context, "Map", "map", part)


def _first_wrong(chosen: list[int], index: np.ndarray, rank: dict[int, int]) -> list[int]:
    """The points in the order in which they get an image: wrong ones first, then evenly spread ones."""
    wrong = [at for at in chosen if rank.get(int(index[at]), 1) > 1]
    others = [at for at in chosen if rank.get(int(index[at]), 1) <= 1]
    spread = [at for offset in range(8) for at in others[offset::8]]
    return [*wrong, *spread]


def _umap(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ImportWarning)  # of parts that need TensorFlow
            from umap import UMAP
    except ImportError:
        raise MlbenchError("umap needs mlbench[umap]: pip install 'mlbench[umap]'") from None
    neighbours = max(2, min(15, len(vectors) - 1))
    start = "spectral" if len(vectors) > 10 else "random"
    model = UMAP(n_neighbors=neighbours, metric="cosine", random_state=0, n_jobs=1, init=start)
    found = model.fit_transform(vectors.astype("float32"))
    return found[:, 0], found[:, 1]


def _chart(rows: list[dict[str, Any]], method: str) -> Chart:
    names = sorted({row["class"] for row in rows})
    few = len(names) <= _COLOURED
    hidden = {"labels": False, "ticks": False, "grid": False, "title": None, "domain": False}
    colour: dict[str, Any] = (
        {
            "field": "class",
            "type": "nominal",
            "scale": {"domain": names},
            "legend": {"orient": "bottom", "title": None, "columns": 2},
        }
        if few
        else {"condition": {"test": "datum.wrong", "value": "var(--c2)"}, "value": "var(--c1)"}
    )
    spec = {
        "height": 420,
        "data": {"values": rows},
        "params": [
            {
                "name": "view",
                "select": {"type": "interval", "zoom": "wheel![event.shiftKey]"},
                "bind": "scales",
            }
        ],
        "mark": {"type": "point", "filled": True, "opacity": 0.75},
        "encoding": {
            "x": {"field": "x", "type": "quantitative", "axis": hidden, "scale": {"zero": False}},
            "y": {"field": "y", "type": "quantitative", "axis": hidden, "scale": {"zero": False}},
            "color": colour,
            "shape": {"condition": {"test": "datum.wrong", "value": "cross"}, "value": "circle"},
            "size": {"condition": {"test": "datum.wrong", "value": 70}, "value": 30},
            "tooltip": [{"field": "image"}, {"field": "class"}, {"field": "name"}],
            # What a screen reader says of a point: without this the tooltip, with the bytes of its image.
            "description": {"field": "name"},
        },
    }
    what = "principal components" if method == "pca" else "UMAP"
    return Chart(
        spec, f"{len(rows)} test images in two dimensions ({what}), a cross where the nearest image is wrong."
    )
