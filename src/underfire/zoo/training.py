"""Training of the shipped classifiers: deterministic on one machine, resumable after each epoch."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from underfire import training as loop
from underfire.numerics import channels_last, to_channels_last
from underfire.zoo.recipes import Recipe


@dataclass(frozen=True)
class Epoch:
    """A finished epoch: its number from 1, mean training loss, test accuracy in [0, 1], and seconds."""

    number: int
    loss: float
    accuracy: float
    seconds: float


def normalise(images: Tensor, recipe: Recipe) -> Tensor:
    """Divide uint8 images N x C x H x W by 255, and normalise them with the recipe's mean and std."""
    mean = torch.tensor(recipe.mean, device=images.device).view(1, -1, 1, 1)
    std = torch.tensor(recipe.std, device=images.device).view(1, -1, 1, 1)
    return channels_last((images.float().div(255) - mean) / std)


def augment(images: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Crop the zero-padded images at random places and mirror a random half of them, as the recipe says."""
    count, _, height, width = images.shape
    if recipe.shift:
        padded = F.pad(images, [recipe.shift] * 4)
        top, left = torch.randint(0, 2 * recipe.shift + 1, (2, count), generator=generator)
        rows = (top.unsqueeze(1) + torch.arange(height)).to(images.device)
        columns = (left.unsqueeze(1) + torch.arange(width)).to(images.device)
        image = torch.arange(count, device=images.device).view(-1, 1, 1)
        images = padded.permute(0, 2, 3, 1)[image, rows.unsqueeze(2), columns.unsqueeze(1)].permute(0, 3, 1, 2)
    if recipe.flip:
        mirrored = torch.rand(count, generator=generator).lt(0.5).to(images.device)
        images = torch.where(mirrored.view(-1, 1, 1, 1), images.flip(3), images)
    return images


def draw_mixture(count: int, generator: torch.Generator) -> tuple[float, Tensor]:
    """Draw how the images of a batch are mixed (mixup, Zhang et al. 2018, with alpha = 1).

    Returns:
        The share in [0, 1] of each image, and int64 N, the image that has the rest.
    """
    share = torch.rand((), generator=generator).item()
    return share, torch.randperm(count, generator=generator)


def accuracy(network: nn.Module, images: Tensor, labels: Tensor, recipe: Recipe) -> float:
    """Compute the share of uint8 ``images`` that the network classifies as in ``labels``.

    The network is left in evaluation mode.
    """
    network.eval()
    correct = 0
    with torch.no_grad():
        for begin in range(0, len(images), 500):
            chunk = slice(begin, begin + 500)
            correct += int((network(normalise(images[chunk], recipe)).argmax(1) == labels[chunk]).sum())
    return correct / len(images)


def train(
    recipe: Recipe,
    training: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    folder: Path,
    *,
    device: str = "cpu",
    on_epoch: Callable[[Epoch], None] | None = None,
) -> nn.Module:
    """Train the recipe's network, continuing from the folder's checkpoint if there is one.

    Args:
        training: uint8 images N x C x H x W in the recipe's size, and int64 labels N.
        test: the same for test images. They are measured after each epoch and choose nothing.
        folder: the folder of the checkpoint; it must exist.
        on_epoch: called after each epoch, once its checkpoint is on disk.

    Returns:
        The trained network in evaluation mode, on the CPU.

    Raises:
        StoreError: the checkpoint does not fit the recipe, or cannot be written.
    """
    with loop.initial_weights(recipe.seed):
        network = to_channels_last(recipe.network(), device=device)
    images, labels = training[0].to(device), training[1].to(device)
    test_images, test_labels = test[0].to(device), test[1].to(device)
    steps = len(images) // recipe.batch_size
    order, generator, started, losses = torch.empty(0), torch.Generator(), 0.0, list[float]()

    def compute(number: int) -> dict[str, Tensor]:
        nonlocal order, generator, started
        epoch, step = divmod(number, steps)
        if step == 0:
            started = time.perf_counter()
            generator = torch.Generator().manual_seed(recipe.seed * 100_003 + epoch)
            order = torch.randperm(len(images), generator=generator).to(device)
        chosen = order[step * recipe.batch_size : (step + 1) * recipe.batch_size]
        batch = normalise(augment(images[chosen], recipe, generator), recipe)
        if epoch not in recipe.mixed:
            return {"loss": F.cross_entropy(network(batch), labels[chosen])}
        share, partner = draw_mixture(len(batch), generator)
        partner = partner.to(device)
        logits = network(share * batch + (1 - share) * batch[partner])
        own, other = (F.cross_entropy(logits, labels[places]) for places in (chosen, chosen[partner]))
        return {"loss": share * own + (1 - share) * other}

    def rate(number: int) -> float:
        epoch, step = divmod(number, steps)
        return recipe.rate(epoch + step / steps)

    def on_step(step: loop.Step) -> None:
        losses.append(step.values["loss"])
        if step.number % steps == 0:
            reached, mean = accuracy(network, test_images, test_labels, recipe), sum(losses) / len(losses)
            losses.clear()
            if on_epoch is not None:
                on_epoch(Epoch(step.number // steps, mean, reached, time.perf_counter() - started))

    optimiser = loop.make_optimiser(recipe.optimiser, network.parameters(), 0.0, recipe.weight_decay, recipe.momentum)
    # A checkpoint after each epoch, because the steps of one epoch share a random number generator.
    phase = loop.Phase("training", recipe.epochs * steps, optimiser, rate, compute, checkpoint_every=steps)
    loop.train(network, [phase], folder, on_step, seed=recipe.seed)
    return network.eval().cpu()
