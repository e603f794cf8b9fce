"""The small trained classifiers that ship with the package."""

from __future__ import annotations

from underfire.checkpoints import read_weights
from underfire.classifiers.sources.options import Source
from underfire.zoo import recipes


def names() -> list[str]:
    """List the names of the shipped classifiers."""
    return [name for name in recipes.RECIPES if recipes.weights_file(name).exists()]


def find(name: str) -> Source:
    """Load the shipped classifier called ``name``."""
    recipe = recipes.find(name)
    network = recipe.network()
    network.load_state_dict(read_weights(recipes.weights_file(name)))
    return Source(
        network,
        name=recipe.name,
        mean=tuple(recipe.mean),
        std=tuple(recipe.std),
        image_size=recipe.image_size,
        channels=recipe.channels,
        class_names=tuple(recipe.class_names),
    )
