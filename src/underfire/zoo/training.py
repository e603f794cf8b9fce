"""Training of the shipped classifiers: deterministic per machine, resumable after each epoch."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from underfire.zoo.folder import load_checkpoint, save_checkpoint
from underfire.zoo.recipes import Recipe


@dataclass(frozen=True)
class Epoch:
    """What is known after an epoch: its number from 1, mean training loss, test accuracy in [0, 1], seconds."""

    number: int
    loss: float
    accuracy: float
    seconds: float


def normalise(images: Tensor, recipe: Recipe) -> Tensor:
    """uint8 N x C x H x W to normalised float32."""
    mean = torch.tensor(recipe.mean, device=images.device).view(1, -1, 1, 1)
    std = torch.tensor(recipe.std, device=images.device).view(1, -1, 1, 1)
    scaled: Tensor = (images.float().div(255) - mean) / std
    return scaled.contiguous(memory_format=torch.channels_last)


def augment(images: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Random crops of the zero-padded images, and mirroring, drawn per image from ``generator``."""
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


def accuracy(network: nn.Module, images: Tensor, labels: Tensor, recipe: Recipe) -> float:
    """Share of ``images`` (uint8) that the network, in evaluation mode, puts into their class."""
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
    """Train ``recipe``'s network, going on from ``folder/checkpoint.pt`` where there is one.

    Args:
        training: uint8 images N x C x H x W and int64 labels N, prepared to the recipe's size.
        test: likewise; measured after each epoch, never used to choose anything.
        folder: where the checkpoint lies; it must exist.
        on_epoch: called after each epoch, once its checkpoint is on disk.

    Returns:
        The trained network in evaluation mode, on the CPU.
    """
    torch.manual_seed(recipe.seed)
    network: nn.Module = recipe.network().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.SGD(
        network.parameters(), lr=0.0, momentum=recipe.momentum, weight_decay=recipe.weight_decay, nesterov=True
    )
    images, labels = training[0].to(device), training[1].to(device)
    test_images, test_labels = test[0].to(device), test[1].to(device)
    steps = len(images) // recipe.batch_size
    first, saved = 0, load_checkpoint(folder, device)
    if saved is not None:
        network.load_state_dict(saved["network"])
        optimiser.load_state_dict(saved["optimiser"])
        first = saved["epoch"]
    for epoch in range(first, recipe.epochs):
        started, total = time.perf_counter(), torch.zeros((), device=device)
        generator = torch.Generator().manual_seed(recipe.seed * 100_003 + epoch)
        order = torch.randperm(len(images), generator=generator).to(device)
        network.train()
        for step in range(steps):
            chosen = order[step * recipe.batch_size : (step + 1) * recipe.batch_size]
            batch = normalise(augment(images[chosen], recipe, generator), recipe)
            loss = F.cross_entropy(network(batch), labels[chosen])
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.param_groups[0]["lr"] = recipe.rate(epoch + step / steps)
            optimiser.step()
            total += loss.detach()
        reached = accuracy(network, test_images, test_labels, recipe)
        state = {"network": network.state_dict(), "optimiser": optimiser.state_dict(), "epoch": epoch + 1}
        save_checkpoint(folder, state)
        if on_epoch is not None:
            on_epoch(Epoch(epoch + 1, float(total) / steps, reached, time.perf_counter() - started))
    network.eval().cpu()
    return network
