"""The search for each image's own constant."""

from __future__ import annotations

import pytest
import torch

import underfire as uf
from tests.conftest import smooth_images, tiny_network
from underfire import attacks
from underfire.errors import InputError

IDS = torch.arange(6)


def test_the_search_halves_between_what_failed_and_what_did_not() -> None:
    search = attacks.ConstantSearch(rounds=12, initial=1e-2)
    needed = torch.tensor([3e-3, 0.5, 40.0])
    state, tried = search.start(3, torch.device("cpu")), []
    for _ in range(12):
        tried.append(state["constant"])
        state = search.update(state, state["constant"] >= needed)
    assert torch.stack(tried)[:4].T.tolist() == [
        pytest.approx([1e-2, 5e-3, 2.5e-3, 3.75e-3]),
        pytest.approx([1e-2, 1e-1, 1.0, 0.55]),
        pytest.approx([1e-2, 1e-1, 1.0, 10.0]),
    ]
    assert torch.allclose(state["high"], needed, rtol=0.1)
    with pytest.raises(InputError, match="search has 0 rounds"):
        attacks.ConstantSearch(0)


def test_a_search_finds_smaller_perturbations_and_more_of_them() -> None:
    classifier = uf.Classifier(tiny_network(), image_size=16)
    images = smooth_images(11, seed=5)
    labels = classifier.logits(images).argmax(1)
    system = uf.System(classifier, "cam")
    fixed = attacks.preset("cw", steps=(0, 60))(system, images, labels)
    searched = attacks.preset("cw", steps=(0, 60), search=7)(system, images, labels)
    both = fixed.success & searched.success
    assert int(both.sum()) >= 3
    assert int(searched.success.sum()) > int(fixed.success.sum())
    assert float(searched.l2[both].mean()) < float(fixed.l2[both].mean())
    assert searched.steps.tolist() == [7 * 60] * 11
    alone = attacks.preset("cw", steps=(0, 60), search=7)(system, images[4:5], labels[4:5])
    assert torch.equal(alone.adversarial[0], searched.adversarial[4])


def test_a_search_of_one_round_is_none() -> None:
    classifier = uf.Classifier(tiny_network(), image_size=16)
    images = smooth_images(5, seed=5)
    labels, system = classifier.logits(images).argmax(1), uf.System(classifier, "cam")
    plain, searched = (attacks.preset("adv2", perturbation="cw", steps=(4, 20), search=n) for n in (0, 1))
    assert torch.equal(plain(system, images, labels).adversarial, searched(system, images, labels).adversarial)


def test_a_search_knows_failures_where_the_last_iterate_is_kept() -> None:
    """Under ``published`` every last iterate is kept, and only some are successes."""
    classifier = uf.Classifier(tiny_network(), image_size=16)
    images = smooth_images(11, seed=5)
    labels, system = classifier.logits(images).argmax(1), uf.System(classifier, "cam")
    common = {"perturbation": "cw", "steps": (10, 40), "variant": "published"}
    once = attacks.preset("adv2", **common)(system, images, labels)
    searched = attacks.preset("adv2", search=6, **common)(system, images, labels)
    assert not bool(once.success.all())
    assert bool((searched.success | ~once.success).all())
    assert int(searched.success.sum()) > int(once.success.sum())
    assert (once.best_step >= 0).tolist() == once.success.tolist()
