from __future__ import annotations

from pathlib import Path

import pytest

from mlbench.deployment.export_folder import EMBED, README, ExportFolder, check_writable
from mlbench.errors import StoreError
from mlbench.records.record import Record


@pytest.mark.parametrize("text", [README, EMBED])
def test_texts_of_other_authors_stay(tmp_path: Path, text) -> None:
    folder = ExportFolder(tmp_path, Record(suite="s", case="c", seed=1, fingerprint="0", status="done"), 8)
    first, second = (tmp_path / name for name in text.names)
    assert folder.write_text(text, f"{text.mark} a") == (first, "")
    assert folder.write_text(text, f"{text.mark} b") == (first, "")
    assert first.read_text().endswith(" b")
    first.write_bytes(b"mine \xff")
    check_writable(tmp_path)
    note = f"{first.name} there is not by mlbench and stays; see {second}"
    assert folder.write_text(text, f"{text.mark} c") == (second, note)
    assert (first.read_bytes(), second.read_text()) == (b"mine \xff", f"{text.mark} c")
    second.write_text("mine too")
    for refused in (lambda: check_writable(tmp_path), lambda: folder.write_text(text, "d")):
        with pytest.raises(
            StoreError, match=rf"^{tmp_path}: {first.name} and {second.name} are not by mlbench"
        ):
            refused()
    assert second.read_text() == "mine too"


def test_the_stem_has_a_width_where_the_embeddings_are_cut(tmp_path: Path) -> None:
    record = Record(suite="s", case="c", seed=1, fingerprint="0", status="done", settings={"widths": [4, 8]})
    assert ExportFolder(tmp_path, record, 8).stem == "s-c-s1"
    assert ExportFolder(tmp_path, record, 4).stem == "s-c-s1-w4"
