"""summary.json, recomputed from results.parquet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch

from tests.runs.conftest import small_config
from tests.runs.runs import Written, without_seconds
from underfire.attacks.limits import all_at_once
from underfire.attacks.measures import MEASURES
from underfire.errors import StoreError
from underfire.metrics import ANY
from underfire.runs import run_attack
from underfire.runs.summary import interval as summary_interval

MEANS = [
    "joint_success",
    "joint_success_own_limit",
    "success",
    "untargeted_success",
    "map_l1",
    "map_l2",
    "map_iou",
    "map_ssim",
    "map_spearman",
    "map_l1_target",
    "map_mass_inside",
    "map_peak_inside",
    "ssim",
    "linf",
    "l2",
    "edge_energy",
    "steps",
    "forwards",
    "backwards",
    "seconds",
]


def check_interval(interval: dict[str, Any], values: list[float]) -> None:
    """Mean and n exactly; of a rate scipy's score interval, of other means a bootstrap by another generator nearby."""
    assert interval["n"] == len(values)
    if not values:
        assert interval["mean"] is None
        return
    array = np.asarray(values, dtype=float)
    assert interval["mean"] == pytest.approx(array.mean(), abs=1e-12)
    assert interval["low"] <= interval["mean"] + 1e-12
    assert interval["high"] >= interval["mean"] - 1e-12
    if all(isinstance(value, bool) for value in values):
        score = scipy.stats.binomtest(sum(values), len(values)).proportion_ci(0.95, method="wilson")
        assert [interval["low"], interval["high"]] == pytest.approx([score.low, score.high], abs=1e-6)
        return
    draws = np.random.default_rng(99).choice(array, (4000, len(array))).mean(axis=1)
    tolerance = 0.15 * (array.max() - array.min()) + 1e-9
    assert interval["low"] == pytest.approx(np.quantile(draws, 0.025), abs=tolerance)
    assert interval["high"] == pytest.approx(np.quantile(draws, 0.975), abs=tolerance)


def check_joint(interval: dict[str, Any], values: list[float]) -> None:
    """Mean and n exactly; the interval holds the one that takes the limit as fixed, since the limit moves, too."""
    fixed = summary_interval(np.asarray(values))
    assert (interval["mean"], interval["n"]) == (pytest.approx(np.mean(values)), len(values))
    assert -1 <= interval["low"] <= fixed["low"] + 1e-9
    assert fixed["high"] - 1e-9 <= interval["high"] <= 1


def check_difference(interval: dict[str, Any], values: list[float]) -> None:
    """Mean and n exactly; the interval has a width, and holds a narrower bootstrap."""
    assert (interval["mean"], interval["n"]) == (pytest.approx(np.mean(values)), len(values))
    draws = np.random.default_rng(99).choice(values, (4000, len(values))).mean(axis=1)
    low, high = np.quantile(draws, [0.1, 0.9])
    assert -1 <= interval["low"] <= low + 1e-9
    assert high - 1e-9 <= interval["high"] <= 1
    assert interval["high"] - interval["low"] > 1 / len(values), "also if all values are equal"


def test_joint_success_comes_first(full: Written) -> None:
    text = (full.folder / "summary.json").read_text()
    assert next(iter(json.loads(text))) == "joint_success"
    for interpreter in ("cam", "grad"):
        rows = full.of("adv2", interpreter)
        check_joint(full.summary["joint_success"][interpreter], [row["joint_success"] for row in rows])
    for part in full.summary["interpreters"].values():
        assert all(next(iter(group)) == "joint_success" for group in part["attacks"].values())


def test_of_several_interpreters_all_maps_must_be_kept(full: Written, small: Written) -> None:
    assert list(full.summary)[:2] == ["joint_success", "joint_success_all"]
    assert list(full.summary["joint_success_all"]) == ["adv2", "bim"]
    for attack, found in full.summary["joint_success_all"].items():
        kept = []
        for row in full.of(attack, "cam"):
            (other,) = [r for r in full.of(attack, "grad") if r["image_id"] == row["image_id"]]
            kept.append(row["joint_success"] and other["joint_success"])
        check_joint(found, kept)
    assert "joint_success_all" not in small.summary


def test_kept_at_once_is_less_than_each() -> None:
    """Four images, two maps: each map is kept on two or three of them, both on one."""
    kept = {"cam": np.array([True, True, False, False]), "grad": np.array([True, False, True, True])}
    share = summary_interval(all_at_once(kept))
    assert (share["mean"], share["n"]) == (0.25, 4)


@pytest.mark.parametrize("attack", ["clean", "noise", "bim", "adv2"])
@pytest.mark.parametrize("interpreter", ["cam", "grad"])
def test_every_mean(full: Written, interpreter: str, attack: str) -> None:
    rows = full.of(attack, interpreter)
    group = full.summary["interpreters"][interpreter]["attacks"][attack]
    for column in MEANS:
        check = check_joint if column == "joint_success" else check_interval
        check(group[column], [row[column] for row in rows if row[column] is not None])
    successes = [row for row in rows if row["success"]]
    check_interval(group["confidence_of_successes"], [row["confidence"] for row in successes])
    check_interval(group["map_l1_of_successes"], [row["map_l1"] for row in successes])
    check_interval(group["success_over_all_images"], [row["success"] for row in rows] + [False])
    curve = group["joint_success_curve"]
    for limit, rate in zip(curve["thresholds"], curve["rates"], strict=True):
        assert rate == pytest.approx(np.mean([r["success"] and r["map_l1_target"] < limit for r in rows]), abs=1e-6)


def test_every_number_among_the_measures_has_bounds() -> None:
    assert [name for name, measure in MEASURES.items() if measure.kind != "bool" and measure.bounds == ANY] == []


def test_intervals_of_two_images_keep_within_what_is_possible(tmp_path: Path) -> None:
    """Stretched as two values need it, they would reach below zero and above one."""
    written = Written(_written(tmp_path, count=2, steps=(3, 5)))
    beyond = []
    for attack, group in written.summary["interpreters"]["cam"]["attacks"].items():
        for name in set(MEANS) & set(group):
            values, (least, most) = [row[name] for row in written.of(attack, "cam")], MEASURES[name].bounds
            if None in values or isinstance(values[0], bool) or name.startswith("joint"):
                continue
            free = summary_interval(values)
            beyond.append(free["low"] < least or free["high"] > most)
            assert least - 1e-6 <= group[name]["low"] <= group[name]["mean"] <= group[name]["high"] <= most + 1e-6
    assert any(beyond)


def test_the_comparison_with_the_control_is_paired(full: Written) -> None:
    for interpreter in ("cam", "grad"):
        found = full.summary["interpreters"][interpreter]["against_prediction_only"]
        control = {row["image_id"]: row for row in full.of("bim", interpreter)}
        for column in ("joint_success", "success", "map_l1", "map_iou"):
            pairs = [(row[column], control[row["image_id"]][column]) for row in full.of("adv2", interpreter)]
            check = check_difference if column in ("joint_success", "success") else check_interval
            check(found["paired_difference"][column], [float(one) - float(other) for one, other in pairs])
        assert full.summary["joint_success_gap"][interpreter] == found["paired_difference"]["joint_success"]
    nearer = full.summary["interpreters"]["cam"]["against_prediction_only"]
    assert nearer["paired_difference"]["map_l1"]["high"] < 0  # the joint attack keeps maps, its control does not
    assert nearer["prediction_interpretation_gap"] > 0


def test_the_limit_and_its_chance_from_the_files(full: Written) -> None:
    """The noise of five draws, and all other images' maps, as a slow look at the files finds them."""
    for name in ("cam", "grad"):
        rows = full.of("noise", name)
        ids = [row["image_id"] for row in rows]
        noise = [[row["map_l1"], *full.noise[f"noise/{name}/{row['image_id']}"].tolist()] for row in rows]
        maps = [full.maps[f"clean/{name}/{image_id}"].double() for image_id in ids]
        others = sorted(float((a - b).abs().mean()) for i, a in enumerate(maps) for b in maps[:i])
        total = torch.stack(maps).sum(0)
        average = [float((one - (total - one) / (len(maps) - 1)).abs().mean()) for one in maps]
        found = full.summary["joint_success_threshold"][name]
        bounds = {"noise": np.quantile(noise, 0.95), "other": others[len(others) // 20], "average": min(average)}
        assert found["noise_draws"] == len(noise[0]) == 5
        for key, entry in {"noise": "by_noise", "other": "by_other_map", "average": "by_average_map"}.items():
            assert found[entry] == pytest.approx(bounds[key])
        assert found["map_l1_below"] == pytest.approx(min(bounds.values()))
        assert bounds[found["set_by"]] == min(bounds.values())
        assert found["interval"]["low"] <= found["map_l1_below"] <= found["interval"]["high"]
        chance = full.summary["chance"][name]
        assert chance["other_map"]["mean"] == pytest.approx(
            np.mean([d < found["map_l1_below"] - 1e-12 for d in others])
        )
        assert chance["average_map"]["mean"] == 0
        shown = full.of("adv2", name)
        assert np.mean([row["chance_other_map"] for row in shown]) == pytest.approx(chance["other_map"]["mean"])
        assert not any(row["chance_average_map"] for row in shown)
        own = dict(zip(ids, np.minimum(np.max(noise, axis=1), found["by_average_map"]), strict=True))
        for row in shown:
            limit = min(own[row["image_id"]], found["by_other_map"])
            assert row["joint_success_own_limit"] == (row["success"] and row["map_l1_target"] < limit)


def test_the_images_are_counted(full: Written) -> None:
    assert full.summary["images"] == {
        "attacked": 13,
        "considered": 14,
        "correctly_classified": 13,
        "unreadable": [],
        "unusable": [],
    }


def test_images_that_are_not_attacked_are_in_no_mean(tmp_path: Any) -> None:
    """A given target class leaves out the images that belong to it, also from the means of the clean control."""
    run_attack(small_config(target_class="9", count=3), tmp_path)  # labels 4 9 4 9 4
    written = Written(tmp_path)
    assert written.summary["images"]["considered"] == 5
    assert written.summary["images"]["correctly_classified"] == 5
    for group in written.summary["interpreters"]["cam"]["attacks"].values():
        assert group["map_l1"]["n"] == 3
        assert group["success_over_all_images"]["n"] == 5


def test_readers_see_what_others_made(tmp_path: Path) -> None:
    """They change nothing of the attack, and no number about the attacked maps asks for theirs."""
    settings = {"count": 5, "steps": (5, 15), "eps": 0.2}
    for name, readers in {"plain": (), "read": ("gradcam", "captum:Occlusion")}.items():
        run_attack(small_config(**settings, interpreters=("grad",), readers=readers), tmp_path / name)
    plain, read = Written(tmp_path / "plain"), Written(tmp_path / "read")
    assert torch.equal(read.images(read.of("adv2", "grad")), plain.images(plain.of("adv2", "grad")))
    assert without_seconds(read.of("adv2", "grad")) == without_seconds(plain.of("adv2", "grad"))
    assert {row["attacked_interpreters"] for row in read.rows if row["attack"] == "adv2"} == {"grad"}
    assert list(read.summary["joint_success"]) == ["grad", "gradcam", "captum:Occlusion"], "as they were named"
    assert read.summary["readers"] == ["gradcam", "captum:Occlusion"]
    assert "joint_success_all" not in read.summary
    assert read.summary["joint_success"]["grad"] == plain.summary["joint_success"]["grad"]
    two = Written(_written(tmp_path / "two", **settings, interpreters=("grad", "cam"), readers=("gradcam",)))
    kept = [
        all(row["joint_success"] for row in rows)
        for rows in zip(two.of("adv2", "cam"), two.of("adv2", "grad"), strict=True)
    ]
    assert two.summary["joint_success_all"]["adv2"]["mean"] == pytest.approx(sum(kept) / 5)
    record = json.loads((tmp_path / "plain" / "run.json").read_text())
    for new in ("readers", "noise_eps", "noise_draws"):
        del record["configuration"][new]  # a run of a version that had fewer settings
    (tmp_path / "plain" / "run.json").write_text(json.dumps(record))
    run_attack(small_config(**settings, interpreters=("grad",)), tmp_path / "plain", resume=True)
    with pytest.raises(StoreError, match="readers was"):
        run_attack(small_config(**settings, interpreters=("grad",), readers=("cam",)), tmp_path / "plain", resume=True)


def _written(folder: Path, **settings: Any) -> Path:
    run_attack(small_config(**settings), folder)
    return folder
