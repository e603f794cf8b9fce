"""Recognition of the calls that take the places out of feature maps: poolings, in whatever way they are written.

A pooling is known by the shapes of what it takes and returns. It may come in steps: ``x.mean(3).mean(2)``, or
``x.flatten(2).amax(2)``. So what a step returns is marked with the maps that it was made of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor

from underfire.classifiers.axes import moved_order, order_of, usual_shape
from underfire.classifiers.tokens import LISTS, Axes

COPIES = (torch.clone, Tensor.clone, torch.detach, Tensor.detach, Tensor.cpu, Tensor.to)
"""Functions by which a network keeps its feature maps for later, while it goes on without them."""

_OVER_TOKENS = (torch.mean, Tensor.mean, torch.amax, Tensor.amax)
_TO_A_SIZE = (F.adaptive_avg_pool2d, F.adaptive_max_pool2d, F.adaptive_max_pool2d_with_indices)
_RESHAPES = (torch.flatten, Tensor.flatten, Tensor.view, Tensor.reshape, torch.reshape)
_MARK = "_pooled_maps"


def is_spatial(value: object) -> TypeGuard[Tensor]:
    """Return True if ``value`` are maps with several places: N x C x h x w, or in another order that is known."""
    return isinstance(value, Tensor) and value.ndim == 4 and usual_shape(value)[2:].numel() > 1


def are_maps(value: object) -> bool:
    """Return True if ``value`` are maps in any order of axes, and not vectors, whose axis may have been moved."""
    return isinstance(value, Tensor) and value.ndim == 4 and sum(side > 1 for side in value.shape[1:]) > 1


def token_axes(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Axes | None:
    """Return the order of the axes of tokens that this call pools over all places; None if it does not do that.

    None also for what ``pooled_maps`` knows better: maps with a known order of axes, and what was made of maps.
    """
    given = args[0]
    if order_of(given) is not None or hasattr(given, _MARK):
        return None
    if func in _OVER_TOKENS:
        named = kwargs.get("dim", args[1] if len(args) > 1 else None)
        listed = named if isinstance(named, tuple | list) else [] if named is None else [named]
        dims = {int(dim) % given.ndim for dim in listed}
        if given.ndim == 3:
            axes: Axes | None = "nlc" if dims == {1} else "lnc" if dims == {0} else None
            return axes if axes and given.shape[LISTS[axes]] > 1 else None
        return "nhwc" if given.ndim == 4 and dims == {1, 2} and given.shape[1] * given.shape[2] > 1 else None
    if func is F.adaptive_avg_pool1d and given.ndim == 3 and given.shape[2] > 1:
        return "ncl" if kwargs.get("output_size", args[1] if len(args) > 1 else None) in (1, (1,), [1]) else None
    return None


def pooled_maps(func: Callable[..., Any], args: tuple[Any, ...], output: object) -> Tensor | None:
    """Return the maps that this call pools or flattens; None if it does not do that, or not yet."""
    given = next((value for value in args if isinstance(value, Tensor)), None)
    result = output[0] if isinstance(output, tuple) and output else output  # maxima come with their places
    if given is None or func is torch.conv2d or not isinstance(result, Tensor) or result.ndim < 2:
        return None
    maps = getattr(given, _MARK, given)
    if not is_spatial(maps):
        return None
    if func in _RESHAPES and given.ndim == 4 and result.ndim == 2:
        return maps
    if result.shape[0] != maps.shape[0]:
        return None
    if func in _RESHAPES and given.ndim == 4:
        pooled = False
    else:
        channels, axis = usual_shape(maps)[1], result.shape[1] if moved_order(maps) is None else max(result.shape[1:])
        pooled = result.shape[1:].numel() == channels == axis and result.numel() < maps.numel()
    if func in _TO_A_SIZE or not pooled:
        _mark_step(func, result, maps)
    return maps if pooled or func in _TO_A_SIZE else None


def _mark_step(func: Callable[..., Any], result: Tensor, maps: Tensor) -> None:
    """Mark what one step of a pooling returns: it is pooled in one direction, a list of places, or of a fixed size."""
    if result.ndim not in (3, 4):
        return
    moved, sides = moved_order(maps), tuple(maps.shape)
    if moved is None and result.shape[1] != sides[1]:
        return
    places = (2, 3) if moved is None else (moved.index("h"), moved.index("w"))
    one_direction = [(*sides[:axis], *kept, *sides[axis + 1 :]) for axis in places for kept in ((), (1,))]
    smaller = result.numel() < maps.numel() and tuple(result.shape) in one_direction
    a_list = result.ndim == 3 and func in _RESHAPES and usual_shape(maps)[1] in result.shape[1:]
    if smaller or func in _TO_A_SIZE or a_list:
        setattr(result, _MARK, maps)


def is_linear(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return True if this call is a convolution of single pixels with each other: some heads are written so."""
    if func is not torch.conv2d or args[0].ndim != 4:
        return False
    weight = args[1] if len(args) > 1 else kwargs["weight"]
    return bool(args[0].shape[2:].numel() == weight.shape[2:].numel() == 1 and weight.shape[1] == args[0].shape[1])


def lowers_resolution(given: object, output: object) -> bool:
    """Return True if this call turns feature maps into smaller ones that are still maps."""
    if not (is_spatial(output) and is_spatial(given)):
        return False
    return output.shape[2] < given.shape[2] and output.shape[3] < given.shape[3]
