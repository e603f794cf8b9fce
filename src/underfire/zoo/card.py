"""The model card of a trained classifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from underfire.checkpoints import state_hash
from underfire.data import ImageData
from underfire.zoo.recipes import Recipe


def model_card(
    recipe: Recipe, reached: Mapping[str, Any], network: nn.Module, training: ImageData, test: ImageData
) -> str:
    """Write the card as Markdown: data, recipe, accuracy, seed, and the purpose of the weights."""
    parameters = sum(value.numel() for value in network.parameters())
    augmentation = [f"random crop after padding by {recipe.shift} pixels"] if recipe.shift else []
    augmentation += ["horizontal mirroring"] if recipe.flip else []
    augmentation += [f"mixup in epochs {recipe.mixed.start + 1} to {recipe.mixed.stop}"] if recipe.mixed else []
    return f"""# {recipe.name}

A small classifier for measuring attacks on explanations. It is a test object, not a product.

| | |
|---|---|
| test accuracy | {100 * reached["accuracy"]:.2f} % of {reached["test_images"]:,} images |
| training data | {recipe.data} ({reached["training_images"]:,} images) |
| classes | {", ".join(recipe.class_names)} |
| input | pixels in [0, 1], {recipe.channels} x {recipe.image_size[0]} x {recipe.image_size[1]}; mean {recipe.mean}, std {recipe.std} inside the classifier |
| network | {type(network).__name__}, {parameters:,} parameters |
| recipe | {reached["epochs"]} epochs in batches of {recipe.batch_size}, {recipe.optimising}, learning rate: {", then ".join(map(str, recipe.phases))}; {", ".join(augmentation) or "no augmentation"} |
| seed | {recipe.seed} |
| made with | torch {torch.__version__}, `underfire train classifier --recipe {recipe.name}` |
| SHA-256 of the weights | `{state_hash(network)}` |
| SHA-256 of the data | training `{training.fingerprint()}`, test `{test.fingerprint()}` |

The weights are those after the last epoch: no epoch was chosen by its test accuracy. {recipe.remark}
"""
