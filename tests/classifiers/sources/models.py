"""Helpers for tests of sources: optional packages, photos, and a short attack."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from torch import Tensor

import underfire as uf
from tests.conftest import SHARED
from underfire.classifiers.sources import packages
from underfire.errors import InputError

PHOTOS = SHARED / "imagenet-sample"


def package(name: str) -> ModuleType:
    """Import the optional package called ``name``; skip the test if it is not installed."""
    try:
        found: ModuleType = getattr(packages, name)()
    except InputError as error:
        pytest.skip(f"{error}")
    return found


def photos(classifier: uf.Classifier, count: int = 2) -> tuple[Tensor, Tensor]:
    """Load the first photos, prepared, with the labels that the classifier gives them."""
    if not PHOTOS.is_dir():
        pytest.skip("the shared photos are not there")
    batch = uf.data.open_data(PHOTOS).load(
        classifier.image_size, classifier.channels, range(count), classifier.resizing
    )
    return batch.images, classifier.logits(batch.images).argmax(1)


def attack(classifier: uf.Classifier, interpreter: str) -> uf.attacks.AttackResult:
    """Run five steps of ADV2 on two photos, and check what must hold after any attack."""
    images, labels = photos(classifier)
    system = uf.System(classifier, uf.interpreters.create(interpreter))
    result = uf.attacks.preset("adv2", eps=8 / 255, steps=(2, 3))(system, images, labels)
    assert torch.equal(result.correct_before, torch.ones(2, dtype=torch.bool))
    assert bool((result.linf <= 8 / 255 + 1e-6).all())
    assert bool((result.linf > 0).all())
    before = classifier.logits(images).log_softmax(1).gather(1, result.target.unsqueeze(1))
    after = classifier.logits(result.adversarial).log_softmax(1).gather(1, result.target.unsqueeze(1))
    assert bool((after > before).all()), "five steps bring the target class nearer"
    assert bool((result.maps[interpreter] != result.benign_maps[interpreter]).any())
    return result
