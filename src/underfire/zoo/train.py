"""Training a shipped classifier from data on disk to weights and model card."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from underfire.data import ImageData, open_data
from underfire.errors import DataError, StoreError
from underfire.zoo import recipes, weights
from underfire.zoo.card import model_card
from underfire.zoo.training import Epoch, accuracy, train


def train_recipe(
    name: str,
    data: str,
    test: str,
    folder: Path,
    *,
    epochs: int | None = None,
    device: str = "cpu",
    resume: bool = False,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> dict[str, Any]:
    """Train the recipe called ``name``; write ``NAME.safetensors``, ``NAME.md`` and the checkpoint to ``folder``.

    Args:
        data, test: sources as :func:`underfire.data.open_data` takes them.
        epochs: instead of the recipe's number.
        resume: go on from the checkpoint in ``folder``.

    Returns:
        Name, test accuracy in [0, 1], numbers of images, epochs.

    Raises:
        StoreError: where the folder holds a checkpoint and ``resume`` is not given, or cannot be written.
    """
    recipe = recipes.find(name)
    training_data, test_data = open_data(data), open_data(test)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"output folder {folder} cannot be written: {error.strerror or error}.") from error
    if (folder / "checkpoint.pt").exists() and not resume:
        raise StoreError(f"{folder} holds a checkpoint: give --resume to go on from it, or another folder.")
    training, testing = _tensors(training_data, recipe), _tensors(test_data, recipe)
    network = train(recipe, training, testing, folder, epochs=epochs, device=device, on_epoch=on_epoch)
    reached = {
        "name": name,
        "accuracy": accuracy(network, *testing, recipe),
        "epochs": recipe.epochs if epochs is None else epochs,
        "training_images": len(training[0]),
        "test_images": len(testing[0]),
    }
    weights.write(network, folder / f"{name}.safetensors", {"recipe": name, "seed": str(recipe.seed)})
    (folder / f"{name}.md").write_text(model_card(recipe, reached, network, training_data, test_data))
    return reached


def _tensors(data: ImageData, recipe: recipes.Recipe) -> tuple[Tensor, Tensor]:
    batch = data.load(recipe.image_size, recipe.channels)
    if not len(batch.images):
        raise DataError(f"none of the images of {data.name!r} can be read.")
    return batch.images.mul(255).round().to(torch.uint8), batch.labels
