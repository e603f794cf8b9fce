"""Sums that are differentiated with one graph at a time: equal gradients, and the memory of one term."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import underfire as uf
from tests.conftest import smooth_images
from underfire.interpreters import IntegratedGradients, SmoothGrad, Smoothing, SmoothRectifiers
from underfire.interpreters.maps import pooled_map
from underfire.interpreters.summed import summed
from underfire.memory import counting

CLASSES = torch.tensor([0, 1, 2, 3])


def test_a_sum_of_powers_against_its_derivative() -> None:
    x = torch.rand(3, 2, 4, 4, dtype=torch.float64).requires_grad_()
    weight = torch.rand_like(x)
    found = summed(lambda images, index, graph: images ** (index + 1), x, 3)
    assert torch.allclose(found, x + x**2 + x**3)
    (gradient,) = torch.autograd.grad((weight * found).sum(), x)
    assert torch.allclose(gradient, weight * (1 + 2 * x + 3 * x**2))


def test_a_term_that_does_not_depend_on_the_image_adds_nothing_to_the_gradient() -> None:
    x = torch.rand(2, 1, 2, 2).requires_grad_()
    other = torch.ones(2, 1, 2, 2, requires_grad=True)
    found = summed(lambda images, index, graph: images * 2 if index else other * 1.0, x, 2)
    assert torch.equal(torch.autograd.grad(found.sum(), x)[0], torch.full_like(x, 2))


@pytest.mark.parametrize(
    "interpreter",
    [
        SmoothGrad(samples=5, smoothing=Smoothing("softplus", 0.05)),
        SmoothGrad(samples=5),
        IntegratedGradients(samples=7, baseline=0.3, smoothing=Smoothing("softplus", 0.05)),
        IntegratedGradients(samples=1),
    ],
    ids=["smoothgrad-softplus", "smoothgrad", "ig-softplus", "ig-one"],
)
def test_the_joint_gradient_is_that_of_all_graphs_at_once(
    classifier: uf.Classifier, interpreter: SmoothGrad | IntegratedGradients
) -> None:
    prepared = classifier.prepare("float64", in_place=False, size=(16, 16))
    images, ids = smooth_images(4).double(), torch.arange(4)
    weight = torch.rand(4, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def all_at_once(x: Tensor) -> Tensor:
        total = torch.zeros_like(x)
        with SmoothRectifiers(interpreter.smoothing):
            for index in range(interpreter.samples):
                point = interpreter.point(x, ids, index)
                total = total + interpreter._gradient(prepared.run, point, CLASSES, True)
        return pooled_map(interpreter.attribution(x, total / interpreter.samples), interpreter.pool)

    def one_at_a_time(x: Tensor) -> Tensor:
        view = interpreter.view()
        state = view.begin(prepared, x, CLASSES, ids)
        return view.read(prepared, prepared.record(x), x, CLASSES, state, True)[0]

    found = []
    for maps_of in (all_at_once, one_at_a_time):
        x = images.clone().requires_grad_()
        maps = maps_of(x)
        (gradient,) = torch.autograd.grad((weight * maps).sum() + maps.square().sum(), x)
        found.append((maps.detach(), gradient))
    (maps, gradient), (others, other) = found
    assert float(gradient.abs().max()) > 1e-3
    assert torch.allclose(maps, others, rtol=1e-10, atol=1e-12)
    assert torch.allclose(gradient, other, rtol=1e-10, atol=1e-10 * float(gradient.abs().max()))


@pytest.mark.parametrize("name", ["smoothgrad", "ig"])
def test_memory_does_not_grow_with_the_samples(classifier: uf.Classifier, name: str) -> None:
    peaks = []
    for interpreter in (uf.interpreters.create(name), uf.interpreters.create(name).sketch(), uf.interpreters.Grad()):
        view = uf.System(classifier, {"one": interpreter}).view()
        x, ids = smooth_images(4).requires_grad_(), torch.arange(4)
        states = view.begin(x.detach(), CLASSES, ids)
        with counting(view.prepared.module.parameters()) as kept:
            reading, _ = view.read(x, lambda _: CLASSES, states, graph=True)
            torch.autograd.grad(reading.logits.sum() + reading.maps["one"].square().sum(), x)
        peaks.append(kept.peak)
    sixteen, single, grad = peaks
    assert sixteen == single
    assert sixteen <= 1.3 * grad


def test_the_sketch_is_one_sample() -> None:
    assert SmoothGrad(noise=0.3, seed=2).sketch() == SmoothGrad(samples=1, noise=0.3, seed=2)
