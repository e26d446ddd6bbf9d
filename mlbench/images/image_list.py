"""Lists of images to embed: from folders, manifests and image files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mlbench.errors import DataError
from mlbench.images.class_folders import read_class_folders
from mlbench.images.decode import Box
from mlbench.images.image_files import IMAGE_SUFFIXES
from mlbench.images.manifest import MANIFEST_SUFFIXES, read_manifest
from mlbench.names import find_path

__all__ = ["ImageList", "ListedImage", "list_images"]


@dataclass(frozen=True, slots=True)
class ListedImage:
    """An image, or a part of one. path: of the file, with "/". label: its class, "" for none. box: the part
    to use, None for all."""

    path: str
    label: str = ""
    box: Box | None = None

    @property
    def box_text(self) -> str:
        """The box as manifests write it; "" for none."""
        return "" if self.box is None else ",".join(f"{edge:g}" for edge in self.box)

    def __str__(self) -> str:
        return f"{self.path} [{self.box_text}]" if self.box else self.path


@dataclass(frozen=True)
class ImageList:
    """Images, each once. root: folder that their paths start at. notes: on what is left out and on labels,
    one line each."""

    root: Path
    images: tuple[ListedImage, ...]
    notes: tuple[str, ...] = ()

    @property
    def labelled(self) -> int:
        """Number of images with a label."""
        return sum(1 for image in self.images if image.label)


def list_images(places: Sequence[Path], level: int = 1) -> ImageList:
    """The images of folders, of manifests (.csv, .parquet), and image files.

    The images of one folder have paths relative to it, those of one manifest the manifest's paths; those of
    several places have paths as from the current folder. Classes are the folders at `level` (see
    `ClassFolders`), or the labels of the manifest; an image file has none. Raises DataError for a place that
    does not exist or cannot be read, and where there is no image.
    """
    places = [find_path(place.expanduser()) for place in places]
    lists = [_listed(place, level) for place in places]
    root, notes = Path(), [note for each in lists for note in each.notes]
    if len(lists) == 1:
        root, images = lists[0].root, lists[0].images
    else:
        images = tuple(
            replace(image, path=(each.root / image.path).as_posix())
            for each in lists
            for image in each.images
        )
    once: dict[tuple[str, Box | None], ListedImage] = {}
    for image in images:
        once.setdefault((image.path, image.box), image)
    kept = tuple(once.values())
    if not kept:
        named = ", ".join(map(str, places))
        raise DataError(
            f"{named}: no images; expected a folder, a manifest or files that end in "
            f"{' '.join(sorted(IMAGE_SUFFIXES))}"
        )
    found = ImageList(root, kept)
    return replace(found, notes=(*dict.fromkeys(notes), *_on_labels(found)))


def _listed(place: Path, level: int) -> ImageList:
    """The images of one place."""
    if place.is_dir():
        return _of_folder(place, level)
    if not place.exists():
        raise DataError(f"{place}: no such file or folder")
    if place.suffix.lower() not in MANIFEST_SUFFIXES:
        return ImageList(Path(), (ListedImage(place.as_posix()),))
    manifest = read_manifest(place, needs_labels=False)
    images = tuple(ListedImage(row.path, row.label, row.box) for row in manifest.rows)
    return ImageList(place.parent, images, tuple(manifest.notes))


def _of_folder(folder: Path, level: int) -> ImageList:
    found = read_class_folders(folder)
    images = tuple(
        ListedImage(path, found.label(path, level))
        for path in found.paths
        if not found.beside or path.partition("/")[0] not in found.beside
    )
    notes = list(found.notes)
    if found.splits:
        notes.append(
            f"{folder}: the images of {', '.join(f'{name}/' for name in found.splits)} together; name one of "
            "these folders for its images alone"
        )
    if left := len(found.paths) - len(images):
        notes.append(
            f"{folder}: {left:,} images in {', '.join(f'{name}/' for name in found.beside)}, beside the "
            "folders of the splits, are left out"
        )
    return ImageList(folder, images, tuple(notes))


def _on_labels(found: ImageList) -> Iterator[str]:
    """A note where only some images have a label."""
    without = len(found.images) - found.labelled
    if found.labelled and without:
        example = next(image for image in found.images if not image.label)
        yield (
            f"{without:,} of {len(found.images):,} images have no label, such as {example}; mlbench evaluate "
            "needs one for each"
        )
