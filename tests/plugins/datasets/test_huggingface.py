from __future__ import annotations

import sys
from pathlib import Path

import pytest
from containers import check_dataset, images_by_class, picture, shown

from mlbench.contracts import SPLITS
from mlbench.errors import DataError, OptionError
from mlbench.plugin import DatasetContext
from mlbench_datasets.containers.huggingface import HuggingFace
from mlbench_datasets.containers.split import ContainerSplit
from mlbench_datasets.split_set import SplitSet


def build(root: Path, path: str = "data", **options: object) -> SplitSet[ContainerSplit]:
    return HuggingFace(path=path, **options).build(DatasetContext(root, 32))  # type: ignore[arg-type]


def test_absent_library_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"^huggingface data sets need .*: pip install 'mlbench\[hf\]'$"):
        build(tmp_path)


class TestWithLibrary:
    """With the library itself, which writes the data."""

    @pytest.fixture(autouse=True)
    def _library(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.datasets = pytest.importorskip("datasets")
        monkeypatch.setattr(self.datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
        monkeypatch.setattr(self.datasets.config, "HF_HUB_OFFLINE", True)
        self.datasets.disable_progress_bars()

    def table(self, classes: int = 8, views: int = 3, first: int = 0):
        d = self.datasets
        names = [f"class {n}" for n in range(first, first + classes)]
        features = d.Features(
            {"image": d.Image(), "label": d.ClassLabel(names=names), "id": d.Value("int64")}
        )
        numbers = range(classes * views)
        files = [{"bytes": picture(100 * first + n), "path": None} for n in numbers]
        data = {"image": files, "label": [n % classes for n in numbers], "id": list(numbers)}
        return d.Dataset.from_dict(data, features=features)

    def truth(self, classes: int = 8, views: int = 3, first: int = 0) -> dict[str, list[bytes]]:
        return {
            f"class {first + label}": [
                shown(picture(100 * first + label + classes * view)) for view in range(views)
            ]
            for label in range(classes)
        }

    def test_saved_table_gives_every_image_under_its_label(self, tmp_path: Path) -> None:
        self.table().save_to_disk(tmp_path / "data")
        data = build(tmp_path)
        check_dataset(data)
        assert data.disjoint
        found: dict[str, list[bytes]] = {}
        for name in SPLITS:
            found |= images_by_class(data, name)
        assert found == self.truth()
        assert build(tmp_path).version == data.version
        assert build(tmp_path, seed=1).version != data.version

    def test_split_of_its_own_is_the_test(self, tmp_path: Path) -> None:
        splits = {
            "train": self.table(),
            "validation": self.table(3, first=5),
            "test": self.table(3, first=20),
        }
        self.datasets.DatasetDict(splits).save_to_disk(tmp_path / "data")
        data = build(tmp_path, test_split="test")
        check_dataset(data)
        assert data.disjoint
        assert images_by_class(data, "test") == self.truth(3, first=20)
        assert not build(tmp_path, test_split="validation").disjoint

    def test_folder_of_images_is_read_as_the_library_reads_it(self, tmp_path: Path) -> None:
        for n in range(24):
            folder = tmp_path / "data" / f"class {n % 8}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{n}.jpg").write_bytes(picture(n))
        data = build(tmp_path)
        check_dataset(data)
        found: dict[str, list[bytes]] = {}
        for name in SPLITS:
            found |= images_by_class(data, name)
        assert {name: sorted(each) for name, each in found.items()} == {
            name: sorted(each) for name, each in self.truth().items()
        }

    def test_parquet_with_plain_bytes_and_names(self, tmp_path: Path) -> None:
        d = self.datasets
        data = {"jpg": [picture(n) for n in range(24)], "what": [f"thing {n % 8}" for n in range(24)]}
        (tmp_path / "data").mkdir()
        d.Dataset.from_dict(data).to_parquet(tmp_path / "data" / "train.parquet")
        built = build(tmp_path, image="jpg", label="what")
        check_dataset(built)
        assert {name for each in SPLITS for name in built.split(each).names} == {
            f"thing {n}" for n in range(8)
        }

    def test_no_image_is_decoded_to_know_the_labels(self, tmp_path: Path, monkeypatch) -> None:
        self.table().save_to_disk(tmp_path / "data")
        monkeypatch.setattr(self.datasets.Image, "decode_example", lambda *_, **__: pytest.fail("decoded"))
        data = build(tmp_path)
        data.split("train").image(0)  # mlbench decodes, not the library

    def test_version_follows_the_data(self, tmp_path: Path) -> None:
        self.table().save_to_disk(tmp_path / "data")
        version = build(tmp_path).version
        files = self.table().to_dict()
        files["image"][0]["bytes"] = picture(999)
        self.datasets.Dataset.from_dict(files, features=self.table().features).save_to_disk(tmp_path / "data")
        assert build(tmp_path).version != version

    def test_a_data_set_that_is_a_program_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        flag = tmp_path / "harm"
        (tmp_path / "data" / "data.py").write_text(f"import pathlib; pathlib.Path({str(flag)!r}).touch()")
        with pytest.raises(DataError, match=r"data: datasets cannot load it: .*script"):
            build(tmp_path)
        assert not flag.exists()

    def test_what_cannot_be_used_is_one_clear_line(self, tmp_path: Path) -> None:
        def problem(kind: type[Exception] = DataError, path: str = "data", **options: object) -> str:
            with pytest.raises(kind) as caught:
                build(tmp_path, path, **options)
            assert "\n" not in str(caught.value)
            return str(caught.value).replace(str(tmp_path), "…")

        assert problem(path="/gone").startswith("/gone: no such folder; expected a folder, or the name of")
        missing = problem(path="owner/gone")
        assert missing.startswith("owner/gone: datasets cannot load it: ")
        assert missing.endswith(" (there is no folder …/owner/gone either)")
        table = self.table()
        table.save_to_disk(tmp_path / "data")
        assert problem(OptionError, split="trian") == "…/data: no split 'trian'; did you mean 'train'?"
        with pytest.raises(OptionError) as caught:
            build(tmp_path, test_split="val")
        assert caught.value.option == "test_split"
        assert problem(OptionError, image="img").startswith(
            "…/data: train: no column 'img'; did you mean 'im"
        )
        assert problem(OptionError, image="id") == "…/data: train: column 'id' holds int64, not images"
        assert problem(OptionError, label="image").startswith("…/data: train: column 'image' holds ")
        rows = [-1 if n == 4 else n % 8 for n in range(24)]
        table.remove_columns("label").add_column("label", rows).cast(table.features).save_to_disk(
            tmp_path / "hidden"
        )
        assert problem(path="hidden").startswith("…/hidden: train: row 4 has no label in 'label'")
        self.table(5).save_to_disk(tmp_path / "few")
        assert problem(path="few").startswith("few: classes with two images or more: 5 of 5; at least 6")

    def test_image_that_cannot_be_read_is_named(self, tmp_path: Path) -> None:
        files = self.table().to_dict()
        files["image"][0], files["image"][1] = {"bytes": b"nope", "path": None}, None
        self.datasets.Dataset.from_dict(files, features=self.table().features).save_to_disk(tmp_path / "data")
        for n in range(24):
            folder = tmp_path / "files" / f"class {n % 8}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{n:02d}.jpg").write_bytes(picture(n))
        table, folder = build(tmp_path), build(tmp_path, "files")
        (tmp_path / "files" / "class 0" / "08.jpg").unlink()
        assert self.problems(table, tmp_path) == {
            "…/data: train: row 0: not an image",
            "…/data: train: row 1 has no image",
        }
        assert self.problems(folder, tmp_path) == {
            "…/files: train: row 1: …/files/class 0/08.jpg: No such file or directory"
        }

    def problems(self, data: SplitSet[ContainerSplit], root: Path) -> set[str]:
        found = set()
        for split in data.splits.values():
            for at in range(len(split)):
                try:
                    split.image(at)
                except DataError as error:
                    found.add(str(error).replace(str(root), "…"))
        return found
