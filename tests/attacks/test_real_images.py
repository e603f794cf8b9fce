"""The claim itself: on real images a joint attack changes the class as often, and moves the map far less."""

from __future__ import annotations

import pytest
import torch

import underfire as uf
from tests.conftest import SHARED
from underfire import attacks, metrics


def compare(
    classifier: uf.Classifier,
    data: uf.data.ImageData,
    interpreter: uf.interpreters.Interpreter,
    eps: float,
    count: int,
) -> tuple[attacks.AttackResult, attacks.AttackResult]:
    batch = data.load(classifier.image_size, classifier.channels, range(2 * count))
    right = classifier.logits(batch.images).argmax(1) == batch.labels
    images, labels = batch.images[right][:count], batch.labels[right][:count]
    joint = attacks.preset("adv2", eps=eps, steps=(10, 35))
    system = uf.System(classifier, interpreter)
    return joint(system, images, labels, control=False), joint.control()(system, images, labels, control=False)


@pytest.mark.parametrize("interpreter", [uf.interpreters.CAM(), uf.interpreters.GradCAM(), uf.interpreters.Grad()])
def test_digits(interpreter: uf.interpreters.Interpreter) -> None:
    name = interpreter.name
    classifier = uf.classifiers.load("digits-resnet")
    joint, alone = compare(classifier, uf.data.open_data("digits:test"), interpreter, 0.2, 20)
    assert float(joint.success.float().mean()) >= float(alone.success.float().mean()) - 0.1
    closer = metrics.paired_difference(joint.map_l1[name], alone.map_l1[name])
    assert closer.high is not None
    assert closer.high < -0.02, "the interval of the paired difference lies well below zero"


@pytest.mark.parametrize(
    ("interpreter", "share"),
    [
        (uf.interpreters.CAM(), 0.5),
        (uf.interpreters.GradCAM(), 0.6),
        (uf.interpreters.Grad(), 0.75),
        (uf.interpreters.RTS(), 0.5),
    ],
)
def test_cifar10(cifar10: uf.data.ImageData, interpreter: uf.interpreters.Interpreter, share: float) -> None:
    name = interpreter.name
    classifier = uf.classifiers.load("cifar10-resnet20")
    joint, alone = compare(classifier, cifar10, interpreter, 8 / 255, 10)
    assert float(joint.success.float().mean()) >= 0.9
    assert float(joint.map_l1[name].mean()) < share * float(alone.map_l1[name].mean())
    assert float(joint.joint_success[name].float().mean()) > float(alone.joint_success[name].float().mean())
    assert not bool(torch.isnan(joint.maps[name]).any())


def test_auto_finds_out_of_the_dark() -> None:
    """Regression: the masker's encoder is another network than the classifier. While it does not see the target class,
    the map is black and has next to no gradient; `auto` changed the class, and left the map black."""
    path = SHARED / "cifar10" / "train.parquet"
    if not path.exists():
        pytest.skip("the shared CIFAR-10 training set is not there")
    classifier = uf.classifiers.load("cifar10-densenet")
    batch = uf.data.open_data(path).load((32, 32), 3, [18, 24, 34])
    attack = attacks.preset("auto", eps=4 / 255, budget=80)
    found = attack(uf.System(classifier, "rts"), batch.images, batch.labels, control=False, noise_draws=1)
    brightest = found.maps["rts"].amax((1, 2))
    assert bool(found.success.all())
    assert int((brightest > 0.5).sum()) == 3, "all three were below 0.001"
