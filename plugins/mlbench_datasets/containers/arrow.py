"""Images in the Arrow tables of the Hugging Face `datasets` library, read by row."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlbench.plugin import DataError, OptionError, find_path, first_line, hint, one_form
from mlbench_datasets.containers.file_cache import stamp
from mlbench_datasets.containers.split import Pool

__all__ = ["RowSource", "Tables", "load_tables"]


@dataclass(frozen=True)
class RowSource:
    """Rows of a table with one column, of encoded images."""

    table: Any
    name: str

    def read(self, item: int) -> bytes:
        (value,) = self.table[item].values()
        if isinstance(value, dict):  # an image of the library: its content or the path of its file
            content, path = value.get("bytes"), value.get("path")
            if content is None and path:
                try:
                    return Path(path).read_bytes()
                except OSError as error:
                    raise DataError(f"{self.where(item)}: {path}: {error.strerror or error}") from None
            value = content
        if not isinstance(value, bytes):
            raise DataError(f"{self.where(item)} has no image")
        return value

    def where(self, item: int) -> str:
        return f"{self.name}: row {item}"


@dataclass(frozen=True)
class Tables:
    """The splits of a data set, by name."""

    place: str
    tables: dict[str, Any]

    def files(self, split: str) -> list[Path]:
        """The files of a split; none for a table in memory."""
        return [Path(each["filename"]) for each in self.tables[split].cache_files]

    def pool(self, split: str, image: str, label: str, option: str = "split") -> tuple[Pool, bytes]:
        """Images and classes of a split, and bytes that stand for its pixels in the version of the data.

        option: the option that names the split. Raises OptionError for a missing column or split, DataError
        for a row without a label.
        """
        import datasets

        if split not in self.tables:
            raise OptionError(f"{self.place}: no split {split!r}; {hint(split, self.tables)}", option)
        table, name = self.tables[split], f"{self.place}: {split}"
        for option, column in (("image", image), ("label", label)):
            if column not in table.column_names:
                known = hint(column, table.column_names)
                raise OptionError(f"{name}: no column {column!r}; {known}", option)
        features = table.features
        if isinstance(features[image], datasets.Image):
            images = table.select_columns([image]).cast_column(image, datasets.Image(decode=False))
        elif getattr(features[image], "dtype", "") in ("binary", "large_binary"):
            images = table.select_columns([image])
        else:
            raise OptionError(f"{name}: column {image!r} holds {_type(features[image])}, not images", "image")
        values = table.select_columns([label]).with_format(None)[:][label]
        classes, names = _classes(name, label, values, features[label])
        files = self.files(split)
        # A table in memory has no files; the library's own hash stands for it.
        content = stamp(files) if files else str(table._fingerprint).encode()
        return Pool(RowSource(images.with_format(None), name), classes, names), content


def load_tables(root: Path, path: str, config: str | None, revision: str | None) -> Tables:
    """Load a data set from a folder, the local cache or the hub, without decoding an image.

    Raises DataError when it cannot be loaded, and when the library is not installed.
    """
    try:
        import datasets
    except ImportError:
        raise DataError(
            "huggingface data sets need the library datasets; install it with: pip install 'mlbench[hf]'"
        ) from None
    place = find_path(root / Path(path).expanduser())
    local = place.exists()
    name = str(place) if local else path
    if not local and (Path(path).expanduser().is_absolute() or path.startswith(".")):
        raise DataError(f"{place}: no such folder; expected a folder, or the name of a data set on the hub")
    try:
        if any((place / each).is_file() for each in ("dataset_dict.json", "state.json")):
            found = datasets.load_from_disk(name)
        else:
            found = datasets.load_dataset(name, config, revision=revision)
    # The library raises many kinds of errors, for the network, the hub, the file system and damaged files.
    except Exception as error:
        where = "" if local else f" (there is no folder {place} either)"
        raise DataError(f"{name}: datasets cannot load it: {first_line(error)}{where}") from None
    tables = dict(found) if isinstance(found, dict) else {str(found.split or "train"): found}
    return Tables(name, {str(key): table for key, table in tables.items()})


def _classes(name: str, label: str, values: list[Any], feature: Any) -> tuple[np.ndarray, list[str]]:
    """Class of each row and names of the classes."""
    named = getattr(feature, "names", None)
    for row, value in enumerate(values):
        if value is None or value == "" or (named is not None and value < 0):
            raise DataError(
                f"{name}: row {row} has no label in {label!r}; hidden test labels cannot be scored"
            )
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise OptionError(f"{name}: column {label!r} holds {_type(feature)}, not classes", "label")
    values = [one_form(value) if isinstance(value, str) else value for value in values]
    distinct = sorted(set(values))
    codes = {value: code for code, value in enumerate(distinct)}
    names = [str(value) if named is None else one_form(named[value]) for value in distinct]
    return np.fromiter((codes[value] for value in values), np.int64, len(values)), names


def _type(feature: Any) -> str:
    return str(getattr(feature, "dtype", "") or type(feature).__name__)
