"""Training: averaging against its definition, augmentation against slices, resuming bit for bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from underfire.zoo.recipes import Recipe, find
from underfire.zoo.training import augment, normalise, train


def small_recipe(averaging: int) -> Recipe:
    def network() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3)
        )

    return replace(
        find("digits-resnet"),
        network=network,
        image_size=(8, 8),
        batch_size=16,
        averaging=averaging,
        averaging_rate=0.02,
    )


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randint(0, 256, (96, 1, 8, 8), dtype=torch.uint8, generator=generator),
        torch.randint(0, 3, (96,), generator=generator),
    )


def test_crops_are_slices_of_the_padded_image() -> None:
    recipe = replace(find("cifar10-resnet20"), shift=2, flip=False)
    images = torch.randint(0, 256, (40, 3, 6, 6), dtype=torch.uint8)
    crops = augment(images, recipe, torch.Generator().manual_seed(1))
    padded = torch.nn.functional.pad(images, [2] * 4)
    places = set()
    for index in range(40):
        found = [
            (top, left)
            for top in range(5)
            for left in range(5)
            if torch.equal(padded[index, :, top : top + 6, left : left + 6], crops[index])
        ]
        assert found
        places.add(found[0])
    assert len(places) > 10


def test_half_of_the_images_are_mirrored() -> None:
    recipe = replace(find("cifar10-resnet20"), shift=0)
    images = torch.randint(0, 256, (400, 3, 4, 4), dtype=torch.uint8)
    changed = augment(images, recipe, torch.Generator().manual_seed(1))
    mirrored = (changed == images.flip(3)).flatten(1).all(1)
    assert bool((mirrored | (changed == images).flatten(1).all(1)).all())
    assert 150 < int(mirrored.sum()) < 250


def test_normalised_values() -> None:
    recipe = find("cifar10-resnet20")
    values = normalise(torch.full((1, 3, 2, 2), 51, dtype=torch.uint8), recipe)[0, :, 0, 0]
    expected = [(0.2 - mean) / std for mean, std in zip(recipe.mean, recipe.std, strict=True)]
    assert torch.allclose(values, torch.tensor(expected), atol=1e-6)


def test_averaging_is_the_mean_of_the_weights_on_the_way(tmp_path: Path) -> None:
    """The averaged epochs' weights, collected epoch by epoch with six steps each and one average per step."""
    folder = tmp_path / "whole"
    folder.mkdir()
    seen: list[dict[str, Tensor]] = []
    network = train(small_recipe(3), data(), data(), folder, epochs=1)
    collected = tmp_path / "watched"
    collected.mkdir()
    original = torch.optim.SGD.step
    rates: list[float] = []

    def step(self: torch.optim.SGD, *arguments: object) -> object:
        result = original(self, *arguments)  # type: ignore[arg-type]
        rates.append(self.param_groups[0]["lr"])
        seen.append({"weight": self.param_groups[0]["params"][0].detach().clone()})
        return result

    torch.optim.SGD.step = step  # type: ignore[method-assign]
    try:
        train(small_recipe(3), data(), data(), collected, epochs=1)
    finally:
        torch.optim.SGD.step = original  # type: ignore[method-assign]
    assert len(seen) == 4 * 6
    assert rates[6:] == [0.02] * 18
    mean = torch.stack([weights["weight"] for weights in seen[12:]]).mean(0)
    assert torch.allclose(network[0].weight, mean, atol=1e-6)  # type: ignore[index]


def test_a_resumed_training_ends_in_the_same_weights(tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    expected = train(small_recipe(3), data(), data(), whole, epochs=2).state_dict()
    for stop in (1, 3, 4):

        def interrupt(epoch: object, stop: int = stop) -> None:
            if epoch.number == stop:  # type: ignore[attr-defined]
                raise StopError

        try:
            train(small_recipe(3), data(), data(), parts, epochs=2, on_epoch=interrupt)
        except StopError:
            continue
    resumed = train(small_recipe(3), data(), data(), parts, epochs=2).state_dict()
    assert all(torch.equal(resumed[name], value) for name, value in expected.items())
