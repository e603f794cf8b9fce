"""Evaluation on a finished run: every number against a slow count, what is refused, and what is cautioned."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from scipy.integrate import trapezoid
from torch import Tensor

import underfire as uf
from tests.detectors.conftest import Digits, changed
from underfire.data.saved import load_png
from underfire.detectors import Detector, Evaluation, FittedDetector, evaluate, fit
from underfire.detectors.evaluation import NOT_ADAPTIVE, TOO_MANY_ALARMS
from underfire.detectors.split import Members, Split
from underfire.errors import InputError, UserCodeError
from underfire.metrics import bootstrap_roc_area, roc_area
from underfire.runs import RunConfig, run_attack


@pytest.fixture(scope="module")
def squeezing(digits: Digits) -> FittedDetector:
    return fit("squeezing:bit-depth:1", digits.system, digits.images, calibration_ids=digits.ids, false_positives=0.15)


@pytest.fixture(scope="module")
def found(squeezing: FittedDetector, run_folder: Path) -> Evaluation:
    return evaluate(squeezing, run_folder)


def saved_images(run: uf.Run, cell: str) -> torch.Tensor:
    rows = run.rows(["image_id", "image_file"], cell).to_pylist()
    files = {row["image_id"]: row["image_file"] for row in rows}
    return torch.stack([load_png(run.path / files[image_id]).float() / 255 for image_id in run.image_ids])


def test_every_number_is_what_it_says(squeezing: FittedDetector, found: Evaluation, run_folder: Path) -> None:
    """From the saved images, the run's own columns and plain counting."""
    run = uf.Run(run_folder)
    rows = {row["cell"]: row for row in found.rows()}
    assert list(rows) == ["clean", "noise", "bim", "adv2"]
    clean = squeezing.scores(saved_images(run, "clean")).numpy()
    assert rows["clean"]["detection"]["mean"] == pytest.approx(np.mean(clean > squeezing.threshold))
    assert rows["clean"]["n"] == 24
    noise = squeezing.scores(saved_images(run, "noise")).numpy()
    assert rows["noise"]["auc"]["mean"] == pytest.approx(roc_area(clean, noise))
    for cell in ("bim", "adv2"):
        row = rows[cell]
        scores = squeezing.scores(saved_images(run, cell)).numpy()
        success = np.asarray(run.column(cell, "cam", "success"), dtype=bool)
        joint = np.asarray(run.column(cell, "cam", "joint_success_all"), dtype=bool)
        kept = {name: np.asarray(run.column(cell, name, "joint_success"), dtype=bool) for name in ("cam", "grad")}
        assert list(row["triple_success_by_map"]) == ["cam", "grad"]
        noticed = scores > squeezing.threshold
        assert 0 < success.sum() < 24
        assert row["successes"] == success.sum()
        assert row["detection"]["mean"] == pytest.approx(noticed[success].mean())
        assert row["detection"]["n"] == row["auc"]["n"] == success.sum()
        assert row["auc"]["mean"] == pytest.approx(roc_area(clean, scores[success]))
        ids = np.array(run.image_ids)
        assert row["auc"] == bootstrap_roc_area(clean, scores[success], list(ids), list(ids[success])).to_dict()
        assert row["joint_success"]["mean"] == pytest.approx(joint.mean())
        assert row["triple_success"]["mean"] == pytest.approx((joint & ~noticed).mean())
        assert row["triple_success"]["n"] == 24
        for name, flags in kept.items():
            assert row["triple_success_by_map"][name]["mean"] == pytest.approx((flags & ~noticed).mean())
    adv2 = rows["adv2"]
    assert 0 < adv2["triple_success"]["mean"] < adv2["joint_success"]["mean"]  # so that the two differ in this test
    assert rows["noise"]["triple_success"]["mean"] is None
    assert rows["clean"]["auc"]["mean"] is None


def test_the_threshold_is_not_moved(squeezing: FittedDetector, found: Evaluation) -> None:
    assert {row["threshold"] for row in found.rows()} == {squeezing.threshold}


def test_each_attack_that_is_not_adaptive_is_cautioned(found: Evaluation) -> None:
    for row in found.rows():
        if row["kind"] in ("attack", "control"):
            assert row["adaptive"] is False
            assert row["caution"].startswith(NOT_ADAPTIVE)
            assert "--evade with the folder" in row["caution"]
        else:
            assert (row["adaptive"], row["caution"]) == (None, "")


def test_more_false_alarms_than_asked_for_are_said(digits: Digits, run_folder: Path) -> None:
    """The classifier was trained on the calibration images, whose predictions are steadier than those of new images."""
    made = fit("squeezing:bit-depth:2", digits.system, digits.images, false_positives=0.1)
    rows = {row["cell"]: row for row in evaluate(made, run_folder).rows()}
    assert rows["clean"]["detection"]["low"] > made.likely_false_positives[1] > 0.1
    assert rows["clean"]["caution"] == TOO_MANY_ALARMS


@pytest.mark.parametrize("variant", ["paper", "published"])
def test_an_attack_that_evades_the_detector_is_not(squeezing: FittedDetector, tmp_path: Path, variant: str) -> None:
    """The attacker reads the folder of the detector, and the evaluation finds that in the record of the run."""
    squeezing.save(tmp_path / "detector")
    chosen: dict[str, Any] = {"data": "digits:test", "classifier": "digits-resnet", "steps": (1, 2), "count": 4}
    config = RunConfig.create(**chosen, attack="adaptive", evade=str(tmp_path / "detector"), variant=variant)
    run_attack(config, tmp_path / "run")
    rows = {row["kind"]: row for row in evaluate(squeezing, tmp_path / "run").rows()}
    assert (rows["attack"]["adaptive"], rows["attack"]["caution"]) == (True, "")
    assert rows["control"]["adaptive"] is False


def test_scores_of_every_image(squeezing: FittedDetector, found: Evaluation, run_folder: Path) -> None:
    rows = list(found.scores())
    assert len(rows) == 4 * 24
    adv2 = [row for row in rows if row["cell"] == "adv2"]
    assert [row["image_id"] for row in adv2] == uf.Run(run_folder).image_ids
    assert [row["score"] for row in adv2] == squeezing.scores(saved_images(uf.Run(run_folder), "adv2")).tolist()
    assert all(row["flagged"] == (row["score"] > squeezing.threshold) for row in rows)


def test_the_curve_and_the_json(found: Evaluation) -> None:
    curve = found.roc("adv2")
    area = trapezoid(curve.detections, curve.false_positives)
    rows = {row["cell"]: row for row in found.to_dict()["rows"]}
    assert rows["adv2"]["auc"]["mean"] == pytest.approx(area)
    assert rows["adv2"]["roc"]["detections"] == curve.detections.tolist()
    assert rows["clean"]["roc"] is None
    json.dumps(found.to_dict(), allow_nan=False)
    with pytest.raises(InputError, match=r"cell is 'pgd', which stands for 0 results.* Known cells: clean, noise, bim"):
        found.roc("pgd")


def test_several_detectors_and_runs(
    digits: Digits, squeezing: FittedDetector, run_folder: Path, tmp_path: Path
) -> None:
    second = tmp_path / "second"
    shutil.copytree(run_folder, second)
    other = fit("map-agreement", digits.system, digits.images[80:], digits.images[:80])
    both = evaluate([squeezing, other], [run_folder, second])
    assert len(both.rows()) == 16
    names = [squeezing.name, other.name]
    assert list(dict.fromkeys(row["detector"] for row in both.rows())) == names
    with pytest.raises(InputError, match="stands for 4 results"):
        both.roc("adv2")
    with pytest.raises(InputError, match=r"holds detector squeezing bit-depth:1 with the digest \w+ twice"):
        evaluate([squeezing, squeezing], run_folder)
    with pytest.raises(InputError, match="at least one detector and one run"):
        evaluate([], run_folder)
    with pytest.raises(InputError, match=r"runs names .* more than once; name each run once"):
        evaluate(squeezing, [run_folder, run_folder.parent / "." / run_folder.name])


def test_detectors_of_one_name_get_names_that_differ(digits: Digits, run_folder: Path, tmp_path: Path) -> None:
    """Regression: they were refused, and had to be evaluated one at a time."""
    images = (digits.images[80:], digits.images[:80])
    by_maps = [fit("map-stability", digits.system.only((name,)), *images) for name in ("cam", "grad")]
    saved = []
    for name, rate in (("strict", 0.05), ("loose", 0.3)):
        fit("squeezing", digits.system, digits.images, false_positives=rate).save(tmp_path / name)
        saved.append(uf.detectors.load(tmp_path / name, digits.system))
    held = [fit("squeezing:median:3", digits.system, digits.images, false_positives=rate) for rate in (0.05, 0.3)]
    single = fit("squeezing:bit-depth:1", digits.system, digits.images)
    found = evaluate([*by_maps, *saved, *held, single], run_folder)
    title = saved[0].name
    names = [
        *("map-stability (cam)", "map-stability (grad)", f"{title} (strict)", f"{title} (loose)"),
        *(f"squeezing median:3 ({each.digest})" for each in held),
        "squeezing bit-depth:1",
    ]
    assert list(dict.fromkeys(row["detector"] for row in found.rows())) == names
    assert found.digests == {
        name: each.digest for name, each in zip(names, [*by_maps, *saved, *held, single], strict=True)
    }
    assert len(found.roc("adv2", "map-stability (cam)").detections) > 2


@pytest.mark.parametrize("role", ["calibration", "benign"])
def test_images_that_the_detector_has_seen_are_refused(digits: Digits, run_folder: Path, role: str) -> None:
    """By id; and by pixels, whatever they are called."""
    run = uf.Run(run_folder)
    images = torch.cat([digits.images[:40], saved_images(run, "clean")[:1]])
    for ids in ([*digits.ids[:40], run.image_ids[0]], [f"x{place}" for place in range(41)]):
        others = digits.images[60:]
        given: dict[str, Any] = {"calibration": images, "calibration_ids": ids, "benign": others}
        if role == "benign":
            given = {"calibration": others, "benign": images, "benign_ids": ids}
        made = fit("class-map", digits.system, **given)
        with pytest.raises(InputError, match=f"1 of the {role} images of detector class-map are among the images of"):
            evaluate(made, run_folder)


def test_a_run_on_another_classifier_is_refused(digits: Digits, run_folder: Path) -> None:
    made = fit("squeezing:median:2", changed(digits.system), digits.images)
    with pytest.raises(InputError, match="has other weights or another normalisation: fit the detector for the class"):
        evaluate(made, run_folder)


def test_only_images_that_were_right_before_count(
    squeezing: FittedDetector, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = uf.Run(run_folder)
    right = run.correct.copy()
    right[3:10] = False
    monkeypatch.setattr(uf.Run, "correct", property(lambda self: right))
    rows = {row["cell"]: row for row in evaluate(squeezing, run).rows()}
    assert {row["n"] for row in rows.values()} == {17}
    success = np.asarray(run.column("adv2", "cam", "success"), dtype=bool)
    assert rows["adv2"]["successes"] == success[right].sum()


def test_clean_images_are_identified_batch_by_batch(digits: Digits) -> None:
    """Regression: ids that come with the batches were looked at before the first one, so that only pixels counted."""
    classifier, ids = digits.system.classifier, list[str]()

    def batches() -> Iterator[Tensor]:
        for first in (0, 4):
            ids.extend(digits.ids[first : first + 4])
            yield digits.images[first : first + 4]

    found = Members.of_clean(batches(), classifier, ids)
    assert found == Split.of(digits.images[:8], classifier, digits.ids[:8]).members
    attacked = Split.of(digits.attacked[:2], classifier, digits.ids[:2], clean=False).members
    assert attacked.shared_with(found) == sorted(digits.ids[:2])


def test_attacked_images_are_known_by_the_pixels_of_their_sources(digits: Digits) -> None:
    """Regression: ids that are hashes of pixels were compared with the names of files alone."""
    classifier = digits.system.classifier
    named = Split.of(digits.images[:4], classifier, digits.ids[:4]).members
    hashes = Split.of(digits.images[:2], classifier).members.ids
    attacked = Split.of(digits.attacked[:2], classifier, hashes, clean=False).members
    assert attacked.shared_with(named) == sorted(hashes)
    assert named.shared_with(attacked) == sorted(digits.ids[:2])
    assert not attacked.shared_with(Split.of(digits.images[2:4], classifier, digits.ids[2:4]).members)


class Beside(Detector):
    """The mean of an image, less that of the batch, or a random number by the place in the batch."""

    name: ClassVar[str] = "beside"

    def __init__(self, luck: bool) -> None:
        self.luck = luck

    def measure(self, system: uf.System, state: Mapping[str, Tensor], images: Tensor) -> Tensor:
        means = images.flatten(1).mean(1)
        drawn = torch.rand(len(means), generator=torch.Generator().manual_seed(0))
        return means + drawn if self.luck else means - means.mean()


@pytest.mark.parametrize("luck", [False, True])
def test_a_score_that_hangs_on_the_batch_is_refused(digits: Digits, luck: bool) -> None:
    with pytest.raises(UserCodeError, match="detector 'beside' gives other scores for the same images"):
        fit(Beside(luck), digits.system, digits.images[:40])
