"""The tables of ``python -m benchmarks.detection``, from the rows in the documentation."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import underfire as uf
from benchmarks import detection, detection_map_tables, detection_maps, detection_tables
from benchmarks.detection_maps import Held, Known
from tests.detectors.conftest import Digits, digits  # noqa: F401
from underfire import metrics

ROWS = Path(__file__).parents[1] / "docs/results/detection"
PAGE = Path(__file__).parents[1] / "docs/detection.md"


def column(name: str, *squeezers: str, success: bool = False) -> np.ndarray:
    """The largest of some columns of a file, read without the benchmark's code."""
    with (ROWS / f"{name}.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if not success or row["success"] == "1"]
    return np.array([max(float(row[each]) for each in squeezers) for row in rows if all(row[s] for s in squeezers)])


@pytest.mark.parametrize("squeezers", [("median:2",), ("bit-depth:3", "median:2", "median:3")])
def test_detection_is_counted_at_a_threshold_from_other_images(squeezers: tuple[str, ...]) -> None:
    """The threshold leaves floor(401 x .05) - 1 = 19 of 400 calibration images above it; rates stand on the page."""
    known = np.sort(column("resnet20-calibration", *squeezers))[::-1]
    assert len(known) == 400
    assert detection_tables.threshold_of("resnet20", *squeezers) == known[math.floor(401 * 0.05) - 1]
    attacked = column("resnet20-cam-adv2", *squeezers, success=True)
    caught = metrics.rate((attacked > known[19]).tolist())
    text = PAGE.read_text(encoding="utf-8")
    line = next(each for each in text.splitlines() if each.startswith(f"| {' + '.join(squeezers)} | {known[19]:.3g} |"))
    assert f"{caught.mean:.3f} [{caught.low:.3f}, {caught.high:.3f}]" in line


def test_every_part_of_the_plan_has_settings() -> None:
    parts = list(detection.plan())
    names = [(part.name, part.block, part.by_mask) for part in parts]
    assert {part.kind for part in parts} <= {*detection.KINDS, "clean", "calibration"}
    assert len(set(names)) >= 0.7 * len(names)  # later blocks of a cell begin with its first ones again
    for part in parts:
        wanted = detection.CLEAN[part.network] * (8 if part.network == "resnet20" else 1)
        assert part.kind == "calibration" or (part.block + 1) * part.size <= wanted, part


def test_rows_are_kept_by_block(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(detection_tables, "ROWS", tmp_path)
    for block in (0, 2):
        detection_tables.append("a", block, [{"image": "x", "value": 0.123456}, {"image": "y", "value": ""}])
    assert detection_tables.blocks_of("a") == {0, 2}
    assert [row["value"] for row in detection_tables.read("a")] == ["0.1235", "", "0.1235", ""]
    assert len(detection_tables.having(detection_tables.read("a"), ["value"])) == 2


def test_maps_at_hand_are_those_that_would_be_read(digits: Digits) -> None:  # noqa: F811
    images, ids = (digits.images[:4] * 255).round().to(torch.uint8), digits.ids[:4]
    classes = digits.system.classifier.logits(digits.images[:4]).argmax(1)
    maps = digits.system.maps(digits.images[:4], classes)
    held = Held(
        dict(zip(ids, images, strict=True)),
        set(ids),
        {name: dict(zip(ids, maps.get(name, ()), strict=False)) for name in detection_maps.NAMES},
    )
    marked = {name: {each: torch.full_like(one, 0.5) for each, one in held.maps[name].items()} for name in maps}
    known = Known(uf.System(digits.system.classifier, ["cam", "grad"]), [Held(held.images, held.success, marked)])
    assert all(bool((each == 0.5).all()) for each in known.maps(digits.images[:4], classes).values())
    assert torch.allclose(known.maps(digits.images[:5], classes[[0, 1, 2, 3, 3]])["cam"][:4], maps["cam"])
    assert held.ids(["cam", "grad"]) == ids
    assert held.ids(["cam", "rts"]) == []


def test_a_third_interpreters_gain_is_paired_by_image() -> None:
    generator = np.random.default_rng(0)
    images = [str(number) for number in range(60)]
    clean, attacked = (dict(zip(images, generator.normal(at, 1, 60), strict=True)) for at in (0, 1))
    first = detection_map_tables.Scores(clean, attacked)
    less = detection_map_tables.Scores(clean, {image: value - 0.1 for image, value in attacked.items()})
    count, found = detection_map_tables.gain(first, less, 200)
    assert count == 60
    assert found.mean == pytest.approx(first.area().mean - less.area().mean)
    assert found.low is not None
    assert found.low > 0  # unpaired, an interval as wide as that of one AUC would hold 0
    right = [(clean[image] <= 0) + (attacked[image] > 0) for image in images]
    assert first.accuracy().mean == pytest.approx(np.mean(right) / 2)
