"""A user's own interpreter whose view gives another map than its reading: the attack would follow the wrong one."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import pytest
import torch
from torch import Tensor

import underfire as uf
from tests.conftest import tiny_network
from underfire.attacks import alike
from underfire.errors import UnderfireWarning
from underfire.interpreters import View


@dataclass(frozen=True)
class Turned(uf.interpreters.GradCAM):
    """Grad-CAM whose reading is the other way round, and whose view is not."""

    name: ClassVar[str] = "turned"
    seed: int = 0

    def read(self, classifier: uf.Classifier, images: Tensor, classes: Tensor, ids: Tensor) -> Tensor:
        return 1 - super().read(classifier, images, classes, ids)


@dataclass(frozen=True)
class Rooted(uf.interpreters.GradCAM):
    """Grad-CAM with a map that its view does not give, either, but one that ranks the pixels alike."""

    name: ClassVar[str] = "rooted"

    def read(self, classifier: uf.Classifier, images: Tensor, classes: Tensor, ids: Tensor) -> Tensor:
        return super().read(classifier, images, classes, ids).sqrt()


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alike, "_known", WeakKeyDictionary())


def _attack(classifier: uf.Classifier, images: Tensor, labels: Tensor, *named: uf.interpreters.Interpreter) -> None:
    uf.attacks.preset("adv2", steps=(1, 1))(uf.System(classifier, list(named)), images, labels)


def test_a_view_of_another_map(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    with pytest.warns(UnderfireWarning, match=r"the view of interpreter 'turned' .*\(median rank correlation -1.00 on"):
        _attack(classifier, images, labels, Turned(), uf.interpreters.CAM())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _attack(classifier, images, labels, Turned())  # said once
    with pytest.warns(UnderfireWarning, match="says nothing about this interpreter"):
        _attack(classifier, images, labels, Turned(seed=1))


def test_an_attack_on_the_prediction_alone_follows_no_view(
    classifier: uf.Classifier, images: Tensor, labels: Tensor
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        uf.attacks.preset("pgd", steps=(1, 1))(uf.System(classifier, Turned()), images, labels)


@pytest.mark.parametrize("interpreter", [Rooted(), uf.interpreters.Grad()])
def test_a_view_that_ranks_alike(
    classifier: uf.Classifier, images: Tensor, labels: Tensor, interpreter: uf.interpreters.Interpreter
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _attack(classifier, images, labels, interpreter)


@dataclass(frozen=True)
class Drawing(uf.interpreters.GradCAM):
    """Grad-CAM whose view draws from torch's own generator."""

    name: ClassVar[str] = "drawing"

    def view(self) -> View:
        torch.rand(3)
        return _Drawing(self)


class _Drawing(View):
    def __init__(self, interpreter: uf.interpreters.GradCAM) -> None:
        self.inner = uf.interpreters.GradCAM().view()

    def read(self, *given: Any, **named: Any) -> Any:
        torch.rand(3)
        return self.inner.read(*given, **named)


def test_it_draws_nothing_and_looks_at_each_network(images: Tensor, labels: Tensor) -> None:
    """Regression: the first attack of a process left torch's generator elsewhere than the later ones."""
    ends = []
    for _ in range(2):
        classifier = uf.Classifier(tiny_network(), image_size=16)
        torch.manual_seed(0)
        _attack(classifier, images, classifier.logits(images).argmax(1), Drawing())
        _attack(classifier, images, classifier.logits(images).argmax(1), Drawing())
        ends.append(torch.rand(1))
        torch.manual_seed(0)
        for _ in range(2):
            _attack(classifier, images, classifier.logits(images).argmax(1), Drawing())
        ends.append(torch.rand(1))
        with pytest.warns(UnderfireWarning, match="the view of interpreter 'turned'"):
            _attack(classifier, images, classifier.logits(images).argmax(1), Turned())
    assert ends[0] == ends[1] == ends[2] == ends[3]


def test_it_counts_no_passes(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    found = [
        uf.attacks.preset("adv2", steps=(1, 1))(uf.System(classifier, part), images, labels)
        for part in (uf.interpreters.GradCAM(), Rooted())
    ]
    assert torch.equal(found[0].forwards, found[1].forwards)
