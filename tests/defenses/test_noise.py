"""The size of noise that makes a classifier wrong on a share of images."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import underfire as uf
from underfire import randomness
from underfire.defenses.noise import NOISES, noisy_at
from underfire.errors import InputError


class Bright(nn.Module):
    """Class 1 if the mean pixel is above one half: what noise does to it can be computed by hand."""

    def forward(self, images: Tensor) -> Tensor:
        mean = images.mean((1, 2, 3))
        return torch.stack([torch.full_like(mean, 0.5), mean], dim=1)


def _grey(levels: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    images = (torch.tensor(levels).float() / 255).view(-1, 1, 1, 1).expand(-1, 1, 1, 1).contiguous()
    return images, (images.flatten(1)[:, 0] > 0.5).long(), torch.arange(len(levels))


@pytest.mark.parametrize("kind", NOISES)
def test_noise_of_size_one(kind: str) -> None:
    drawn = randomness.uniform(0, torch.arange(50), "x", 0, (40, 40))
    noise = NOISES[kind](drawn)
    deviation = {"normal": 1.0, "uniform": 3**-0.5}[kind]
    assert float(noise.mean()) == pytest.approx(0, abs=0.02)
    assert float(noise.std()) == pytest.approx(deviation, rel=0.02)
    assert kind == "normal" or float(noise.abs().max()) <= 1


@pytest.mark.parametrize("kind", NOISES)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.3])
def test_the_size_is_the_largest_that_misclassifies_at_most_the_share(kind: str, share: float) -> None:
    images, labels, ids = _grey([*range(40, 128, 4), *range(128, 220, 4)])
    classifier = uf.Classifier(Bright())
    found = noisy_at(classifier, images, labels, ids, kind, share, seed=3)
    # With one pixel, image i turns at its own size: that at which its noise carries it over the edge between 127, 128.
    noise = NOISES[kind](randomness.uniform(3, ids, f"noise {kind}", 0, (1, 1, 1))).flatten().tolist()
    levels = (images.flatten() * 255).round().tolist()
    turns = sorted((127.5 - level) / 255 / z for level, z in zip(levels, noise, strict=True) if (127.5 - level) * z > 0)
    allowed = int(share * len(levels))  # the next image to turn would pass the share
    assert found.size == pytest.approx(turns[allowed], abs=2**-15)
    assert int(found.wrong.sum()) == allowed
    assert torch.equal(found.wrong, found.classes != labels)
    assert torch.equal(found.images * 255, (found.images * 255).round())


def test_noise_that_cannot_mislead() -> None:
    images, _, ids = _grey([10, 20])
    with pytest.raises(
        InputError, match=r"uniform noise of size 1 makes \d of 2 images wrong; expected more than 99 %"
    ):
        noisy_at(uf.Classifier(Bright()), images, torch.zeros(2, dtype=torch.int64), ids, "uniform", 0.99)
