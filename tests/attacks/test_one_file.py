"""A target rule that sees the system, and a perturbation, that users add in one file as ``file.py:name``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import underfire as uf
from tests.conftest import smooth_images
from underfire import attacks, user_files
from underfire.attacks.benign import read_benign
from underfire.errors import InputError

EPS = 0.1


FIRST_PHASE = '''
"""The first phase of the adaptive attack ([ADV2] section 4.5): the class that untargeted steps lead to."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from underfire.attacks import ClassRule, Goal


@dataclass(frozen=True)
class Reached(ClassRule):
    """The most likely other class after untargeted sign steps on a grid of 3 bits inside a ball."""

    name: ClassVar[str] = "reached"

    steps: int = 3
    radius: float = 0.3

    def classes(self, view, benign, seed):
        goal, images = Goal(targeted=False), benign.images
        for _ in range(self.steps):
            variable = images.clone().requires_grad_()
            loss = goal.cross_entropy(view.logits(variable), benign.labels).sum()
            (gradient,) = torch.autograd.grad(loss, variable)
            images = (variable.detach() * 7).round() / 7 - gradient.sign() / 7
            images = images.clamp(benign.images - self.radius, benign.images + self.radius).clamp(0, 1)
        logits = view.logits(images).detach()
        return goal.explained(logits, benign.labels)
'''


def slow_first_phase(classifier: uf.Classifier, image: Tensor, label: int) -> int:
    x = image.clone()
    for _ in range(3):
        y = x.clone().requires_grad_()
        p = F.softmax(classifier(y.unsqueeze(0))[0], 0)
        (gradient,) = torch.autograd.grad(-(1 - p[label]).log(), y)
        x = (x * 7).round() / 7 - gradient.sign() / 7
        x = torch.minimum(torch.maximum(x, image - 0.3), image + 0.3).clamp(0, 1)
    logits = classifier.logits(x.unsqueeze(0))[0].tolist()
    return max((k for k in range(4) if k != label), key=lambda k: logits[k])


@pytest.mark.parametrize("context", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_a_target_rule_that_sees_the_system(classifier: uf.Classifier, tmp_path: Path, context: Any) -> None:
    (tmp_path / "rule.py").write_text(FIRST_PHASE)
    images = smooth_images(12, seed=3)
    labels = classifier.logits(images).argmax(1)
    name = f"{tmp_path / 'rule.py'}:Reached"
    with context():
        found = uf.attack(classifier, images.clone(), labels, target_class=name, eps=EPS, steps=(3, 6))
    expected = [slow_first_phase(classifier, *each) for each in zip(images, labels.tolist(), strict=True)]
    assert found.target.tolist() == expected
    assert expected != attacks.LeastLikely().classes(None, read_benign(uf.System(classifier, "cam"), images, labels), 0)
    reached = found.controls["bim"].logits.argmax(1) == found.target
    assert torch.equal(found.controls["bim"].success, reached), "the control has the same targets"


L2 = '''
from dataclasses import dataclass
from typing import ClassVar

import torch

from underfire.attacks import Linear, Perturbation, Row, UnitL2
from underfire.attacks.rules import per_image


@dataclass(frozen=True)
class L2Ball(Perturbation):
    """image = benign + W * delta, with the L2 norm of delta at most ``radius``."""

    name: ClassVar[str] = "l2"
    rows: ClassVar[dict[str, Row]] = {"cam": Row(10, 40, Linear(5, 10), rule=UnitL2(), size=0.1)}

    radius: float = 1.0

    def start(self, images, weights, ids, seed):
        return {"benign": images, "weights": weights, "delta": torch.zeros_like(images)}

    def variable(self, theta):
        return theta["delta"]

    def image(self, theta, variable):
        return (theta["benign"] + theta["weights"] * variable).clamp(0, 1)

    def move(self, theta, direction, size):
        delta = theta["delta"] + per_image(size, direction) * direction
        norm = delta.flatten(1).norm(dim=1).clamp_min(1e-12)
        return theta | {"delta": delta * per_image((self.radius / norm).clamp_max(1), delta)}

    def levels(self, images, adversarial):
        return ((images * 255).round() + ((adversarial - images) * 255).trunc()) / 255
'''


@pytest.mark.parametrize("interpreter", ["cam", "grad"])
@pytest.mark.parametrize("shaping", ["uniform", "edge-mask"])
def test_a_perturbation(classifier: uf.Classifier, tmp_path: Path, interpreter: str, shaping: str) -> None:
    (tmp_path / "my_l2.py").write_text(L2)
    name = f"{tmp_path / 'my_l2.py'}:L2Ball"
    images = smooth_images(8, seed=3)
    labels = classifier.logits(images).argmax(1)
    system = uf.System(classifier, interpreter)
    found = uf.attack(system, images, labels, "adv2", perturbation=name, shaping=shaping)
    assert found.steps.tolist() == [50] * 8
    assert 0.8 < float(found.l2.max()) <= 1
    assert torch.equal(found.adversarial, (found.adversarial * 255).round() / 255)
    control = "l2" if shaping == "uniform" else "l2-edge-mask"
    assert set(found.controls) == {"clean", control, "noise"}
    assert float(found.controls[control].l2.max()) <= 1
    assert found.controls[control].steps.tolist() == [50] * 8
    assert bool(found.success.any())
    alone = uf.attack(system, images, labels, name, shaping=shaping)
    assert torch.equal(alone.adversarial, found.controls[control].images)
    assert alone.attack == control
    radius = user_files.load(*name.rsplit(":", 1), "perturbation")(0.5)
    smaller = uf.attack(system, images, labels, "adv2", perturbation=radius, shaping=shaping)
    assert float(smaller.l2.max()) <= 0.5
    assert float(smaller.controls[control].l2.max()) <= 0.5
    with pytest.raises(InputError, match=r"eps is 0\.1, and l2 has no ball"):
        attacks.preset("adv2", perturbation=name, eps=0.1)
