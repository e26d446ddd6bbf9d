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

__all__ = ["EMBED", "README", "Beside", "ExportFolder", "check_writable", "scratch_folder"]


_ADVICE = "choose another --output"


@dataclass(frozen=True)
class Beside:
    """A text beside the model files. names: its name, and another for a folder in which a file of another
    author has the first. mark: in each such text of mlbench."""

    names: tuple[str, str]
    mark: str


#: The model card, and the script that embeds images.
README = Beside(("README.md", "MODEL_CARD.md"), "<!-- Written by mlbench export")
EMBED = Beside(("embed.py", "embed_onnx.py"), "# Written by mlbench export")


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

    def write_text(self, text: Beside, content: str) -> tuple[Path, str]:
        """Write a text beside the model files. Returns the file, and a note for the user, "" for none. Raises
        StoreError as `text_file` does."""
        file = text_file(self.path, text)
        write_atomically(file, content.encode())
        first = text.names[0]
        return file, "" if file.name == first else f"{first} there is not by mlbench and stays; see {file}"


def text_file(folder: Path, text: Beside) -> Path:
    """Where the text is to be written. Raises StoreError where both of its names are taken by files of
    another author."""
    for name in text.names:
        file = folder / name
        if not file.exists() or text.mark in _text(file):
            return file
    first, second = text.names
    raise StoreError(f"{folder}: {first} and {second} are not by mlbench and stay; {_ADVICE}")


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def check_writable(folder: Path) -> None:
    """Raise StoreError for a folder that cannot be written, or in which files of another author have the
    names of the texts. Creates nothing."""
    here = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    if not here.is_dir():
        raise StoreError(f"{here}: is a file; --output needs a folder")
    if not os.access(here, os.W_OK | os.X_OK):
        raise StoreError(f"{here}: cannot be written; {_ADVICE}")
    for text in (README, EMBED):
        text_file(folder, text)


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
