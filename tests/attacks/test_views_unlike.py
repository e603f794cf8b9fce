"""A user's own interpreter whose view gives another map than its reading: the attack would follow the wrong one."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor

import underfire as uf
from underfire.attacks import alike
from underfire.errors import UnderfireWarning


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
    monkeypatch.setattr(alike, "_known", set())


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


@pytest.mark.parametrize("interpreter", [Rooted(), uf.interpreters.Grad()])
def test_a_view_that_ranks_alike(
    classifier: uf.Classifier, images: Tensor, labels: Tensor, interpreter: uf.interpreters.Interpreter
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _attack(classifier, images, labels, interpreter)


def test_it_counts_no_passes(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    found = [
        uf.attacks.preset("adv2", steps=(1, 1))(uf.System(classifier, part), images, labels)
        for part in (uf.interpreters.GradCAM(), Rooted())
    ]
    assert torch.equal(found[0].forwards, found[1].forwards)
