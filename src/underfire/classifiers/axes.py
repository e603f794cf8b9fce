"""The order of the axes of feature maps while a network runs: it may move them before it pools or flattens.

A shape alone does not tell N x C x h x w from N x h x w x C. So what a convolution returns is marked with its order,
and so is all that is made of it, as long as it is sure. Tensors without a mark have an unknown order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Size, Tensor

USUAL = "nchw"
_MARK = "_order_of_axes"
_SIDES = (2, 3, 5, 7)
"""Sides of a tensor without values, by which a move shows where each axis goes."""

_MOVES = (
    *(getattr(owner, name) for owner in (torch, Tensor) for name in ("permute", "transpose", "movedim", "moveaxis")),
    *(getattr(owner, name) for owner in (torch, Tensor) for name in ("swapaxes", "swapdims")),
    *(getattr(Tensor, name).__get__ for name in ("mT", "mH")),
    *(Tensor.adjoint, torch.adjoint, Tensor.transpose_, Tensor.swapaxes_, Tensor.swapdims_),
)
_UNSURE = (
    *(torch.reshape, Tensor.reshape, Tensor.view, torch.flatten, Tensor.flatten, torch.unflatten, Tensor.unflatten),
    *(torch.squeeze, Tensor.squeeze, torch.unsqueeze, Tensor.unsqueeze, torch.einsum),
)
"""Functions whose output may have the same shape in another order."""


def order_of(value: object) -> str | None:
    """Return the order of the axes of a marked tensor with 4 axes, such as ``nchw`` or ``nhwc``; None if unknown."""
    return getattr(value, _MARK, None) if isinstance(value, Tensor) and value.ndim == 4 else None


def moved_order(value: object) -> str | None:
    """Return the order of the axes if it is known, and is not that of N x C x h x w."""
    order = order_of(value)
    return None if order == USUAL else order


def usual_shape(maps: Tensor) -> Size:
    """Return the shape of ``maps`` as N x C x h x w; as it is if the order is unknown."""
    order = order_of(maps) or USUAL
    return Size(maps.shape[order.index(axis)] for axis in USUAL)


def follow_axes(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], output: object) -> None:
    """Mark what a function returned with the order of its axes, if that is sure."""
    if not isinstance(output, Tensor):
        return
    if output.ndim != 4:
        if hasattr(output, _MARK):  # a change in place took an axis away or added one
            delattr(output, _MARK)
        return
    if func is torch.conv2d:
        setattr(output, _MARK, USUAL)
        return
    flat = (part for value in args for part in (value if isinstance(value, tuple | list) else (value,)))
    given = next((part for part in flat if order_of(part) is not None), None)
    if given is None or (given is output and func not in _MOVES):
        return
    order = order_of(given)
    assert order is not None
    if func in _MOVES:
        moved = func(torch.empty(_SIDES, device="meta"), *args[1:], **kwargs)
        setattr(output, _MARK, "".join(order[_SIDES.index(side)] for side in moved.shape))
    elif output.shape == given.shape or func not in _UNSURE:
        same = {axis for axis, one, other in zip(order, given.shape, output.shape, strict=True) if one == other}
        if "n" in same and ("c" in same or {"h", "w"} <= same):
            setattr(output, _MARK, order)
