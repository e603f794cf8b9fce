"""AdvEdge and AdvEdge+: edges as weights, in every stage or in the warm-up, and in the saved image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import skimage.filters
import torch
from torch import Tensor

import underfire as uf
from tests.conftest import by, smooth_images
from underfire import attacks
from underfire.errors import InputError


def framed(count: int = 6) -> Tensor:
    """Images with a flat border of four pixels."""
    images = smooth_images(count, seed=3)
    images[:, :, :4] = images[:, :, -4:] = images[:, :, :, :4] = images[:, :, :, -4:] = 128 / 255
    return images


def test_the_weights_are_the_papers() -> None:
    images = framed()
    edges = torch.from_numpy(np.stack([skimage.filters.sobel(image.mean(0).double().numpy()) for image in images]))
    edges = edges.unsqueeze(1).float()
    assert torch.allclose(attacks.Edge().weights(images), edges, rtol=0, atol=1e-6)
    assert not attacks.Edge().weights(images)[:, :, :3].any(), "flat areas are exactly 0"
    for threshold in (0.0, 0.1, 0.3):
        mask = attacks.EdgeMask(threshold).weights(images)
        graded = attacks.EdgeMask(threshold, graded=True).weights(images)
        assert not mask[:, :, :3].any(), "no edge exceeds no threshold, not even 0"
        clear = (edges - threshold).abs() > 1e-5
        assert torch.equal(mask[clear], (edges > threshold).float()[clear])
        assert torch.allclose(graded[clear], (edges * (edges > threshold))[clear], rtol=0, atol=1e-6)
    with pytest.raises(InputError, match=r"threshold is 0.9; expected 0 <= threshold < 0.79"):
        attacks.EdgeMask(0.9)
    with pytest.raises(InputError, match=r"threshold is -1"):
        attacks.preset("advedge+", edge_threshold=-1)


@pytest.mark.parametrize("perturbation", ["pgd", "cw", "stadv"])
@pytest.mark.parametrize("name", ["advedge", "advedge+"])
def test_flat_areas_stay_in_the_saved_image(classifier: uf.Classifier, name: str, perturbation: str) -> None:
    images = framed()
    labels = classifier.logits(images).argmax(1)
    system = uf.System(classifier, "cam")
    preset = attacks.preset(name, **by(perturbation, 0.2), steps=(6, 10))
    result = preset(system, images, labels)
    moved = (result.adversarial != images).any(1, keepdim=True)
    weights = preset.build(system).shaping.weights(images)
    assert not moved[weights == 0].any()
    assert bool(moved.flatten(1).any(1).all())
    only_first = attacks.preset(name, **by(perturbation, 0.2), steps=(6, 10), edge_scope="warmup")
    free = only_first(system, images, labels)
    if perturbation != "stadv":  # moving the pixels of a flat area changes nothing
        assert bool((free.adversarial != images).any(1, keepdim=True)[weights == 0].any())
    assert [stage.shaped for stage in only_first.build(system).stages] == [True, False]
    beside = only_first.control().build(system).stages
    assert [(stage.steps, stage.shaped, stage.reads_maps) for stage in beside] == [(6, True, False), (10, False, False)]
    for preset in (only_first, replace(only_first, edge_scope="all")):
        alone = preset.control()(system, images, labels)
        changed = (alone.adversarial != images).any(1, keepdim=True)[weights == 0].any()
        if perturbation != "stadv" or preset is not only_first:
            assert bool(changed) == (preset is only_first), "as free as what it is beside"


def test_pgd_steps_in_proportion_to_the_edges(classifier: uf.Classifier) -> None:
    """One step from the image: alpha * e * sign, at 8 bits inside the ball."""
    images = framed(2)
    labels = classifier.logits(images).argmax(1)
    system = uf.System(classifier, "cam")
    attack = attacks.Attack(
        name="one",
        perturbation=attacks.PGD(0.5, rounded=True),
        shaping=attacks.Edge(),
        stages=(attacks.Stage("s", 1, (attacks.Move((attacks.Weighted(attacks.Prediction()),), 0.4),)),),
        ranking=attacks.Ranking("last"),
    )
    result = attack(system, images, labels)
    step = (result.adversarial - images).abs().amax(1, keepdim=True)
    expected = 0.4 * attacks.Edge().weights(images)
    inside = (images - expected > 0).all(1, keepdim=True) & (images + expected < 1).all(1, keepdim=True)
    assert torch.allclose(step[inside], expected[inside], atol=0.5 / 255 + 1e-6)
    assert float(expected[inside].max()) > 0.05


@pytest.mark.parametrize("shaping", ["uniform", "edge", "edge-mask"])
def test_a_random_start_is_shaped_too(shaping: str) -> None:
    images, ids = framed(), torch.arange(6)
    weights = attacks.SHAPINGS[shaping].weights(images)
    pgd = attacks.PGD(0.1, random_start=True)
    theta = pgd.start(images, weights, ids, 0)
    moved = (pgd.image(theta, pgd.variable(theta)) - images).abs()
    inside = (images > 0.1) & (images < 0.9)
    assert not moved[(weights == 0).expand_as(moved)].any()
    assert bool((moved <= 0.1 * weights + 0.51 / 255).all()), "half a level by the rounding"
    expected = float((0.05 * weights).expand_as(moved)[inside].mean())
    assert float(moved[inside].mean()) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("name", ["adv2", "advedge", "advedge+"])
def test_weighted_steps_are_looked_at_as_they_will_be_saved(classifier: uf.Classifier, name: str) -> None:
    """Whole steps of PGD lie on 8-bit levels; a tenth of one does not, unless the view rounds it."""
    images = framed()
    attack = attacks.preset(name, eps=0.1, steps=(3, 3)).build(uf.System(classifier, "cam"))
    theta = attack.perturbation.start(images, attack.shaping.weights(images), torch.arange(6), 0)
    direction = torch.ones_like(images)
    for _ in range(3):
        theta = attack.perturbation.move(theta, direction, torch.full((6,), 1 / 255))
        seen = attack.perturbation.image(theta, attack.perturbation.variable(theta))
        assert torch.allclose(seen * 255, (seen * 255).round(), atol=1e-3)
        assert torch.allclose(seen, attack.perturbation.levels(images, seen), atol=1e-6)
    assert bool((seen != images).any())


@pytest.mark.parametrize("perturbation", ["pgd", "cw", "stadv"])
def test_edges_are_those_of_the_benign_image_in_every_stage(classifier: uf.Classifier, perturbation: str) -> None:
    seen: list[Tensor] = []

    class Watched(attacks.Edge):
        def weights(self, images: Tensor) -> Tensor:
            seen.append(images.clone())
            return super().weights(images)

    images = framed()
    system = uf.System(classifier, "cam")
    attack = attacks.preset("advedge", **by(perturbation, 0.2), steps=(4, 4)).build(system)
    first, last = attack.stages
    late = replace(attack, shaping=Watched(), stages=(replace(first, shaped=False), replace(last, shaped=True)))
    result = late(system, images, classifier.logits(images).argmax(1))
    assert bool((result.adversarial != images).any())
    assert len(seen) == 1
    assert torch.equal(seen[0][:6], images), "also where they begin to act on what has moved"


def test_edges_get_more_of_the_perturbation(classifier: uf.Classifier) -> None:
    images = smooth_images(12, seed=2)
    labels = classifier.logits(images).argmax(1)
    system = uf.System(classifier, "cam")
    shares = {}
    for name in ("adv2", "advedge", "advedge+"):
        result = attacks.preset(name, eps=0.1, steps=(10, 20))(system, images, labels)
        shares[name] = float(uf.metrics.edge_energy(images, result.adversarial).mean())
    assert shares["adv2"] < shares["advedge"] < shares["advedge+"]
    assert shares["advedge+"] == pytest.approx(1.0)


def test_a_graded_mask_that_is_asked_for_stays_graded(classifier: uf.Classifier) -> None:
    system = uf.System(classifier, "cam")
    for perturbation in ("pgd", "cw", "stadv"):
        for graded in (False, True):
            preset = attacks.preset("advedge+", perturbation=perturbation, shaping=attacks.EdgeMask(graded=graded))
            assert preset.build(system).shaping == attacks.EdgeMask(graded=graded)
    published = attacks.preset("advedge+", perturbation="cw", variant="published").build(system)
    assert published.shaping == attacks.EdgeMask(graded=True)
