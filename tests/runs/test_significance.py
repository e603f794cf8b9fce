"""p-values of a run's comparisons: from its rows, with Holm's correction over the whole run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.runs.conftest import small_config
from tests.runs.runs import Command, Written
from underfire import metrics
from underfire.runs import Run, run_attack


def p_of(written: Written, attack: str, control: str, interpreter: str, measure: str) -> float | None:
    one, other = (written.of_cell(label, interpreter) for label in (attack, control))
    return metrics.sign_flip_test(
        np.array([float(a[measure]) - float(b[measure]) for a, b in zip(one, other, strict=True)])
    )


def test_p_values_are_those_of_the_rows(full: Written) -> None:
    found = Run(full.folder).p_values
    assert set(found) == {("adv2", "cam"), ("adv2", "grad")}
    for measure in ("joint_success", "map_l1", "map_iou"):
        alone = [p_of(full, "adv2", "bim", name, measure) for name in ("cam", "grad")]
        assert [found["adv2", name][measure]["p"] for name in ("cam", "grad")] == alone
        assert [found["adv2", name][measure]["p_holm"] for name in ("cam", "grad")] == metrics.holm(alone)
    for name in ("cam", "grad"):
        of_image = {"p": p_of(full, "adv2", "bim", "cam", "success")}
        assert found["adv2", name]["success"] == of_image | {"p_holm": of_image["p"]}  # one comparison, not two
        assert full.summary["interpreters"][name]["against_prediction_only"]["p_values"] == found["adv2", name]


def test_all_attacks_of_a_run_are_one_family(tmp_path: Path, digits_table: Path, command: Command) -> None:
    config = small_config(data=str(digits_table), count=8, steps=(4, 8), eps="0.1,0.2", interpreters=("cam", "grad"))
    run_attack(config, tmp_path)
    run = Run(tmp_path)
    assert len(run.p_values) == 4
    alone = [values["map_l1"]["p"] for values in run.p_values.values()]
    corrected = [values["map_l1"]["p_holm"] for values in run.p_values.values()]
    assert corrected == metrics.holm([p for p in alone if p is not None])
    assert min(corrected) == pytest.approx(4 * min(alone))
    held = [
        part["interpreters"][name]["against_prediction_only"]["p_values"]["map_l1"]["p_holm"]
        for part in run.summary()["by_eps"]
        for name in ("cam", "grad")
    ]
    assert sorted(held) == sorted(corrected)
    ended = " ".join(command("report", tmp_path).out.split())
    assert "p: sign-flip test of the differences by image, with Holm's correction for the 4 comparisons" in ended
    assert ended.count(", p = ") == 4


def test_without_a_control_nothing_is_tested(tmp_path: Path, command: Command) -> None:
    run_attack(small_config(baseline="none"), tmp_path)
    assert Run(tmp_path).p_values == {}
    assert "sign-flip" not in command("report", tmp_path).out
