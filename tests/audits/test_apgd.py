"""APGD: its objectives from the definition, its checkpoints as published, and its images inside the ball."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

import underfire as uf
from tests.audits.conftest import Given
from underfire import randomness
from underfire.attacks.benign import read_benign
from underfire.attacks.perturbations.eps import eight_bit_box
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


class _Waves:
    """A small float64 network with a wavy loss, where long steps overshoot and the class never changes."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(3)
        self.first, self.second = (
            torch.randn(*shape, dtype=torch.float64, generator=generator) for shape in ((12, 20), (20, 4))
        )

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        return torch.sin(6 * images.flatten(1) @ self.first) @ self.second * 0.3 + torch.tensor([8.0, 0, 0, 0]).double()


def _by_hand(view: _Waves, start: torch.Tensor, low: torch.Tensor, high: torch.Tensor, steps: int) -> list[float]:
    """Algorithm 1 of Croce & Hein (2020) for one image: the loss, the step and the values of the best."""

    def look(at: torch.Tensor) -> tuple[float, torch.Tensor]:
        rounded = (at * 255).round() / 255
        variable = rounded.detach().requires_grad_(True)
        loss = -view.logits(variable[None]).log_softmax(1)[0, 0]
        return float(loss.detach()), torch.autograd.grad(loss, variable)[0]

    def project(at: torch.Tensor) -> torch.Tensor:
        return torch.minimum(torch.maximum(at, low), high)

    size = 2 * EPS
    points = [start]
    losses = [look(start)[0]]
    best_loss, best_point, best_step = losses[0], start, 0
    sizes, bests = [size], [best_loss]  # at the checkpoints
    marks, raised = [0, *checkpoints(steps)], 0
    for k in range(1, steps):
        _, slope = look(points[-1])
        z = project(points[-1] + size * slope.sign())
        x = z if k == 1 else project(points[-1] + 0.75 * (z - points[-1]) + 0.25 * (points[-1] - points[-2]))
        points.append(x)
        losses.append(look(x)[0])
        raised += losses[-1] > losses[-2]
        if losses[-1] > best_loss:
            best_loss, best_point, best_step = losses[-1], x, k
        if k in marks:
            few = raised < 0.75 * (k - marks[marks.index(k) - 1])
            idle = sizes[-1] == size and bests[-1] == best_loss
            sizes.append(size)
            bests.append(best_loss)
            if few or idle:
                size /= 2
                points[-1], losses[-1] = best_point, best_loss
            raised = 0
    return [best_loss, best_step, *best_point.flatten().tolist()]


EPS = 0.2


def test_it_is_the_published_algorithm() -> None:
    """Image by image against algorithm 1, written out: momentum, halvings, and the return to the best image."""
    generator = torch.Generator().manual_seed(0)
    clean = (torch.rand(6, 3, 2, 2, dtype=torch.float64, generator=generator) * 255).round() / 255
    view, steps = _Waves(), 60
    labels, ids = torch.zeros(6, dtype=torch.int64), torch.arange(6)
    benign: Any = SimpleNamespace(images=clean, labels=labels, ids=ids)
    images = apgd(cast(Any, view), benign, EPS, steps, dlr=False, seed=0)
    drawn = randomness.uniform(0, ids, "apgd ce", 0, clean.shape[1:]).double()
    low, high = eight_bit_box(clean, EPS)
    late = 0
    for row in range(6):
        start = torch.clamp(clean[row] + (2 * drawn[row] - 1) * EPS, low[row], high[row])
        best, best_step, *point = _by_hand(view, start, low[row], high[row], steps)
        own = float(cross_entropy(view.logits(images[row : row + 1]), labels[:1]))
        assert own == pytest.approx(best, rel=1e-9)
        wanted = (torch.tensor(point, dtype=torch.float64) * 255).round() / 255
        torch.testing.assert_close(images[row].flatten(), wanted, rtol=0, atol=1e-9)
        late += best_step > checkpoints(steps)[1]
    assert late >= 3  # after halvings


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


@pytest.mark.parametrize("dlr", [False, True])
def test_images_whose_class_has_changed_leave_and_change_nothing(
    digits: Given, dlr: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = uf.System(digits.classifier, "cam")
    benign = read_benign(system, digits.images, digits.labels, digits.ids)
    some = benign.take(torch.arange(16) % len(digits.images))
    view = system.view(size=digits.images.shape[2:])
    seen, logits = list[int](), view.logits

    def counted(images: torch.Tensor) -> torch.Tensor:
        seen.append(len(images))
        return logits(images)

    monkeypatch.setattr(view, "logits", counted)
    images = apgd(view, some, 0.06, 40, dlr=dlr, seed=0)
    counts, seen = seen, list[int]()
    monkeypatch.setattr("underfire.audits.apgd.LEAVE_EVERY", 1000)
    assert torch.equal(images, apgd(view, some, 0.06, 40, dlr=dlr, seed=0))
    changed = digits.classifier.logits(images).argmax(1) != some.labels
    assert 8 <= int(changed.sum()) < 16
    assert set(counts) == {16, 8}
    assert sum(counts) < 0.9 * sum(seen)


def test_an_attack_ends_once_all_classes_have_changed(digits: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    system = uf.System(digits.classifier, "cam")
    benign = read_benign(system, digits.images, digits.labels, digits.ids)
    view, passes = system.view(size=digits.images.shape[2:]), list[int]()
    logits = view.logits
    monkeypatch.setattr(view, "logits", lambda images: (passes.append(1), logits(images))[1])
    images = apgd(view, benign, 0.3, 100, dlr=False, seed=0)
    assert bool((digits.classifier.logits(images).argmax(1) != digits.labels).all())
    assert len(passes) < 40
