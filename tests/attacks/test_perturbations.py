"""C&W and StAdv: closed forms, slow replicas, finite differences, and what every perturbation promises."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import underfire as uf
from tests.attacks.running import run_alone
from tests.conftest import smooth_images, tiny_network
from underfire import attacks
from underfire.attacks.perturbations import CW, PGD, Perturbation, StAdv
from underfire.errors import InputError
from underfire.transforms import warp

IDS = torch.arange(6)


def started(perturbation: Perturbation, images: Tensor, weights: Tensor | None = None) -> dict[str, Tensor]:
    weights = images.new_ones(len(images), 1, *images.shape[2:]) if weights is None else weights
    return perturbation.start(images, weights, torch.arange(len(images)), 0)


# Warping


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(0, 9), st.integers(1, 7), st.integers(1, 7))
def test_warping_is_scipys_linear_interpolation(seed: int, reach: float, height: int, width: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(2, 3, height, width, generator=generator, dtype=torch.float64)
    flow = (2 * torch.rand(2, 2, height, width, generator=generator, dtype=torch.float64) - 1) * reach
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    for image, moved, found in zip(images, flow, warp(images, flow), strict=True):
        places = [rows + moved[0].numpy(), columns + moved[1].numpy()]
        for channel, expected in zip(image, found, strict=True):
            theirs = scipy.ndimage.map_coordinates(channel.numpy(), places, order=1, mode="nearest")
            assert np.allclose(expected.numpy(), theirs, atol=1e-12)


def test_zero_flow_returns_the_image_bit_for_bit() -> None:
    images = torch.rand(3, 3, 11, 7)
    assert torch.equal(warp(images, torch.zeros(3, 2, 11, 7)), images)
    eight_bit = smooth_images(3)
    still = StAdv(spread=0.0)
    theta = started(still, eight_bit, torch.rand(3, 1, 16, 16))
    assert torch.equal(still.image(theta, theta["flow"]), eight_bit)
    with pytest.raises(InputError, match="flow has shape"):
        warp(images, torch.zeros(3, 2, 7, 11))


# Gradients


@pytest.mark.parametrize(
    "perturbation", [CW(rounded=False), StAdv(rounded=False), StAdv(neighbours="diagonal", rounded=False)]
)
def test_gradients_by_finite_differences(perturbation: Perturbation) -> None:
    """Of image and penalty with respect to the variable, away from the kinks of bilinear sampling."""
    images = smooth_images(2, 5).double()
    weights = torch.rand(2, 1, 5, 5, dtype=torch.float64)
    theta = started(perturbation, images, weights)
    variable = perturbation.variable(theta).double().clone()
    if isinstance(perturbation, StAdv):
        variable = (torch.rand_like(variable) * 0.6 + 0.2) * torch.where(torch.rand_like(variable) < 0.5, 1, -1)

    def both(values: Tensor) -> tuple[Tensor, Tensor]:
        image = perturbation.image(theta, values)
        return image, perturbation.penalty(theta, values, image)

    assert torch.autograd.gradcheck(both, (variable.requires_grad_(),), eps=1e-6, atol=1e-5)


def test_rounding_is_passed_straight_through() -> None:
    images = smooth_images(2)
    for seen, free in ((CW(), CW(rounded=False)), (StAdv(), StAdv(rounded=False))):
        theta = started(seen, images)
        variable = (seen.variable(theta) + 0.01).requires_grad_()
        rounded, image = seen.image(theta, variable), free.image(theta, variable)
        assert torch.equal(rounded, (image * 255).round() / 255)
        assert not torch.equal(rounded, image)
        one, other = (torch.autograd.grad((what * images).sum(), variable)[0] for what in (rounded, image))
        assert torch.equal(one, other)


# C&W


def test_pixels_at_the_ends_of_the_range_can_move() -> None:
    images = torch.tensor([0.0, 1.0, 128 / 255, 1 / 255]).repeat(1, 3, 4, 1)
    perturbation = CW()
    theta = started(perturbation, images)
    assert bool(torch.isfinite(theta["w"]).all())
    start = perturbation.image(theta, theta["w"])
    assert torch.equal(start, images), "the start is the image itself"
    variable = theta["w"].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(perturbation.image(theta, variable).sum(), variable)
    assert bool((gradient > 0).all())
    for bound, rounded in ((0.49 / 255, True), (1e-6, False)):
        perturbation = CW(rounded=rounded)
        variable = started(perturbation, images)["w"].requires_grad_()
        (gradient,) = torch.autograd.grad(perturbation.image(theta, variable).sum(), variable)
        near = images.clamp(bound, 1 - bound)
        assert torch.allclose(gradient, 2 * near * (1 - near), rtol=0.1)
    for direction in (-1.0, 1.0):
        moved = perturbation.move(theta, direction * torch.ones_like(images), torch.tensor([3.0]))
        found = perturbation.image(moved, moved["w"])
        assert bool(((found >= 0) & (found <= 1)).all())
        inner = images[..., 2]
        assert bool(((found[..., 2] - inner) * direction > 0.4).all())


def test_cw_against_a_slow_replica() -> None:
    """Carlini & Wagner 2017, section V, image by image, with Adam (amsgrad) written out."""
    network = tiny_network()
    classifier = uf.Classifier(network, image_size=16)
    images = smooth_images(3, seed=5)
    labels = classifier.logits(images).argmax(1)
    targets = (labels + 1) % 4
    steps, rate = 12, 0.01
    attack = attacks.Attack(
        name="cw",
        perturbation=CW(rounded=False),
        stages=(
            attacks.Stage(
                "all",
                steps,
                (
                    attacks.Move(
                        (
                            attacks.Weighted(attacks.Prediction("margin", kappa=3.0), 2.0),
                            attacks.Weighted(attacks.Penalty()),
                        ),
                        rate,
                        attacks.Adam(),
                    ),
                ),
            ),
        ),
        target_class=attacks.GivenClass(tuple(targets.tolist())),
        ranking=attacks.Ranking("last"),
    )
    system = uf.System(classifier, uf.interpreters.CAM())
    benign = attacks.benign.read_benign(system, images, labels)
    found = run_alone(attack, system.view(), benign)[1].last
    for index in range(3):
        x, t = images[index].double(), int(targets[index])
        exact = tiny_network().double()
        w = torch.atanh((2 * x - 1).clamp(-1 + 2e-6, 1 - 2e-6))
        m, v, largest = torch.zeros_like(w), torch.zeros_like(w), torch.zeros_like(w)
        for step in range(1, steps + 1):
            w = w.detach().requires_grad_()
            image = (torch.tanh(w) + 1) / 2
            z = exact(image[None])[0]
            margin = torch.stack([z[k] for k in range(4) if k != t]).max() - z[t]
            loss = 2 * torch.clamp(margin, min=-3.0) + (image - x).square().sum()
            (g,) = torch.autograd.grad(loss, w)
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            largest = torch.maximum(largest, v)
            w = w.detach() - rate * (m / (1 - 0.9**step)) / ((largest / (1 - 0.999**step)).sqrt() + 1e-8)
        expected = (torch.tanh(w) + 1) / 2
        assert torch.allclose(found[index].double(), expected, atol=2e-4)


def test_cw_does_not_care_where_the_logits_lie() -> None:
    """All logits far below or above 0: a margin that hides the target with 0 would be wrong for one of them."""
    images = smooth_images(8, seed=5)
    found = []
    for shift in (0.0, -50.0, 50.0):
        network = tiny_network()
        with torch.no_grad():
            network.head.bias.add_(shift)
        classifier = uf.Classifier(network, image_size=16)
        labels = classifier.logits(images).argmax(1)
        found.append(attacks.preset("cw", steps=(0, 60), search=5)(uf.System(classifier, "cam"), images, labels))
    for result in found:
        assert bool(result.success.all())
        assert torch.allclose(result.l2, found[0].l2, rtol=0.02)


def test_cw_moves_pixels_at_the_ends() -> None:
    """An image of zeros and ones: what lies there is moved by the first steps as other pixels are, and comes back."""
    classifier = uf.Classifier(tiny_network(), image_size=16)
    images = (smooth_images(8, seed=5) > 0.5).float()
    labels = classifier.logits(images).argmax(1)
    perturbation = CW()
    weights, ids = torch.ones(8, 1, 16, 16), torch.arange(8)
    theta = perturbation.start(images, weights, ids, 0)
    assert torch.equal(perturbation.image(theta, perturbation.variable(theta)), images)
    result = attacks.preset("cw", steps=(0, 200), search=3)(uf.System(classifier, "cam"), images, labels)
    assert bool(result.success.all())
    assert float(result.l2.max()) < 4


# StAdv


@pytest.mark.parametrize("neighbours", ["adjacent", "diagonal"])
def test_the_flows_roughness_by_its_definition(neighbours: Any) -> None:
    flow = torch.randn(2, 2, 4, 5, dtype=torch.float64)
    pairs = ((0, 1), (1, 0), (0, -1), (-1, 0)) if neighbours == "adjacent" else ((1, 1), (1, -1), (-1, 1), (-1, -1))
    perturbation = StAdv(neighbours=neighbours)
    found = perturbation.penalty({}, flow, flow)
    for one, value in zip(flow.tolist(), found.tolist(), strict=True):
        total = 0.0
        for y in range(4):
            for x in range(5):
                for down, right in pairs:
                    if 0 <= y + down < 4 and 0 <= x + right < 5:
                        du = one[0][y][x] - one[0][y + down][x + right]
                        dv = one[1][y][x] - one[1][y + down][x + right]
                        total += math.sqrt(du * du + dv * dv + 1e-8)
        assert value == pytest.approx(total)


def test_the_flow_starts_small_and_by_image() -> None:
    images = smooth_images(4)
    theta = started(StAdv(), images)
    assert float(theta["flow"].abs().max()) <= 0.1
    assert float(theta["flow"].std()) == pytest.approx(0.2 / math.sqrt(12), rel=0.1)
    alone = StAdv().start(images[2:3], torch.ones(1, 1, 16, 16), torch.tensor([2]), 0)
    assert torch.equal(alone["flow"][0], theta["flow"][2])


# What every one promises


@pytest.mark.parametrize("perturbation", [PGD(0.1), PGD(0.1, rounded=True), CW(), StAdv()])
def test_where_the_weight_is_zero_nothing_changes(perturbation: Perturbation) -> None:
    images = smooth_images(4)
    weights = (torch.rand(4, 1, 16, 16) < 0.4).float()
    theta = started(perturbation, images, weights)
    torch.manual_seed(0)
    for _ in range(5):
        variable = perturbation.variable(theta)
        theta = perturbation.move(theta, torch.randn_like(variable).sign(), torch.full((4,), 0.3))
    image = perturbation.levels(images, perturbation.image(theta, perturbation.variable(theta)))
    still = (weights == 0).expand_as(images)
    assert torch.equal(image[still], images[still])
    assert not torch.equal(image[~still], images[~still])
    assert bool(((image >= 0) & (image <= 1)).all())
    free = perturbation.reshaped(theta, torch.ones_like(weights))
    for _ in range(2):
        variable = perturbation.variable(free)
        free = perturbation.move(free, torch.randn_like(variable).sign(), torch.full((4,), 0.3))
    image = perturbation.image(free, perturbation.variable(free))
    assert not torch.equal(image[still], images[still]), "from there on uniform"


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([CW, StAdv, PGD]), st.integers(0, 9))
def test_noise_has_one_size_for_all_perturbations(seed: int, kind: type[CW] | type[PGD], draw: int) -> None:
    """Regression: under C&W and StAdv it followed the attack's change, so that changing more loosened the limit."""
    generator = torch.Generator().manual_seed(seed)
    images = (torch.rand(3, 3, 24, 24, generator=generator) * 0.4 + 0.3).mul(255).round().div(255)
    ids = torch.arange(3) + seed
    noise = kind().noise(images, ids, seed, draw)
    assert set((noise - images).mul(255).round().flatten().tolist()) == {-7.0, 7.0}, "0.031 holds 7 whole levels"
    assert torch.equal(noise, PGD().noise(images, ids, seed, draw))
    assert torch.equal(kind().noise(images[1:2], ids[1:2], seed, draw)[0], noise[1]), "not of the batch"
    other = kind().noise(images, ids, seed, draw + 1)
    assert 0.4 < float((noise == other).float().mean()) < 0.6, "another draw is independent"


@pytest.mark.parametrize("kind", [CW, StAdv])
def test_noise_of_a_chosen_size_is_that_of_a_ball(kind: type[CW] | type[StAdv]) -> None:
    images = torch.rand(3, 3, 6, 6).mul(255).round().div(255)
    ids = torch.arange(3)
    noise = kind(noise_eps=8 / 255).noise(images, ids, 4)
    assert torch.equal(noise, PGD(8 / 255).noise(images, ids, 4))
    moved = (noise - images).abs().mul(255).round()
    assert bool(((moved == 8) | (noise == 0) | (noise == 1)).all())


def test_bad_parameters() -> None:
    for kind in (CW, StAdv):
        with pytest.raises(InputError, match=r"noise_eps is 8; .* Did you mean 8/255"):
            kind(noise_eps=8)
    with pytest.raises(InputError, match=r"noise_eps is 0\.05, and pgd has no such setting: .* is as large as its eps"):
        attacks.preset("adv2", noise_eps=0.05)
    with pytest.raises(InputError, match="spread is -1"):
        StAdv(spread=-1)
    with pytest.raises(InputError, match="neighbours is 'all'"):
        StAdv(neighbours="all")
