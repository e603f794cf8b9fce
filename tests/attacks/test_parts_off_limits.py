"""Settings and answers of parts that were taken, and led to images that nobody asked for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import underfire as uf
from tests.attacks.own_parts import OwnMap, OwnShaping, attack
from tests.attacks.test_target_maps import with_maps
from tests.conftest import smooth_images
from underfire import attacks
from underfire.attacks import Interpretation, Weighted
from underfire.errors import InputError, NoGradientError


def test_a_reduction_that_is_none() -> None:
    with pytest.raises(InputError, match="reduction is 'maen'; expected 'mean', 'sum' or 'relative'"):
        Interpretation("maen")


def test_the_term_of_an_interpreter_that_the_attack_does_not_read(
    classifier: uf.Classifier, images: Tensor, labels: Tensor
) -> None:
    with pytest.raises(InputError, match="interpreter is 'gard', and the attack reads the maps of cam"):
        attack(classifier, images, labels, terms=[Weighted(Interpretation("mean", "gard"))])


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda images: torch.full_like(images[:, :1], torch.nan), "of nan to nan"),
        (lambda images: images[:, :1] * 0 + 5, "of 5 to 5"),
        (lambda images: images[:, :1] * 0 - 1, "of -1 to -1"),
    ],
)
def test_weights_beyond_their_range(
    classifier: uf.Classifier, images: Tensor, labels: Tensor, answer: Callable[[Tensor], Tensor], said: str
) -> None:
    """Regression: with NaN nothing moved, which looked like robustness; -1 ran uphill, and 5 left C&W's constraint."""
    with pytest.raises(InputError, match=rf"shaping 'own' returns weights {said}; expected weights in \[0, 1\]"):
        attack(classifier, images, labels, shaping=OwnShaping(answer))


def test_answers_in_double_precision_are_taken(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    """Regression: they ended in an error of torch after the last step."""
    plain = attack(classifier, images, labels)
    shaping = OwnShaping(lambda some: some.new_ones(len(some), 1, *some.shape[2:], dtype=torch.float64))
    rule = OwnMap(lambda maps: {name: each.double() for name, each in maps.items()})
    for given in ({"shaping": shaping}, {"target_map": rule}):
        found = attack(classifier, images, labels, **given)
        assert found.adversarial.dtype == images.dtype
        assert torch.equal(found.adversarial, plain.adversarial)


@pytest.mark.parametrize("size", [2, 3, 4, 7])
def test_every_patch_marks_a_cell(size: int) -> None:
    """Regression: on a map of 2 x 2, half of all patches held the middle of no cell, and were noise."""
    benign = with_maps(size, 500)
    maps = attacks.RandomPatch().maps(benign, benign.labels, 0)["a"]
    inside = (maps >= 0.9).flatten(1).sum(1)
    assert bool((inside >= 1).all())
    assert bool(((maps >= 0.9) | (maps <= 0.1)).all())


@pytest.mark.parametrize("black", [range(8), range(8, 16)])
def test_images_whose_maps_stand_still_refuse_nobody(black: range) -> None:
    """Regression: if the first eight images were black, no attack could begin; in the reverse order it could."""
    torch.manual_seed(0)
    parts = [torch.nn.Conv2d(3, 8, 3, bias=False), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
    network = torch.nn.Sequential(*parts, torch.nn.Linear(8, 4, bias=False))
    system, images = uf.System(uf.Classifier(network, image_size=16), "cam"), smooth_images(16)
    images[list(black)] = 0
    labels = system.classifier.logits(images).argmax(1)
    run = attacks.preset("adv2", steps=(1, 1), target_map="benign")
    assert run(system, images, labels).adversarial.shape == images.shape
    with pytest.raises(NoGradientError):
        run(system, images[list(black)], labels[list(black)])
