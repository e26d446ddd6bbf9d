"""Event files are read back with TensorBoard's own reader."""

from __future__ import annotations

from pathlib import Path

import pytest
from tracked_runs import expected, tracked_run

from mlbench.registry import Registry

pytest.importorskip("tensorboard")


def accumulated(folder: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    found.Reload()
    return found


def statuses(found) -> list[int]:
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    contents = found.PluginTagToContent("hparams").values()
    ends = [HParamsPluginData.FromString(content).session_end_info for content in contents]
    return [end.status for end in ends if end.status]


def test_a_run_is_read_back(monkeypatch: pytest.MonkeyPatch, registry: Registry, tmp_path: Path) -> None:
    good, bad = tracked_run(monkeypatch, registry, tmp_path, "tensorboard")
    folder = tmp_path / "results" / "toy" / "tensorboard"
    assert {path.name for path in folder.iterdir()} == {good.key, bad.key, "claims"}
    found = accumulated(folder / good.key)
    tags = found.Tags()
    last = {name: found.Scalars(name)[-1].value for name in tags["scalars"]}
    assert {name: last[name] for name in expected(good)} == pytest.approx(expected(good), rel=1e-6)
    assert [event.step for event in found.Scalars("training/loss")] == [1, 2]
    losses = [event.value for event in found.Scalars("training/loss")]
    assert losses == pytest.approx(good.training["curves"]["loss"])
    assert {"training/images_per_second", "training/calibration_f1"} <= set(tags["scalars"])
    assert "case/text_summary" in tags["tensors"]
    assert statuses(found) == [1]
    failed = accumulated(folder / bad.key)
    (text,) = failed.Tensors("error/text_summary")
    assert text.tensor_proto.string_val[0].decode() == bad.error
    assert statuses(failed) == [2]
    (text,) = accumulated(folder / "claims").Tensors("claims/text_summary")
    assert "| much |" in text.tensor_proto.string_val[0].decode()


def test_a_second_training_gets_a_folder_of_its_own(
    monkeypatch: pytest.MonkeyPatch, registry: Registry, tmp_path: Path
) -> None:
    tracker = f"{{name: tensorboard, folder: {tmp_path / 'runs'}}}"
    with pytest.raises(KeyboardInterrupt):
        tracked_run(monkeypatch, registry, tmp_path, tracker, stop_after=1)
    (stopped,) = (tmp_path / "runs").iterdir()
    good, bad = tracked_run(monkeypatch, registry, tmp_path, tracker)
    names = {path.name for path in (tmp_path / "runs").iterdir()}
    assert stopped.name == good.key
    assert names == {good.key, f"{good.key}.2", bad.key, "claims"}
