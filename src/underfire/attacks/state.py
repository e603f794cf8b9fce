"""Everything that an attack carries is tensors with leading dimension N; one function shrinks all of it."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor

Tree = TypeVar("Tree")


def take(tree: Tree, keep: Tensor) -> Tree:
    """``tree`` (tensors in dicts, at any depth) with the rows at the indices ``keep`` (int64)."""
    if isinstance(tree, Tensor):
        return tree[keep]  # type: ignore[return-value]
    if isinstance(tree, dict):
        return {name: take(value, keep) for name, value in tree.items()}  # type: ignore[return-value]
    raise TypeError(f"attack state holds a {type(tree).__name__}; expected tensors with leading dimension N in dicts")
