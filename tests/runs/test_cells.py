"""Cells: what attacks share, and that no two attacks have one name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.runs.conftest import small_config
from tests.runs.runs import Written, assert_same_run, without_seconds, write_digits
from underfire.attacks import KINDS
from underfire.errors import UnderfireWarning
from underfire.runs import run_attack

THREE = ("cam", "grad", "gradcam")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_digits(tmp_path_factory.mktemp("digits"), range(6))


def length(attack: str) -> dict[str, Any]:
    """Settings that make an attack short: some have a budget instead of steps."""
    return {"steps": None, "budget": 2} if KINDS[attack].has_budget else {}


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Three interpreters, each attacked for itself, in two shards."""
    folder = tmp_path_factory.mktemp("each")
    run_attack(small_config(interpreters=THREE, each=True, count=4, steps=(2, 4)), folder, batch_size=3)
    return Written(folder)


def test_attacks_on_each_of_three_interpreters_share_their_controls(together: Written, tmp_path: Path) -> None:
    assert [cell["label"] for cell in together.run["cells"]] == [
        *("clean", "bim", "adv2-cam", "adv2-grad", "adv2-gradcam", "noise")
    ]
    assert sorted(path.name for path in (together.folder / "images").iterdir()) == sorted(together.keys)
    for name in THREE:
        run_attack(small_config(interpreters=(name,), count=4, steps=(2, 4)), tmp_path / name)
        alone = Written(tmp_path / name)
        assert together.pictures(f"adv2-{name}") == alone.pictures("adv2")
        for control in ("clean", "bim", "noise"):
            assert together.pictures(control) == alone.pictures(control)
        ours, settled = together.of_cell(f"adv2-{name}", name), alone.of_cell("adv2", name)
        assert stripped(ours) == stripped(settled)
        for control in ("clean", "bim", "noise"):
            assert stripped(together.of_cell(control, name)) == stripped(alone.of_cell(control, name))
        assert together.summary["joint_success"][name] == alone.summary["joint_success"][name]
        ours, theirs = (w.summary["interpreters"][name]["attacks"] for w in (together, alone))
        assert ours.keys() == theirs.keys() == {"clean", "noise", "bim", "adv2"}
        for attack, means in theirs.items():
            assert {k: v for k, v in ours[attack].items() if k != "seconds"} == {
                k: v for k, v in means.items() if k != "seconds"
            }
    assert {row["interpreter"] for row in together.rows if row["cell"] == "adv2-cam"} == {"cam"}
    assert {row["attacked_interpreters"] for row in together.rows if row["cell"] == "adv2-cam"} == {"cam"}
    assert together.summary["each"] is True
    assert "joint_success_all" not in together.summary


def stripped(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows without time, and without what names cells and files."""
    return [{k: v for k, v in row.items() if k not in ("cell", "image_file")} for row in without_seconds(rows)]


def test_readers_read_every_cell(tmp_path: Path) -> None:
    run_attack(small_config(interpreters=("cam", "grad"), readers=("gradcam",)), tmp_path)
    written = Written(tmp_path)
    assert {row["cell"] for row in written.rows if row["interpreter"] == "gradcam"} == set(written.keys)
    cells = {cell["label"]: cell["read_by"] for cell in written.run["cells"]}
    assert cells["adv2"] == cells["bim"] == ["cam", "grad", "gradcam"]


def test_controls_of_different_lengths_are_two(tmp_path: Path) -> None:
    """Without --steps, each attack has its interpreter's published schedule, and its control as many steps."""
    config = small_config(interpreters=("cam", "grad"), each=True, count=1, early_stop=True)
    with pytest.MonkeyPatch.context() as patch:
        shorten_schedules(patch)
        run_attack(replace(config, steps=None), tmp_path)
    written = Written(tmp_path)
    assert list(written.keys) == ["clean", "bim-cam", "bim-grad", "adv2-cam", "adv2-grad", "noise"]
    assert len(set(written.keys.values())) == 6
    assert {row["steps"] for row in written.of_cell("bim-cam", "cam")} == {5}
    assert {row["steps"] for row in written.of_cell("bim-grad", "grad")} == {7}
    assert {row["attack"] for row in written.rows if row["cell"].startswith("bim")} == {"bim"}
    for name in ("cam", "grad"):
        found = written.summary["interpreters"][name]
        steps = {row["steps"] for row in written.of_cell(f"bim-{name}", name)}
        assert {found["attacks"]["bim"]["steps"]["mean"]} == steps


def shorten_schedules(patch: pytest.MonkeyPatch) -> None:
    """Rows of a few steps in place of the published ones, which take minutes."""
    from dataclasses import replace

    from underfire.attacks import PGD
    from underfire.attacks.perturbations import BIM

    rows = {
        "cam": replace(PGD.rows["cam"], warmup=2, joint=3),
        "grad": replace(PGD.rows["grad"], warmup=3, joint=4),
    }
    for part in (PGD, BIM):
        patch.setattr(part, "rows", rows)


def test_attacks_without_a_ball_share_the_noise(tmp_path: Path) -> None:
    """Its size does not follow the attack's change, so that one noise control serves all attacks of a run."""
    config = small_config(interpreters=("cam", "grad"), each=True, perturbation="cw", steps=(2, 4))
    run_attack(config, tmp_path / "each")
    written = Written(tmp_path / "each")
    assert list(written.keys) == ["clean", "cw", "adv2-cam", "adv2-grad", "noise"]
    for name in ("cam", "grad"):
        alone = small_config(interpreters=(name,), perturbation="cw", steps=(2, 4))
        run_attack(alone, tmp_path / name)
        assert written.pictures("noise") == Written(tmp_path / name).pictures("noise")
        limits = (w["joint_success_threshold"][name] for w in (written.summary, Written(tmp_path / name).summary))
        assert next(limits) == next(limits)


@pytest.mark.parametrize("attack", [*KINDS])
def test_no_two_attacks_share_a_name(tmp_path: Path, attack: str) -> None:
    """``pgd`` begins at a random image, wherever the name stands; what begins at the image is ``bim``."""
    run_attack(small_config(attack=attack, **length(attack)), tmp_path)
    written = Written(tmp_path)
    names = [row["attack"] for row in written.rows if row["cell"] not in ("clean", "noise")]
    assert set(names) == set(written.run["attacks"])
    for cell in written.run["cells"]:
        made = written.run["attacks"].get(cell["label"])
        assert (made is None) == (cell["kind"] not in ("attack", "control"))
        if made is not None:
            assert f"name={cell['attack']!r}" in made
            alone = cell["attack"] in ("pgd", "bim")
            assert not alone or ("random_start=True" in made) == (cell["attack"] == "pgd"), made
    expected = {"pgd": [], "cw": [], "stadv": [], "bim": ["pgd"]}.get(attack, ["bim"])
    edges = {"advedge": "-edge", "advedge+": "-edge-mask"}.get(attack, "")
    controls = [cell["attack"] for cell in written.run["cells"] if cell["kind"] == "control"]
    assert controls == [f"{name}{edges}" for name in expected]


def test_a_pgd_that_was_asked_for_starts_elsewhere_than_the_control(tmp_path: Path) -> None:
    run_attack(small_config(attack="pgd"), tmp_path / "pgd")
    run_attack(small_config(), tmp_path / "adv2")
    asked, control = Written(tmp_path / "pgd"), Written(tmp_path / "adv2")
    assert not torch.equal(asked.images(asked.of("pgd")), control.images(control.of("bim")))
    run_attack(small_config(attack="bim"), tmp_path / "bim")
    bim = Written(tmp_path / "bim")
    assert torch.equal(bim.images(bim.of("bim")), control.images(control.of("bim")))
    assert bim.run["attacks"]["bim"] == control.run["attacks"]["bim"]
    assert torch.equal(bim.images(bim.of("pgd")), asked.images(asked.of("pgd")))


def test_a_shard_without_attacked_images(tmp_path: Path, table: Path) -> None:
    """Labels 4 9 4 9 4 9: after the last image that is attacked comes one of the target class."""
    config = small_config(data=str(table), target_class="9", count=None)
    run_attack(config, tmp_path / "one")
    run_attack(config, tmp_path / "many", batch_size=1)
    run_attack(config, tmp_path / "three", batch_size=3)
    many, three = Written(tmp_path / "many"), Written(tmp_path / "three")
    assert three.run["shards"] == 2
    assert len(list((tmp_path / "three" / "cells" / three.keys["adv2"]).glob("*.parquet"))) == 2
    assert [row["image_id"] for row in three.of_cell("clean")] == [f"pictures/00{i}.png" for i in range(6)]
    assert len(three.of("adv2")) == 3
    assert_same_run(Written(tmp_path / "one"), many)
    assert_same_run(many, three)
    for key in three.keys.values():
        (tmp_path / "three" / "cells" / key / "000001.parquet").unlink()
    for name in ("results.parquet", "trace.parquet", "summary.json"):
        (tmp_path / "three" / name).unlink()
    record = (tmp_path / "three" / "run.json").read_text().replace('"finished": true', '"finished": false')
    (tmp_path / "three" / "run.json").write_text(record)
    with pytest.warns(UnderfireWarning, match=r"000001\.parquet is missing .*and 1 more"):
        run_attack(config, tmp_path / "three", resume=True)
    assert_same_run(many, Written(tmp_path / "three"))
