from __future__ import annotations

import itertools
import json
import shutil
import site
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlbench.plugins import load_plugins
from mlbench.provenance import code_hash, core_hash, package_hash
from mlbench.registry import Registry

#: Every test has names of its own: what Python has once imported it knows by its name.
NUMBERS = itertools.count()


@pytest.fixture(autouse=True)
def _as_found(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leaves Python's search path and modules as they were."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    package_hash.cache_clear()


class Distribution:
    """A distribution as pip leaves it. files: by name, their content."""

    def __init__(self, target: Path, files: dict[str, str], *, editable: Path | None = None) -> None:
        self.number = next(NUMBERS)
        self.name = f"acme-dist-{self.number}"
        self.info = target / f"acme_dist_{self.number}-1.0.dist-info"
        self.source = editable or target
        self.put(files)
        self.info.mkdir(parents=True)
        listed = [] if editable else [*map(self.renamed, files), f"../../../bin/run{self.number}.py"]
        (self.info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {self.name}\nVersion: 1.0\n")
        (self.info / "RECORD").write_text("".join(f"{name},,\n" for name in listed))

    def renamed(self, text: str) -> str:
        """Names in a text that are of this distribution alone: P for "acme3"."""
        return text.replace("P", f"acme{self.number}")

    def put(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            file = self.source / self.renamed(name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self.renamed(text))

    def edited(self, module: str, *names: str) -> list[bool]:
        """Whether an edit of each of these files changes the hash of a component in `module`."""
        found = []
        for name in names:
            before = self.hash(module)
            self.put({name: (self.source / self.renamed(name)).read_text() + "\n# edited"})
            found.append(self.hash(module) != before)
        return found

    def hash(self, module: str) -> str:
        package_hash.cache_clear()
        return code_hash(self.renamed(module), self.name)


@pytest.fixture
def install(tmp_path: Path) -> Callable[..., Distribution]:
    """Install a distribution from its files into a folder of site packages."""

    def install(files: dict[str, str]) -> Distribution:
        target = tmp_path / "site-packages"
        found = Distribution(target, files)
        site.addsitedir(str(target))
        return found

    return install


@pytest.fixture
def develop(tmp_path: Path) -> Callable[..., Distribution]:
    """Install a distribution such that its sources stay where they are. paths: of these, from the project."""

    def develop(files: dict[str, str], *paths: str, top_level: str = "") -> Distribution:
        target, project = tmp_path / "site-packages", tmp_path / "project"
        found = Distribution(target, files, editable=project)
        origin = {"url": project.as_uri(), "dir_info": {"editable": True}}
        (found.info / "direct_url.json").write_text(json.dumps(origin))
        (found.info / "entry_points.txt").write_text(found.renamed("[mlbench]\nx = P_main.hooks\n"))
        if top_level:
            (found.info / "top_level.txt").write_text(found.renamed(top_level))
        lines = "".join(f"{project / path}\n" for path in paths)
        (target / f"_{found.name}.pth").write_text(lines)
        site.addsitedir(str(target))
        return found

    return develop


TWO_MODULES = {"P_main.py": "import P_helper", "P_helper.py": "", "P_data.txt": ""}


def test_a_second_module_of_the_distribution_counts(install) -> None:
    found = install(TWO_MODULES)
    assert found.edited("P_main", "P_main.py", "P_helper.py", "P_data.txt") == [True, True, False]


def test_a_module_that_nothing_imports_counts(install) -> None:
    found = install({"P_main.py": "name = 'P_' + 'helper'", "P_helper.py": ""})
    assert found.edited("P_main", "P_helper.py") == [True]


def test_another_distribution_beside_it_does_not_count(install) -> None:
    other = install({"Q.py": ""})
    found = install({"P_main.py": "import Q, numpy"})
    before = found.hash("P_main")
    other.put({"Q.py": "# edited"})
    assert found.hash("P_main") == before


def test_helper_modules_in_a_package_count(install) -> None:
    found = install({"P/__init__.py": "", "P/loss.py": "", "P/inner/more.py": "", "P_other/__init__.py": ""})
    names = ("P/__init__.py", "P/loss.py", "P/inner/more.py", "P_other/__init__.py")
    assert found.edited("P.loss", *names) == [True] * 4


def test_distributions_that_share_a_namespace_are_apart(install) -> None:
    first = install({"acme_ns/P/__init__.py": "", "acme_ns/P/loss.py": "", "acme_ns/P_common.py": ""})
    second = install({"acme_ns/P/__init__.py": ""})
    names = ("acme_ns/P/__init__.py", "acme_ns/P/loss.py", "acme_ns/P_common.py")
    before = second.hash("acme_ns.P")
    assert first.edited("acme_ns.P.loss", *names) == [True] * 3
    assert second.hash("acme_ns.P") == before


@pytest.mark.parametrize("folder", ["", "src/"])
def test_an_editable_install_counts_its_packages_and_what_they_import(develop, folder: str) -> None:
    files = {
        "P_main/__init__.py": "",
        "P_main/hooks.py": "",
        "P_losses.py": "from P_helper.deep import thing",
        "P_helper/__init__.py": "",
        "P_helper/deep.py": "def late():\n    import P_lazy, numpy",
        "P_lazy.py": "",
        "P_broken.py": "not python",
        "test_P.py": "",
    }
    found = develop({f"{folder}{name}": text for name, text in files.items()}, folder, top_level="P_broken\n")
    names = [f"{folder}{name}" for name in files]
    assert found.edited("P_losses", *names) == [True] * 7 + [False]


def test_an_editable_install_of_several_folders_is_one_project(develop) -> None:
    """As this project is: its packages of components lie in a folder beside the core's."""
    files = {
        "P_main/__init__.py": "",
        "P_main/hooks.py": "",
        "plugins/P_losses/__init__.py": "import P_main.common",
        "P_main/common.py": "",
        "plugins/P_unused/__init__.py": "",
        ".venv/lib/P_installed.py": "",
        ".venv/lib/other.dist-info/METADATA": "",
    }
    found = develop(files, ".", "plugins", ".venv/lib")
    found.put({"P_main/common.py": "import P_installed"})
    names = ("plugins/P_losses/__init__.py", "P_main/common.py")
    assert found.edited("P_losses", *names) == [True, True]
    others = ("plugins/P_unused/__init__.py", ".venv/lib/P_installed.py")
    assert found.edited("P_losses", *others) == [False, False]


def test_an_editable_namespace_package_counts_what_it_imports_of_its_project(develop) -> None:
    files = {
        "src/acme_space/P_main/hooks.py": "",
        "src/acme_space/P/__init__.py": "from acme_space import P_common",
        "src/acme_space/P_common.py": "",
        "src/acme_space/P_unused.py": "",
    }
    found = develop(files, "src")
    assert found.edited("acme_space.P", *list(files)[1:]) == [True, True, False]


def test_a_component_of_no_distribution_counts_what_lies_beside_it(tmp_path) -> None:
    for name, text in {"acme_alone": "import acme_beside", "acme_beside": "", "acme_apart": ""}.items():
        (tmp_path / f"{name}.py").write_text(text)
    sys.path.insert(0, str(tmp_path))

    def found() -> str:
        package_hash.cache_clear()
        return code_hash("acme_alone", "(no package)")

    hashes = [found()]
    for name in ("acme_alone", "acme_beside", "acme_apart"):
        (tmp_path / f"{name}.py").write_text("import acme_beside  # edited")
        hashes.append(found())
    assert [first != second for first, second in itertools.pairwise(hashes)] == [True, True, False]


def test_an_options_class_in_another_distribution_counts_too(install) -> None:
    other = install({"P/__init__.py": "", "P/loss.py": ""})
    found = install({"P_main.py": ""})
    name = other.renamed("P.loss")
    before = found.hash(name)
    other.put({"P/loss.py": "# edited"})
    assert found.hash(name) != before


def test_versions_of_required_libraries_count(install, monkeypatch) -> None:
    found = install({"P_main.py": ""})
    metadata = found.info / "METADATA"
    required = ("numpy>=1", "nowhere-to-be-found", "torch; extra == 'x'")
    lines = "".join(f"Requires-Dist: {each}\n" for each in required)
    metadata.write_text(metadata.read_text() + lines)
    hashes = []
    for library in ("", "numpy", "torch"):
        monkeypatch.setattr("mlbench.provenance.version", lambda name, at=library: "9" if name == at else "1")
        hashes.append(found.hash("P_main"))
    assert hashes[0] != hashes[1]
    assert hashes[0] == hashes[2]


def test_the_place_of_an_installation_does_not_count(tmp_path) -> None:
    """So that a record of one machine is found on another."""
    hashes = []
    for place in ("here", "there"):
        folder = tmp_path / place
        (folder / "acme_place").mkdir(parents=True)
        (folder / "acme_place" / "__init__.py").write_text("import acme_place_helper")
        (folder / "acme_place_helper.py").write_text("")
        sys.path.insert(0, str(folder))
        package_hash.cache_clear()
        hashes.append(code_hash("acme_place"))
        sys.path.remove(str(folder))
        sys.path_importer_cache.clear()
    assert hashes[0] == hashes[1]


def test_built_in_components_have_a_hash_for_each_package() -> None:
    """An edited loss must not run every case again that has another one."""
    found = {}
    for entry in Registry(load_plugins()):
        found.setdefault(entry.component.options.partition(".")[0], set()).add(entry.provenance["code"])
    assert all(len(hashes) == 1 for hashes in found.values())
    assert len(set.union(*found.values())) == len(found) > 5


def test_names_and_content_of_files_count(tmp_path) -> None:
    def found(**files: str) -> str:
        package_hash.cache_clear()
        shutil.rmtree(tmp_path / "acme_named", ignore_errors=True)
        for path, text in {"__init__": "", **files}.items():
            file = tmp_path / "acme_named" / f"{path}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return code_hash("acme_named.a")

    sys.path.insert(0, str(tmp_path))
    first = found(a="1", b="2")
    assert found(a="1", b="2") == first
    assert len({first, found(a="2", b="1"), found(a="12", b=""), found(a="1", c="2")}) == 4
    assert len(first) == 12


def test_what_is_not_there_has_no_hash(tmp_path) -> None:
    (tmp_path / "acme_empty" / "inner").mkdir(parents=True)
    sys.path.insert(0, str(tmp_path))
    assert code_hash("acme_empty") == code_hash("acme_empty.inner.more") == ""
    assert code_hash("nowhere_to_be_found.x") == code_hash("json") == ""


def test_parts_of_the_core_have_hashes_of_their_own() -> None:
    assert core_hash("images") != core_hash("training") != core_hash("training.model")
    assert core_hash("images", "training") == core_hash("training", "images")
