"""A call in Python and a run say the same of the same images: one protocol, image by image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import underfire as uf
from tests.runs.conftest import SHOWN, small_config
from tests.runs.runs import MISLABELLED, Written, write_digits
from underfire.attacks import MEASURES, AttackResult, preset
from underfire.runs import run_attack

STEPS = (3, 6)
MORE = (10, 50)
SETTINGS: dict[str, dict[str, Any]] = {
    "adv2": {"steps": MORE},
    "patch": {"target_map": "patch"},
    "advedge+": {"attack": "advedge+"},
    "bim": {"attack": "bim"},
    "pgd": {"attack": "pgd"},
    "untargeted": {"targeted": False},
    "cw": {"perturbation": "cw"},
}


def attacked(written: Written, label: str, interpreter: str) -> list[dict[str, Any]]:
    rows = written.of_cell(label, interpreter)
    wanted = {row["image_id"] for row in written.rows if row["cell"] not in ("clean",)}
    return [row for row in rows if row["image_id"] in wanted]


def check_values(found: Any, rows: list[dict[str, Any]], name: str) -> None:
    values = [row[name] for row in rows]
    if name == "seconds":
        return
    assert [value.item() for value in found] == values, name


def check_same(result: AttackResult, written: Written, interpreters: tuple[str, ...]) -> None:
    """Images, maps, every measure and joint success; of the attack and of every control."""
    judged = {result.attack: result, **result.controls}
    assert set(judged) == set(written.keys)
    for label, found in judged.items():
        first = attacked(written, label, interpreters[0])
        images = found.adversarial if isinstance(found, AttackResult) else found.images
        assert torch.equal(written.images(first), images)
        for interpreter in interpreters:
            rows = attacked(written, label, interpreter)
            assert len(rows) == len(result.images)
            for measure in MEASURES.values():
                if measure.compute is None:
                    continue
                values = found.values.get(measure.name)
                of_map = values.get(interpreter) if isinstance(values, dict) else values
                if of_map is None:
                    assert {row[measure.name] for row in rows} == {None}
                else:
                    check_values(of_map, rows, measure.name)
            for row, shown in zip(rows, found.maps[interpreter], strict=True):
                assert torch.equal(written.maps[f"{label}/{interpreter}/{row['image_id']}"], shown)
    for interpreter in interpreters:
        rows = attacked(written, result.attack, interpreter)
        assert result.joint_success[interpreter].tolist() == [row["joint_success"] for row in rows]
        assert result.joint_success_all.tolist() == [row["joint_success_all"] for row in rows]


def run(folder: Path, table: Path, interpreters: tuple[str, ...], changes: dict[str, Any]) -> Written:
    chosen = {"data": str(table), "interpreters": interpreters, "count": None, "steps": STEPS, "seed": 3} | changes
    run_attack(small_config(**chosen), folder, batch_size=5)
    return Written(folder)


@pytest.mark.parametrize("changes", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("interpreters", [("cam",), ("cam", "grad")], ids=" ".join)
def test_a_call_and_a_run_agree(tmp_path: Path, interpreters: tuple[str, ...], changes: dict[str, Any]) -> None:
    table = write_digits(tmp_path / "digits", [index for index in SHOWN if index != MISLABELLED])
    batch = uf.data.open_data(table).load((16, 16), 1)
    written = run(tmp_path / "run", table, interpreters, changes)
    settings = {"steps": STEPS} | changes | ({} if "perturbation" in changes else {"eps": 0.2})
    name = settings.pop("attack", "adv2")
    common = {"ids": batch.ids, "seed": 3}
    classifier = uf.classifiers.load("digits-resnet")
    result = uf.attack(classifier, batch.images, batch.labels, name, list(interpreters), **common, **settings)
    check_same(result, written, interpreters)
    if changes.get("steps") == MORE:
        joint = [*result.joint_success.values(), result.joint_success_all]
        assert all(0 < int(values.sum()) < len(values) for values in joint), "or the test would show little"
    if changes.get("attack") == "advedge+":
        again = preset(name, **settings)(uf.System(classifier, interpreters), batch.images, batch.labels, **common)
        assert torch.equal(again.adversarial, result.adversarial)
        assert torch.equal(again.joint_success_all, result.joint_success_all)


def test_readers_count_for_no_joint_success_of_all(tmp_path: Path, digits_table: Path) -> None:
    """An image that was misclassified before is in no cell but the clean one, and counts as no success in Python."""
    written = run(tmp_path / "run", digits_table, ("cam",), {"readers": ("grad",), "steps": MORE})
    batch = uf.data.open_data(digits_table).load((16, 16), 1)
    system = uf.System(uf.classifiers.load("digits-resnet"), "cam", readers="grad")
    result = preset("adv2", eps=0.2, steps=MORE)(system, batch.images, batch.labels, ids=batch.ids, seed=3)
    right = result.correct_before
    assert int((~right).sum()) == 1
    for name in ("cam", "grad"):
        rows = attacked(written, "adv2", name)
        assert result.joint_success[name][right].tolist() == [row["joint_success"] for row in rows]
        assert result.joint_success_all[right].tolist() == [row["joint_success_all"] for row in rows]
        limit = written.summary["joint_success_threshold"][name]["map_l1_below"]
        assert float(result.map_limit[name][0]) == limit
    assert not result.joint_success["cam"][~right].any()
    assert torch.equal(result.joint_success_all, result.joint_success["cam"])
    assert result.joint_success_all.tolist() != result.joint_success["grad"].tolist()
