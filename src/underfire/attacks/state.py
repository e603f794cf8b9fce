"""The state of an attack: tensors with leading dimension N, and one function that removes images from all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, overload

from torch import Tensor

from underfire.attacks.perturbations.base import Theta
from underfire.interpreters import State

Change = Callable[[str, Tensor], Tensor]


@overload
def mapped(tree: Tensor, change: Change, path: str = "") -> Tensor: ...
@overload
def mapped(tree: dict[str, Any], change: Change, path: str = "") -> dict[str, Any]: ...
def mapped(tree: Tensor | dict[str, Any], change: Change, path: str = "") -> Tensor | dict[str, Any]:
    """Replace all tensors in ``tree``, a tensor or dicts of tensors at any depth.

    Args:
        change: takes a tensor's path, such as ``theta/image``, and the tensor; returns the new one.
        path: the path of ``tree`` itself.
    """
    if isinstance(tree, Tensor):
        return change(path, tree)
    if isinstance(tree, dict):
        return {name: mapped(value, change, f"{path}/{name}") for name, value in tree.items()}
    raise TypeError(f"attack state holds a {type(tree).__name__}; expected tensors with leading dimension N in dicts")


def take(tree: Any, keep: Tensor) -> Any:
    """Select the rows at the indices ``keep`` of all tensors in ``tree``, a tensor or dicts of tensors at any depth."""
    return mapped(tree, lambda _path, tensor: tensor[keep])


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
        wanted: ``probabilities``, the wanted class probabilities N x K; empty if there are none.
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
    wanted: dict[str, Tensor] = field(default_factory=dict)

    def take(self, keep: Tensor) -> None:
        """Keep the images at the indices ``keep`` alone."""
        for name, value in vars(self).items():
            setattr(self, name, take(value, keep))

    def leaves(self) -> dict[str, Tensor]:
        """Return all tensors by their path, such as ``theta/image``."""
        found: dict[str, Tensor] = {}
        for name, value in vars(self).items():
            mapped(value, lambda path, tensor: found.setdefault(path, tensor), name)
        return found

    def replace(self, leaves: Mapping[str, Tensor]) -> None:
        """Replace the whole state by tensors with their paths, as ``leaves`` returns them."""
        tree: dict[str, Any] = {name: _empty(value) for name, value in vars(self).items() if isinstance(value, dict)}
        for path, tensor in leaves.items():
            *above, name = path.split("/")
            place = tree
            for step in above:
                place = place.setdefault(step, {})
            place[name] = tensor
        vars(self).update(tree)


def _empty(tree: dict[str, Any]) -> dict[str, Any]:
    """Return the dicts of a tree without its tensors: a rule without state has an empty one."""
    return {name: _empty(value) for name, value in tree.items() if isinstance(value, dict)}
