"""Training of a recipe, from data on disk to a file of weights and a model card."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from underfire.arguments import check_at_least
from underfire.checkpoints import open_training, write_weights
from underfire.data import ImageData, open_data
from underfire.errors import DataError, InputError, warn
from underfire.files import write_text
from underfire.zoo import recipes
from underfire.zoo.card import model_card
from underfire.zoo.training import Epoch, accuracy, train


def train_recipe(
    name: str,
    folder: Path,
    data: str | None = None,
    test: str | None = None,
    *,
    epochs: int | None = None,
    device: str = "cpu",
    resume: bool = False,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> dict[str, Any]:
    """Train the recipe called ``name``; write ``NAME.safetensors``, ``NAME.md`` and a checkpoint to ``folder``.

    Args:
        name: a key of ``recipes.RECIPES``.
        folder: the output folder; it is created if needed.
        data, test: training and test images, as ``underfire.data.open_data`` takes them; the recipe's own if None.
        epochs: train only the recipe's first phase, for this many epochs; all phases if None.
        device: where to train.
        resume: continue from the checkpoint in ``folder``, which must be of the same recipe, data and epochs.
        on_epoch: called after each epoch, once its checkpoint is on disk.

    Returns:
        ``name``, test ``accuracy`` in [0, 1], ``epochs``, ``training_images`` and ``test_images``.

    Raises:
        InputError: the recipe is unknown, its data does not ship and is not given, or ``epochs`` is below 1.
        DataError: the data does not suit the recipe.
        StoreError: the folder cannot be written; or it holds a checkpoint, and ``resume`` is False or the checkpoint
            belongs to another training.
    """
    recipe = recipes.find(name)
    if epochs is not None:
        check_at_least("epochs", epochs, 1)
        recipe = recipe.shortened(epochs)
    if not recipe.sources and (data is None or test is None):
        raise InputError(f"{name} is trained on {recipe.data}, which do not come with underfire: give data and test.")
    training_data, test_data = open_data(data or recipe.sources[0]), open_data(test or recipe.sources[1])
    run = {
        "recipe": name,
        "epochs": recipe.epochs,
        "data": training_data.fingerprint(),
        "test": test_data.fingerprint(),
    }
    open_training(folder, run, resume)
    training, testing = _tensors(training_data, recipe), _tensors(test_data, recipe)
    if len(training[0]) < recipe.batch_size:
        raise DataError(
            f"{training_data.name!r} holds {len(training[0])} images; {name} is trained in batches of "
            f"{recipe.batch_size}, and needs at least one."
        )
    network = train(recipe, training, testing, folder, device=device, on_epoch=on_epoch)
    reached = {
        "name": name,
        "accuracy": accuracy(network, *testing, recipe),
        "epochs": recipe.epochs,
        "training_images": len(training[0]),
        "test_images": len(testing[0]),
    }
    write_weights(network, folder / f"{name}.safetensors", f"recipe {name}, seed {recipe.seed}")
    write_text(folder / f"{name}.md", model_card(recipe, reached, network, training_data, test_data))
    return reached


def _tensors(data: ImageData, recipe: recipes.Recipe) -> tuple[Tensor, Tensor]:
    batch = data.load(recipe.image_size, recipe.channels)
    if not len(batch.images):
        raise DataError(f"none of the images of {data.name!r} can be read.")
    if batch.unreadable:
        path, why = batch.unreadable[0]
        warn(
            f"{len(batch.unreadable)} images of {data.name!r} cannot be read and are left out, the first of them "
            f"{path}: {why}"
        )
    classes, highest = len(recipe.class_names), int(batch.labels.max())
    if highest >= classes:
        raise DataError(f"{data.name!r} has labels up to {highest}; the classes of {recipe.name} are 0..{classes - 1}.")
    return batch.images.mul(255).round().to(torch.uint8), batch.labels
