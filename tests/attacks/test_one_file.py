"""What is added in one file, and named ``file.py:name``: a squeeze term, a rule that sees the system, a perturbation,
a measure, and the score of a detector."""

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
from underfire.attacks import Goal, Point
from underfire.attacks.benign import read_benign
from underfire.classifiers import Recorded
from underfire.errors import InputError

EPS = 0.1

SQUEEZE = '''
"""The squeeze term of the adaptive attack ([ADV2] section 4.5)."""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F

from underfire.attacks import Term


def coarse(images, bits):
    """Reduce the bit depth; gradients pass straight through."""
    steps = 2**bits - 1
    return images + ((images * steps).round() / steps - images).detach()


def median(images):
    """Take the median of 3 x 3 pixels in each channel."""
    count, channels, height, width = images.shape
    patches = F.unfold(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3)
    return patches.view(count, channels, 9, height, width).median(2).values


@dataclass(frozen=True)
class Squeeze(Term):
    """Cross-entropy between the predictions for the image and for its squeezed forms, added up."""

    name: ClassVar[str] = "squeeze"

    bits: int = 3

    def __call__(self, point):
        said = point.reading.logits.softmax(1)
        squeezed = (coarse(point.image, self.bits), median(point.image))
        return sum(-(said * point.run(images).log_softmax(1)).sum(1) for images in squeezed)
'''


@pytest.fixture
def squeeze(tmp_path: Path) -> str:
    (tmp_path / "squeeze.py").write_text(SQUEEZE)
    return f"{tmp_path / 'squeeze.py'}:Squeeze"


def slow_squeeze(classifier: uf.Classifier, images: Tensor) -> list[float]:
    """The squeeze term image by image, pixel by pixel, from its definition."""
    found = []
    for image in images:
        p = F.softmax(classifier.logits(image.unsqueeze(0))[0], 0)
        depth = torch.tensor([round(float(v) * 7) / 7 for v in image.flatten()]).view_as(image)
        middle = image.clone()
        _, height, width = image.shape
        for c in range(3):
            for y in range(height):
                for x in range(width):
                    near = [
                        float(image[c, min(max(y + dy, 0), height - 1), min(max(x + dx, 0), width - 1)])
                        for dy in (-1, 0, 1)
                        for dx in (-1, 0, 1)
                    ]
                    middle[c, y, x] = sorted(near)[4]
        total = 0.0
        for other in (depth, middle):
            q = F.softmax(classifier.logits(other.unsqueeze(0))[0], 0)
            total -= sum(float(p[k]) * float(q[k].log()) for k in range(len(p)))
        found.append(total)
    return found


def test_a_squeeze_term(classifier: uf.Classifier, squeeze: str) -> None:
    images = smooth_images(8, seed=3)
    labels = classifier.logits(images).argmax(1)
    system = uf.System(classifier, "cam")
    settings: dict[str, Any] = {"eps": EPS, "steps": (2, 20), "early_stop": False}
    adaptive = attacks.preset("adv2", **settings, terms={squeeze: 0.5})
    assert repr(adaptive) == repr(attacks.preset("adv2", **settings, terms=f"{squeeze}=0.5"))
    watched = adaptive(system, images, labels, trace_every=1, control=False)
    # Warm-up: a pass forward and back. Joint steps: one of the attack, two of the term. And a last look.
    assert watched.forwards.tolist() == [2 + 20 * 3 + 1] * 8
    assert watched.backwards.tolist() == [2 + 20 * 3] * 8
    assert watched.trace is not None
    course = watched.trace.columns["loss_squeeze"]
    assert bool(course[:2].isnan().all()), "it acts in the joint stage"
    only_warm_up = attacks.preset("adv2", eps=EPS, steps=(2, 0), early_stop=False).build(system)
    view, benign = system.view(), read_benign(system, images, labels)
    aim = only_warm_up.aim(view, benign, 0)
    after = only_warm_up.run(view, benign, aim, seed=0, batch_size=8).last
    assert course[2].tolist() == pytest.approx(slow_squeeze(classifier, after), abs=1e-3)
    plain = attacks.preset("adv2", **settings)(system, images, labels, control=False)
    far, near = (torch.tensor(slow_squeeze(classifier, found.adversarial)) for found in (plain, watched))
    assert float(near.mean()) < float(far.mean()), "the squeezed image is predicted as the image is"


def test_the_gradient_passes_the_bit_depth_straight(classifier: uf.Classifier, squeeze: str) -> None:
    images = smooth_images(2)
    coarse = user_files.load(squeeze.rpartition(":")[0], "coarse", "term")
    variable = images.clone().requires_grad_()
    weights = torch.randn_like(images)
    (gradient,) = torch.autograd.grad((coarse(variable, 3) * weights).sum(), variable)
    assert torch.equal(gradient, weights)
    assert torch.allclose(coarse(images, 3) * 7, (coarse(images, 3) * 7).round(), atol=1e-5)
    # The term needs the image and the network, and nothing else of the loop.
    term = attacks.TERMS.find(squeeze)
    recorded = Recorded(classifier.run(images), None, None, None, ())
    zeros = torch.zeros(2)
    point = Point(images, uf.system.Reading(recorded, {}, {}), zeros.long(), Goal(), {}, zeros, zeros, classifier.run)
    assert term(point).tolist() == pytest.approx(slow_squeeze(classifier, images), abs=1e-4)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"file:nothing": 1.0}, "unknown name in .*Squeeze"),
        ({"file:coarse": 1.0}, r"the term cannot be made: TypeError: coarse\(\)"),
        ("file:Squeeze=much", "expected NAME or NAME=WEIGHT"),
        ([3], "object of type int"),
        ("squeezes", "unknown term 'squeezes'"),
    ],
)
def test_terms_that_are_none(squeeze: str, terms: Any, message: str) -> None:
    file = squeeze.rpartition(":")[0]
    if isinstance(terms, dict):
        terms = {name.replace("file", file): weight for name, weight in terms.items()}
    elif isinstance(terms, str):
        terms = terms.replace("file", file)
    with pytest.raises(uf.errors.UnderfireError, match=message):
        attacks.preset("adv2", terms=terms)


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
    with pytest.raises(InputError, match=r"measure 'wrong' returns \(\); expected a tensor of 8 values"):
        uf.attack(classifier, images, labels, steps=(1, 1), measures=[f"{file}:WRONG"])
    with pytest.raises(InputError, match="measure 'ssim' exists already"):
        uf.attack(classifier, images, labels, steps=(1, 1), measures=[f"{file}:TAKEN"])
    with pytest.raises(InputError, match="unknown measure 'brightness'"):
        uf.attack(classifier, images, labels, steps=(1, 1), measures=["brightness"])
