"""Measures and interpreters of the user's own in a run."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import underfire as uf
from tests.runs.conftest import small_config
from tests.runs.runs import Written
from underfire.attacks import Experiment, Measure
from underfire.errors import InputError, UnderfireWarning, UserCodeError
from underfire.runs import Run, run_attack
from underfire.runs.places import folder_name
from underfire.system import System

MEASURES = """
import torch
from underfire.attacks import Measure

def brightest(seen):
    return seen.images.amax((1, 2, 3))

def hottest(seen, interpreter):
    return seen.maps[interpreter].flatten(1).argmax(1)

def changed(seen):
    return None if seen.outcome is None else (seen.images != seen.clean).flatten(1).any(1)

def half(seen):
    values = seen.images.mean((1, 2, 3)).double()
    values[::2] = torch.nan
    return values

BRIGHTEST = Measure("brightest", "image", "float", "max", "largest value of the image", 2, "lower", brightest)
HOTTEST = Measure("hottest", "map", "int", "peak", "place of the map's peak", compute=hottest)
CHANGED = Measure("changed", "image", "bool", "changed", "the image was changed", compute=changed)
HALF = Measure("half", "image", "float", "half", "known for every other image", compute=half)
WRONG = Measure("crooked", "image", "float", "x", "of a wrong shape", compute=lambda seen: torch.zeros(3, 3))
NUMBER = Measure("single", "image", "float", "x", "no tensor", compute=lambda seen: 1.0)
TYPE = Measure("untrue", "image", "bool", "x", "of a wrong type", compute=lambda seen: brightest(seen) * 0 + 0.5)
AIM = Measure("aimed", "image", "int", "x", "the target", compute=lambda seen: seen.aim.classes)
TWICE = Measure("ssim", "image", "float", "x", "a name that is taken", compute=brightest)
"""


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    path = tmp_path / "parts.py"
    path.write_text(MEASURES)
    return path


def test_measures_of_the_users_own(parts: Path, tmp_path: Path) -> None:
    chosen = tuple(f"{parts}:{name}" for name in ("BRIGHTEST", "HOTTEST", "CHANGED", "HALF"))
    config = small_config(measures=chosen, count=4, interpreters=("cam", "grad"))
    run_attack(config, tmp_path / "run", batch_size=4)
    written = Written(tmp_path / "run")
    for interpreter in ("cam", "grad"):
        for label in written.keys:
            rows = written.of_cell(label, interpreter)
            images = written.images(rows)
            assert [row["brightest"] for row in rows] == images.amax((1, 2, 3)).tolist()
            maps = [written.maps[f"{label}/{interpreter}/{row['image_id']}"] for row in rows]
            assert [row["hottest"] for row in rows] == [int(values.argmax()) for values in maps]
            control = label in ("clean", "noise")
            assert {row["changed"] for row in rows} == ({None} if control else {True}), "unknown values are null"
            assert [row["half"] is None for row in rows] == [True, False, True, False]
            means = written.summary["interpreters"][interpreter]["attacks"][label]
            assert means["brightest"]["mean"] == pytest.approx(float(images.amax((1, 2, 3)).mean()))
            assert means["hottest"]["n"] == 4
            assert means["changed"] == (
                {"mean": None, "low": None, "high": None, "n": 0} if control else {**means["changed"], "mean": 1.0}
            )
            assert means["half"]["n"] == 2
    assert [type(value) for value in (written.rows[0]["brightest"], written.rows[0]["hottest"])] == [float, int]
    run = Run(tmp_path / "run")
    kinds = {measure.name: measure.kind for measure in run.measures}
    assert (kinds["brightest"], kinds["hottest"], kinds["changed"]) == ("float", "int", "bool")
    told = {measure.name: replace(measure, compute=None) for measure in run.measures}
    assert told["brightest"] == Measure("brightest", "image", "float", "max", "largest value of the image", 2, "lower")
    assert told["hottest"] == Measure("hottest", "map", "int", "peak", "place of the map's peak")
    parts.unlink()
    assert np.isnan(run.column("clean", "cam", "changed")).all(), "a run is read without the user's file"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("WRONG", r"measure 'crooked' returns shape \(3, 3\); expected a tensor of 2 values"),
        ("NUMBER", "measure 'single' returns an object of type float; expected a tensor of 2 values"),
        ("TYPE", "measure 'untrue' has values such as 0.5; expected type bool"),
        ("TWICE", "measure 'ssim' exists already"),
    ],
)
def test_a_wrong_measure_is_named(parts: Path, tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        run_attack(small_config(measures=(f"{parts}:{name}",)), tmp_path / "run")
    assert not (tmp_path / "run").exists(), "what fails at once leaves nothing"


OBJECTS = """
from dataclasses import dataclass, field

from underfire.attacks import Term


class Far(Term):
    name = "far"

    def __init__(self, scale=0.5):
        self.scale = scale

    def __call__(self, point):
        return -self.scale * point.penalty


class Detector:
    pass


@dataclass(frozen=True)
class Watched(Far):
    name = "watched"
    scale: float = 0.5
    detector: object = Detector()


@dataclass(frozen=True)
class Hidden(Watched):
    detector: object = field(default=Detector(), repr=False)
"""


@pytest.mark.parametrize("name", ["Far", "Watched", "Hidden"])
def test_a_run_with_a_plain_class_can_be_resumed(tmp_path: Path, name: str) -> None:
    """Regression: it was known by its address, and resuming answered that the folder holds another run."""
    (tmp_path / "objects.py").write_text(OBJECTS)
    config = small_config(terms=(f"{tmp_path / 'objects.py'}:{name}",))
    run_attack(config, tmp_path / "run")
    whole = Written(tmp_path / "run")
    (tmp_path / "run" / "cells" / whole.keys["adv2"] / "000000.parquet").unlink()
    record = tmp_path / "run" / "run.json"
    record.write_text(record.read_text().replace('"finished": true', '"finished": false'))
    with pytest.warns(UnderfireWarning, match="was damaged"):
        run_attack(config, tmp_path / "run", resume=True)
    assert Written(tmp_path / "run").keys == whole.keys


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_a_measure_that_needs_an_aim_fails_at_the_start(
    parts: Path, tmp_path: Path, digits_table: Path, monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    """Regression: it failed at the first shard with an image that is not attacked, maybe after hours."""
    performed: list[str] = []
    perform = Experiment.perform

    def watched(experiment: Experiment, arm: Any, *rest: Any, **more: Any) -> Any:
        performed.append(arm.label)
        return perform(experiment, arm, *rest, **more)

    monkeypatch.setattr(Experiment, "perform", watched)
    config = small_config(data=str(digits_table), count=None, measures=(f"{parts}:AIM",))
    with pytest.raises(
        UserCodeError, match=r"measure 'aimed' fails .* not attacked, for which seen\.aim is None: 'NoneType'"
    ):
        run_attack(config, tmp_path / "run", batch_size=batch_size)
    assert performed == []
    assert not (tmp_path / "run").exists()


def test_a_measure_that_needs_an_aim_works_if_all_images_are_attacked(parts: Path, tmp_path: Path) -> None:
    run_attack(small_config(measures=(f"{parts}:AIM",)), tmp_path / "run")
    assert all(row["aimed"] == row["target"] for row in Written(tmp_path / "run").rows)


def test_interpreters_with_strange_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders are safe, no two cells share one, and images, maps and rows are found again."""
    run_attack(small_config(), tmp_path / "plain")
    names = ("my own: x/y z", "my own_ x y_z")

    def strange(classifier: uf.Classifier, *_: object, **__: object) -> System:
        return System(classifier, {name: uf.interpreters.CAM() for name in names})

    monkeypatch.setattr("underfire.runs.planning.System", strange)
    config = small_config(interpreters=("cam", "grad"), each=True)
    run_attack(config, tmp_path / "run")
    written, plain = Written(tmp_path / "run"), Written(tmp_path / "plain")
    labels = [f"adv2-{name}" for name in names]
    assert list(written.keys) == ["clean", "bim", *labels, "noise"]
    folders = [path.name for path in (tmp_path / "run" / "images").iterdir()]
    assert len(folders) == 5
    assert all(re.fullmatch(r"[\w+-]+", name, re.ASCII) for name in folders)
    run = Run(tmp_path / "run")
    for label, name in zip(labels, names, strict=True):
        rows = written.of_cell(label, name)
        assert torch.equal(written.images(rows), plain.images(plain.of("adv2")))
        for row in rows:
            found = run.row(label, name, row["image_id"])
            assert found["image_file"] == row["image_file"]
            assert (run.image(found) == (written.images([row])[0, 0] * 255).round().numpy()).all()
            expected = plain.maps[f"adv2/cam/{row['image_id']}"].numpy()
            assert (run.map(label, name, row["image_id"]) == expected).all()
    run_attack(config, tmp_path / "run", overwrite=True)  # the folder is known for one of ours
    assert json.loads((tmp_path / "run" / "run.json").read_text())["finished"]


def test_names_of_folders() -> None:
    assert folder_name("advedge+") == "advedge+"
    assert folder_name("adv2-cam+grad") == "adv2-cam+grad"
    names = ["a b", "a_b", "a/b", "a:b", "../a", "a.b", "ä", "ö", "x" * 300, "x" * 301, ""]
    made = [folder_name(name) for name in names[:-1]]
    assert len(set(made)) == len(made)
    assert all(re.fullmatch(r"[\w+-]{1,120}", name, re.ASCII) for name in made)
