"""``Run.outliers``: against the files of a run, and as the command shows it."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.metrics.test_metrics_scatter import slow_area, slow_spread
from tests.runs.former import as_before
from tests.runs.runs import Command, Written
from underfire import metrics
from underfire.runs import Run
from underfire.runs.outliers import Outliers


def test_every_value_is_that_of_the_files(full: Written) -> None:
    found = Run(full.folder).outliers()
    assert [(each.cell, each.interpreter) for each in found] == [("adv2", "cam"), ("adv2", "grad")]
    for each in found:
        rows = full.of_cell("adv2", each.interpreter)
        limit = full.summary["joint_success_threshold"][each.interpreter]["map_l1_below"]
        distances = [row["map_l1_target"] for row in rows]
        low, high = np.quantile(distances, [0.25, 0.75])
        assert len(each.images) == len(rows) == 13
        for image, row in zip(each.images, rows, strict=True):
            name = row["image_id"]
            benign = full.maps[f"clean/{each.interpreter}/{name}"].double().numpy()
            logits = full.logits[f"clean/{name}"].double()
            own = logits[row["label"]].item()
            others = [value for number, value in enumerate(logits.tolist()) if number != row["label"]]
            assert image.image_id == name
            assert image.half_mass_area == pytest.approx(slow_area(benign.flatten().tolist()), rel=1e-5)
            assert image.mass_spread == pytest.approx(slow_spread(benign), rel=1e-5)
            assert image.margin_next == own - max(others) > 0
            assert image.margin_target == own - logits[row["target"]].item()
            assert (image.distance, image.success) == (row["map_l1_target"], row["success"])
            assert image.kept is (row["map_l1_target"] < limit)
            assert image.outlier is bool(row["map_l1_target"] > high + 1.5 * (high - low))
        for cause, interval in each.correlations.items():
            values = [getattr(image, cause) for image in each.images]
            assert interval == metrics.rank_correlation(values, distances)


def test_sentences_say_what_is_clear() -> None:
    clear, unclear = metrics.Interval(0.5, 0.2, 0.7, 30), metrics.Interval(-0.1, -0.4, 0.2, 30)
    against = metrics.Interval(-0.5, -0.7, -0.2, 30)
    said = Outliers("adv2", "adv2", "cam", [], {"mass_spread": clear, "margin_next": unclear}).sentence
    assert "Maps end farther from the wanted one the more scattered the benign map is" in said
    assert "decision boundary" not in said
    assert "+0.50 [+0.20, +0.70]" in said
    said = Outliers("adv2", "adv2", "cam", [], {"margin_next": against}).sentence
    assert "Maps end nearer to the wanted one the farther the clean image is from the decision boundary" in said
    said = Outliers("adv2", "adv2", "cam", [], {"margin_next": unclear}).sentence
    assert "Neither how scattered" in said


def test_the_command_prints_them_and_writes_a_table(full: Written, tmp_path: Path, command: Command) -> None:
    folder = shutil.copytree(full.folder, tmp_path / "run")
    ended = command("report", folder, "--outliers")
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.split()[:3] == ["attack", "/", "maps"] for line in lines)
    assert "maps end as outliers under adv2" in " ".join(ended.out.split())
    rows = list(csv.DictReader((folder / "outliers.csv").open()))
    assert len(rows) == 2 * 13
    expected = [image for each in Run(folder).outliers() for image in each.images]
    assert [float(row["margin_next"]) for row in rows] == [image.margin_next for image in expected]
    assert "outliers.csv" in "".join(ended.out.split())
    words = ("--data", "digits:test", "--classifier", "digits-resnet", "--eps", "0.2", "--steps", "1,1", "--count", "2")
    again = command("attack", *words, "--out", folder, "--overwrite", "--no-page")
    assert again.code == 0, again.err
    assert not (folder / "outliers.csv").exists()


def test_runs_without_logits_have_no_margins(full: Written, tmp_path: Path, command: Command) -> None:
    folder = as_before(full, tmp_path / "former")
    for each in Run(folder).outliers():
        assert {(image.margin_next, image.margin_target) for image in each.images} == {(None, None)}
        assert set(each.correlations) == {"half_mass_area", "mass_spread"}
    ended = command("report", folder, "--outliers")
    assert ended.code == 0, ended.err
