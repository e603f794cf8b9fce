"""Sparsified SmoothGrad and its certificate: slow replicas, brute force, and an exact case that is known."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest
import torch
from scipy.stats import binomtest
from torch import Tensor, nn

import underfire as uf
from underfire.errors import InputError
from underfire.interpreters import SparsifiedSmoothGrad, create
from underfire.interpreters.agreement import agreement
from underfire.interpreters.certified import certify
from underfire.interpreters.certified.certificate import bounds
from underfire.interpreters.maps import log_odds

CLASSES = torch.tensor([0, 1, 2, 3, 1, 0])
IDS = torch.arange(6)


def test_maps_are_those_of_the_definition(classifier: uf.Classifier, images: Tensor) -> None:
    interpreter = SparsifiedSmoothGrad(samples=3, share=0.2, pool=1)
    counts = torch.zeros(6, 16, 16)
    for index in range(3):
        leaf = interpreter.point(images, IDS, index).requires_grad_()
        (gradient,) = torch.autograd.grad(log_odds(classifier.run(leaf), CLASSES).sum(), leaf)
        for image in range(6):
            strength = [(-float(v), i) for i, v in enumerate(gradient[image].abs().amax(0).flatten())]
            for _, cell in sorted(strength)[:51]:  # a fifth of 256 cells
                counts[image].view(-1)[cell] += 1
    found = interpreter.maps(classifier, images, CLASSES, ids=IDS)
    assert torch.allclose(found, counts / 3)
    noise = (interpreter.point(images, IDS, 0) - images) / interpreter.noise
    assert abs(float(noise.mean())) < 0.05
    assert float(noise.std()) == pytest.approx(1, abs=0.03)


def test_the_view_has_the_values_of_the_selection_and_the_gradient_of_the_sigmoid(
    classifier: uf.Classifier, images: Tensor
) -> None:
    smooth = uf.interpreters.Smoothing("softplus", 0.05)
    interpreter = SparsifiedSmoothGrad(samples=2, width=0.3, smoothing=smooth)
    view = uf.System(classifier, interpreter).view("float64", (16, 16))
    few, classes, ids = images[:2].double(), CLASSES[:2], IDS[:2]

    def seen(x: Tensor) -> Tensor:
        states = view.begin(x, classes, ids)
        return view.read(x, lambda _: classes, states, graph=True)[0].maps["sparsified"]

    def softly(x: Tensor) -> Tensor:
        total = torch.zeros(2, 16, 16, dtype=torch.float64)
        with uf.interpreters.SmoothRectifiers(smooth):
            for index in range(2):
                point = interpreter.point(x, ids, index)
                found = interpreter.importance(view.prepared.run, point, classes, True)
                total = total + interpreter.softly_selected(found)
        return total / 2

    assert agreement(softly, few) > 0.999
    gradients = []
    for maps in (seen, softly):
        leaf = few.clone().requires_grad_()
        with torch.enable_grad():
            found = maps(leaf)
            weight = torch.linspace(-1, 1, found.numel(), dtype=found.dtype).view_as(found)
            gradients.append(torch.autograd.grad((found * weight).sum(), leaf)[0])
    assert torch.allclose(*gradients, rtol=1e-6, atol=1e-10)
    assert set((seen(few.requires_grad_()) * 2).flatten().tolist()) <= {0.0, 1.0, 2.0}


def test_bounds_are_those_of_clopper_pearson_then_the_move_then_hoeffding() -> None:
    samples, sigma, radius, confidence = 40, 0.5, 0.2, 0.95
    maps = torch.tensor([[[0.0, 0.25], [0.9, 1.0]]])
    low, high = bounds(maps, samples, sigma, radius, confidence)
    failure = 0.05 / 2 / 8
    error = math.sqrt(math.log(1 / failure) / (2 * samples))
    normal = NormalDist()

    def moved(p: float, by: float) -> float:
        return p if p in (0.0, 1.0) else normal.cdf(normal.inv_cdf(p) + by)

    for cell, count in enumerate((0, 10, 36, 40)):
        found = binomtest(count, samples).proportion_ci(1 - 2 * failure, method="exact")
        expected = max(0, moved(found.low, -0.4) - error), min(1, moved(found.high, 0.4) + error)
        assert float(low.flatten()[cell]) == pytest.approx(expected[0], abs=1e-9)
        assert float(high.flatten()[cell]) == pytest.approx(expected[1], abs=1e-9)


def slow_kept(low: list[float], high: list[float], order: list[int], top: int) -> int:
    best = 0
    for count in range(1, top + 1):
        first, rest = order[:count], order[2 * top - count :]
        if min(low[i] for i in first) > max(high[i] for i in rest):
            best = count
    return best


def worst_overlap(low: list[float], high: list[float], before: set[int], top: int, tries: int, seed: int) -> int:
    """The least overlap over many maps that the bounds allow, among them the corners that look worst."""
    generator = torch.Generator().manual_seed(seed)
    lows, highs = torch.tensor(low), torch.tensor(high)
    inside = torch.tensor([i in before for i in range(len(low))])
    least = top
    for _ in range(tries):
        flips = torch.rand(len(low), generator=generator) < 0.3
        values = torch.where(inside ^ flips, lows, highs)
        values = torch.where(torch.rand(len(low), generator=generator) < 0.2, (lows + highs) / 2, values)
        values = values + 1e-9 * torch.rand(len(low), generator=generator)
        least = min(least, len(before & set(values.topk(top).indices.tolist())))
    return least


@pytest.mark.parametrize("seed", range(6))
def test_no_map_within_the_bounds_undoes_the_certificate(seed: int) -> None:
    maps = torch.rand(1, 4, 5, generator=torch.Generator().manual_seed(seed)).pow(3)
    interpreter = SparsifiedSmoothGrad(samples=4000, noise=1.0)
    found = certify(maps, interpreter, radius=0.05, top=6, confidence=0.9)
    low, high = (each.flatten().tolist() for each in bounds(maps, 4000, 1.0, 0.05, 0.9))
    order = maps.double().flatten().sort(dim=0, descending=True, stable=True).indices.tolist()
    assert int(found.kept) == slow_kept(low, high, order, 6)
    assert worst_overlap(low, high, set(order[:6]), 6, 3000, seed) >= int(found.kept)
    assert float(found.overlap) == int(found.kept) / 6


def test_the_bound_is_reached_by_a_linear_selector() -> None:
    """A cell that is selected if a . (x + noise) > b has p = Phi((a . x - b) / sigma |a|): the worst case moves so."""
    sigma, radius, normal = 0.3, 0.2, NormalDist()
    p = normal.cdf(0.7)
    maps = torch.tensor([[[p, 1 - p]]])
    low, _ = bounds(maps, 10**9, sigma, radius, 0.99)
    assert float(low[0, 0, 0]) == pytest.approx(normal.cdf(0.7 - radius / sigma), abs=1e-3)


def test_more_radius_certifies_less_and_nothing_is_certain_of_a_flat_map() -> None:
    maps = torch.zeros(2, 4, 4)
    maps[0, 0] = 0.95
    maps[0, 1:] = 0.02
    maps[1] = 0.25
    interpreter = SparsifiedSmoothGrad(samples=3000, noise=0.5)
    kept = [certify(maps, interpreter, radius=radius, top=4).kept.tolist() for radius in (0.0, 0.3, 3.0)]
    assert kept == [[4, 0], [4, 0], [0, 0]]


class Moving(nn.Module):
    """Logits whose gradient in the image depends on the image: (sum of squares of weighted pixels, 0)."""

    def forward(self, images: Tensor) -> Tensor:
        weight = torch.linspace(0.2, 2, images[0].numel()).view_as(images[0])
        return torch.stack([(weight * images).square().sum((1, 2, 3)), images.new_zeros(len(images))], 1)


def test_random_changes_within_the_radius_never_break_it() -> None:
    classifier = uf.Classifier(Moving(), channels=1)
    images = torch.rand(4, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    classes, ids = torch.zeros(4, dtype=torch.int64), torch.arange(4)
    interpreter = SparsifiedSmoothGrad(samples=2000, noise=0.3, share=0.2)
    maps = interpreter.maps(classifier, images, classes, ids=ids)
    found = certify(maps, interpreter, radius=0.05, confidence=0.99)
    assert int(found.kept.max()) > 0
    for seed in range(5):
        direction = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))
        moved = images + 0.05 * direction / direction.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        fresh = interpreter.reseeded(seed + 1).maps(classifier, moved.clamp(0, 1), classes, ids=ids)
        both = [set(each.flatten().topk(found.top).indices.tolist()) for each in (*maps, *fresh)]
        overlap = [len(a & b) for a, b in zip(both[:4], both[4:], strict=True)]
        assert all(o >= k for o, k in zip(overlap, found.kept.tolist(), strict=True))


def test_settings_are_checked() -> None:
    assert create("sparsified") == SparsifiedSmoothGrad()
    for changes, said in (({"share": 1.0}, "share"), ({"noise": 0.0}, "noise"), ({"samples": 0}, "samples")):
        with pytest.raises(InputError, match=said):
            SparsifiedSmoothGrad(**changes)
    for changes, said in (({"top": 9}, "half"), ({"radius": -1.0}, "radius"), ({"confidence": 1.0}, "confidence")):
        with pytest.raises(InputError, match=said):
            certify(torch.zeros(1, 4, 4), SparsifiedSmoothGrad(), **({"radius": 0.1} | changes))
