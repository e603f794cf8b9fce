"""The attack on the certificate: its ball, its aim, and that it does more than noise, and less than the certificate."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import underfire as uf
from underfire.errors import InputError
from underfire.interpreters import SparsifiedSmoothGrad
from underfire.interpreters.certified import certify, common, into_ball, undermine


def test_the_ball_and_the_pixels() -> None:
    centre = torch.tensor([[[[0.0, 1.0], [0.5, 0.5]]]])
    moved = into_ball(centre + torch.tensor([[[[-3.0, 0.0], [4.0, 0.0]]]]), centre, 0.5)
    assert moved.flatten().tolist() == pytest.approx([0.0, 1.0, 0.9, 0.5], abs=1e-5)
    near = centre + torch.tensor([[[[0.1, 0.0], [0.1, 0.0]]]])
    assert torch.equal(into_ball(near, centre, 0.5), near)


def test_common_cells_are_those_of_two_sets() -> None:
    first, second = torch.rand(2, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    expected = [
        len(set(a.flatten().topk(6).indices.tolist()) & set(b.flatten().topk(6).indices.tolist()))
        for a, b in zip(first, second, strict=True)
    ]
    assert common(first, second, 6).tolist() == expected
    assert common(first, first, 6).tolist() == [6] * 5


def test_the_attack_undoes_what_noise_leaves_and_the_certificate_holds() -> None:
    classifier = uf.classifiers.load("digits-resnet")
    batch = uf.data.open_data("digits:test").load((16, 16), 1, range(4))
    interpreter = SparsifiedSmoothGrad(samples=256, share=0.25, pool=2)
    fresh = replace(interpreter, seed=2)
    maps = interpreter.maps(classifier, batch.images, batch.labels)

    def left(images: torch.Tensor) -> list[int]:
        return common(maps, fresh.maps(classifier, images, batch.labels), 16).tolist()

    attacked = undermine(classifier, interpreter, batch.images, batch.labels, maps, radius=2.0, steps=6, samples=8)
    length = (attacked - batch.images).flatten(1).norm(dim=1)
    assert float(length.max()) <= 2.0
    assert float(attacked.min()) >= 0
    assert float(attacked.max()) <= 1
    noise = torch.randn(batch.images.shape, generator=torch.Generator().manual_seed(0))
    random = into_ball(batch.images + 100 * noise, batch.images, 2.0)
    assert sum(left(attacked)) + 4 <= sum(left(random))
    radius = 0.01
    found = certify(maps, interpreter, radius=radius, top=16, confidence=0.9)
    attacked = undermine(classifier, interpreter, batch.images, batch.labels, maps, radius=radius, steps=3, samples=8)
    assert int(found.kept.sum()) > 0
    assert all(one >= other for one, other in zip(left(attacked), found.kept.tolist(), strict=True))


def test_the_analysts_noise_is_not_known() -> None:
    classifier = uf.classifiers.load("digits-resnet")
    images, maps = torch.rand(1, 1, 16, 16), torch.rand(1, 8, 8)
    with pytest.raises(InputError, match="seed is 5, that of the interpreter"):
        undermine(classifier, SparsifiedSmoothGrad(seed=5), images, torch.tensor([0]), maps, radius=0.1, seed=5)
    with pytest.raises(InputError, match="steps"):
        undermine(classifier, SparsifiedSmoothGrad(), images, torch.tensor([0]), maps, radius=0.1, steps=0)
