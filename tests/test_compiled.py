from __future__ import annotations

from pathlib import Path

import pytest
from conftest import full_disk

from mlbench.compiled import compiled


def add(a: int, b: int) -> int:
    return a + b


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path / "numba"))
    return tmp_path / "numba"


def test_compiled_code_is_kept(cache: Path) -> None:
    assert compiled()(add)(1, 2) == 3
    assert list(cache.rglob("*.nbi"))


def test_a_full_disk_costs_the_cache_alone(cache: Path) -> None:
    function = compiled()(add)
    with full_disk(10):
        assert function(1, 2) == 3
    assert function(1, 2) == 3


def test_without_a_folder_to_keep_it_in_a_function_is_compiled_in_every_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from numba.core.caching import CompileResultCacheImpl

    monkeypatch.setattr(CompileResultCacheImpl, "_locator_classes", [])
    assert compiled()(add)(1, 2) == 3
