"""Training: augmentation against slices, the learning rate against torch's, resuming with equal bits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from underfire import training as loop
from underfire.zoo.recipes import OneCycle, Recipe, Straight, find
from underfire.zoo.train import train_recipe
from underfire.zoo.training import augment, draw_mixture, normalise, train


def small_recipe() -> Recipe:
    def network() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3)
        )

    phases = (OneCycle(4, 0.2), Straight(1, 0.02, 0.02), Straight(1, 0.02, 0.0))
    return replace(find("digits-resnet"), network=network, image_size=(8, 8), batch_size=16, phases=phases)


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


def test_the_learning_rate_follows_its_phases() -> None:
    recipe = small_recipe()
    torchs = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        torchs, max_lr=0.2, total_steps=4000, pct_start=0.25, cycle_momentum=False
    )
    for step in range(3999):
        assert abs(recipe.rate(4 * step / 4000) - torchs.param_groups[0]["lr"]) < 2e-4
        torchs.step()
        cycle.step()
    assert [recipe.rate(epoch) for epoch in (4, 4.5, 5, 5.5)] == [0.02, 0.02, 0.02, 0.01]
    assert recipe.epochs == 6
    assert recipe.shortened(3).phases == (OneCycle(3, 0.2),)


def test_training_takes_the_rates_of_its_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    original = torch.optim.SGD.step

    def step(self: torch.optim.SGD, *arguments: Any) -> Any:
        rates.append(self.param_groups[0]["lr"])
        return original(self, *arguments)

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    train(small_recipe(), data(), data(), tmp_path)
    assert rates == [small_recipe().rate(epoch + step / 6) for epoch in range(6) for step in range(6)]


def test_mixtures_have_uniform_shares_and_every_image_once() -> None:
    drawn = [draw_mixture(7, torch.Generator().manual_seed(seed)) for seed in range(400)]
    shares = torch.tensor(sorted(share for share, _ in drawn))
    assert float((shares - torch.arange(400) / 400).abs().max()) < 0.07  # Kolmogorov-Smirnov: p = .04
    assert all(sorted(partner.tolist()) == list(range(7)) for _, partner in drawn)
    assert len({tuple(partner.tolist()) for _, partner in drawn}) > 300


def test_batches_are_mixed_in_the_epochs_that_the_recipe_names(tmp_path: Path) -> None:
    """Three epochs of one step each, the second mixed, beside steps from the definition, with labels mixed alike."""
    recipe = replace(small_recipe(), batch_size=96, phases=(Straight(3, 0.02, 0.02),), mixed=range(1, 2))
    losses: list[float] = []
    trained = train(recipe, data(), data(), tmp_path, on_epoch=lambda epoch: losses.append(epoch.loss))
    images, labels = data()
    with loop.initial_weights(recipe.seed):
        network = recipe.network()
    optimiser = torch.optim.SGD(
        network.parameters(), 0.02, recipe.momentum, weight_decay=recipe.weight_decay, nesterov=True
    )
    for epoch, expected in enumerate(losses):
        generator = torch.Generator().manual_seed(recipe.seed * 100_003 + epoch)
        order = torch.randperm(96, generator=generator)
        batch = normalise(augment(images[order], recipe, generator), recipe)
        truth = torch.nn.functional.one_hot(labels[order], 3).float()
        if epoch == 1:
            share = float(torch.rand((), generator=generator))
            partner = torch.randperm(96, generator=generator)
            batch, truth = (share * whole + (1 - share) * whole[partner] for whole in (batch, truth))
        loss = -(truth * network.train()(batch).log_softmax(1)).sum(1).mean()
        assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    for name, value in network.state_dict().items():
        assert torch.allclose(value, trained.state_dict()[name], atol=1e-5), name


@pytest.mark.parametrize(("asked", "expected"), [(None, 6), (2, 2)])
def test_the_command_trains_the_whole_recipe(
    asked: int | None, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All phases of the learning rate; or, with ``epochs``, that many epochs of the first phase."""
    trained: list[Recipe] = []

    def instead(recipe: Recipe, *arguments: Any, **options: Any) -> nn.Module:
        trained.append(recipe)
        return recipe.network().eval()

    recipe = replace(find("digits-resnet"), phases=small_recipe().phases)
    monkeypatch.setattr("underfire.zoo.recipes.RECIPES", {"digits-resnet": recipe})
    monkeypatch.setattr("underfire.zoo.train.train", instead)
    reached = train_recipe("digits-resnet", tmp_path, epochs=asked)
    assert reached["epochs"] == trained[0].epochs == expected
    assert trained[0].phases == (recipe.phases if asked is None else (OneCycle(2, 0.2),))


def test_a_resumed_training_ends_in_the_same_weights(tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    expected = train(small_recipe(), data(), data(), whole).state_dict()
    for stop in (1, 3, 4):

        def interrupt(epoch: Any, stop: int = stop) -> None:
            if epoch.number == stop:
                raise StopError

        try:
            train(small_recipe(), data(), data(), parts, on_epoch=interrupt)
        except StopError:
            continue
    resumed = train(small_recipe(), data(), data(), parts).state_dict()
    assert all(torch.equal(resumed[name], value) for name, value in expected.items())
