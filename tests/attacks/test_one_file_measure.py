"""Measures and a detector that a user adds in one file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import underfire as uf
from underfire.errors import InputError

MEASURES = '''
import torch.nn.functional as F

import underfire as uf
from underfire.attacks import Measure


def brightest(seen):
    return seen.images.flatten(1).amax(1)


def second_moment(seen, interpreter):
    return seen.maps[interpreter].square().mean((1, 2))


def doubtful(seen):
    return None if seen.outcome is None else seen.outcome.steps


BRIGHTEST = Measure("brightest", "image", "float", "brightest", "largest pixel value", compute=brightest)
MOMENT = Measure("moment", "map", "float", "moment", "mean square of the map", compute=second_moment)
OWN_STEPS = Measure("own_steps", "image", "int", "steps", "steps of attacks alone", compute=doubtful)
WRONG = Measure("wrong", "image", "float", "wrong", "one value for all", compute=lambda seen: seen.images.mean())
TAKEN = Measure("ssim", "image", "float", "ssim", "another one", compute=brightest)


class Squeezing:
    """Feature squeezing (Xu et al. 2018): how far the prediction moves if the bit depth is reduced."""

    def __init__(self, classifier, bits):
        self.classifier, self.steps = classifier, 2**bits - 1

    def score(self, seen):
        squeezed = (seen.images * self.steps).round() / self.steps
        before, after = (self.classifier.logits(each).softmax(1) for each in (seen.images, squeezed))
        return (before - after).abs().sum(1)


def detector():
    score = Squeezing(uf.classifiers.load("digits-resnet"), bits=2).score
    return Measure("squeeze_score", "image", "float", "squeezing", "|p(x) - p(squeezed x)|_1", compute=score)
'''


def test_measures_and_a_detector(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MEASURES)
    file = str(tmp_path / "mine.py")
    names = [f"{file}:{name}" for name in ("BRIGHTEST", "MOMENT", "OWN_STEPS", "detector")]
    classifier = uf.classifiers.load("digits-resnet")
    batch = uf.data.open_data("digits:test").load((16, 16), 1, range(8))
    images, labels = batch.images, classifier.logits(batch.images).argmax(1)
    found = uf.attack(classifier, images, labels, eps=0.2, steps=(3, 6), readers="grad", measures=names)
    assert torch.equal(found.brightest, found.adversarial.flatten(1).amax(1))
    assert torch.equal(found.moment["grad"], found.maps["grad"].square().mean((1, 2)))
    assert set(found.moment) == {"cam", "grad"}
    assert torch.equal(found.own_steps, found.steps)
    assert "own_steps" not in found.controls["noise"].values, "unknown is left out, and no made-up number"
    for judged, seen in ((found.controls["clean"], found.images), (found, found.adversarial)):
        coarse = (seen * 3).round() / 3
        expected = (classifier.logits(seen).softmax(1) - classifier.logits(coarse).softmax(1)).abs().sum(1)
        assert torch.allclose(judged.squeeze_score, expected, atol=1e-6)
        assert bool((judged.squeeze_score > 0).any())
    plain = uf.attack(classifier, images, labels, eps=0.2, steps=(3, 6), readers="grad", control=False)
    assert torch.equal(plain.adversarial, found.adversarial)
    with pytest.raises(AttributeError, match="no measure 'brightest'; known: success"):
        _ = plain.brightest
    with pytest.raises(InputError, match=r"measure 'wrong' returns shape \(\); expected a tensor of 8 values"):
        uf.attack(classifier, images, labels, steps=(1, 1), measures=[f"{file}:WRONG"])
    with pytest.raises(InputError, match="measure 'ssim' exists already"):
        uf.attack(classifier, images, labels, steps=(1, 1), measures=[f"{file}:TAKEN"])
    with pytest.raises(InputError, match="unknown measure 'brightness'"):
        uf.attack(classifier, images, labels, steps=(1, 1), measures=["brightness"])
