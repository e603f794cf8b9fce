"""Attacks of other libraries, or none, beside a run's joint attack."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import underfire as uf
from underfire import attacks
from underfire.errors import InputError
from underfire.runs import RunConfig, planning, run_attack

IN_A_BALL = {"torchattacks": "torchattacks:PGD", "foolbox": "foolbox:LinfPGD"}


@pytest.mark.parametrize(
    ("baseline", "control"),
    [("torchattacks:CW", "torchattacks-cw"), ("foolbox:L2CarliniWagnerAttack", "foolbox-l2carliniwagnerattack")],
)
def test_a_run_of_cw_with_a_baseline_without_a_ball(tmp_path: Path, baseline: str, control: str) -> None:
    library = baseline.partition(":")[0]
    pytest.importorskip(library)
    chosen = {"data": "digits:test", "classifier": "digits-resnet", "perturbation": "cw", "steps": (2, 4), "count": 2}
    ball = RunConfig.create(**chosen, baseline=IN_A_BALL[library])
    with pytest.raises(InputError, match=f"needs the radius of its ball, and eps is None.*{baseline}"):
        run_attack(ball, tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
    assert run_attack(RunConfig.create(**chosen, baseline=baseline), tmp_path / "run")["control"] == control


def test_a_run_with_a_baseline_of_another_library(tmp_path: Path) -> None:
    pytest.importorskip("torchattacks")
    config = RunConfig.create(
        data="digits:test",
        classifier="digits-resnet",
        interpreters=("cam",),
        baseline="torchattacks:PGD",
        eps=0.2,
        steps=(4, 8),
        count=4,
    )
    folder = tmp_path / "run"
    summary = run_attack(config, folder)
    found = summary["interpreters"]["cam"]["attacks"]
    assert summary["control"] == "torchattacks-pgd"
    assert {"clean", "noise", "torchattacks-pgd", "adv2"} <= set(found)
    assert found["torchattacks-pgd"]["success"]["n"] == 4
    alone = run_attack(replace(config, baseline=None), folder.with_name("alone"))
    for column in ("map_l1", "l2", "success"):  # the attack beside it is not disturbed
        assert found["adv2"][column] == alone["interpreters"]["cam"]["attacks"]["adv2"][column]


def test_a_run_without_a_baseline(tmp_path: Path) -> None:
    config = RunConfig.create(
        data="digits:test", classifier="digits-resnet", baseline="none", eps=0.2, steps=(2, 4), count=3
    )
    summary = run_attack(config, tmp_path / "run")
    assert summary["control"] is None
    assert set(summary["interpreters"]["cam"]["attacks"]) == {"clean", "noise", "adv2"}
    with_it = run_attack(replace(config, baseline=None), tmp_path / "with")
    for column in ("map_l1", "l2", "success", "joint_success"):
        alone, beside = (found["interpreters"]["cam"]["attacks"]["adv2"][column] for found in (summary, with_it))
        assert alone == beside


def test_a_baseline_wants_what_the_attack_wants(classifier: uf.Classifier) -> None:
    pytest.importorskip("torchattacks")
    where = {"data": "digits:test", "classifier": "digits-resnet", "baseline": "torchattacks:PGD"}
    config = RunConfig.create(**where, target_class="least-likely", target_map="patch", steps=(7, 8), eps=0.2)
    system = uf.System(classifier, "cam")
    preset = config.presets([], 4)[0]
    other, asked = planning._control(config, preset, system), preset.build(system)
    assert other.name == "torchattacks-pgd"
    assert isinstance(other, attacks.ForeignAttack)
    assert other.iterations == asked.steps == 15
    assert other.eps == 0.2
    assert (other.target_class, other.target_map, other.goal) == (asked.target_class, asked.target_map, asked.goal)
    free = RunConfig.create(**where, targeted=False, eps=0.2)
    untargeted = planning._control(free, free.presets([], 4)[0], system)
    assert untargeted is not None
    assert not untargeted.goal.targeted
