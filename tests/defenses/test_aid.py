"""AID: its loss from its definition, the attack on the live masker, and a resumed training."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

import underfire as uf
from underfire.data.dataset import ImageData
from underfire.defenses.aid import AidRecipe, train_aid
from underfire.defenses.aid.training import AidTraining
from underfire.errors import InputError
from underfire.interpreters import RTS
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
