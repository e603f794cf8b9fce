"""The losses against slow replicas, and the replacements of hidden pixels."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from tests.conftest import smooth_images
from underfire.interpreters.rts.losses import MaskLoss, area, hinge, presence_loss, roughness
from underfire.interpreters.rts.replacing import blurred, composed, replacements


def test_presence_is_the_cross_entropy_of_two_logits() -> None:
    presence, real = torch.tensor([-3.0, 0.5, 2.0, 40.0]), torch.tensor([True, True, False, True])
    logits = torch.stack([-presence / 2, presence / 2], 1)
    assert torch.allclose(presence_loss(presence, real), F.cross_entropy(logits, real.long(), reduction="none"))


def test_hinges_one_image_at_a_time() -> None:
    torch.manual_seed(0)
    logits, labels = 4 * torch.randn(20, 6) - 30, torch.arange(20) % 6  # all negative: the label is masked with -inf
    wanted = torch.arange(20) % 3 > 0
    found = hinge(logits, labels, wanted, 1.0, 5.0)
    for row in range(20):
        values = logits[row].tolist()
        own = values.pop(int(labels[row]))
        lead = own - max(values)
        expected = max(0.0, 1.0 - lead) if wanted[row] else max(0.0, 5.0 + lead)
        assert float(found[row]) == pytest.approx(expected, abs=1e-5)


def test_area_and_roughness_cell_by_cell() -> None:
    maps = torch.rand(3, 4, 5)
    cells = [float(value) for value in maps.flatten()]
    assert float(area(maps)) == pytest.approx(sum((value + 0.0005) ** 0.3 for value in cells) / len(cells), rel=1e-5)
    total = 0.0
    for n in range(3):
        for y in range(4):
            for x in range(5):
                if y:
                    total += float(maps[n, y, x] - maps[n, y - 1, x]) ** 2
                if x:
                    total += float(maps[n, y, x] - maps[n, y, x - 1]) ** 2
    assert float(roughness(maps)) == pytest.approx(total / 6, rel=1e-5)
    assert torch.isfinite(torch.autograd.grad(area(maps.zero_().requires_grad_()), maps)[0]).all()


def test_the_roles_invert_for_fakes() -> None:
    """A real class should show in the preserved image only. With a fake, the image's class should show in the other."""
    loss = MaskLoss()
    shown, hidden = torch.tensor([[9.0, 0.0]]), torch.tensor([[0.0, 9.0]])
    label, maps = torch.tensor([0]), torch.zeros(1, 2, 2)
    good = loss.parts(maps, shown, hidden, label, torch.tensor([True]))
    bad = loss.parts(maps, hidden, shown, label, torch.tensor([True]))
    assert [float(good[name]) for name in ("preserver", "destroyer")] == [0, 0]
    assert [float(bad[name]) for name in ("preserver", "destroyer")] == [10, 14]
    good = loss.parts(maps, hidden, shown, label, torch.tensor([False]))
    bad = loss.parts(maps, shown, hidden, label, torch.tensor([False]))
    assert [float(good[name]) for name in ("preserver", "destroyer")] == [0, 0]
    assert [float(bad[name]) for name in ("preserver", "destroyer")] == [10, 10]
    parts = {name: torch.tensor(value) for name, value in zip(bad, (1.0, 2.0, 3.0, 4.0), strict=True)}
    weights = {"destroyer": 1.0, "preserver": 0.3, "area": 8.0, "roughness": 0.005}
    assert float(loss.total(parts)) == pytest.approx(sum(weights[name] * float(v) for name, v in parts.items()))


def test_blur_keeps_flat_images_and_sums_of_weights() -> None:
    assert torch.allclose(blurred(torch.full((1, 3, 9, 9), 0.3), 1.5), torch.full((1, 3, 9, 9), 0.3))
    point = torch.zeros(1, 1, 33, 33)
    point[0, 0, 16, 16] = 1
    spread = blurred(point, 2.0)[0, 0]
    squares = (torch.arange(33) - 16.0) ** 2
    assert float(spread.sum()) == pytest.approx(1, abs=1e-5)
    assert float((spread.sum(1) * squares).sum()) == pytest.approx(4, rel=0.1)
    assert float(spread[16, 18] / spread[16, 16]) == pytest.approx(math.exp(-4 / 8), rel=1e-3)


def test_what_takes_the_place() -> None:
    images = smooth_images(64, 32)
    found = replacements(images, torch.Generator().manual_seed(0))
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1
    blur = blurred(images, 11 / 224 * 32)
    is_blur = torch.tensor([torch.equal(a, b) for a, b in zip(found, blur, strict=True)])
    assert 20 < int(is_blur.sum()) < 44
    colours = found[~is_blur].mean((2, 3))
    assert 0.1 < float(colours.min()) < 0.35
    assert 0.65 < float(colours.max()) < 0.9
    assert float(found[~is_blur].std((2, 3)).median()) == pytest.approx(0.11, abs=0.01)
    again = replacements(images, torch.Generator().manual_seed(0))
    assert torch.equal(found, again)


def test_gradients_flow_through_the_maps_alone() -> None:
    images, others = torch.rand(2, 3, 4, 4, requires_grad=True), torch.rand(2, 3, 4, 4, requires_grad=True)
    maps = torch.rand(2, 4, 4, requires_grad=True)
    mixed = composed(images, others, maps)
    expected = maps.unsqueeze(1) * images + (1 - maps.unsqueeze(1)) * others
    assert torch.equal(mixed, expected)
    gradients = torch.autograd.grad(mixed.sum(), (images, others, maps), allow_unused=True)
    assert gradients[0] is None
    assert gradients[1] is None
    assert torch.allclose(gradients[2], (images - others).sum(1), atol=1e-5)
