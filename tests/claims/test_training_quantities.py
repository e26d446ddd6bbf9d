"""Claims about quantities of training, which records keep beside their metrics."""

from __future__ import annotations

import pytest
from made_records import record

from mlbench.claims.evidence import Evidence
from mlbench.errors import ClaimError

VALUES = {"steady": (0.1, 0.2, 0.3), "restless": (0.4, 0.4, 0.6)}
RECORDS = [
    record(seed, case=case, training={"loss_variation": value})
    for case, values in VALUES.items()
    for seed, value in enumerate(values)
]


def test_a_quantity_of_training_is_compared_by_seed_and_less_is_better() -> None:
    evidence = Evidence(RECORDS, {case: {} for case in VALUES})
    values = evidence.values(["steady", "restless"], "loss_variation")
    assert (values.kind, values.sign, values.seeds) == ("seeds", -1, (0, 1, 2))
    assert values.effect((1.0, -1.0), label="lead").value == pytest.approx((0.3 + 0.2 + 0.3) / 3)


def test_a_case_without_the_quantity_is_named() -> None:
    evidence = Evidence(
        [*RECORDS, record(0, case="untrained")], {case: {} for case in (*VALUES, "untrained")}
    )
    with pytest.raises(ClaimError, match="untrained has no loss_variation"):
        evidence.values(["steady", "untrained"], "loss_variation")
