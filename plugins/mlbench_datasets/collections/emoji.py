"""The same emoji drawn by four vendors: a retrieval task across styles, from npm packages."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from mlbench.contracts import DataProgress
from mlbench.errors import DataError
from mlbench.names import find_path
from mlbench_datasets.collections.listed import Item, check_listed, load_listed
from mlbench_datasets.collections.source import Source
from mlbench_datasets.image_folder import ImageFolder

__all__ = ["PUBLISHED", "emoji", "emoji_source"]

#: Classes and images of the halves, with all 1,857 emoji and four vendors.
PUBLISHED = {"train": (928, 3712), "test": (660, 2640)}

_VENDORS = ("apple", "google", "twitter", "facebook")
_RELEASE = "16.0.0"
_NEEDED = ("package.json", "emoji.json", "img")
_FLAGS = "Flags"
_FIELDS = {"image": str, "short_name": str, "category": str, "sort_order": int}


def emoji(
    data_root: Path,
    image_size: int,
    *,
    path: str = "emoji",
    calibration: Annotated[float, Field(gt=0, lt=1)] = 0.2,
    seed: int = 0,
) -> ImageFolder:
    """Emoji by Apple, Google, Twitter and Facebook: a class each emoji, its four images the four drawings.

    Of the 1,857 base emoji that all four have drawn, 64 x 64 pixels, shown on white, in the order of
    sort_order: the first 928 are divided into train and calibration; of the other 929, test has the 660
    that are no flags, for all flags are at the end and many differ in nothing but colours.

    Options
    -------
    path: the folder in which npm has installed the packages.
    calibration: share of the training classes that is held out to fit thresholds on.
    seed: of the choice of these.

    Raises DataError, saying what to run, when files are missing.
    """
    source = _source(data_root, path)
    return load_listed(source, _read, PUBLISHED, image_size, calibration=calibration, seed=seed)


def emoji_source(data_root: Path) -> Source:
    """Where the files come from."""
    return _source(data_root, "emoji")


def _source(data_root: Path, path: str) -> Source:
    folder = find_path(data_root / Path(path).expanduser())
    return Source(
        name="emoji",
        home="https://github.com/iamcal/emoji-data",
        licence="Apple: non-commercial; Google: Apache-2.0; Twitter: CC BY 4.0; Facebook: no clear licence",
        size=370_000_000,
        folder=folder,
        data_root=data_root,
        instructions=" ".join(_command(folder)),
        layouts=(tuple(f"{_package(vendor)}/{name}" for vendor in _VENDORS for name in _NEEDED),),
        examine=partial(check_listed, _read, PUBLISHED),
        obtain=_install,
    )


def _package(vendor: str) -> str:
    return f"node_modules/emoji-datasource-{vendor}"


def _command(folder: Path) -> list[str]:
    packages = [f"emoji-datasource-{vendor}@{_RELEASE}" for vendor in _VENDORS]
    return ["npm", "install", "--ignore-scripts", "--no-save", "--prefix", str(folder), *packages]


def _install(folder: Path, progress: DataProgress) -> None:
    """Have npm install the packages. Raises DataError where there is no npm, or it fails."""
    command = _command(folder)
    npm = shutil.which("npm")
    if npm is None:
        raise DataError(f"npm is not here; install Node.js, then run: {' '.join(command)}")
    folder.mkdir(parents=True, exist_ok=True)
    progress(f"running {' '.join(command)}", 0, 1)
    try:
        process = subprocess.run([npm, *command[1:]], capture_output=True, text=True, check=False)
    except OSError as error:
        raise DataError(
            f"npm cannot be started ({error.strerror}); try it yourself: {' '.join(command)}"
        ) from None
    if process.returncode:
        said = [line.strip() for line in process.stderr.splitlines() if "error" in line.lower()]
        reason = "; ".join(said[:2]) or f"exit code {process.returncode}"
        raise DataError(f"npm failed ({reason}); try it yourself: {' '.join(command)}")


def _read(folder: Path) -> list[Item]:
    for vendor in _VENDORS:
        file = folder / _package(vendor) / "package.json"
        found = _load(file)
        release = found.get("version") if isinstance(found, dict) else None
        if release != _RELEASE:
            command = " ".join(_command(folder))
            raise DataError(f"{file}: version {release}; the splits rest on {_RELEASE}; run: {command}")
    file = folder / _package(_VENDORS[0]) / "emoji.json"
    table = _load(file)
    drawn = [entry for entry in table if _drawn(file, entry)] if isinstance(table, list) else []
    if not drawn:
        raise DataError(f"{file}: no emoji that all vendors have drawn; install the package again")
    drawn.sort(key=lambda entry: entry["sort_order"])
    items = []
    for rank, entry in enumerate(drawn):
        part = "train" if rank < len(drawn) // 2 else "test"
        if part == "test" and entry["category"] == _FLAGS:
            continue
        name = f"{entry['image'].removesuffix('.png')} {entry['short_name']}"
        for vendor in _VENDORS:
            items.append(Item(f"{_package(vendor)}/img/{vendor}/64/{entry['image']}", name, part))
    return items


def _drawn(file: Path, entry: Any) -> bool:
    """Whether all vendors have drawn this emoji. Raises DataError when it is none."""
    if not (
        isinstance(entry, dict) and all(isinstance(entry.get(key), kind) for key, kind in _FIELDS.items())
    ):
        raise DataError(f"{file}: expected emoji with {', '.join(_FIELDS)}; install the package again")
    return all(entry.get(f"has_img_{vendor}") for vendor in _VENDORS)


def _load(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except OSError as error:
        raise DataError(f"{file}: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise DataError(f"{file}: not JSON; install the package again") from None
