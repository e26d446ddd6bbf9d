"""The same emoji drawn by four vendors: a retrieval task across styles, from npm packages."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, ClassVar

from mlbench.plugin import DataError, DataProgress
from mlbench_datasets.collections.listed import Item, ListedDataset
from mlbench_datasets.collections.published import Published
from mlbench_datasets.collections.source import Source

__all__ = ["Emoji"]

_VENDORS = ("apple", "google", "twitter", "facebook")
_RELEASE = "16.0.0"
_NEEDED = ("package.json", "emoji.json", "img")
_FLAGS = "Flags"
_FIELDS = {"image": str, "short_name": str, "category": str, "sort_order": int}


class Emoji(ListedDataset):
    """Emoji by Apple, Google, Twitter and Facebook: each emoji is a class, with one image per vendor.

    The 1,857 base emoji that all four vendors have drawn, 64 x 64 pixels on white, in the order of
    sort_order. The first 928 are divided into train and calibration. Test has the 660 of the other 929 that
    are not flags: all flags are at the end of the order, and many differ in their colours alone.

    Raises DataError, with the command to run, when files are missing.
    """

    # The halves of all 1,857 emoji, with four vendors.
    published: ClassVar[Published] = {"train": (928, 3712), "test": (660, 2640)}

    path: str = "emoji"
    """Folder in which npm has installed the packages."""

    @classmethod
    def describe(cls, root: Path, folder: Path) -> Source:
        return Source(
            name="emoji",
            home="https://github.com/iamcal/emoji-data",
            licence=(
                "Apple: non-commercial; Google: Apache-2.0; Twitter: CC BY 4.0; Facebook: no clear licence"
            ),
            size=370_000_000,
            folder=folder,
            data_root=root,
            instructions=" ".join(_command(folder)),
            layouts=(tuple(f"{_package(vendor)}/{name}" for vendor in _VENDORS for name in _NEEDED),),
            examine=cls.examine,
            obtain=_install,
        )

    @classmethod
    def read(cls, folder: Path) -> list[Item]:
        for vendor in _VENDORS:
            file = folder / _package(vendor) / "package.json"
            found = _load(file)
            release = found.get("version") if isinstance(found, dict) else None
            if release != _RELEASE:
                command = " ".join(_command(folder))
                raise DataError(f"{file}: version {release}; the splits need {_RELEASE}; run: {command}")
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


def _package(vendor: str) -> str:
    return f"node_modules/emoji-datasource-{vendor}"


def _command(folder: Path) -> list[str]:
    packages = [f"emoji-datasource-{vendor}@{_RELEASE}" for vendor in _VENDORS]
    return ["npm", "install", "--ignore-scripts", "--no-save", "--prefix", str(folder), *packages]


def _install(folder: Path, progress: DataProgress) -> None:
    """Install the packages with npm. Raises DataError where npm is missing or fails."""
    command = _command(folder)
    npm = shutil.which("npm")
    if npm is None:
        raise DataError(f"npm is not installed; install Node.js, then run: {' '.join(command)}")
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


def _drawn(file: Path, entry: Any) -> bool:
    """Whether all vendors have drawn this emoji. Raises DataError for an invalid entry."""
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
