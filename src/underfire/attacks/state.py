"""The state of an attack: tensors with leading dimension N, and one function that removes images from all of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, overload

from torch import Tensor

from underfire.attacks.perturbations.base import Theta
from underfire.interpreters import State


@overload
def take(tree: Tensor, keep: Tensor) -> Tensor: ...
@overload
def take(tree: dict[str, Any], keep: Tensor) -> dict[str, Any]: ...
def take(tree: Tensor | dict[str, Any], keep: Tensor) -> Tensor | dict[str, Any]:
    """Select the rows at the indices ``keep`` of all tensors in ``tree``, a tensor or dicts of tensors at any depth."""
    if isinstance(tree, Tensor):
        return tree[keep]
    if isinstance(tree, dict):
        return {name: take(value, keep) for name, value in tree.items()}
    raise TypeError(f"attack state holds a {type(tree).__name__}; expected tensors with leading dimension N in dicts")


@dataclass
class Carried:
    """The state of one batch in the loop.

    Args:
        row: int64 N, the place of each image in the outcome; -1 for images that only fill the batch, or have left.
        images: the benign images N x C x H x W.
        classes: int64 N, the classes of the goal.
        ids: int64 N, the images' identities.
        targets: the wanted maps N x h x w, by interpreter.
        price: the factor of the penalty, N.
        prices: the state of the attack's pricing; empty without one.
        theta: the parameters of the perturbation.
        views: the state of each interpreter's view.
        rules, guards: the state of each move's rule and guard, by the move's index.
        best: the state of the ranking.
        counts: steps and passes of each image.
    """

    row: Tensor
    images: Tensor
    classes: Tensor
    ids: Tensor
    targets: dict[str, Tensor]
    price: Tensor
    theta: Theta
    prices: dict[str, Tensor] = field(default_factory=dict)
    views: dict[str, State] = field(default_factory=dict)
    rules: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    guards: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    best: dict[str, Tensor] = field(default_factory=dict)
    counts: dict[str, Tensor] = field(default_factory=dict)

    def take(self, keep: Tensor) -> None:
        """Keep the images at the indices ``keep`` alone."""
        for name, value in vars(self).items():
            setattr(self, name, take(value, keep))
