"""Images on which the network returns NaN: they are named, fail by themselves, and do not refuse the run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import underfire as uf
from tests.runs.conftest import small_config
from tests.runs.runs import Command, Written, assert_same_run, options, without_seconds, write_digits
from underfire.errors import ClassifierError, UnderfireWarning
from underfire.runs import RunConfig, run_attack

BROKEN = "pictures/001.png"

MODEL = """
import torch, underfire as uf


class Sometimes(torch.nn.Module):
    '''The digits network, which returns NaN for images of which {condition}.'''

    def __init__(self):
        super().__init__()
        self.classifier = uf.classifiers.load("digits-resnet")

    def forward(self, images):
        logits = self.classifier.module(images)
        clean = torch.tensor({pixels})
        bad = {condition}
        return logits.masked_fill(bad.view(-1, 1), torch.nan)


def build():
    made = uf.classifiers.load("digits-resnet")
    network = Sometimes()
    return uf.Classifier(
        network, mean=made.mean, std=made.std, image_size=made.image_size, channels=made.channels,
        class_names=made.class_names,
    )
"""


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_digits(tmp_path_factory.mktemp("table"), range(5))


def model(folder: Path, condition: str, pixels: object = 0) -> str:
    folder.mkdir(exist_ok=True)
    text = MODEL.format(condition=condition, pixels=pixels)
    (folder / "model.py").write_text(text)
    return f"{folder / 'model.py'}:build"


def sums(table: Path, name: str) -> float:
    """The sum of an image's pixels, as the network takes them."""
    classifier = uf.classifiers.load("digits-resnet")
    data = uf.data.open_data(table)
    index = next(place for place in range(len(data)) if data.record(place).image_id == name)
    image = data.load(classifier.image_size, classifier.channels, [index], classifier.resizing).images
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (classifier.mean, classifier.std))
    return float(((image - mean) / std).sum())


def config(table: Path, classifier: str, **changes: object) -> RunConfig:
    chosen = {"data": str(table), "classifier": classifier, "eps": 0.2, "steps": (1, 2), "count": None}
    return RunConfig.create(**(chosen | changes))


def test_an_image_without_logits_is_named_and_left_out(table: Path, tmp_path: Path) -> None:
    wanted = sums(table, BROKEN)
    broken = model(tmp_path / "broken", "(images.sum((1, 2, 3)) - clean).abs() < 0.01", wanted)
    sound = model(tmp_path / "sound", "(images.sum((1, 2, 3)) - clean).abs() < 0", wanted)
    with pytest.warns(UnderfireWarning, match=rf"NaN or infinite logits for 1 image .*left out: {BROKEN}"):
        summary = run_attack(config(table, broken), tmp_path / "with")
    run_attack(config(table, sound), tmp_path / "without")
    why = "the classifier returns NaN or infinite logits"
    assert summary["images"]["unusable"] == [{"image_id": BROKEN, "why": why}]
    found, whole = Written(tmp_path / "with"), Written(tmp_path / "without")
    assert BROKEN in {row["image_id"] for row in whole.rows}
    for label in ("bim", "adv2"):
        ours = {row["image_id"]: row for row in found.of(label)}
        theirs = {row["image_id"]: row for row in whole.of(label) if row["image_id"] != BROKEN}
        assert ours.keys() == theirs.keys()
        for name, row in ours.items():
            assert {k: row[k] for k in ("success", "map_l1", "linf", "confidence")} == {
                k: theirs[name][k] for k in ("success", "map_l1", "linf", "confidence")
            }


def test_the_terminal_and_the_page_name_it(table: Path, tmp_path: Path, command: Command) -> None:
    broken = model(tmp_path / "broken", "(images.sum((1, 2, 3)) - clean).abs() < 0.01", sums(table, BROKEN))
    words = options(data=table, classifier=broken, steps="1,1", count=None, out=tmp_path / "out", no_page=False)
    ended = command(*words)
    assert ended.code == 0
    assert "1 got no finite logits" in " ".join(ended.out.split())
    page = (tmp_path / "out" / "page.html").read_text()
    assert "NaN or infinite logits for 1 image, which is left out" in page
    assert BROKEN in page


def test_a_network_without_any_logits_is_refused(table: Path, tmp_path: Path) -> None:
    broken = model(tmp_path / "broken", "images.sum((1, 2, 3)) < torch.inf")
    with pytest.raises(ClassifierError, match="NaN or infinite logits for all of the first 5 images: its weights"):
        run_attack(config(table, broken), tmp_path / "out")


def test_an_image_that_breaks_under_attack_fails_alone(table: Path, tmp_path: Path) -> None:
    """The clean images have logits; every changed version of one of them has none."""
    wanted = sums(table, BROKEN)
    near = "((images.sum((1, 2, 3)) - clean).abs() > 0.01) & ((images.sum((1, 2, 3)) - clean).abs() < {reach})"
    classifier = uf.classifiers.load("digits-resnet")
    data = uf.data.open_data(table)
    batch = data.load(classifier.image_size, classifier.channels, None, classifier.resizing)
    others = [sums(table, name) for name in batch.ids if name != BROKEN]
    reach = min(abs(other - wanted) for other in others) / 2
    broken = model(tmp_path / "broken", near.format(reach=reach), wanted)
    sound = model(tmp_path / "sound", "images.sum((1, 2, 3)) > torch.inf", wanted)
    small = {"eps": 2 / 255, "steps": (1, 2)}
    with pytest.warns(UnderfireWarning, match="NaN or infinite logits for 1 of . images under an attack"):
        run_attack(config(table, broken, **small), tmp_path / "with")
    run_attack(config(table, sound, **small), tmp_path / "without")
    found, whole = Written(tmp_path / "with"), Written(tmp_path / "without")
    failed = [row for row in found.rows if row["image_id"] == BROKEN and row["attack"] in ("bim", "adv2")]
    assert failed
    assert not any(row["success"] or row["joint_success"] for row in failed)
    skip = ("joint_success", "joint_success_all", "joint_success_own_limit", "chance_other_map", "chance_average_map")
    kept = [
        [{k: v for k, v in row.items() if k not in (*skip, "classifier")} for row in without_seconds(run.rows)]
        for run in (found, whole)
    ]
    ours, theirs = ([row for row in rows if row["image_id"] != BROKEN] for rows in kept)
    assert ours == theirs, "the other images are as if nothing had happened"


def test_a_run_with_such_an_image_is_resumed(table: Path, tmp_path: Path) -> None:
    broken = model(tmp_path / "broken", "(images.sum((1, 2, 3)) - clean).abs() < 0.01", sums(table, BROKEN))
    with pytest.warns(UnderfireWarning, match="left out"):
        run_attack(config(table, broken), tmp_path / "one", batch_size=2)
    before = Written(tmp_path / "one")
    last = max((tmp_path / "one" / "cells" / before.keys["adv2"]).glob("*.json"))
    last.unlink()
    with pytest.warns(UnderfireWarning, match="was damaged"), pytest.warns(UnderfireWarning, match="left out"):
        run_attack(config(table, broken), tmp_path / "one", resume=True)
    assert_same_run(before, Written(tmp_path / "one"))


def test_a_call_names_the_images(table: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3))
    network[1].weight.data[0, :2] = torch.finfo(torch.float32).max
    images = torch.zeros(3, 3, 2, 2)
    images[1, 0] = 1.0
    with pytest.raises(ClassifierError, match=r"infinite logits for 1 of 3 images \(1\)"):
        uf.attack(network, images, torch.zeros(3, dtype=torch.int64), attack="pgd")


def test_small_config_has_no_such_images(tmp_path: Path) -> None:
    assert run_attack(small_config(), tmp_path)["images"]["unusable"] == []
