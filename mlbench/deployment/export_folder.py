"""The folder that an export writes into."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from mlbench.atomic_write import full_disk, write_atomically
from mlbench.deployment.model_file import Draft
from mlbench.deployment.trial import Score
from mlbench.errors import StoreError
from mlbench.records.record import Record
from mlbench.records.widths import widths_of

__all__ = ["EMBED", "README", "ExportFolder", "check_writable", "scratch_folder"]

#: Names of the model card and of the script, each with one for a folder that has a file of that name.
README = ("README.md", "MODEL_CARD.md")
EMBED = ("embed.py", "embed_onnx.py")

_ADVICE = "choose another --output"


@dataclass(frozen=True)
class ExportFolder:
    """The files of one exported model, cut to `width` numbers."""

    path: Path
    record: Record
    width: int

    @property
    def stem(self) -> str:
        """Start of the names of its model files."""
        cut = self.width < max(widths_of(self.record), default=0)
        name = f"{self.record.suite}-{self.record.case}-s{self.record.seed}"
        return f"{name}-w{self.width}" if cut else name

    def write(self, score: Score, draft: Draft, tried: Path) -> Score:
        """Copy a tried model file into the folder; its score with the file."""
        file = self.path / f"{self.stem}{draft.end}"
        with tried.open("rb") as source:
            write_atomically(file, lambda target: shutil.copyfileobj(source, target))
        return replace(score, file=file, bytes=file.stat().st_size)

    def write_text(self, names: tuple[str, str], text: str, mark: str) -> tuple[Path, str]:
        """Write a text under the first name, or the second where a file of another author has the first.

        mark: in each such text of mlbench. Returns the file, and a note for the user, "" for none. Raises
        StoreError where both are of another author.
        """
        for name in names:
            file = self.path / name
            if not file.exists() or mark in _text(file):
                write_atomically(file, text.encode())
                note = f"{names[0]} of the folder is not by mlbench and stays; see {file}"
                return file, note if name != names[0] else ""
        raise StoreError(f"{self.path}: {names[0]} and {names[1]} are not by mlbench and stay; {_ADVICE}")


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def check_writable(folder: Path) -> None:
    """Raise StoreError for a folder that cannot be written. Creates nothing."""
    here = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    if not here.is_dir():
        raise StoreError(f"{here}: is a file; --output needs a folder")
    if not os.access(here, os.W_OK | os.X_OK):
        raise StoreError(f"{here}: cannot be written; {_ADVICE}")


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A temporary folder. Raises StoreError where the system's has no room."""
    try:
        scratch = tempfile.TemporaryDirectory()
    except OSError as error:
        raise _no_room(error) from None
    with scratch as folder:
        try:
            yield Path(folder)
        except OSError as error:
            if full_disk(error) is None:
                raise
            raise _no_room(error) from None


def _no_room(error: OSError) -> StoreError:
    reason = f"cannot be written ({error.strerror}); set TMPDIR to a folder with room"
    return StoreError(f"{tempfile.gettempdir()}: {reason}")
