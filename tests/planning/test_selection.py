"""Which records count: those of the current suite file, or the newest by its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_records import planned_record

from mlbench.errors import StoreError, SuiteError
from mlbench.planning.request import PlanRequest
from mlbench.planning.selection import Selection, suite_records
from mlbench.records.record import Record
from mlbench.records.store import Store
from mlbench.registry import Registry

CPU = PlanRequest(device="cpu")


@pytest.fixture
def keep(write: Callable[..., Path], registry: Registry, tmp_path: Path) -> Callable[..., list[Record]]:
    """Write the suite and keep records of its cases, as a run with these choices would."""

    def keep(more: str = "", finished: str = "2026-01-01", **request: Any) -> list[Record]:
        plan = replace(CPU, **request).plan(write(more), registry)
        records = [planned_record(case, finished=finished) for case in plan.cases]
        for record in records:
            Store(tmp_path / "results", "toy").put(record)
        return records

    return keep


@pytest.fixture
def select(registry: Registry, tmp_path: Path) -> Callable[..., Selection]:
    """Select by the suite's file, or by its name."""

    def select(
        suite: str = str(tmp_path / "toy.yaml"), request: PlanRequest = CPU, registry: Registry = registry
    ) -> Selection:
        return suite_records(suite, tmp_path / "results", request, lambda: registry)

    return select


def test_a_file_selects_its_own_records_whatever_was_run_last(keep, select, write) -> None:
    """Run at one width, then at another with --set, then write the first width into the file."""
    (small,) = keep(finished="2026-01-01", overrides=("neck.dim=4",))
    (large,) = keep(finished="2026-01-02", overrides=("neck.dim=16",))
    text = write().read_text()
    for dim, record in ((4, small), (16, large)):
        write(whole=text.replace("dim: 8", f"dim: {dim}"))
        assert select().records == (record,)
        assert not select().lacking
    assert select("toy", PlanRequest()).records == (large,)


def test_cases_and_seeds_without_a_record_are_named(keep, select, write) -> None:
    (kept,) = keep("cases: {eight: {}}\n")
    write("cases: {eight: {}, more: {neck.dim: 16}}\nseeds: [0, 1]\n")
    found = select()
    assert found.records == (kept,)
    assert list(map(str, found.lacking)) == [
        "eight seed 1: no record",
        "more seed 0: no record",
        "more seed 1: no record",
    ]


def test_the_reason_names_what_differs_from_the_newest_record(keep, select, write, monkeypatch) -> None:
    keep("cases: {one: {}, two: {neck.dim: 16}}\n")

    def reason(request: PlanRequest = CPU) -> str:
        (each,) = select(request=request).lacking
        text = "no record of the current suite; the newest record differs in "
        assert each.reason.startswith(text)
        return each.reason.removeprefix(text)

    write("cases: {one: {}, two: {neck.dim: 32, recipe.lr: 1}}\n")
    assert reason() == "neck.dim (16 then, 32 now), recipe.lr (0.001 then, 1.0 now)"
    four = "neck.dim: 32, recipe.lr: 1, recipe.epochs: 9, recipe.warmup: 0"
    write(f"cases: {{one: {{}}, two: {{{four}}}}}\n")
    assert reason().startswith("neck.dim (16 then, 32 now), recipe.epochs (2 then, 9 now), ")
    assert reason().endswith(" and 1 more")


def test_without_a_usable_record_the_error_is_about_one_that_is_outdated(keep, select, write) -> None:
    keep("cases: {one: {}, two: {neck.dim: 16}}\n", cases="two")
    write("cases: {one: {}, two: {neck.dim: 32}}\n")
    with pytest.raises(StoreError, match=r"^two seed 0: no record of the current suite; "):
        select()


@pytest.mark.parametrize(
    ("target", "value", "told"),
    [
        ("mlbench.planning.plan.core_hash", lambda *parts: "edited", "code of mlbench"),
        ("mlbench.planning.plan.threads", lambda: 64, r"threads \(\d+ then, 64 now; see OMP_NUM_THREADS\)"),
        ("mlbench.environment._version", lambda name: "0.0", r".*, mlbench \(.* then, 0.0 now\), .*"),
        ("mlbench.registry.code_hash", lambda *_: "edited", "code of components"),
    ],
)
def test_the_reason_names_code_libraries_and_threads(
    keep, select, registry, monkeypatch, target: str, value: Any, told: str
) -> None:
    keep()
    monkeypatch.setattr(target, value)
    fresh = Registry(registry.plugins)  # the other one knows the hashes of its components
    with pytest.raises(StoreError, match=f"^base seed 0: no record .* differs in {told}; make some with: "):
        select(registry=fresh)


def test_choices_need_the_file(keep, select) -> None:
    keep()
    with pytest.raises(SuiteError, match=r"^toy: .* are chosen from a suite file; give that$"):
        select("toy")
    with pytest.raises(SuiteError, match=r"; give that, or the name with the size \(toy-cpu\)$"):
        select("toy", PlanRequest(size="cpu"))


def test_records_of_two_sizes_do_not_mix(keep, select, write, tmp_path) -> None:
    sizes = "sizes: {cpu: {}, gpu: {base: {neck.dim: 16}}}\n"
    keep(sizes, size="gpu")
    (tmp_path / "results" / "toy").rename(tmp_path / "results" / "toy-gpu")
    message = (
        r"^no records of the suite 'toy-cpu' in \S+; make some with: mlbench run \S+toy.yaml --size cpu$"
    )
    with pytest.raises(StoreError, match=message):
        select()
    gpu = select(request=replace(CPU, size="gpu"))
    assert (gpu.heading.name, gpu.records[0].settings["neck"]["dim"], gpu.lacking) == ("toy-gpu", 16, ())
    assert select("toy-gpu", PlanRequest()).records == gpu.records
    write(whole="suite: toy\nsizes: {cpu: {}, gpu: {tolerances: {f1: 0.3}}}\n")
    assert select(request=PlanRequest(size="gpu")).heading.tolerances == {"f1": 0.3}


def test_no_record_is_one_line_that_says_how_to_make_one(select, keep, write) -> None:
    write()
    with pytest.raises(
        StoreError, match=r"^no records of the suite 'toy' in \S+; make some with: mlbench run \S+toy"
    ):
        select()
    keep()
    with pytest.raises(StoreError, match=r"'toi' in \S+ \(did you mean 'toy'\?\); make some with: "):
        select("toi", PlanRequest())


def test_a_file_that_only_states_tolerances_selects_by_its_name(keep, select, write) -> None:
    (record,) = keep()
    write(whole="suite: toy\ntolerances: {f1: 0.02}\n")
    found = select(request=PlanRequest())
    assert (found.records, found.heading.tolerances) == ((record,), {"f1": 0.02})
    (remark,) = found.remarks
    assert remark.startswith("toy: the newest records with the same conditions, from 2026-01-01 UTC")


def test_a_case_that_was_only_renamed_keeps_its_record(keep, select, write) -> None:
    (record,) = keep("cases: {old: {}}\n")
    write("cases: {new: {}}\n")
    found = select()
    assert found.records == (replace(record, case="new"),)
    assert found.stored == {found.records[0].key: record.key}
