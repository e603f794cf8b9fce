"""The trained classifiers that need no file: those that ship with the package, and those of the extra ``photos``."""

from __future__ import annotations

from underfire.arguments import check_known
from underfire.checkpoints import read_weights
from underfire.classifiers.sources.options import Source
from underfire.data.imagenet import imagenet_class_names
from underfire.training import initial_weights
from underfire.zoo import recipes
from underfire.zoo.imagenet import IMAGENET, MEAN, STD


def names() -> list[str]:
    """List the names of the classifiers, those of the extra ``photos`` last, whether it is installed or not."""
    own = (*recipes.RECIPES, *recipes.DEFENDED)
    return [*(name for name in own if recipes.weights_file(name).exists()), *IMAGENET]


def find(name: str, random: bool = False) -> Source:
    """Load the classifier called ``name``.

    Args:
        name: one of ``names``.
        random: take random weights (the same ones each time) in place of the trained ones.

    Raises:
        InputError: there is none of this name; or it needs the extra ``photos``, and that is missing.
    """
    check_known("classifier", name, names())
    if name in IMAGENET:
        return _imagenet(name, random)
    recipe = recipes.recipe_of(name)
    with initial_weights():
        network = recipe.network()
    if not random:
        network.load_state_dict(read_weights(recipes.weights_file(name)))
    return Source(
        network,
        name=f"{name}:random" if random else name,
        mean=tuple(recipe.mean),
        std=tuple(recipe.std),
        image_size=recipe.image_size,
        channels=recipe.channels,
        class_names=tuple(recipe.class_names),
    )


def _imagenet(name: str, random: bool) -> Source:
    chosen = IMAGENET[name]
    with initial_weights():
        network = chosen.network() if random else chosen.build()
    return Source(
        network,
        name=f"{name}:random" if random else name,
        mean=MEAN,
        std=STD,
        image_size=(chosen.image_size, chosen.image_size),
        resizing=chosen.resizing,
        channels=3,
        class_names=imagenet_class_names(),
    )
