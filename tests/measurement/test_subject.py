from __future__ import annotations

import pickle
from dataclasses import replace

from mlbench.measurement.result import Measurement, lost_note
from mlbench.measurement.subject import stage_key, stages_of, subjects_of
from mlbench.records.record import Record, Timing


def test_stages_are_those_of_the_suite(planned) -> None:
    def stages(*overrides: str) -> list[str]:
        return stages_of(planned(overrides=overrides).cases[0])

    assert stages() == ["inference", "latency", "training"]
    assert stages("measure.latency=false") == ["inference", "training"]
    assert stages("recipe.epochs=0", "measure.latency=false") == ["inference"]
    assert stages("measure.onnx=true", "measure.training=false") == ["inference", "latency", "onnx"]


def test_the_key_differs_for_settings_that_change_speed_and_for_no_others(planned) -> None:
    first, second = planned("seeds: [0, 1]\n").cases

    def changed(stage: str, *overrides: str) -> bool:
        return stage_key(planned(overrides=overrides).cases[0], stage) != stage_key(first, stage)

    neutral = (
        *("loss.margin=0.2", "recipe.lr=0.1", "recipe.epochs=9", "evaluation.resamples=0"),
        *("measure.onnx=true", "image.crop_ratio=0.9"),
    )
    for stage in ("inference", "training"):
        assert stage_key(first, stage) == stage_key(second, stage)
        for override in ("neck.dim=16", "precision=bf16", "measure.rounds=8", "image.size=32"):
            assert changed(stage, override)
        for override in neutral:
            assert not changed(stage, override)
    sizes = ("measure.batch_size=8",)
    assert [changed(stage, *sizes) for stage in ("inference", "onnx", "latency", "training")] == [
        *(True, True, False, False)
    ]
    assert not changed("inference", "image.train_size=32", "compute.accumulate=2")
    assert changed("training", "image.train_size=32")
    assert changed("training", "augmentation=jitter")
    for override in ("recipe.batch_size=4", "loss=arcface", "recipe.optimizer=sgd", "recipe.clip_norm=0"):
        assert (changed("inference", override), changed("training", override)) == (False, True)


def test_options_that_change_training_alone_do_not_change_the_key_of_inference(planned) -> None:
    def equal(stage: str, compiled: str) -> bool:
        keys = []
        for layer in ("all", "none"):
            backbone = f"backbone={{name: timm, model: lcnet_050, weights: none, trainable_from: {layer}}}"
            overrides = ("image.size=32", backbone, f"compute.compile={compiled}")
            keys.append(stage_key(planned(overrides=overrides).cases[0], stage))
        return keys[0] == keys[1]

    assert equal("inference", "false")
    assert not equal("training", "false")
    # The parts on either side of the cut are compiled one by one.
    assert not equal("inference", "true")


def test_every_stage_is_measured_once(planned) -> None:
    plan = planned(
        "cases:\n  a: {}\n  b: {loss: arcface}\n  c: {loss.margin: 0.3}\n  d: {neck.dim: 16}\n"
        "seeds: [0, 1]\n",
        cases="[a-d]",
    )
    subjects, index = subjects_of(plan.cases)
    everything = ("inference", "latency", "training")
    assert [(each.case.name, each.stages) for each in subjects] == [
        ("a", everything),
        ("b", ("training",)),
        ("d", everything),
    ]
    assert sorted(index.values()) == [0, 0, 0, 1, 2, 2, 2]
    assert [subjects[0].batch_size(stage) for stage in everything] == [32, 1, 8]


def test_a_subject_can_be_sent_to_another_process(planned) -> None:
    (subject,), _ = subjects_of(planned().cases)
    again = pickle.loads(pickle.dumps(subject))
    assert again.case.spec.parts["neck"].component == subject.case.spec.parts["neck"].component
    assert again.case.dataset is None


def test_values_unknown_for_one_reason_share_a_note() -> None:
    unknown = Timing(None, note="out of memory at batch size 1")
    found = Measurement({"latency_p50": unknown, "latency_p95": unknown, "images_per_second": Timing(0.1)})
    assert found.notes == ("latency_p50, latency_p95 not known: out of memory at batch size 1",)


def test_a_lost_measurement_keeps_the_one_before_and_says_so() -> None:
    speed = {"images_per_second": Timing(9.0, (9.0,), "images/s")}
    record = Record(
        suite="toy", case="a", seed=0, fingerprint="", status="done", speed=speed, notes=("mind this",)
    )
    assert lost_note(record) == ""
    lost = replace(record, **Measurement(lost="killed by signal 9").facts(record))
    note = "not measured: killed by signal 9; the next run measures again"
    assert (lost.speed, lost.notes, lost_note(lost)) == (speed, ("mind this", note), note)
    again = replace(lost, **Measurement(speed).facts(lost))
    assert (again.notes, lost_note(again)) == (("mind this",), "")
