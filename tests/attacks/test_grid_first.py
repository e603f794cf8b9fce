"""The rule ``grid``: targets that survive a reduction of the bit depth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import underfire as uf
from tests.conftest import smooth_images
from underfire import attacks
from underfire.attacks.aim import Aim
from underfire.attacks.benign import Benign, read_benign
from underfire.attacks.class_rule import Choice, ClassRule
from underfire.attacks.grid_first import GridFirst
from underfire.attacks.terms import Point, Term
from underfire.errors import InputError
from underfire.system import SystemView

EPS = 24 / 255


def slow_grid(classifier: uf.Classifier, image: Tensor, label: int, bits: int, steps: int) -> list[float]:
    """The probabilities of the best image on the grid, one value at a time, in Python integers."""
    top = 2**bits - 1
    levels = [round(value * 255) for value in image.flatten().tolist()]
    radius = round(EPS * 255)
    low = [round(max(0, value - radius) / 255 * top) for value in levels]
    high = [round(min(255, value + radius) / 255 * top) for value in levels]
    grid = [round(value / 255 * top) for value in levels]
    found: list[list[float]] = []
    for _ in range(steps + 1):
        coarse = torch.tensor(grid).float().div(top).view_as(image)[None].requires_grad_()
        logits = classifier.run(coarse)
        found.append(logits.softmax(1)[0].tolist())
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits, torch.tensor([label])), coarse)
        signs = gradient.sign().flatten().int().tolist()
        grid = [min(up, max(down, g + s)) for g, s, down, up in zip(grid, signs, low, high, strict=True)]
    return min(found, key=lambda p: p[label])


def wanted(choice: Choice | Aim, count: int) -> Tensor:
    """The wanted probabilities N x K, which are those of some images: each row is positive and sums to 1."""
    found = choice.probabilities
    assert isinstance(found, Tensor), "a rule that wants no probabilities"
    assert found.shape == (count, 4)
    assert bool((found > 0).all())
    assert found.sum(1).tolist() == pytest.approx([1.0] * count, abs=1e-5)
    return found


@pytest.mark.parametrize("bits", [2, 3])
def test_against_a_slow_replica(classifier: uf.Classifier, bits: int) -> None:
    images = smooth_images(5, seed=7)
    labels = classifier.logits(images).argmax(1)
    system = uf.System(classifier, "cam")
    benign = read_benign(system, images, labels)
    choice = GridFirst(bits, EPS, steps=4).choose(system.view(), benign, 0)
    probabilities = wanted(choice, 5)
    for row, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        expected = slow_grid(classifier, image, label, bits, 4)
        assert probabilities[row].tolist() == pytest.approx(expected, abs=1e-5)
        others = [(value, k) for k, value in enumerate(expected) if k != label]
        assert int(choice.classes[row]) == max(others)[1]
    fooled = sum(int(row.argmax()) != label for row, label in zip(probabilities, labels.tolist(), strict=True))
    assert fooled >= 3, "the search finds other classes, or there would be nothing to see here"


def test_an_image_that_keeps_its_class_aims_at_the_runner_up(classifier: uf.Classifier) -> None:
    """Images of two bits, with a ball that holds no other image of two bits: the search leaves them as they are."""
    images = (smooth_images(6, seed=7) * 3).round() / 3
    logits = classifier.logits(images)
    labels = logits.argmax(1)
    system = uf.System(classifier, "cam")
    choice = GridFirst(2, 1 / 255, steps=2).choose(system.view(), read_benign(system, images, labels), 0)
    assert torch.allclose(wanted(choice, 6), logits.softmax(1), atol=1e-5)
    assert choice.classes.tolist() == logits.topk(2).indices[:, 1].tolist()


def test_images_do_not_depend_on_their_batch(classifier: uf.Classifier) -> None:
    images = smooth_images(40, seed=8)
    labels = classifier.logits(images).argmax(1)
    system = uf.System(classifier, "cam")
    view, benign = system.view(), read_benign(system, images, labels)
    whole = GridFirst(steps=3).choose(view, benign, 0)
    some = GridFirst(steps=3).choose(view, benign.take(torch.tensor([37, 3])), 0)
    assert torch.equal(whole.classes[[37, 3]], some.classes)
    assert torch.equal(wanted(whole, 40)[[37, 3]], wanted(some, 2))


@dataclass(frozen=True)
class Reach(Term):
    """A term for tests: it remembers what it was shown."""

    name: ClassVar[str] = "reach"
    seen: ClassVar[list[Tensor | None]] = []

    def __call__(self, point: Point) -> Tensor:
        self.seen.append(point.target_probabilities)
        return torch.zeros_like(point.penalty)


def test_terms_see_the_probabilities_of_their_images(classifier: uf.Classifier) -> None:
    """In every batch, and beside images that only fill it."""
    images = smooth_images(11, seed=3)
    labels = classifier.logits(images).argmax(1)
    system = uf.System(classifier, "cam")
    benign = read_benign(system, images, labels)
    attack = attacks.preset("adv2", steps=(0, 1), target_class=GridFirst(steps=2), terms=[attacks.Weighted(Reach())])
    made = attack.build(system)
    view = system.view()
    aim = made.aim(view, benign, 0)
    probabilities = wanted(aim, 11)
    Reach.seen.clear()
    made.run(view, benign, aim, seed=0, batch_size=8)
    first, second = Reach.seen
    assert isinstance(first, Tensor)
    assert isinstance(second, Tensor)
    assert torch.equal(first, probabilities[:8])
    assert torch.equal(second[:3], probabilities[8:])
    Reach.seen.clear()
    plain = attack.replace(target_class="random").build(system)
    plain.run(view, benign, plain.aim(view, benign, 0), seed=0, batch_size=8)
    assert Reach.seen == [None, None]


def test_the_match_term_leads_to_the_probabilities(classifier: uf.Classifier) -> None:
    """Farther than an attack that only reaches the class."""
    images = smooth_images(16, seed=5)
    labels = classifier.logits(images).argmax(1)
    rule, settings = GridFirst(3, EPS), {"eps": EPS, "steps": (0, 60), "early_stop": False}
    plain = uf.attack(classifier, images, labels, "adv2", target_class=rule, control=False, **settings)
    matched = uf.attack(
        classifier, images, labels, "adv2", target_class=rule, control=False, terms={"match": 40.0}, **settings
    )
    system = uf.System(classifier, "cam")
    aimed = wanted(rule.choose(system.view(), read_benign(system, images, labels), 0), 16)
    apart = [
        (classifier.logits(found.adversarial).softmax(1) - aimed).abs().sum(1).mean() for found in (plain, matched)
    ]
    assert float(apart[1]) < 0.75 * float(apart[0])


@dataclass(frozen=True)
class Narrow(ClassRule):
    name: ClassVar[str] = "narrow"

    def classes(self, view: SystemView, benign: Benign, seed: int) -> Tensor:
        return (benign.labels + 1) % benign.logits.shape[1]

    def choose(self, view: SystemView, benign: Benign, seed: int) -> Choice:
        return Choice(self.classes(view, benign, seed), benign.logits[:, :2])


def test_impossible_answers_and_settings_are_refused(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    with pytest.raises(InputError, match=r"wants class probabilities of shape \(6, 2\); expected \(6, 4\)"):
        uf.attack(classifier, images, labels, target_class=Narrow(), steps=(1, 1))
    for wrong, message in (({"bits": 9}, "bits is 9"), ({"steps": 0}, "steps is 0"), ({"eps": -1}, "eps is -1")):
        with pytest.raises(InputError, match=message):
            replace(GridFirst(), **wrong)
