"""How each shipped network was made: everything that its training depends on, as values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from torch import nn

from underfire.errors import unknown_name
from underfire.zoo.networks import ResNet


@dataclass(frozen=True)
class Recipe:
    """A network and its training: SGD with Nesterov momentum under a one-cycle learning rate, then stochastic weight
    averaging (Izmailov et al. 2018) for ``averaging`` epochs at the constant rate ``averaging_rate``.

    ``shift`` is the padding of the random crop in pixels, ``flip`` mirrors half of the images; ``mean`` and
    ``std`` are those of the training pixels, one value per channel.
    """

    name: str
    data: str
    network: Callable[[], nn.Module]
    image_size: tuple[int, int]
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: tuple[str, ...]
    epochs: int
    shift: int
    flip: bool
    batch_size: int = 128
    learning_rate: float = 0.15
    momentum: float = 0.9
    weight_decay: float = 5e-4
    averaging: int = 0
    averaging_rate: float = 0.05
    seed: int = 0
    held_out: Callable[[int], bool] | None = field(default=None, repr=False)


def _every_fifth(index: int) -> bool:
    return index % 5 == 4


_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        recipe.name: recipe
        for recipe in (
            Recipe(
                name="cifar10-resnet20",
                data="the 50,000 training images of CIFAR-10",
                network=lambda: ResNet(blocks=3, classes=10, channels=3, width=16),
                image_size=(32, 32),
                channels=3,
                mean=(0.4914, 0.4822, 0.4465),
                std=(0.2470, 0.2435, 0.2616),
                class_names=_CIFAR10,
                epochs=22,
                averaging=6,
                shift=4,
                flip=True,
            ),
            Recipe(
                name="digits-resnet",
                data="scikit-learn's digits, without every fifth image",
                network=lambda: ResNet(blocks=1, classes=10, channels=1, width=16),
                image_size=(16, 16),
                channels=1,
                mean=(0.305,),
                std=(0.345,),
                class_names=tuple("0123456789"),
                epochs=40,
                shift=1,
                flip=False,
                learning_rate=0.1,
                held_out=_every_fifth,
            ),
        )
    }
)


def find(name: str) -> Recipe:
    """The recipe called ``name``. Raises :class:`~underfire.errors.InputError` with the nearest name."""
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    return RECIPES[name]
