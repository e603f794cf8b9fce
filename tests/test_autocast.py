"""A ``torch.autocast`` around a call changes nothing."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

import underfire as uf
from tests.conftest import smooth_images, tiny_network
from tests.runs.conftest import small_config
from tests.runs.runs import Written, assert_same_run
from underfire.flags import without_autocast
from underfire.runs import run_attack


def ambient() -> torch.autocast:
    return torch.autocast("cpu", dtype=torch.bfloat16)


def test_the_context_switches_it_off_and_on_again() -> None:
    values = torch.ones(2, 2)
    with ambient():
        with without_autocast():
            assert (values @ values).dtype == torch.float32
        assert (values @ values).dtype == torch.bfloat16
    assert not torch.is_autocast_enabled("cpu")


def test_a_call_is_the_same(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    def call() -> uf.AttackResult:
        return uf.attack(
            classifier, images, labels, attack="adv2", interpreters=["cam", "grad"], eps=8 / 255, steps=(2, 4)
        )

    plain = call()
    with ambient():
        inside = call()
    assert torch.equal(plain.adversarial, inside.adversarial)
    assert torch.equal(plain.success, inside.success)
    for name in plain.maps:
        assert torch.equal(plain.maps[name], inside.maps[name])
        assert torch.equal(plain.benign_maps[name], inside.benign_maps[name])
        assert torch.equal(plain.joint_success[name], inside.joint_success[name])


def test_maps_and_logits_are_the_same() -> None:
    classifier = uf.Classifier(tiny_network(), image_size=16)
    images = smooth_images(3)
    logits = classifier.logits(images)
    cam = uf.interpreters.CAM()
    maps = cam.maps(classifier, images, [0, 1, 2])
    with ambient():
        assert torch.equal(classifier.logits(images), logits)
        assert torch.equal(cam.maps(classifier, images, [0, 1, 2]), maps)


def test_a_run_is_the_same(tmp_path: Path) -> None:
    run_attack(small_config(interpreters=("cam", "grad")), tmp_path / "plain")
    with ambient():
        run_attack(small_config(interpreters=("cam", "grad")), tmp_path / "inside")
    assert_same_run(Written(tmp_path / "plain"), Written(tmp_path / "inside"))
