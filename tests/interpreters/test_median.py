"""MeTFA: its maps from the definition, the gradient of its view, and what strange copies do to it."""

from __future__ import annotations

import statistics

import pytest
import torch
from torch import Tensor

import underfire as uf
from underfire.interpreters import MedianGrad, Smoothing, SmoothRectifiers, create
from underfire.interpreters.maps import log_odds
from underfire.interpreters.median import middles

CLASSES = torch.tensor([0, 1, 2, 3, 1, 0])
IDS = torch.arange(6)


@pytest.mark.parametrize("samples", [1, 4, 5])
def test_maps_are_the_medians_of_the_copies_maps(classifier: uf.Classifier, images: Tensor, samples: int) -> None:
    interpreter = MedianGrad(samples=samples, noise=0.2, pool=1)
    copies = []
    for index in range(samples):
        x = interpreter.point(images, IDS, index).clone().requires_grad_()
        strength = torch.autograd.grad(log_odds(classifier.run(x), CLASSES).sum(), x)[0].abs().amax(1)
        low, high = strength.amin((1, 2), keepdim=True), strength.amax((1, 2), keepdim=True)
        copies.append(((strength - low) / (high - low)).flatten().tolist())
    expected = [statistics.median(cell) for cell in zip(*copies, strict=True)]
    found = interpreter.maps(classifier, images, CLASSES, ids=IDS)
    assert found.flatten().tolist() == pytest.approx(expected, abs=1e-5)


def test_the_weights_of_the_middle_values() -> None:
    maps = torch.tensor([[[[1.0, 3.0]]], [[[2.0, 2.0]]], [[[3.0, 1.0]]], [[[9.0, 0.0]]]])
    assert middles(maps).squeeze().tolist() == [[0, 0], [0.5, 0.5], [0.5, 0.5], [0, 0]]
    assert middles(maps[:3]).squeeze().tolist() == [[0, 0], [1, 1], [0, 0]]
    wild = torch.cat([maps[:3], 1e6 * torch.ones(1, 1, 1, 2), torch.zeros(1, 1, 1, 2)])
    assert (wild * middles(wild)).sum(0).flatten().tolist() == [2, 2]


@pytest.mark.parametrize("samples", [4, 5])
def test_the_gradient_of_the_view_is_that_of_all_graphs_at_once(
    classifier: uf.Classifier, images: Tensor, samples: int
) -> None:
    interpreter = MedianGrad(samples=samples, smoothing=Smoothing("softplus", 0.05))
    prepared = classifier.prepare("float64", in_place=False, size=(16, 16))
    weight = torch.rand(6, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def all_at_once(x: Tensor) -> Tensor:
        with SmoothRectifiers(interpreter.smoothing):
            maps = [
                interpreter.copy_map(prepared.run, interpreter.point(x, IDS, index), CLASSES, True)
                for index in range(samples)
            ]
        ordered = torch.stack(maps).sort(0).values
        return (ordered[(samples - 1) // 2] + ordered[samples // 2]) / 2

    def by_the_view(x: Tensor) -> Tensor:
        view = interpreter.view()
        state = view.begin(prepared, x, CLASSES, IDS)
        still = view.read(prepared, prepared.record(x), x, CLASSES, state, False)[0]
        found = view.read(prepared, prepared.record(x), x, CLASSES, state, True)[0]
        assert torch.allclose(still, found, atol=1e-12)
        return found

    results = []
    for maps_of in (all_at_once, by_the_view):
        x = images.double().clone().requires_grad_()
        maps = maps_of(x)
        results.append(
            (maps.detach(), torch.autograd.grad((weight[:, : maps.shape[1], : maps.shape[2]] * maps).sum(), x)[0])
        )
    (maps, gradient), (others, other) = results
    assert float(gradient.abs().max()) > 1e-4
    assert torch.allclose(maps, others, atol=1e-12)
    assert torch.allclose(gradient, other, rtol=1e-8, atol=1e-10 * float(gradient.abs().max()))


def test_its_name_and_its_seed(classifier: uf.Classifier, images: Tensor) -> None:
    made = create("metfa")
    assert made == MedianGrad()
    assert made.reseeded() == MedianGrad(seed=1)
    assert made.sketch() == MedianGrad(samples=1)
    first, second = (MedianGrad(samples=3, seed=seed).maps(classifier, images, CLASSES) for seed in (0, 1))
    assert not torch.allclose(first, second, atol=1e-3)
