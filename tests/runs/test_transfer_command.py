"""``underfire transfer``: what it prints and writes, and what it refuses in words."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

import underfire as uf
from tests.runs.runs import Command, Written
from underfire.errors import DataError, InputError, StoreError
from underfire.runs import Run

OTHER = """
import torch
import underfire as uf


def build():
    known = uf.classifiers.load("digits-resnet")
    torch.manual_seed(5)
    with torch.no_grad():
        known.module.head.weight.add_(0.1 * torch.randn_like(known.module.head.weight))
    return known
"""


@pytest.fixture
def copied(full: Written, tmp_path: Path) -> Path:
    return Path(shutil.copytree(full.folder, tmp_path / "run"))


def network(classes: int = 10) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes))


def with_classes(names: list[str] | None, classes: int = 10) -> uf.Classifier:
    return uf.Classifier(network(classes), image_size=16, channels=1, class_names=names, name="mine")


def test_it_prints_the_matrices_and_writes_runs(copied: Path, tmp_path: Path, command: Command) -> None:
    (tmp_path / "other.py").write_text(OTHER)
    own = f"{tmp_path}/other.py:build"
    words = ("transfer", copied, "--classifier", "digits-resnet", "--classifier", own)
    ended = command(*words, "--interpreter", "grad,cam")
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert max(map(len, lines)) <= 80
    place = tmp_path / "run-transfer"
    assert sorted(path.name for path in place.iterdir() if path.is_file()) == ["page.html", "transfer.csv"]
    assert "13 of 13 attacked images count: it gets these right when clean." in lines
    first = lines.index("map L1: mean absolute difference from the benign map")
    assert lines[first + 1].split() == ["attack", "/", "attacked", "grad", "cam"]
    names = [line.split("  ")[0] for line in lines[first + 2 : first + 8 : 2]]
    assert names == ["adv2 / cam+grad", "bim", "noise"]
    found = Run(place / "digits-resnet")
    column = {name: f"{found.column('adv2', name, 'map_l1').mean():.3f}" for name in ("grad", "cam")}
    assert lines[first + 2].split()[-2:] == [column["grad"], column["cam"]]
    assert "other map" in ended.out
    assert "reads images that were made against digits-resnet" in " ".join(ended.out.split())
    again = command(*words, "--interpreter", "grad,cam", "--resume", "--json")
    rows = json.loads(again.out)
    assert [row["interpreter"] for row in rows[:2]] == ["grad", "cam"]
    assert rows[0]["map_l1"]["mean"] == pytest.approx(float(column["grad"]), abs=5e-4)
    (other,) = (path for path in place.iterdir() if path.is_dir() and path.name != "digits-resnet")
    report = command("report", other, "--out", tmp_path / "page.html")
    assert report.code == 0, report.err
    assert "adv2 made against digits-resnet on" in (tmp_path / "page.html").read_text()


def test_more_interpreters_than_fit_get_another_table(copied: Path, command: Command) -> None:
    names = "cam,grad,gradcam,layercam,gradcam++,lrp"
    ended = command("transfer", copied, "--interpreter", names)
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert max(map(len, lines)) <= 80
    headings = [line.split()[3:] for line in lines if line.startswith("attack / attacked")]
    assert headings[0] + headings[1] == ["cam", "grad", "gradcam", "layercam", "gradcam++", "lrp"]
    joint = [name for heading in headings[2:] for name in heading if name not in ("success", "any", "wrong")]
    assert joint == headings[0] + headings[1]


def test_classes_that_do_not_correspond_are_refused(full: Written) -> None:
    with pytest.raises(InputError, match=r"mine has 4 classes, and the run in .* has 10"):
        uf.transfer(full.folder, with_classes(None, 4))
    names = [*(Run(full.folder).record["class_names"])]
    swapped = [names[1], names[0], *names[2:]]
    with pytest.raises(InputError, match=f"class 0 is '{names[0]}' in the run in .*, and '{names[1]}' for mine"):
        uf.transfer(full.folder, with_classes(swapped))
    with pytest.raises(DataError, match=r"mine cannot read the run in .*: none of the 13 images") as error:
        uf.transfer(full.folder, wrong_everywhere(full, swapped), same_classes=True)
    assert "none of the 13 images" in str(error.value.__cause__)


def wrong_everywhere(full: Written, names: list[str]) -> uf.Classifier:
    """A classifier that gives the digits of the run the next class."""
    known = uf.classifiers.load("digits-resnet")
    with torch.no_grad():
        for part in (known.module.head.weight, known.module.head.bias):
            part.copy_(part.roll(1, 0))
    return uf.Classifier(known.module, mean=known.mean, std=known.std, image_size=16, class_names=names, name="mine")


def test_what_is_impossible_is_said(copied: Path, command: Command) -> None:
    with pytest.raises(InputError, match="classifier has 'digits-resnet' twice"):
        uf.transfer(copied, ["digits-resnet", "digits-resnet"])
    with pytest.raises(InputError, match="interpreters is empty"):
        uf.transfer(copied, interpreters=[])
    with pytest.raises(InputError, match="classifier is empty"):
        uf.transfer(copied, [])
    colours = uf.Classifier(nn.Sequential(nn.Conv2d(5, 10, 16), nn.Flatten()), image_size=16, name="five")
    with pytest.raises(InputError, match=r"five cannot take the images of the run in .*: .*channels"):
        uf.transfer(copied, colours)
    assert "interpreter" in command("transfer", copied, "--interpreter", "gradd").said
    assert "is missing" in command("transfer", copied.parent / "nothing").said


def test_the_runs_own_classifier_must_be_the_one_that_was_attacked(copied: Path) -> None:
    record = json.loads((copied / "run.json").read_text())
    (copied / "run.json").write_text(json.dumps(record | {"weights_sha256": "0" * 64}))
    with pytest.raises(StoreError, match="digits-resnet has other weights than it had in the run"):
        uf.transfer(copied)


def test_unfinished_and_former_runs_are_refused(copied: Path) -> None:
    record = json.loads((copied / "run.json").read_text())
    (copied / "run.json").write_text(json.dumps(record | {"finished": False}))
    with pytest.raises(StoreError, match="is not finished"):
        uf.transfer(copied)
    (copied / "run.json").write_text(json.dumps(record | {"format": 1}))
    with pytest.raises(StoreError, match="has folder format 1, which a transfer cannot read"):
        uf.transfer(copied)


def test_a_broken_image_of_the_run_is_named(copied: Path) -> None:
    file = sorted((copied / "images" / "adv2").iterdir())[0]
    file.write_bytes(b"no picture")
    with pytest.raises(StoreError, match=f"was damaged: images/adv2/{file.name} has 10 bytes instead"):
        uf.transfer(copied)
