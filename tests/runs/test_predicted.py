"""Runs whose labels are the classifier's own predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import underfire as uf
from tests.runs.runs import Command
from underfire.check import run_check
from underfire.data import open_data
from underfire.data.pixels import Picture
from underfire.errors import InputError
from underfire.runs import Run, RunConfig
from underfire.runs.inputs import InputSettings
from underfire.runs.predicted import PredictedData

SETTINGS = ("--classifier", "digits-resnet", "--labels", "predicted")


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """Twelve digits, and a file that is no image."""
    digits, folder = open_data("digits:test"), tmp_path / "flat"
    folder.mkdir()
    for index in range(12):
        batch = digits.load((16, 16), 1, [index])
        Image.fromarray((batch.images[0, 0] * 255).round().to(torch.uint8).numpy()).save(folder / f"{index:02d}.png")
    (folder / "03.png").write_text("no image")
    return folder


def opened(folder: Path, **more: Any) -> PredictedData:
    settings = InputSettings.create(data=str(folder), classifier="digits-resnet", labels="predicted", **more)
    data = settings.open(torch.device("cpu")).data
    assert isinstance(data, PredictedData)
    return data


def test_labels_are_the_predictions(flat: Path) -> None:
    data, network = opened(flat), uf.classifiers.load("digits-resnet")
    batch = data.load((16, 16), 1)
    assert len(batch.records) == 11
    assert batch.labels.tolist() == network.logits(batch.images).argmax(1).tolist()
    assert data.record(3).label == 0
    assert len(set(batch.labels.tolist())) > 3
    assert data.class_names == tuple(network.class_names or ())
    assert [opened(flat).record(index).label for index in (11, 0, 5)] == [data.record(i).label for i in (11, 0, 5)]


def test_their_own_labels_do_not_count() -> None:
    network = uf.classifiers.load("digits-resnet")
    given = open_data("digits:test")
    data = PredictedData(given, network, 10)
    batch = data.load((16, 16), 1)
    wrong = [a.label != b.label for a, b in zip(batch.records, given.load((16, 16), 1).records, strict=True)]
    assert any(wrong)
    assert bool((network.logits(batch.images).argmax(1) == batch.labels).all())
    assert data.fingerprint() != given.fingerprint()


def test_a_run_without_labels(flat: Path, tmp_path: Path, command: Command) -> None:
    words = ("--data", flat, *SETTINGS, "--attack", "auto", "--budget", 10, "--eps", 0.3, "--out", tmp_path / "run")
    ended = command("attack", *words)
    assert ended.code == 0
    run = Run(tmp_path / "run")
    assert run.predicted_labels
    assert (run.images["attacked"], run.images["correctly_classified"], len(run.images["unreadable"])) == (11, 11, 1)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["configuration"]["labels"] == "predicted"
    said = " ".join(ended.out.split())
    assert "What the attacked classifier called them counts as right: 11 of them." in said
    assert "classified correctly" not in said
    page = " ".join((tmp_path / "run" / "page.html").read_text().split())
    assert "what the attacked classifier called them counts as right" in page
    assert "classified correctly" not in page.replace("have classified correctly", "")
    success = np.asarray(run.column("auto", "cam", "success"))
    assert success.mean() > 0.5
    again = command("attack", *words, "--resume")
    assert again.code == 0


def test_a_check_says_what_it_cannot_know(flat: Path) -> None:
    settings = InputSettings.create(data=str(flat), classifier="digits-resnet", labels="predicted")
    found = {line.topic: line for line in run_check(settings, 8, torch.device("cpu")).lines}
    assert found["accuracy"].state == "hint"
    assert "needs true labels" in found["accuracy"].text
    assert not {"class order", "input"} & set(found)


def test_explanations_and_scores_need_no_labels(flat: Path, tmp_path: Path, command: Command) -> None:
    ended = command("explain", "--data", flat, "--classifier", "digits-resnet", "--out", tmp_path / "maps")
    assert ended.code == 0
    assert len(json.loads((tmp_path / "maps" / "maps.json").read_text())["images"]) == 11
    assert "11 images; maps.json has the class and the confidence of each." in ended.out
    ended = command("explain", "--data", "digits:test", *SETTINGS, "--count", 3, "--out", tmp_path / "more")
    assert "correctly" not in ended.out
    fit = ("detect", "fit", "--detector", "squeezing", "--data", "digits:test", "--classifier", "digits-resnet")
    assert command(*fit, "--calibration", 40, "--count", 0, "--out", tmp_path / "fitted").code == 0
    ended = command("detect", "score", tmp_path / "fitted", "--data", flat, "--classifier", "digits-resnet", "--json")
    assert ended.code == 0
    scored = json.loads(ended.out)
    assert len(scored) == 12
    assert sum(each["score"] is None for each in scored) == 1


def test_images_that_are_read_tell_their_labels(flat: Path) -> None:
    """Each image is classified once: neighbours of spread images are left alone."""
    data = opened(flat)
    seen: list[int] = []
    read = data.data.read

    def counted(index: int) -> Picture:
        seen.append(index)
        return read(index)

    data.data.read = counted  # type: ignore[method-assign]  # it counts
    batch = data.load((16, 16), 1, [0, 5, 11])
    assert seen == [0, 5, 11]
    assert [record.label for record in batch.records] == [data.record(index).label for index in (0, 5, 11)]
    assert seen == [0, 5, 11]
    passes: list[int] = []
    data.classifier.module.register_forward_hook(lambda *_: passes.append(1))
    data.load((16, 16), 1, [11, 0])
    assert passes == [], "what is known is not classified again"
    smaller = data.load((8, 8), 1, [4])  # not as the classifier reads it, so that its own reading tells
    assert smaller.records[0].label == opened(flat).record(4).label


def test_every_classifier_is_right_about_its_own_predictions(flat: Path) -> None:
    with pytest.raises(InputError, match="every classifier is right about what it predicts itself"):
        RunConfig.create(data=str(flat), classifier="digits-resnet", labels="predicted", also_right=("digits-vit",))


def test_a_transfer_keeps_what_counts_as_right(flat: Path, tmp_path: Path, command: Command) -> None:
    words = ("--data", flat, *SETTINGS, "--attack", "auto", "--budget", 4, "--eps", 0.2, "--out", tmp_path / "run")
    assert command("attack", *words).code == 0
    network = uf.classifiers.load("digits-resnet")
    torch.manual_seed(0)
    for values in network.module.parameters():
        values.data += 0.2 * values.data.std(correction=0) * torch.randn_like(values)
    how = network.preparation()
    known = {name: how[name] for name in ("mean", "std", "image_size", "channels")}
    noisy = uf.Classifier(network.module, **known, name="noisy")
    read = uf.transfer(tmp_path / "run", noisy)
    (other,) = read.runs.values()
    assert 0 < other.images["correctly_classified"] < other.images["considered"]
    assert other.predicted_labels
    assert command("report", other.path).code == 0
    said = " ".join((other.path / "page.html").read_text().split())
    assert "What the attacked classifier called them counts as right, and this one calls" in said


def test_what_needs_labels_says_so(flat: Path, tmp_path: Path, command: Command) -> None:
    for words, said in (
        (("attack", "--data", flat, *SETTINGS[:2], "--labels", "own"), "labels is 'own'; expected predicted"),
        (("train", "robust", "--data", flat, *SETTINGS), "a training learns from labels"),
        (("train", "rts", "--data", flat, *SETTINGS), "a masker learns what belongs to a class from labels"),
        (("attack", "--data", flat, *SETTINGS, "--class-map", "x.json"), "the images have no class names to map"),
    ):
        ended = command(*words, "--out", tmp_path / "out")
        assert ended.code == 2
        assert said in " ".join(ended.err.split())
    config = RunConfig.create(data="digits:test", classifier="digits-resnet")
    assert config.labels is None


def test_an_audit_says_what_its_numbers_mean(flat: Path, tmp_path: Path, command: Command) -> None:
    words = ("--data", flat, *SETTINGS, "--interpreter", "cam", "--count", 4, "--eps", 0.2, "--out", tmp_path / "audit")
    ended = command("audit", *words)
    assert ended.code == 0
    assert "what the classifier called each image counts as its class" in " ".join(ended.out.split())
    assert "What the classifier called each image counts" in (tmp_path / "audit" / "audit.html").read_text()
