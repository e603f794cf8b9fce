"""Tables on detectors, from the command to the numbers, on a small network."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import underfire as uf
from tests.campaigns.reproduce.made import made
from tests.runs.runs import Command, make_command
from underfire import cli, metrics, randomness
from underfire.campaigns.folder import Campaign
from underfire.campaigns.reproduce import detecting
from underfire.campaigns.reproduce.detecting import fitted_for, read_together
from underfire.campaigns.reproduce.findings import read_findings
from underfire.campaigns.reproduce.judging import judge
from underfire.campaigns.reproduce.papers import PREDICTION_ONLY, Claim, paper
from underfire.campaigns.reproduce.selecting import shown
from underfire.errors import UnderfireWarning
from underfire.runs.saved_images import SavedImages

GIVEN = ("--data", "digits:test", "--classifier", "digits-resnet")
SQUEEZED = (*GIVEN, "--interpreter", "cam", "--count", "5", "--steps", "30,2", "--budget", "4", "--eps", "0.4")
READ = (*GIVEN, "--interpreter", "gradcam,cam", "--count", "24", "--steps", "40,2", "--eps", "0.6")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return make_command(monkeypatch, capsys)


def _made(folder: Path, *given: str) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["underfire", "reproduce", *given, "--out", str(folder)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
    assert not stopped.value.code
    return folder


@pytest.fixture(scope="module")
def squeezed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _made(tmp_path_factory.mktemp("squeezed") / "out", "adv2", "table4", *SQUEEZED)


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _made(tmp_path_factory.mktemp("read") / "out", "advedge", "table5", *READ)


def test_squeezing_is_fitted_on_other_images_and_evaded_at_its_own_thresholds(squeezed: Path) -> None:
    campaign = Campaign(squeezed)
    configs = {campaign.configuration(each.name)["attack"]: campaign.configuration(each.name) for each in campaign}
    assert set(configs) == {"adv2", "auto", "adaptive", "adaptive-auto"}
    evade = dict(text.split("<") for text in configs["adaptive"]["evade"])
    assert configs["adaptive-auto"]["evade"] == configs["adaptive"]["evade"]
    assert not configs["adv2"]["evade"]
    # The threshold again: the 11th largest of 200 scores, of the first right images that the runs have not attacked.
    classifier = uf.classifiers.load("digits-resnet")
    batch = uf.data.open_data("digits:test").load((16, 16), 1)
    attacked = set(campaign.run(campaign.finished[0].name).image_ids)
    right = (classifier.logits(batch.images).argmax(1) == batch.labels).tolist()
    free = [place for place, good in enumerate(right) if good and batch.ids[place] not in attacked][:200]
    images = batch.images[free]
    coarse = (images * 3).round() / 3
    before, after = (classifier.logits(each).double().softmax(1) for each in (images, coarse))
    distances = (before - after).abs().sum(1).sort(descending=True).values
    assert float(evade["bit-depth:2"]) == pytest.approx(float(distances[9]), rel=1e-6)


def test_the_numbers_of_squeezing_are_those_of_the_saved_images(squeezed: Path) -> None:
    campaign, findings = Campaign(squeezed), read_findings(squeezed / "findings.parquet")
    classifier = uf.classifiers.load("digits-resnet")
    evade = next(campaign.configuration(each.name)["evade"] for each in campaign if "adaptive" in each.name)
    threshold = float(next(text for text in evade if text.startswith("bit-depth:3")).split("<")[1])
    some = [each for each in findings if each.reader == "bit-depth:3"]
    assert {each.attack for each in some} == {"clean", PREDICTION_ONLY, "adv2", "auto", "adaptive", "adaptive-auto"}
    for each in (found for found in some if found.attack in ("adv2", "adaptive")):
        run = campaign.run(each.run)
        images = SavedImages(run, each.attack).load((16, 16), 1).images
        before, after = (classifier.logits(x).double().softmax(1) for x in (images, (images * 7).round() / 7))
        flagged = (before - after).abs().sum(1) > threshold
        success = torch.as_tensor(np.asarray(run.column(each.attack, "cam", "success"), dtype=bool))
        expected = [float(flag) if reached else np.nan for flag, reached in zip(flagged, success, strict=True)]
        assert np.array_equal(each.values["detected"], expected, equal_nan=True)
        assert each.interval("detected").n == int(success.sum())


def test_the_tables_are_shown_again_from_the_numbers(command: Command, squeezed: Path, tmp_path: Path) -> None:
    text = (squeezed / "reproduction.md").read_text(encoding="utf-8")
    assert "## Table 4: " in text
    assert "(0.73)" in text  # the published detection of PGD by 3 bits
    assert "| digits-resnet | bit-depth:3 |" in text
    assert "The adaptive attack reaches its class on at least 95 % of images." in text
    shutil.copy(squeezed / "findings.parquet", tmp_path)
    command("reproduce", "adv2", "table4", "--out", str(tmp_path), "--show")
    again = (tmp_path / "reproduction.md").read_text(encoding="utf-8")
    assert [line for line in again.splitlines() if line[:1] in "|-"] == [
        line for line in text.splitlines() if line[:1] in "|-"
    ]


def test_a_second_start_attacks_nothing_again(command: Command, squeezed: Path) -> None:
    times = {path: path.stat().st_mtime_ns for path in squeezed.glob("runs/*/results.parquet")}
    assert len(times) == 4
    assert command("reproduce", "adv2", "table4", *SQUEEZED, "--out", str(squeezed), "--resume").code == 0
    assert {path: path.stat().st_mtime_ns for path in squeezed.glob("runs/*/results.parquet")} == times


def test_detectors_that_read_maps(read: Path) -> None:
    findings = [each for each in read_findings(read / "findings.parquet") if "accuracy" in each.values]
    campaign = Campaign(read)
    assert {each.attack for each in findings} <= {"adv2", "advedge"}
    assert {each.reader for each in findings} == {"cam+gradcam", "cam+gradcam+product"}
    for each in findings:
        (first, second) = (
            campaign.run(entry.name)
            for name in ("cam", "gradcam")
            for entry in campaign.finished
            if campaign.configuration(entry.name)["attack"] == each.attack and f"-{name}-" in entry.name
        )
        reached = [np.asarray(run.column(each.attack, run.interpreters[0], "success")) for run in (first, second)]
        turns = [bool(reached[place % 2][place]) for place in range(len(each.image_ids))]
        assert (~np.isnan(each.values["accuracy"])).tolist() == turns
        assert set(each.values["accuracy"][turns]) <= {0.0, 0.5, 1.0}


def test_maps_are_computed_once_for_all_detectors(read: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: every detector, and each of its fits, computed the maps that no run has."""
    table = paper("advedge")
    item = next(each for each in table.items if each.name == "table5")
    counted, maps_of = Counter[tuple[int, int]](), uf.interpreters.CAM.maps

    def maps(self: Any, classifier: Any, images: Tensor, classes: Tensor, **given: Any) -> Tensor:
        counted.update(zip(randomness.identify(images).tolist(), classes.tolist(), strict=True))
        return maps_of(self, classifier, images, classes, **given)

    monkeypatch.setattr(uf.interpreters.CAM, "maps", maps)
    found, _ = read_together(table, item, Campaign(read))
    assert len(found) == 2  # with and without the product
    assert set(counted.values()) == {1}


def test_three_interpreters_are_compared_with_the_pairs_among_them() -> None:
    edge = paper("advedge")
    claim = next(each for each in edge.claims if each.name == "three beat two")
    findings = [
        made("advedge", "each in turn", {"accuracy": values}, reader=reader)
        for reader, values in (
            ("grad+cam+rts", [1.0, 1.0, 0.5, 1.0]),
            ("grad+cam", [0.5, 0.5, 0.5, 0.5]),
            ("grad+cam+product", [0.0, 0.0, 0.0, 0.0]),
            ("grad+mask", [0.0, 0.0, 0.0, 0.0]),
        )
    ]
    (case,) = judge(edge, claim, findings).cases
    assert case.keys["against"] == "grad+cam"
    assert case.interval.mean == pytest.approx(0.375)
    tables = {item.name: item for item in edge.items}
    assert [each.reader for each in shown(edge, tables["table6"], findings)] == ["grad+cam+rts"]
    assert len(shown(edge, tables["table5"], findings)) == 3


def test_at_most_so_many_times() -> None:
    asked = {"name": "a", "item": "table4", "text": "A.", "measure": "detected", "test": "at most times"}
    claim = Claim(**asked, margin=0.5, first={"attack": "adaptive", "reader": "other"}, second={"attack": "adv2"})
    before, after = [1.0, 1.0, 1.0, 0.0, np.nan], [0.0, 1.0, 0.0, np.nan, 1.0]
    findings = [
        made(attack, "cam", {"detected": values}, reader="median:2")
        for attack, values in (("adv2", before), ("adaptive", after))
    ]
    (case,) = judge(paper("adv2"), claim, findings).cases
    expected = metrics.bootstrap_mean([-0.5, 0.5, -0.5])  # on images on which both succeeded
    assert (case.interval.mean, case.interval.low, case.interval.high) == pytest.approx(
        (expected.mean, expected.low, expected.high)
    )
    assert case.verdict == "cannot be told"


def test_fewer_images_choose_the_threshold_where_there_are_not_enough(
    squeezed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign, adv2 = Campaign(squeezed), paper("adv2")
    table4 = next(each for each in adv2.items if each.name == "table4")
    item = table4.model_copy(update={"detectors": ("squeezing:bit-depth:2",)})
    monkeypatch.setattr(detecting, "CALIBRATION", 5000)
    with pytest.warns(UnderfireWarning, match=r"set by (\d+) images, not 5000") as told:
        fitted, missing = fitted_for(adv2, item, campaign)
    assert not missing
    said = int(str(told[0].message).split(" set by ")[1].split()[0])
    classifier = uf.classifiers.load("digits-resnet")
    batch = uf.data.open_data("digits:test").load((16, 16), 1)
    attacked = set(campaign.run(campaign.finished[0].name).image_ids)
    right = (classifier.logits(batch.images).argmax(1) == batch.labels).tolist()
    images = batch.images[[good and each not in attacked for each, good in zip(batch.ids, right, strict=True)]]
    assert said == len(images)
    before, after = (classifier.logits(each).double().softmax(1) for each in (images, (images * 3).round() / 3))
    distances = (before - after).abs().sum(1).sort(descending=True).values
    (one,) = fitted["digits-resnet"]
    above = int((distances > one.threshold + 1e-6).sum())
    assert above == int(0.05 * (len(images) + 1)) - 1  # as the 10th largest of 200
    monkeypatch.setattr(detecting, "FEWEST", len(images) + 1)
    fitted, missing = fitted_for(adv2, item, campaign)
    assert not fitted
    assert f"has {len(images)} images that can be taken, and 5000 are wanted" in " ".join(missing.values())
