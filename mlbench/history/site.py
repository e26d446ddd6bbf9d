"""The site: pages of histories written to a folder, all of them or none."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from mlbench.atomic_write import write_atomically, write_error
from mlbench.errors import StoreError
from mlbench.history.pages import front_sections, page_names, suite_sections
from mlbench.history.suite_history import SuiteHistory
from mlbench.page.script import chart_script
from mlbench.page.writer import PageWriter

__all__ = ["check_folder", "site_files", "write_site"]

#: Lists the files of a site; a folder with it may be written again.
_LIST = "mlbench-site.json"

#: The script of the charts, one file for all pages.
_SCRIPT = "charts.js"

#: Folder inside the site in which new files are written before they replace the old ones.
_STAGE = ".new.mlbench.tmp"


def site_files(
    histories: Sequence[SuiteHistory], title: str, remarks: Sequence[str] = ()
) -> dict[str, bytes]:
    """The files of the site by their names, the front page last. The same histories give the same bytes."""
    names = page_names(history.name for history in histories)
    found = {_SCRIPT: chart_script().encode()}
    for history in histories:
        page = PageWriter(history.name, kind="History", home=("index.html", title))
        for anchor, section in suite_sections(history):
            page.add(anchor, section)
        found[names[history.name]] = page.html(script=_SCRIPT).encode()
    front = PageWriter(title)
    for anchor, section in front_sections(histories, names, remarks):
        front.add(anchor, section)
    found["index.html"] = front.html(script=_SCRIPT).encode()
    return found


def check_folder(folder: Path) -> None:
    """Raise StoreError for a folder that holds anything but a site."""
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder}: is no folder; choose another")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / _LIST).is_file():
        raise StoreError(f"{folder}: holds other files and no site; choose an empty folder")


def write_site(folder: Path, content: Mapping[str, bytes]) -> None:
    """Write a site. The new files are complete on the disk before the first replaces an old one, the front
    page comes last, and files of the old site that the new one lacks are removed after it. Raises
    StoreError."""
    check_folder(folder)
    stage = folder / _STAGE
    try:
        old = _listed(folder)
        # First, so that a folder with any file of a site is known as one.
        _write_list(folder, old)
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir()
        for name, data in content.items():
            write_atomically(stage / name, data)
        _write_list(folder, {*old, *content})
        for name in content:
            os.replace(stage / name, folder / name)
        for name in old - content.keys():
            (folder / name).unlink(missing_ok=True)
        _write_list(folder, content)
    except OSError as error:
        raise write_error(folder, error) from None
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _write_list(folder: Path, names: Collection[str]) -> None:
    write_atomically(folder / _LIST, json.dumps(sorted(names), indent=1).encode() + b"\n")


def _listed(folder: Path) -> set[str]:
    """Files of the site in a folder. Names with a path are ignored: nothing outside is ever removed."""
    try:
        names = json.loads((folder / _LIST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return set()
    if not isinstance(names, list):
        return set()
    return {name for name in names if isinstance(name, str) and name == Path(name).name and name != _LIST}
