"""Measuring robust classifiers: the attack on the map against its definition, and accuracy and tau against scipy's."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import kendalltau
from torch import Tensor

import underfire as uf
from tests.defenses.test_robust import Tiny, slow_maps
from underfire import randomness
from underfire.defenses.robust.inner import ascend, on_prediction, on_top_cells, share_outside
from underfire.defenses.robust.measuring import ATTACKS, robustness
from underfire.interpreters import CAM

LABELS = torch.tensor([0, 1, 2, 1])


@pytest.fixture
def images() -> Tensor:
    return torch.rand(4, 1, 2, 3, generator=torch.Generator().manual_seed(1))


def slow_share(cells: list[float], top: list[int]) -> float:
    lowest = min(cells)
    return 1 - sum(cells[i] - lowest for i in top) / sum(cell - lowest for cell in cells)


def test_what_the_attack_on_the_map_ascends(images: Tensor) -> None:
    network = Tiny()
    value = on_top_cells(uf.Classifier(network), images, LABELS, 2)
    moved = images.flip(3)
    found, unmoved = value(moved).tolist(), value(images).tolist()
    for place, label in enumerate(LABELS.tolist()):
        before, after = (
            [cell for line in slow_maps(network, each[place, 0].tolist())[label] for cell in line]
            for each in (images, moved)
        )
        top = sorted(range(6), key=lambda i: -before[i])[:2]
        assert found[place] == pytest.approx(slow_share(after, top), abs=1e-5)
        assert unmoved[place] == pytest.approx(slow_share(before, top), abs=1e-5)


def test_its_gradient_is_that_of_finite_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(3, 6, dtype=torch.float64, generator=generator, requires_grad=True)
    top = maps.detach().topk(2, dim=1).indices
    assert torch.autograd.gradcheck(lambda each: share_outside(each, top), (maps,))
    assert share_outside(torch.ones(1, 6), torch.tensor([[0, 1]])).tolist() == [1.0]


@pytest.mark.parametrize("attack", ATTACKS)
def test_accuracy_and_tau_are_those_of_the_attacked_images(attack: str) -> None:
    classifier = uf.classifiers.load("digits-resnet")
    batch = uf.data.open_data("digits:test").load((16, 16), 1, range(12))
    images, labels = batch.images, batch.labels
    ids, eps, steps = randomness.identify(images, batch.ids), 40 / 255, 6
    found = robustness(classifier, images, labels, ids, attack, eps, steps=steps, seed=5, batch=5)
    start = 2 * randomness.uniform(5, ids, "robustness", 0, (1, 16, 16)) - 1
    value = on_prediction(classifier, labels) if attack == "pgd" else on_top_cells(classifier, images, labels, 8)
    attacked = ascend(images, (images + eps * start).clamp(0, 1), eps, 2.5 * eps / steps, steps, value)
    assert float((attacked - images).abs().max()) <= eps + 1e-6
    assert float(value(attacked).mean()) > float(value(images).mean())
    attacked = (attacked * 255).round() / 255
    before, after = (classifier.logits(each).argmax(1) for each in (images, attacked))
    assert found.right.tolist() == (after == labels).double().tolist()
    clean, moved = (CAM().maps(classifier, each, labels).flatten(1).tolist() for each in (images, attacked))
    for place in range(12):
        if attack != "pgd" and before[place] != after[place]:
            assert torch.isnan(found.tau[place])
        else:
            expected = kendalltau(clean[place], moved[place]).statistic
            assert float(found.tau[place]) == pytest.approx(expected, abs=1e-6)
    clear = robustness(classifier, images, labels, ids, attack, 0.0)
    assert clear.tau.tolist() == [1.0] * 12
    assert clear.right.tolist() == (before == labels).double().tolist()
