"""AID: its loss from its definition, the attack on the live masker, and a resumed training."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import underfire as uf
from underfire.data.dataset import ImageData
from underfire.defenses.aid import AidRecipe, train_aid
from underfire.defenses.aid.training import AidTraining
from underfire.errors import InputError
from underfire.interpreters import RTS
from underfire.interpreters.rts import files
from underfire.interpreters.rts.files import open_masker
from underfire.interpreters.rts.sampling import Pictures

NAME = "scenes-resnet"
SMALL = AidRecipe(steps=4, batch=4, attacked=3, warmup=1, joint=2)


@pytest.fixture(scope="module")
def data() -> ImageData:
    return uf.data.open_data("scenes:test")


def test_the_loss_and_the_attack_are_those_of_the_definition(data: ImageData, tmp_path: Path) -> None:
    classifier = uf.classifiers.load(NAME)
    masker = copy.deepcopy(open_masker(None, None, classifier.sha256()).masker)
    job = AidTraining(SMALL, classifier, masker, Pictures(data, classifier), tmp_path)
    images, labels = job.pictures.load([0, 1, 2])
    targets = (labels + 1) % 10
    attacked = job.attacked(images, labels, targets, torch.arange(3), 0)
    assert 0 < float((attacked - images).abs().max()) <= 8 / 255 + 1e-6
    seen = RTS(masker).maps(classifier, attacked, targets)
    assert torch.allclose(job.maps(attacked, targets).detach(), seen, atol=1e-4)
    values = job.step(0)
    assert float(values["loss"]) == pytest.approx(float(values["own"] - 5 * values["distance"]), rel=1e-5)
    assert float(values["distance"].detach()) > 0


def test_the_maps_that_are_attacked_have_the_confidence_of_the_masker(
    data: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: AID trained and attacked at confidence 0, and a user read other maps."""
    classifier = uf.classifiers.load(NAME)
    opened = open_masker(None, None, classifier.sha256())
    assert opened.note is not None
    file = tmp_path / "strict.safetensors"
    files.write(opened.masker, replace(opened.note, confidence=6.0), file)
    jobs: list[AidTraining] = []

    def made(*given: Any) -> AidTraining:
        jobs.append(AidTraining(*given))
        return jobs[0]

    monkeypatch.setattr("underfire.defenses.aid.train.AidTraining", made)
    train_aid(classifier, data, tmp_path / "trained", masker=str(file), recipe=replace(SMALL, steps=1))
    images, labels = jobs[0].pictures.load([0, 1, 2])
    read = RTS(str(tmp_path / "trained" / f"rts-aid-{NAME}.safetensors")).maps(classifier, images, labels)
    assert torch.allclose(jobs[0].maps(images, labels).detach(), read, atol=1e-4)
    assert not torch.allclose(RTS(jobs[0].masker).maps(classifier, images, labels), read, atol=1e-2)
    attacked: Any = jobs[0].view.views["rts"]
    assert attacked.interpreter.confidence == 6.0


def test_an_interrupted_training_ends_in_the_same_weights(
    data: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("underfire.defenses.training.CHECKPOINT_EVERY", 2)
    classifier = uf.classifiers.load(NAME)

    def stop(step: object) -> None:
        if getattr(step, "number", 0) == 2:
            raise KeyboardInterrupt

    train_aid(classifier, data, tmp_path / "whole", recipe=SMALL)
    with pytest.raises(KeyboardInterrupt):
        train_aid(classifier, data, tmp_path / "halved", recipe=SMALL, on_step=stop)
    train_aid(classifier, data, tmp_path / "halved", recipe=SMALL, resume=True)
    file = f"rts-aid-{NAME}.safetensors"
    assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "halved" / file).read_bytes()
    card = (tmp_path / "whole" / f"rts-aid-{NAME}.md").read_text()
    levels = SMALL.warmup + SMALL.joint
    assert levels < 8, "fewer steps than the radius has levels"
    assert f"L-inf 8/255 (its steps reach {levels}/255)" in card


def test_bad_settings_are_refused() -> None:
    with pytest.raises(InputError, match="adv2"):
        AidRecipe(attack="pgd")
    with pytest.raises(InputError, match="joint"):
        AidRecipe(joint=0)
