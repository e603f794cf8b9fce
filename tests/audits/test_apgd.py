"""APGD: its objectives from the definition, its checkpoints as published, and its images inside the ball."""

from __future__ import annotations

import pytest
import torch

import underfire as uf
from tests.audits.conftest import Given
from underfire.attacks.benign import read_benign
from underfire.audits.apgd import apgd, checkpoints, cross_entropy, difference_of_logits


def test_the_ratio_is_the_published_one() -> None:
    """Equation 6 of Croce & Hein (2020), with sorted logits z_1 >= z_2 >= z_3, written out for each image."""
    logits = torch.randn(50, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(50) % 6
    for row in range(50):
        own, order = int(labels[row]), sorted(logits[row].tolist(), reverse=True)
        other = max(value for number, value in enumerate(logits[row].tolist()) if number != own)
        wanted = -(float(logits[row, own]) - other) / (order[0] - order[2])
        assert float(difference_of_logits(logits, labels)[row]) == pytest.approx(wanted, rel=1e-9)
    scaled = difference_of_logits(100 * logits + 7, labels)
    torch.testing.assert_close(scaled, difference_of_logits(logits, labels), rtol=1e-9, atol=1e-9)
    assert torch.equal(difference_of_logits(logits, labels) > 0, logits.argmax(1) != labels)


def test_two_classes_have_a_difference_alone() -> None:
    logits = torch.tensor([[2.0, 0.5], [1.0, 4.0]])
    assert difference_of_logits(logits, torch.tensor([0, 0])).tolist() == [-1.5, 3.0]


def test_cross_entropy_is_minus_the_log_of_the_own_class() -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    assert float(cross_entropy(logits, torch.tensor([1]))) == pytest.approx(
        -float(torch.tensor([1.0, 2.0, 3.0]).double().softmax(0)[1].log())
    )


def test_the_checkpoints_are_the_published_ones() -> None:
    """Section 3.2: p_1 = 0.22, then each distance 0.03 shorter, but at least 0.06."""
    assert checkpoints(100)[:9] == [22, 41, 57, 70, 80, 87, 93, 99]
    assert checkpoints(1000)[:4] == [220, 410, 570, 700]


@pytest.mark.parametrize("dlr", [False, True])
def test_it_stays_in_the_ball_and_beats_signed_steps(digits: Given, dlr: bool) -> None:
    system = uf.System(digits.classifier, "cam")
    benign = read_benign(system, digits.images, digits.labels, digits.ids)
    view, eps = system.view(size=digits.images.shape[2:]), 0.1
    images = apgd(view, benign, eps, 30, dlr=dlr, seed=0)
    levels = (images * 255).round()
    assert torch.equal(levels / 255, images)
    assert float((levels - benign.images * 255).abs().max()) <= 25.0 + 1e-3
    assert float(images.min()) >= 0
    assert float(images.max()) <= 1
    assert torch.equal(images, apgd(view, benign, eps, 30, dlr=dlr, seed=0))
    some = torch.tensor([1, 5])
    alone = apgd(view, benign.take(some), eps, 1, dlr=dlr, seed=0)  # later steps follow last bits of gradients
    assert torch.equal(alone, apgd(view, benign, eps, 1, dlr=dlr, seed=0)[some])
    right = benign.correct
    found = (digits.classifier.logits(images).argmax(1) != digits.labels)[right]
    result = uf.attack(
        system, digits.images, digits.labels, "pgd", eps=eps, steps=(0, 30), targeted=False, control=False
    )
    plain = (digits.classifier.logits(result.adversarial).argmax(1) != digits.labels)[right]
    assert int(found.sum()) >= int(plain.sum()) > 0


def test_the_ratio_sees_through_a_temperature(digits: Given) -> None:
    """With logits a thousand times as large, probabilities are 0 or 1, and the cross-entropy has no gradient; the ratio
    has the same one as before."""
    own = digits.classifier

    class Scaled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = own.module

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.network(images) * 1000

    loud = uf.Classifier(Scaled(), mean=own.mean, std=own.std, image_size=own.image_size, channels=1)
    counts = {}
    for dlr in (False, True):
        system = uf.System(loud, "gradcam")
        benign = read_benign(system, digits.images, digits.labels, digits.ids)
        images = apgd(system.view(size=digits.images.shape[2:]), benign, 0.1, 20, dlr=dlr, seed=0)
        counts[dlr] = int(((loud.logits(images).argmax(1) != digits.labels) & benign.correct).sum())
    assert counts[True] > counts[False]
