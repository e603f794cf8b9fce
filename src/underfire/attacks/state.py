"""Everything that an attack carries is tensors with leading dimension N; one function shrinks all of it."""

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
    """``tree`` (tensors in dicts, at any depth) with the rows at the indices ``keep`` (int64)."""
    if isinstance(tree, Tensor):
        return tree[keep]
    if isinstance(tree, dict):
        return {name: take(value, keep) for name, value in tree.items()}
    raise TypeError(f"attack state holds a {type(tree).__name__}; expected tensors with leading dimension N in dicts")


@dataclass
class Carried:
    """The state of one batch in the loop.

    ``images`` are the benign ones; ``price`` is what their penalty is multiplied with; ``row`` is each image's place in
    the outcome, -1 for filling and those that left.
    """

    row: Tensor
    images: Tensor
    classes: Tensor
    ids: Tensor
    targets: dict[str, Tensor]
    price: Tensor
    theta: Theta
    views: dict[str, State] = field(default_factory=dict)
    rules: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    guards: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    best: dict[str, Tensor] = field(default_factory=dict)
    counts: dict[str, Tensor] = field(default_factory=dict)

    def take(self, keep: Tensor) -> None:
        for name, value in vars(self).items():
            setattr(self, name, take(value, keep))
